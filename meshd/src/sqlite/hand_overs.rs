//! The steps of messages on their way, at most [`HAND_OVERS_MAX`] each with neighbours, kept as long as their message.

use meshlink_core::id::BundleId;
use meshlink_core::limits::HAND_OVERS_MAX;
use meshlink_core::store::{HandOver, HandOverStep, StoreError};

use super::column::{get, get_some, link_kind, some_int, step};
use super::connection::Connection;
use super::messages;
use super::node::{self, Role};

pub(super) fn record(db: &mut Connection, noted: &HandOver) -> Result<(), StoreError> {
    let Some(seq) = messages::seq_of(db, &noted.bundle)? else { return Ok(()) };
    let peer = match &noted.peer {
        Some(peer) => node::number(db, peer)?,
        None => None,
    };
    let steps: Vec<(HandOverStep, Option<i64>)> =
        db.all("SELECT step, peer FROM hand_over WHERE seq = ?1", [seq], |row| {
            Ok((get(row, 0)?, row.get(1)?))
        })?;
    let is_new_peer = noted.peer.is_some() && peer.is_none();
    let is_known = !is_new_peer && steps.contains(&(noted.step, peer));
    if is_known || noted.peer.is_some() && steps.len() >= HAND_OVERS_MAX {
        return Ok(());
    }
    let peer = node::add_some(db, noted.peer.as_ref(), Role::Peer)?;
    let n = i64::try_from(steps.len()).expect("some more than HAND_OVERS_MAX");
    db.write(
        "INSERT INTO hand_over (seq, n, step, peer, via, at_unix_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (seq, n, step(noted.step), peer, noted.via.map(link_kind), some_int(noted.at_unix_ms)),
    )?;
    Ok(())
}

pub(super) fn of(db: &Connection, bundle: &BundleId) -> Result<Vec<HandOver>, StoreError> {
    let Some(seq) = messages::seq_of(db, bundle)? else { return Ok(Vec::new()) };
    let query = "SELECT step, (SELECT id FROM node WHERE n = peer), via, at_unix_ms FROM hand_over
                 WHERE seq = ?1 ORDER BY n";
    db.all(query, [seq], |row| {
        Ok(HandOver {
            bundle: *bundle,
            step: get(row, 0)?,
            peer: get_some(row, 1)?,
            via: get_some(row, 2)?,
            at_unix_ms: get_some(row, 3)?,
        })
    })
}

/// Forgets the steps of a message that goes.
pub(super) fn forget(db: &mut Connection, seq: i64) -> Result<(), StoreError> {
    let peers: Vec<Option<i64>> =
        db.all("SELECT peer FROM hand_over WHERE seq = ?1", [seq], |row| row.get(0))?;
    if peers.is_empty() {
        return Ok(());
    }
    db.write("DELETE FROM hand_over WHERE seq = ?1", [seq])?;
    for peer in peers {
        node::remove(db, peer, Role::Peer)?;
    }
    Ok(())
}
