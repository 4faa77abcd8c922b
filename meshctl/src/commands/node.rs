//! `status`, `token`, `profile`: the node itself and what it allows.

use super::Console;
use crate::amount;
use crate::args::{ProfileAction, ProfileChange, TokenAction};
use crate::failure::Failure;
use crate::limits::AVATAR_BYTES_MAX;
use crate::line::{BAD, Column, FAINT, GOOD, Line, STRONG, Table, WARN};
use crate::message_view::kind_word;
use crate::moment;
use crate::request::Request;
use anstyle::Style;
use data_encoding::BASE64;
use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{
    AtRest, AtRestState, NewToken, Profile, Scope, Status, Token, TokenCreated, TransportState,
    TransportStatus,
};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const TOKENS: &str = "/v1/tokens";
const PROFILE: &str = "/v1/profile";

/// `meshctl status`.
pub(super) async fn status(console: &mut Console<'_>) -> Result<(), Failure> {
    console
        .show(&Request::get("/v1/status"), |screen, status: &Status, _| {
            screen.facts(status_facts(status, screen.is_verbose()))?;
            screen.line(&Line::new())?;
            let mut table = Table::new([
                Column::left("TRANSPORT").at_least(9),
                Column::left("STATE").at_least(8),
                Column::left("NAME"),
                Column::left("DETAIL"),
            ]);
            for transport in &status.transports {
                table.row(transport_row(transport));
            }
            screen.table(table, true)?;
            for transport in &status.transports {
                if let Some(hint) = &transport.hint {
                    let line =
                        Line::new().styled(WARN, format!("{}: ", kind_word(transport.kind))).text(hint);
                    screen.line(&line)?;
                }
            }
            Ok(())
        })
        .await
}

fn status_facts(status: &Status, verbose: bool) -> Vec<(&'static str, Line)> {
    let name = status.name.as_deref().map_or_else(String::new, |name| format!("{name} "));
    let program = format!("meshd {}, up {}", status.version, moment::span(status.uptime_s, 2));
    let counts = &status.messages;
    let own = [
        ("pending", counts.pending),
        ("synced", counts.synced),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("expired", counts.expired),
        ("failed", counts.failed),
    ];
    let own = own.into_iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
    let own = own.collect::<Vec<_>>().join(", ");
    let mut facts = vec![
        ("node", Line::new().styled(STRONG, name).text(&status.node_id)),
        ("program", Line::of(program)),
        ("clock", clock(status)),
        ("at rest", at_rest(status)),
        ("store", store(status)),
        ("sent", Line::of(if own.is_empty() { "nothing yet".into() } else { own })),
        ("received", Line::of(format!("{}, {} unread", counts.received, counts.unread))),
        ("links", Line::of(status.links)),
    ];
    if status.has_twin {
        let what = ": another machine runs with this node's keys; `meshctl doctor` says what to do";
        facts.push(("twin", Line::new().styled(BAD, "met").text(what)));
    }
    if verbose {
        facts.push(("cursor", Line::of(&status.cursor)));
    }
    facts
}

fn clock(status: &Status) -> Line {
    match (&status.clock.now_at, status.clock.trusted) {
        (Some(at), true) => Line::of(moment::exact(at)),
        (_, true) => Line::of("trusted"),
        (_, false) => {
            Line::new().styled(WARN, "not trusted").text(": this machine has not heard the time yet")
        }
    }
}

fn at_rest(status: &Status) -> Line {
    let AtRest { state, detail, hint } = &status.at_rest;
    let style = match state {
        AtRestState::Open => WARN,
        AtRestState::Unlocked => GOOD,
        AtRestState::Locked => BAD,
    };
    let line = Line::new().styled(style, detail);
    hint.iter().fold(line, |line, hint| line.text("; ").text(hint))
}

fn store(status: &Status) -> Line {
    let store = &status.store;
    let used = amount::of_bundles(store.bundles, store.bytes, store.bytes_max);
    if store.writable {
        return Line::of(used);
    }
    let why = store.detail.as_deref().unwrap_or("nothing can be stored");
    Line::of(used).text("; ").styled(BAD, "not writable").text(": ").text(why)
}

fn transport_row(transport: &TransportStatus) -> [Line; 4] {
    let (word, style) = state_word(transport.state);
    [
        Line::of(kind_word(transport.kind)),
        Line::new().styled(style, word),
        Line::of(&transport.name),
        Line::of(&transport.detail),
    ]
}

fn state_word(state: TransportState) -> (&'static str, Style) {
    match state {
        TransportState::Off => ("off", FAINT),
        TransportState::Starting => ("starting", WARN),
        TransportState::Up => ("up", GOOD),
        TransportState::Degraded => ("degraded", WARN),
        TransportState::Down => ("down", BAD),
    }
}

/// `meshctl token`.
pub(super) async fn tokens(console: &mut Console<'_>, action: Option<TokenAction>) -> Result<(), Failure> {
    match action.unwrap_or(TokenAction::List) {
        TokenAction::List => {
            let pages = console.daemon.list(Request::get(TOKENS), None);
            console.show_list(pages, token_table, token_row, "no tokens but the daemon's own file").await
        }
        TokenAction::Create { name, scope, out } => {
            create_token(console, NewToken { name, scope: Some(scope.0), scopes: None }, out.as_deref()).await
        }
        TokenAction::Revoke { id } => {
            console.daemon.tell(&Request::new(Method::DELETE, TOKENS).id(&id)).await?;
            console.report(&[("id", &id), ("done", "revoked")], Line::of(format!("{id} revoked")))
        }
    }
}

async fn create_token(console: &mut Console<'_>, new: NewToken, out: Option<&Path>) -> Result<(), Failure> {
    let request = Request::post(TOKENS).json(&new);
    let Some(path) = out else {
        let answer = console.daemon.ask::<TokenCreated>(&request).await?;
        let TokenCreated { token, secret } = answer.value;
        console.screen.say(Line::of(format!(
            "token {} for {}; this is the only time it is shown:",
            token.id, token.name
        )));
        if console.screen.is_json() {
            return console.screen.json(&answer.raw);
        }
        return console.screen.line(&Line::of(secret));
    };
    // The file comes first: a secret that was made and could not be kept would be lost.
    let mut file = create_private(path).map_err(|error| Failure::file("make", path, &error))?;
    let made = match console.daemon.ask::<TokenCreated>(&request).await {
        Ok(answer) => answer.value,
        Err(failure) => {
            drop(fs::remove_file(path));
            return Err(failure);
        }
    };
    writeln!(file, "{}", made.secret)
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::file("write the secret to", path, &error))?;
    let id = &made.token.id;
    let line = Line::of(format!("{id} for {}, in {}", made.token.name, path.display()));
    console.report(&[("id", id), ("name", &made.token.name), ("file", &path.to_string_lossy())], line)
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn token_table() -> Table<5> {
    Table::new([
        Column::left("ID").at_least(8),
        Column::left("SCOPE"),
        Column::left("CREATED").at_least(16),
        Column::left("LAST USED").at_least(16),
        Column::left("NAME"),
    ])
}

fn token_row(token: &Token, now: Timestamp) -> [Line; 5] {
    let when = |at: Option<&str>, never: &str| {
        Line::new().styled(FAINT, at.map_or_else(|| never.to_owned(), |at| moment::ago(at, now)))
    };
    let scope = match token.scope {
        Scope::Read => "read",
        Scope::Send => "send",
        Scope::Admin => "admin",
    };
    [
        Line::of(&token.id),
        Line::of(scope),
        when(token.created_at.as_deref(), "unknown"),
        when(token.last_used_at.as_deref(), "never"),
        Line::new().styled(STRONG, &token.name),
    ]
}

/// `meshctl profile`.
pub(super) async fn profile(console: &mut Console<'_>, action: Option<ProfileAction>) -> Result<(), Failure> {
    let request = match action.unwrap_or(ProfileAction::Show) {
        ProfileAction::Show => Request::get(PROFILE),
        ProfileAction::Set(change) => {
            let avatar = change.avatar.as_deref().map(|path| read_avatar(Path::new(path))).transpose()?;
            let profile = console.daemon.ask::<Profile>(&Request::get(PROFILE)).await?.value;
            Request::new(Method::PUT, PROFILE).json(&changed(profile, change, avatar))
        }
    };
    console.show(&request, |screen, profile: &Profile, _| screen.facts(profile_facts(profile))).await
}

fn changed(profile: Profile, change: ProfileChange, avatar: Option<Option<String>>) -> Profile {
    let text = |new: Option<String>, old| new.map_or(old, |text| (!text.is_empty()).then_some(text));
    Profile {
        name: text(change.name, profile.name),
        about: text(change.about, profile.about),
        avatar: avatar.unwrap_or(profile.avatar),
    }
}

fn profile_facts(profile: &Profile) -> Vec<(&'static str, Line)> {
    let or_none = |text: &Option<String>| match text {
        Some(text) => Line::of(text),
        None => Line::new().styled(FAINT, "none"),
    };
    let avatar =
        profile.avatar.as_ref().map(|url| format!("a picture of {}", amount::bytes(url.len() as u64)));
    vec![("name", or_none(&profile.name)), ("about", or_none(&profile.about)), ("avatar", or_none(&avatar))]
}

/// A picture as a `data:` URL; `None` for the empty path, which removes it.
fn read_avatar(path: &Path) -> Result<Option<String>, Failure> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(AVATAR_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::file("read", path, &error))?;
    if bytes.len() as u64 > AVATAR_BYTES_MAX {
        return Err(Failure::usage(
            format!("{} has more than {AVATAR_BYTES_MAX} bytes", path.display()),
            "make the picture smaller: 64 by 64 points are enough",
        ));
    }
    let kind = picture_kind(&bytes).ok_or_else(|| {
        Failure::usage(
            format!("{} is no PNG, JPEG or WebP picture", path.display()),
            "convert it to one of them",
        )
    })?;
    Ok(Some(format!("data:{kind};base64,{}", BASE64.encode(&bytes))))
}

fn picture_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
