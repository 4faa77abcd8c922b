//! The channels this node shows, public ones and those with a password.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{Channel, NewChannel, Page};
use meshlink_core::node::Node;
use meshlink_core::private::channel_key::ChannelSecret;
use meshlink_core::store::Protection;
use meshlink_core::{Now, StoreError};
use zeroize::Zeroizing;

use super::{PageQuery, submit_failure};
use crate::channel_password::{channel_secret, weakness};
use crate::http::app::App;
use crate::http::intake::{self, Parameters, PathText};
use crate::http::problem::{Code, Failure};
use crate::http::render::Renderer;
use crate::sqlite::{MessageFilter, SqliteStore};
use crate::vault::Passphrase;

/// Channels shown here. Posts to others are carried all the same.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", operation_id = "list_channels", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Channel>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Channel>>, Failure> {
    let channels = app
        .read(|node, now| {
            let renderer = Renderer::new(node, now);
            node.channels()?.into_iter().map(|channel| renderer.channel(channel)).collect::<Result<_, _>>()
        })
        .await?;
    let key = |channel: &Channel| channel.name.trim_start_matches('#').to_owned();
    Ok(Json(super::page_of(channels, key, &query)?))
}

/// Shows a channel from now on, with what is carried of it. With a password it takes about a second.
#[utoipa::path(
    post, path = "/v1/channels", tag = "channels", operation_id = "join_channel", request_body = NewChannel,
    responses(
        (status = 201, description = "Shown from now on.", body = Channel),
        (status = 200, description = "It was shown already, and with the same password.", body = Channel),
    ),
)]
pub(crate) async fn join(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<Channel>), Failure> {
    let NewChannel { name, password } = intake::from_json(&body)?;
    let name = with_hash(name);
    let (secret, warning) = match password.map(Zeroizing::new) {
        None => (None, None),
        Some(password) => (Some(derive(&app, &name, &password).await?), weakness(&password)),
    };
    let (channel, new, shared) = app
        .write(move |node, now| {
            let shared = shares_name(node, &name, secret.is_some())?;
            let new = match &secret {
                None => node.join(&name, now),
                Some(secret) => node.join_secret(&name, secret, now),
            };
            let new = new.map_err(submit_failure)?;
            Ok::<_, Failure>((joined(node, &name, now)?, new, shared.filter(|_| new)))
        })
        .await?;
    let warning = warning.into_iter().chain(shared).collect::<Vec<_>>().join("; ");
    let channel = Channel { warning: (!warning.is_empty()).then_some(warning), ..channel };
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(channel)))
}

/// What the password comes to. One at a time, so that requests can't use up the memory; and not before everything else
/// was looked at, nor on the node's thread.
async fn derive(app: &App, name: &str, password: &str) -> Result<ChannelSecret, Failure> {
    let password = Passphrase::parse(password).map_err(|error| {
        Code::InvalidPassword.because(error.to_string().replace("passphrase", "password"))
    })?;
    let wanted = name.to_owned();
    app.read(move |node, _| node.may_join_secret(&wanted).map_err(submit_failure)).await?;
    let _turn = app.derivations().acquire().await;
    let name = name.to_owned();
    let derived = tokio::task::spawn_blocking(move || channel_secret(&name, &password)).await;
    let derived = derived.map_err(|error| Code::Stopping.because(error.to_string()))?;
    derived.map_err(|error| Code::NoMemory.because(error.to_string().replace("passphrase", "password")))
}

/// Stops showing a channel. What was shown stays; the key of one with a password is destroyed.
#[utoipa::path(
    delete, path = "/v1/channels/{name}", tag = "channels", operation_id = "leave_channel",
    params(("name" = String, Path, description = "Its name; `#`, written `%23` in an address, may be left out.")),
    responses((status = 204, description = "No longer shown.")),
)]
pub(crate) async fn leave(State(app): State<App>, PathText(name): PathText) -> Result<StatusCode, Failure> {
    let name = with_hash(name);
    app.write(
        move |node, now| {
            if node.leave(&name, now).map_err(submit_failure)? { Ok(()) } else { Err(not_shown(&name)) }
        },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A channel's name as it is kept: `#` may be left out where nothing but a channel is meant.
fn with_hash(name: String) -> String {
    if name.starts_with('#') { name } else { format!("#{name}") }
}

/// What to say of a conversation that goes on under the name of another channel: of the other sort, or with another
/// password. Its messages stay in one list, each with its own `protection`.
fn shares_name(
    node: &Node<SqliteStore>,
    name: &str,
    is_secret: bool,
) -> Result<Option<&'static str>, StoreError> {
    let filter = MessageFilter { conversation: Some(name.to_owned()), limit: 1, ..MessageFilter::default() };
    let newest = node.store().messages(&filter)?.items;
    Ok(match newest.first().map(|message| message.protection) {
        None => None,
        Some(Protection::Public) if is_secret => {
            Some("earlier messages of this name are of the public channel; `protection` of each says which")
        }
        Some(_) if is_secret => Some(
            "earlier messages of this name may be of another password; what is new is for those with this one",
        ),
        Some(Protection::Public) => None,
        Some(_) => Some(
            "this channel is public; earlier messages of its name are of a channel with a password, and `protection` of each says which",
        ),
    })
}

fn joined(node: &Node<SqliteStore>, name: &str, now: Now) -> Result<Channel, Failure> {
    let channel = node.channels()?.into_iter().find(|channel| channel.name == name);
    Ok(Renderer::new(node, now).channel(channel.ok_or_else(|| not_shown(name))?)?)
}

fn not_shown(name: &str) -> Failure {
    Code::NotFound
        .because(format!("channel {name} is not shown here"))
        .hint("those that are: meshctl channel list, or GET /v1/channels")
}
