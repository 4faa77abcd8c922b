//! Where a message is, and in words what it waits for.

use axum::Json;
use axum::extract::State;
use meshlink_api::Trace;
use meshlink_core::node::Node;
use meshlink_core::store::{HandOver, HandOverStep, Protection, StoredBundle};
use meshlink_core::{LinkPhase, MessageRecord, MessageStatus, Now, Store, StoreError, TransportState};

use super::messages::find;
use crate::http::app::App;
use crate::http::intake::PathText;
use crate::http::problem::Failure;
use crate::http::render::{self, Renderer};
use crate::sqlite::SqliteStore;

/// Where a message is: stored, offered to whom, handed to whom and over what, why it waits, when it is dropped.
#[utoipa::path(
    get, path = "/v1/messages/{id}/trace", tag = "messages", operation_id = "trace_message",
    params(("id" = String, Path, description = "The id, or at least 4 characters of its beginning.")),
    responses((status = 200, description = "Its way so far.", body = Trace)),
)]
pub(crate) async fn trace(State(app): State<App>, PathText(id): PathText) -> Result<Json<Trace>, Failure> {
    let trace = app
        .read(move |node, now| {
            let record = find(node.store(), &id)?;
            Ok::<_, Failure>(describe(node, &record, now)?)
        })
        .await?;
    Ok(Json(trace))
}

fn describe(node: &Node<SqliteStore>, record: &MessageRecord, now: Now) -> Result<Trace, StoreError> {
    let store = node.store();
    let bundle = match node.carrier_of(&record.id)? {
        Some(id) => store.bundle(&id)?,
        None => None,
    };
    let hand_overs = store.hand_overs(&record.id)?;
    let here_ms = node.timeline_ms(now);
    let mut renderer = Renderer::new(node, now);
    // What an own sealed bundle says of its way is made up, so that no carrier sees where it begins.
    let before_ms = |b: &StoredBundle| if record.own { 0 } else { b.age_ms };
    let under_way_ms =
        |b: &StoredBundle| before_ms(b).saturating_add(here_ms.saturating_sub(b.received_tl_ms));
    let around = Surroundings::of(node, &hand_overs);
    Ok(Trace {
        id: record.id.to_string(),
        status: render::status(record.status),
        carried: bundle.is_some(),
        size_bytes: bundle.as_ref().map(StoredBundle::size_bytes),
        age_s: bundle.as_ref().map(|b| under_way_ms(b) / 1000),
        hops: bundle.as_ref().map(|b| if record.own { 0 } else { b.hops }),
        expires_at: renderer.timeline_time(record.expires_tl_ms),
        expires_in_s: record.expires_tl_ms.saturating_sub(here_ms) / 1000,
        waiting: waiting(record, bundle.is_some(), &around),
        steps: hand_overs.iter().map(|step| renderer.hand_over(step, record)).collect::<Result<_, _>>()?,
    })
}

/// What decides whether a message can move on right now.
#[derive(Debug, Default)]
struct Surroundings {
    /// Neighbours that a link leads to.
    neighbours: usize,
    /// Links that are still shaking hands.
    arriving: usize,
    /// Neighbours that confirmed this message.
    holders: usize,
    /// Transports that do not work, in words.
    broken: Vec<String>,
    /// Transports that work or come up.
    working: usize,
}

impl Surroundings {
    fn of(node: &Node<SqliteStore>, hand_overs: &[HandOver]) -> Self {
        let mut around = Self::default();
        let mut peers = std::collections::BTreeSet::new();
        for link in node.links() {
            match link.peer {
                Some(peer) if link.phase != LinkPhase::Handshake => _ = peers.insert(peer),
                Some(_) | None => around.arriving += 1,
            }
        }
        around.neighbours = peers.len();
        around.holders = hand_overs.iter().filter(|step| step.step == HandOverStep::Stored).count();
        for transport in node.transports() {
            match transport.state {
                TransportState::Off => {}
                TransportState::Down => {
                    around.broken.push(format!("{}: {}", transport.name, transport.detail))
                }
                TransportState::Starting | TransportState::Up | TransportState::Degraded => {
                    around.working += 1
                }
            }
        }
        around
    }
}

fn waiting(record: &MessageRecord, carried: bool, around: &Surroundings) -> Option<String> {
    let over = |what: &str| Some(record.status_reason.clone().unwrap_or_else(|| what.to_owned()));
    match record.status {
        MessageStatus::Expired => over("its lifetime ended before another node took it"),
        MessageStatus::Failed => over("it can't be sent"),
        MessageStatus::Delivered | MessageStatus::Read => None,
        MessageStatus::Pending if record.status_reason.is_some() => record.status_reason.clone(),
        MessageStatus::Pending => Some(waiting_for_a_neighbour(around)),
        MessageStatus::Synced if !record.own && !carried && is_private(record) => None,
        MessageStatus::Synced if !carried => over("this node no longer carries it; others may"),
        MessageStatus::Synced if record.own => Some(match around.holders {
            0 | 1 => "another node holds it; it is handed to every neighbour that lacks it".to_owned(),
            n => format!("{n} other nodes hold it; it is handed to every neighbour that lacks it"),
        }),
        MessageStatus::Synced => Some("it is handed to every neighbour that lacks it".to_owned()),
    }
}

/// Whether it was for this node: then it is where it was to go.
fn is_private(record: &MessageRecord) -> bool {
    matches!(record.protection, Protection::Sealed | Protection::SealedVerified)
}

fn waiting_for_a_neighbour(around: &Surroundings) -> String {
    let count =
        |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    if around.neighbours > 0 {
        return format!("it is being handed to {}", count(around.neighbours, "neighbour", "neighbours"));
    }
    if around.arriving > 0 {
        return format!("{} being set up", count(around.arriving, "link is", "links are"));
    }
    let broken = around.broken.join("; ");
    match (around.working, around.broken.is_empty()) {
        (0, true) => "no transport is switched on: give meshd a --relay, or Bluetooth".to_owned(),
        (0, false) => format!("no transport works ({broken})"),
        (_, true) => "no neighbour is in reach".to_owned(),
        (_, false) => format!("no neighbour is in reach ({broken})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_message_says_why_it_waits() {
        let broken = vec!["ws://relay: connection refused".to_owned()];
        let cases = [
            (
                Surroundings { neighbours: 1, working: 1, ..Default::default() },
                "it is being handed to 1 neighbour",
            ),
            (Surroundings { arriving: 2, working: 1, ..Default::default() }, "2 links are being set up"),
            (Surroundings { working: 1, ..Default::default() }, "no neighbour is in reach"),
            (
                Surroundings { broken: broken.clone(), ..Default::default() },
                "no transport works (ws://relay: connection refused)",
            ),
            (
                Surroundings { broken, working: 1, ..Default::default() },
                "no neighbour is in reach (ws://relay: connection refused)",
            ),
            (Surroundings::default(), "no transport is switched on: give meshd a --relay, or Bluetooth"),
        ];
        for (around, expected) in cases {
            assert_eq!(waiting_for_a_neighbour(&around), expected);
        }
    }
}
