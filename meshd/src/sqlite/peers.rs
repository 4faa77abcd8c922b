//! Nodes heard of, and what they say about themselves.

use meshlink_core::id::NodeId;
use meshlink_core::store::{PeerRecord, ProfileRecord, StoreError};
use rusqlite::Row;

use super::column::{get, get_some, int, some_int};
use super::connection::Connection;
use super::{SqliteStore, rows_max};

macro_rules! peers {
    () => {
        "SELECT id, last_seen_unix_ms, heard_tl_ms, encounters, bundles_sent, bundles_received, blocked,
            bundle, revision, name, about, avatar FROM peer LEFT JOIN profile ON peer = n "
    };
}

fn read_peer(row: &Row<'_>) -> rusqlite::Result<PeerRecord> {
    Ok(PeerRecord {
        id: get(row, 0)?,
        profile: read_profile(row)?,
        last_seen_unix_ms: get_some(row, 1)?,
        heard_tl_ms: get(row, 2)?,
        encounters: get(row, 3)?,
        bundles_sent: get(row, 4)?,
        bundles_received: get(row, 5)?,
        blocked: get(row, 6)?,
    })
}

fn read_profile(row: &Row<'_>) -> rusqlite::Result<Option<ProfileRecord>> {
    let Some(bundle) = get_some(row, 7)? else { return Ok(None) };
    Ok(Some(ProfileRecord {
        bundle,
        revision: get(row, 8)?,
        name: row.get(9)?,
        about: row.get(10)?,
        avatar: row.get(11)?,
    }))
}

impl SqliteStore {
    /// Up to `limit` nodes heard of after `after`, by id.
    ///
    /// # Errors
    /// The disk failed.
    pub fn peers(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<PeerRecord>, StoreError> {
        let after = after.map_or(&[] as &[u8], |id| &id.0);
        let query = concat!(peers!(), "WHERE id > ?1 ORDER BY id LIMIT ?2");
        self.db.all(query, (after, rows_max(limit)), read_peer)
    }
}

pub(super) fn one(db: &Connection, id: &NodeId) -> Result<Option<PeerRecord>, StoreError> {
    db.one(concat!(peers!(), "WHERE id = ?1"), [id.0.as_slice()], read_peer)
}

pub(super) fn put(store: &mut SqliteStore, peer: &PeerRecord) -> Result<(), StoreError> {
    let before = one(&store.db, &peer.id)?;
    let n = store.db.write_returning(
        "INSERT INTO peer (id, last_seen_unix_ms, heard_tl_ms, encounters, bundles_sent, bundles_received, blocked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET last_seen_unix_ms = ?2, heard_tl_ms = ?3, encounters = ?4,
            bundles_sent = ?5, bundles_received = ?6, blocked = ?7
         RETURNING n",
        (
            peer.id.0.as_slice(),
            some_int(peer.last_seen_unix_ms),
            int(peer.heard_tl_ms),
            int(peer.encounters),
            int(peer.bundles_sent),
            int(peer.bundles_received),
            peer.blocked,
        ),
        |row| row.get::<_, i64>(0),
    )?;
    let n = n.expect("an insert that updates on conflict returns its row");
    store.totals.peers += u64::from(before.is_none());
    let profile_before = before.and_then(|before| before.profile);
    if peer.profile != profile_before {
        put_profile(&mut store.db, n, peer.profile.as_ref())?;
    }
    Ok(())
}

fn put_profile(db: &mut Connection, n: i64, profile: Option<&ProfileRecord>) -> Result<(), StoreError> {
    let Some(profile) = profile else {
        db.write("DELETE FROM profile WHERE peer = ?1", [n])?;
        return Ok(());
    };
    db.write(
        "INSERT OR REPLACE INTO profile (peer, bundle, revision, name, about, avatar) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            n,
            profile.bundle.0.as_slice(),
            int(profile.revision),
            &profile.name,
            &profile.about,
            &profile.avatar,
        ),
    )?;
    Ok(())
}

pub(super) fn trim(store: &mut SqliteStore, keep: u64) -> Result<u64, StoreError> {
    let surplus = store.totals.peers.saturating_sub(keep);
    if surplus == 0 {
        return Ok(0);
    }
    let query = "SELECT n FROM peer WHERE blocked = 0 ORDER BY heard_tl_ms, id LIMIT ?1";
    let silent: Vec<i64> = store.db.all(query, [int(surplus)], |row| row.get(0))?;
    for n in &silent {
        store.db.write("DELETE FROM peer WHERE n = ?1", [n])?;
    }
    let trimmed = silent.len() as u64;
    store.totals.peers -= trimmed;
    Ok(trimmed)
}

pub(super) fn blocked(db: &Connection) -> Result<Vec<NodeId>, StoreError> {
    db.all("SELECT id FROM peer WHERE blocked = 1 ORDER BY id", [], |row| get(row, 0))
}
