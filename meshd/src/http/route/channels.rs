//! The channels this node shows.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{Channel, NewChannel, Page};
use meshlink_core::node::Node;
use meshlink_core::{Store, StoreError};

use super::{PageQuery, submit_failure};
use crate::http::app::App;
use crate::http::intake::{self, Parameters, PathText};
use crate::http::problem::{Code, Failure};
use crate::http::render;
use crate::sqlite::SqliteStore;

/// Channels shown here. Posts to others are carried all the same.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", operation_id = "list_channels", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Channel>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Channel>>, Failure> {
    let channels = app.read(|node, _| joined(node)).await?;
    let key = |channel: &Channel| channel.name.trim_start_matches('#').to_owned();
    Ok(Json(super::page_of(channels, key, &query)?))
}

/// Shows a channel from now on, with what is carried of it.
#[utoipa::path(
    post, path = "/v1/channels", tag = "channels", operation_id = "join_channel", request_body = NewChannel,
    responses(
        (status = 201, description = "Shown from now on.", body = Channel),
        (status = 200, description = "It was shown already.", body = Channel),
    ),
)]
pub(crate) async fn join(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<Channel>), Failure> {
    let NewChannel { name } = intake::from_json(&body)?;
    let (channel, new) = app
        .write(move |node, now| {
            let new = node.join(&name, now).map_err(submit_failure)?;
            let channel = joined(node)?.into_iter().find(|channel| channel.name == name);
            Ok::<_, Failure>((channel.ok_or_else(|| not_shown(&name))?, new))
        })
        .await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(channel)))
}

/// Stops showing a channel. What was shown stays.
#[utoipa::path(
    delete, path = "/v1/channels/{name}", tag = "channels", operation_id = "leave_channel",
    params(("name" = String, Path, description = "Its name; `#`, written `%23` in an address, may be left out.")),
    responses((status = 204, description = "No longer shown.")),
)]
pub(crate) async fn leave(State(app): State<App>, PathText(name): PathText) -> Result<StatusCode, Failure> {
    let name = if name.starts_with('#') { name } else { format!("#{name}") };
    app.write(
        move |node, now| {
            if node.leave(&name, now).map_err(submit_failure)? { Ok(()) } else { Err(not_shown(&name)) }
        },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn joined(node: &Node<SqliteStore>) -> Result<Vec<Channel>, StoreError> {
    let shown =
        |(name, since): (String, Option<u64>)| Channel { name, joined_at: since.and_then(render::time) };
    Ok(node.store().joined()?.into_iter().map(shown).collect())
}

fn not_shown(name: &str) -> Failure {
    Code::NotFound.because(format!("channel {name} is not shown here"))
}
