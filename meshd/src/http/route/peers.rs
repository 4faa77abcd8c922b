//! Nodes heard of, and the links to those that are near.

use axum::Json;
use axum::extract::State;
use meshlink_api::{Link, Page, Peer};
use meshlink_core::node::Node;
use meshlink_core::{NodeId, Store};

use super::PageQuery;
use crate::http::app::App;
use crate::http::intake::{Parameters, PathText, page_limit};
use crate::http::problem::{Code, Failure};
use crate::http::render::Renderer;
use crate::sqlite::SqliteStore;

/// Nodes heard of, by id.
#[utoipa::path(
    get, path = "/v1/peers", tag = "neighbours", operation_id = "list_peers", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Peer>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Peer>>, Failure> {
    let limit = page_limit(query.limit)?;
    let after = query.cursor.as_deref().map(|cursor| {
        cursor.parse::<NodeId>().map_err(|_| {
            Code::InvalidCursor
                .because("cursor is not `next` of another page")
                .hint("leave it out to begin anew")
        })
    });
    let after = after.transpose()?;
    let page = app
        .read(move |node, now| {
            let mut records = node.store().peers(after.as_ref(), limit + 1)?;
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|record| record.id.to_string());
            let renderer = Renderer::new(node, now);
            let items = records.iter().map(|record| renderer.peer(&record.id, Some(record)));
            Ok::<_, Failure>(Page { items: items.collect::<Result<_, _>>()?, next })
        })
        .await?;
    Ok(Json(page))
}

/// One node.
#[utoipa::path(
    get, path = "/v1/peers/{id}", tag = "neighbours", operation_id = "get_peer",
    params(("id" = String, Path, description = "Its node id.")),
    responses((status = 200, description = "The node.", body = Peer)),
)]
pub(crate) async fn show(State(app): State<App>, PathText(id): PathText) -> Result<Json<Peer>, Failure> {
    let id = node_id(&id)?;
    let peer = app
        .read(move |node, now| {
            let record = node.store().peer(&id)?;
            let record =
                record.ok_or_else(|| Code::NotFound.because(format!("node {id} was never heard of")))?;
            Ok::<_, Failure>(Renderer::new(node, now).peer(&id, Some(&record))?)
        })
        .await?;
    Ok(Json(peer))
}

/// Blocks a node: its links are closed, what it writes is neither shown nor carried.
#[utoipa::path(
    post, path = "/v1/peers/{id}/block", tag = "neighbours", operation_id = "block_peer",
    params(("id" = String, Path, description = "Its node id. It need not have been heard of.")),
    responses((status = 200, description = "The node.", body = Peer)),
)]
pub(crate) async fn block(State(app): State<App>, PathText(id): PathText) -> Result<Json<Peer>, Failure> {
    change(app, &id, |node, id, now| node.block(id, now)).await
}

/// Takes a block back.
#[utoipa::path(
    post, path = "/v1/peers/{id}/unblock", tag = "neighbours", operation_id = "unblock_peer",
    params(("id" = String, Path, description = "Its node id.")),
    responses((status = 200, description = "The node.", body = Peer)),
)]
pub(crate) async fn unblock(State(app): State<App>, PathText(id): PathText) -> Result<Json<Peer>, Failure> {
    change(app, &id, |node, id, now| node.unblock(id, now)).await
}

type Change =
    fn(&mut Node<SqliteStore>, &NodeId, meshlink_core::Now) -> Result<bool, meshlink_core::StoreError>;

async fn change(app: App, id: &str, change: Change) -> Result<Json<Peer>, Failure> {
    let id = node_id(id)?;
    let peer = app
        .write(move |node, now| {
            if id == node.id() {
                return Err(Code::InvalidId.because("this is this node's own id"));
            }
            change(node, &id, now)?;
            let record = node.store().peer(&id)?;
            Ok::<_, Failure>(Renderer::new(node, now).peer(&id, record.as_ref())?)
        })
        .await?;
    Ok(Json(peer))
}

fn node_id(text: &str) -> Result<NodeId, Failure> {
    text.to_ascii_lowercase().parse().map_err(|e| Code::NotFound.because(format!("no node is {text:?}: {e}")))
}

/// Live links.
#[utoipa::path(
    get, path = "/v1/links", tag = "neighbours", operation_id = "list_links", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Link>)),
)]
pub(crate) async fn links(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Link>>, Failure> {
    let links = app
        .read(|node, now| {
            let mut renderer = Renderer::new(node, now);
            node.links().map(|link| renderer.link(&link)).collect::<Result<Vec<Link>, _>>()
        })
        .await?;
    // Numbers of links have up to 20 digits; as text they sort like numbers when they are as long as each other.
    let key = |link: &Link| format!("{:0>20}", link.id);
    Ok(Json(super::page_of(links, key, &query)?))
}
