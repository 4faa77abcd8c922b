//! What lies on the disk: locked, unlocked, given another passphrase, wiped.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use meshlink_api::{AtRest, NewPassphrase, Unlock, Wipe};
use meshlink_core::{Node, Store};
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

use crate::http::app::App;
use crate::http::intake;
use crate::http::problem::{Code, Failure};
use crate::http::render;
use crate::locking::{self, UnlockError};
use crate::sqlite::SqliteStore;
use crate::vault::{self, Keyring, KeyringError, Passphrase};

/// Unlocks the node: its messages can be read and written again, and it is met under its own name.
///
/// Takes some tenths of a second, on purpose. All links are made anew.
#[utoipa::path(
    post, path = "/v1/unlock", tag = "at_rest", operation_id = "unlock", request_body = Unlock,
    responses((status = 200, description = "Unlocked, or it was already.", body = AtRest)),
)]
pub(crate) async fn unlock(State(app): State<App>, body: Bytes) -> Result<Json<AtRest>, Failure> {
    let Unlock { passphrase } = secret_from_json(body)?;
    let passphrase = passphrase_of(Zeroizing::new(passphrase))?;
    let unlocked = with_keyring(&app, move |keyring| keyring.unlock(&passphrase)).await?;
    let (keyring, dir) = (Arc::clone(app.keyring()), app.state_dir().to_owned());
    let unlock = move |node: &mut Node<SqliteStore>, now| {
        locking::unlock(node, &keyring, unlocked, &dir, now).map_err(unlock_failure)
    };
    let done = app.write(unlock).await;
    // It may be unlocked although the disk did not take what came of it.
    let is_locked = app.read(|node, _| Ok::<_, Failure>(node.store().is_locked())).await?;
    app.set_locked(is_locked);
    done?;
    tracing::info!("unlocked");
    Ok(Json(shown(&app)))
}

/// Locks the node: its keys leave this machine's memory, event streams end, and it carries for others until it is
/// unlocked. Needs a passphrase, since without one nothing would unlock it.
#[utoipa::path(
    post, path = "/v1/lock", tag = "at_rest", operation_id = "lock",
    responses((status = 200, description = "Locked, or it was already.", body = AtRest)),
)]
pub(crate) async fn lock(State(app): State<App>) -> Result<Json<AtRest>, Failure> {
    if !app.keyring().has_passphrase() {
        return Err(keyring_failure(KeyringError::None));
    }
    lock_now(&app).await?;
    tracing::info!("locked");
    Ok(Json(shown(&app)))
}

/// Sets, changes or removes the passphrase. The node stays locked or unlocked as it is.
#[utoipa::path(
    put, path = "/v1/passphrase", tag = "at_rest", operation_id = "put_passphrase", request_body = NewPassphrase,
    responses((status = 200, description = "From now on.", body = AtRest)),
)]
pub(crate) async fn change_passphrase(State(app): State<App>, body: Bytes) -> Result<Json<AtRest>, Failure> {
    let NewPassphrase { current, new } = secret_from_json(body)?;
    // The one there is may be shorter than new ones have to be; then it is wrong, which is all there is to say.
    let current = current.map(Zeroizing::new).map(passphrase_of).transpose()?;
    let new = new.map(Zeroizing::new).map(passphrase_of).transpose()?;
    if new.is_none() && !app.keyring().has_passphrase() {
        return Err(keyring_failure(KeyringError::None));
    }
    with_keyring(&app, move |keyring| keyring.change(current.as_ref(), new.as_ref())).await?;
    tracing::info!(has_passphrase = app.keyring().has_passphrase(), "the passphrase was changed");
    Ok(Json(shown(&app)))
}

/// Destroys the node: first its keys, which is done when this answers, then everything in the state directory, and
/// then the daemon ends. There is no way back but a backup.
#[utoipa::path(
    post, path = "/v1/wipe", tag = "at_rest", operation_id = "wipe", request_body = Wipe,
    responses((status = 202, description = "The keys are destroyed; the rest goes while the daemon ends.")),
)]
pub(crate) async fn wipe(State(app): State<App>, body: Bytes) -> Result<StatusCode, Failure> {
    let Wipe { confirm } = intake::from_json(&body)?;
    if confirm != "wipe" {
        return Err(Code::InvalidBody
            .because("confirm is not \"wipe\"")
            .hint("this destroys the node's keys and messages; to mean it, write \"wipe\""));
    }
    // Here and now: nothing that others have queued comes before it.
    let begun = Instant::now();
    app.keyring().destroy().map_err(keyring_failure)?;
    tracing::warn!(took_ms = begun.elapsed().as_millis(), "the keys were destroyed: a wipe was asked for");
    // What is in memory goes next; if the disk is too full to note it, it goes all the same.
    if let Err(failure) = lock_now(&app).await {
        tracing::debug!(problem = failure.code().as_str(), "locking a wiped node was not noted");
    }
    app.tell_wiped();
    Ok(StatusCode::ACCEPTED)
}

async fn lock_now(app: &App) -> Result<(), Failure> {
    app.set_locked(true);
    app.write(move |node, _| locking::lock(node).map_err(|error| Code::NoEntropy.because(error.to_string())))
        .await
}

fn shown(app: &App) -> AtRest {
    render::at_rest(app.is_locked(), app.keyring().has_passphrase())
}

/// Reads a body with a passphrase in it, and wipes the body.
pub(super) fn secret_from_json<T: DeserializeOwned>(body: Bytes) -> Result<T, Failure> {
    let read = intake::from_json(&body);
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
    read
}

pub(super) fn passphrase_of(text: Zeroizing<String>) -> Result<Passphrase, Failure> {
    Passphrase::parse(&text).map_err(|error| Code::InvalidPassphrase.because(error.to_string()))
}

/// Uses the keyring away from the thread that answers everybody.
pub(super) async fn with_keyring<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Keyring) -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, Failure> {
    let _turn = app.keyring_turn().await;
    let keyring = Arc::clone(app.keyring());
    let done = tokio::task::spawn_blocking(move || vault::apart(|| work(&keyring))).await;
    done.map_err(|_| Code::Stopping.because("the daemon is stopping"))?.map_err(keyring_failure)
}

fn unlock_failure(error: UnlockError) -> Failure {
    match error {
        UnlockError::Store(error) => error.into(),
        UnlockError::OtherNode(_) => Code::KeysFailed.because(error.to_string()),
    }
}

pub(super) fn keyring_failure(error: KeyringError) -> Failure {
    let code = match &error {
        KeyringError::Wrong | KeyringError::CurrentNeeded => Code::WrongPassphrase,
        KeyringError::TooSoon { .. } => Code::TooManyTries,
        KeyringError::None => Code::NoPassphrase,
        KeyringError::Passphrase(_) => Code::InvalidPassphrase,
        KeyringError::Wiped => Code::Stopping,
        KeyringError::Master(_) | KeyringError::Identity(_) | KeyringError::File(_) => Code::KeysFailed,
    };
    let failure = code.because(error.to_string());
    match error {
        KeyringError::None => failure.hint("set one: meshctl passphrase set"),
        KeyringError::CurrentNeeded => failure.hint("change it with: meshctl passphrase change"),
        KeyringError::TooSoon { wait_s } => failure.header(RETRY_AFTER, HeaderValue::from(wait_s)),
        KeyringError::Master(_)
        | KeyringError::Identity(_)
        | KeyringError::File(_)
        | KeyringError::Passphrase(_)
        | KeyringError::Wrong
        | KeyringError::Wiped => failure,
    }
}
