//! Durable read positions by name: several front ends on one node, each with its own.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use meshlink_api::{Cursor, NewCursor};

use super::cursor_in;
use crate::http::app::App;
use crate::http::intake::{self, PathText};
use crate::http::limits;
use crate::http::problem::{Code, Failure};
use crate::http::render;
use crate::sqlite::Inserted;

/// A position kept under a name.
#[utoipa::path(
    get, path = "/v1/cursors/{name}", tag = "events", operation_id = "get_cursor",
    params(("name" = String, Path, description = "1 to 64 of a-z, A-Z, 0-9, `.`, `-` and `_`.")),
    responses((status = 200, description = "The position.", body = Cursor)),
)]
pub(crate) async fn show(State(app): State<App>, PathText(name): PathText) -> Result<Json<Cursor>, Failure> {
    check_name(&name)?;
    let cursor = app
        .read(move |node, _| {
            let kept = node.store().cursor(&name)?;
            let row =
                kept.ok_or_else(|| Code::NotFound.because(format!("no position is kept as {name:?}")))?;
            Ok::<_, Failure>(Cursor {
                name,
                cursor: row.position,
                updated_at: row.set_unix_ms.and_then(render::time),
            })
        })
        .await?;
    Ok(Json(cursor))
}

/// Keeps a position under a name. `GET /v1/events?cursor_name=` resumes there.
#[utoipa::path(
    put, path = "/v1/cursors/{name}", tag = "events", operation_id = "put_cursor", request_body = NewCursor,
    params(("name" = String, Path, description = "1 to 64 of a-z, A-Z, 0-9, `.`, `-` and `_`.")),
    responses((status = 200, description = "The position.", body = Cursor)),
)]
pub(crate) async fn keep(
    State(app): State<App>,
    PathText(name): PathText,
    body: Bytes,
) -> Result<Json<Cursor>, Failure> {
    check_name(&name)?;
    let NewCursor { cursor } = intake::from_json(&body)?;
    let kept = app
        .write(move |node, now| {
            cursor_in(node.store().store_id(), "cursor", &cursor)?;
            match node.store_mut().set_cursor(&name, &cursor, now.unix_ms)? {
                Inserted::Done | Inserted::Exists => {}
                Inserted::TooMany { max } => {
                    let detail = format!("there are {max} named positions");
                    return Err(Code::LimitReached.because(detail).hint("move one of them instead"));
                }
            }
            Ok::<_, Failure>(Cursor { name, cursor, updated_at: now.unix_ms.and_then(render::time) })
        })
        .await?;
    Ok(Json(kept))
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let max = limits::CURSOR_NAME_BYTES_MAX;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if (1..=max).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Code::InvalidName
        .because(format!("a cursor's name has 1 to {max} characters of a-z, A-Z, 0-9, '.', '-' and '_'")))
}
