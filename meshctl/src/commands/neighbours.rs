//! `peers` and `links`.

use super::Console;
use crate::amount;
use crate::args::PeersAction;
use crate::failure::Failure;
use crate::limits::ID_CHARS_SHOWN;
use crate::line::{BAD, Column, FAINT, GOOD, Line, STRONG, Table};
use crate::message_view::{kind_word, name_and_id, short_id};
use crate::moment;
use crate::request::Request;
use jiff::Timestamp;
use meshlink_api::{Link, Peer};

const PEERS: &str = "/v1/peers";

/// `meshctl peers`.
pub(super) async fn peers(console: &mut Console<'_>, action: Option<PeersAction>) -> Result<(), Failure> {
    match action.unwrap_or(PeersAction::List) {
        PeersAction::List => {
            let pages = console.daemon.list(Request::get(PEERS), None);
            console.show_list(pages, peer_table, peer_row, "no other node was heard of yet").await
        }
        PeersAction::Show(peer) => {
            let id = console.daemon.peer_id(&peer.id).await?;
            console
                .show(&Request::get(PEERS).id(&id), |screen, peer: &Peer, now| screen.facts(facts(peer, now)))
                .await
        }
        PeersAction::Block(peer) => set_block(console, &peer.id, "block", "blocked").await,
        PeersAction::Unblock(peer) => set_block(console, &peer.id, "unblock", "unblocked").await,
    }
}

async fn set_block(
    console: &mut Console<'_>,
    id: &str,
    action: &'static str,
    done: &'static str,
) -> Result<(), Failure> {
    let id = console.daemon.peer_id(id).await?;
    console.daemon.tell(&Request::post(PEERS).id(&id).action(action)).await?;
    console.report(&[("id", &id), ("done", done)], Line::of(format!("{id} {done}")))
}

fn peer_table() -> Table<7> {
    Table::new([
        Column::left("ID").at_least(ID_CHARS_SHOWN),
        Column::left("STATE").at_least(8),
        Column::left("LAST SEEN").at_least(16),
        Column::right("MESSAGES"),
        Column::right("SENT"),
        Column::right("RECEIVED"),
        Column::left("NAME"),
    ])
}

fn peer_row(peer: &Peer, now: Timestamp) -> [Line; 7] {
    [
        Line::of(short_id(&peer.id)),
        state(peer),
        Line::new().styled(FAINT, last_seen(peer, now)),
        Line::of(peer.messages),
        Line::of(peer.bundles_sent),
        Line::of(peer.bundles_received),
        Line::new().styled(STRONG, peer.name.as_deref().unwrap_or_default()),
    ]
}

fn state(peer: &Peer) -> Line {
    let kinds = || peer.links.iter().map(|kind| kind_word(*kind)).collect::<Vec<_>>().join(",");
    match (peer.blocked, peer.up) {
        (true, _) => Line::new().styled(BAD, "blocked"),
        (false, true) => Line::new().styled(GOOD, format!("up {}", kinds())),
        (false, false) => Line::new().styled(FAINT, "away"),
    }
}

fn last_seen(peer: &Peer, now: Timestamp) -> String {
    match (&peer.last_seen_at, peer.up) {
        (_, true) => "now".into(),
        (Some(at), false) => moment::ago(at, now),
        (None, false) => "unknown".into(),
    }
}

fn facts(peer: &Peer, now: Timestamp) -> Vec<(&'static str, Line)> {
    let mut facts = vec![("id", Line::new().styled(STRONG, &peer.id))];
    facts.extend(peer.name.as_ref().map(|name| ("name", Line::of(name))));
    facts.extend(peer.about.as_ref().map(|about| ("about", Line::of(about))));
    facts
        .extend(peer.avatar.as_ref().map(|picture| ("avatar", Line::of(format!("{} bytes", picture.len())))));
    facts.extend([
        ("state", state(peer)),
        ("last seen", Line::of(last_seen(peer, now))),
        ("encounters", Line::of(peer.encounters)),
        (
            "bundles",
            Line::of(format!("{} handed over, {} received", peer.bundles_sent, peer.bundles_received)),
        ),
        ("messages", Line::of(format!("{} written by it are kept here", peer.messages))),
    ]);
    facts
}

/// `meshctl links`.
pub(super) async fn links(console: &mut Console<'_>) -> Result<(), Failure> {
    let pages = console.daemon.list(Request::get("/v1/links"), None);
    console.show_list(pages, link_table, link_row, "no link is up").await
}

fn link_table() -> Table<8> {
    Table::new([
        Column::right("LINK"),
        Column::left("KIND"),
        Column::left("PHASE").at_least(11),
        Column::left("SINCE").at_least(16),
        Column::right("SENT"),
        Column::right("RECEIVED"),
        Column::left("PEER").at_least(ID_CHARS_SHOWN),
        Column::left("ADDRESS"),
    ])
}

fn link_row(link: &Link, now: Timestamp) -> [Line; 8] {
    let peer = link.peer.as_ref().map_or_else(
        || Line::new().styled(FAINT, "not known yet"),
        |id| name_and_id(link.peer_name.as_deref(), id),
    );
    let since = link.since_at.as_deref().map_or_else(|| "unknown".into(), |at| moment::ago(at, now));
    let signal = link.rssi.map(|rssi| format!("{rssi} dBm"));
    let facts: Vec<String> = link.path.clone().into_iter().chain(signal).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let direction = if link.dialled { "to " } else { "from " };
    [
        Line::of(&link.id),
        Line::of(kind_word(link.kind)),
        Line::new().styled(if link.phase == "live" { GOOD } else { FAINT }, &link.phase),
        Line::new().styled(FAINT, since),
        Line::of(amount::bytes(link.sent_bytes)),
        Line::of(amount::bytes(link.received_bytes)),
        peer,
        Line::of(direction).text(&link.address).text(facts),
    ]
}
