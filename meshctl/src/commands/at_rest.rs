//! `unlock`, `lock`, `passphrase`, `wipe`: what lies on the node's disk.

use super::Console;
use crate::args::{PassphraseAction, PassphraseSource};
use crate::failure::Failure;
use crate::line::Line;
use crate::passphrase::{self, Source};
use crate::request::Request;
use hyper::Method;
use meshlink_api::{AtRest, NewPassphrase, Unlock, Wipe};
use zeroize::Zeroizing;

const PASSPHRASE: &str = "/v1/passphrase";
/// How a new one is asked for.
const NEW: &str = "New passphrase: ";

/// `meshctl unlock`.
pub(super) async fn unlock(console: &mut Console<'_>, source: &PassphraseSource) -> Result<(), Failure> {
    let passphrase = from(source).ask("Passphrase: ")?.to_string();
    show(console, &Request::post("/v1/unlock").json(&Unlock { passphrase }).patient()).await
}

/// `meshctl lock`.
pub(super) async fn lock(console: &mut Console<'_>) -> Result<(), Failure> {
    show(console, &Request::post("/v1/lock")).await
}

/// `meshctl passphrase`.
pub(super) async fn passphrase(console: &mut Console<'_>, action: &PassphraseAction) -> Result<(), Failure> {
    let (current, new) = match action {
        PassphraseAction::Set(source) => (None, Some(from(source).ask_new(NEW)?)),
        PassphraseAction::Change { current, new_passphrase_file } => {
            let mut current = from(current);
            let before = current.ask("Current passphrase: ")?;
            let new = match new_passphrase_file {
                Some(path) => Source::file(path).ask_new(NEW)?,
                None => current.ask_new(NEW)?,
            };
            (Some(before), Some(new))
        }
        PassphraseAction::Remove(source) => (Some(from(source).ask("Current passphrase: ")?), None),
    };
    let text = |passphrase: Option<Zeroizing<String>>| passphrase.map(|text| text.to_string());
    let body = NewPassphrase { current: text(current), new: text(new) };
    show(console, &Request::new(Method::PUT, PASSPHRASE).json(&body).patient()).await
}

/// `meshctl wipe --yes`.
pub(super) async fn wipe(console: &mut Console<'_>) -> Result<(), Failure> {
    console.daemon.tell(&Request::post("/v1/wipe").json(&Wipe { confirm: "wipe".to_owned() })).await?;
    let line = Line::of("the keys are destroyed; the daemon removes the rest and ends");
    console.report(&[("done", "wiped")], line)
}

pub(super) fn from(source: &PassphraseSource) -> Source {
    match &source.passphrase_file {
        Some(path) => Source::file(path),
        None => passphrase::terminal(),
    }
}

async fn show(console: &mut Console<'_>, request: &Request) -> Result<(), Failure> {
    console
        .show(request, |screen, at_rest: &AtRest, _| {
            screen.line(&Line::of(&at_rest.detail))?;
            match &at_rest.hint {
                Some(hint) => {
                    screen.say(Line::of(hint));
                    Ok(())
                }
                None => Ok(()),
            }
        })
        .await
}
