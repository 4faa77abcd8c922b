//! Conversations with their unread counts.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE32_NOPAD;
use meshlink_api::{Conversation, Page};

use super::PageQuery;
use crate::http::app::App;
use crate::http::intake::{Parameters, page_limit};
use crate::http::problem::{Code, Failure};
use crate::http::render::Renderer;

/// Conversations, by id.
#[utoipa::path(
    get, path = "/v1/conversations", tag = "messages", operation_id = "list_conversations", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Conversation>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Conversation>>, Failure> {
    let limit = page_limit(query.limit)?;
    let after = query.cursor.as_deref().map(from_cursor).transpose()?;
    let page = app
        .read(move |node, now| {
            let mut rows = node.store().conversations(after.as_deref(), limit + 1)?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|row| to_cursor(&row.id));
            let mut renderer = Renderer::new(node, now);
            let mut items = Vec::with_capacity(rows.len());
            for row in rows {
                items.push(Conversation {
                    title: renderer.conversation_name(&row.id)?.unwrap_or_else(|| row.id.clone()),
                    id: row.id,
                    messages: row.messages,
                    unread: row.unread,
                    last: Some(renderer.message(&row.last)?),
                });
            }
            Ok::<_, Failure>(Page { items, next })
        })
        .await?;
    Ok(Json(page))
}

/// An id as a cursor: ids hold characters such as `#` that addresses give a meaning to.
fn to_cursor(id: &str) -> String {
    BASE32_NOPAD.encode(id.as_bytes()).to_ascii_lowercase()
}

fn from_cursor(cursor: &str) -> Result<String, Failure> {
    let bytes = BASE32_NOPAD.decode(cursor.to_ascii_uppercase().as_bytes()).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Code::InvalidCursor.because("cursor is not `next` of another page").hint("leave it out to begin anew")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_the_round_trip() {
        assert_eq!(from_cursor(&to_cursor("#mesh")).ok().as_deref(), Some("#mesh"));
        for wrong in ["1", "#mesh", "74"] {
            assert_eq!(from_cursor(wrong).map_err(|f| f.code()), Err(Code::InvalidCursor), "{wrong}");
        }
    }
}
