//! The bundles held: what is known about each in `bundle`, its bytes in `body`, and the ids of those that were
//! dropped and are not wanted again in `dropped`.

use meshlink_core::id::{BundleId, IdPrefix, NodeId};
use meshlink_core::limits::{BUNDLE_COST_BYTES_MIN, COPIES_MAIL_MIN};
use meshlink_core::receipt::Commitment;
use meshlink_core::store::{
    Class, Dropped, Known, Offer, OfferKey, Priority, StoreError, StoredBundle, Victim,
};
use rusqlite::Row;

use super::column::{class, get, get_some, int, priority};
use super::connection::Connection;
use super::node::{self, Role};
use super::{SqliteStore, rows_max};

pub(super) fn insert(store: &mut SqliteStore, bundle: &StoredBundle) -> Result<u64, StoreError> {
    let held = row_of(&store.db, &bundle.id)?;
    assert!(held.is_none(), "admission has looked whether it is held");
    forget_dropped_id(&mut store.db, &bundle.id)?;
    let cost_bytes = bundle.cost_bytes();
    let origin = node::add_some(&mut store.db, bundle.origin.as_ref(), Role::Origin { cost_bytes })?;
    let ingress =
        node::add_some(&mut store.db, bundle.ingress.as_ref(), ingress_role(bundle.class, cost_bytes))?;
    let row = store.totals.last_row + 1;
    store.db.write(
        "INSERT INTO bundle (row, id, kind, priority, class, origin, ingress, size_bytes, age_ms, received_tl_ms,
            expires_tl_ms, hops, copies, unshown_in, commitment)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        (
            int(row),
            bundle.id.0.as_slice(),
            bundle.kind,
            priority(bundle.priority),
            class(bundle.class),
            origin,
            ingress,
            int(bundle.size_bytes()),
            int(bundle.age_ms),
            int(bundle.received_tl_ms),
            int(bundle.expires_tl_ms),
            bundle.hops,
            bundle.copies,
            bundle.unshown_in.as_deref(),
            bundle.commitment.as_ref().map(|commitment| commitment.0.as_slice()),
        ),
    )?;
    store.db.write(
        "INSERT INTO body (row, header, payload, auth) VALUES (?1, ?2, ?3, ?4)",
        (int(row), &bundle.header, &bundle.payload, &bundle.auth),
    )?;
    store.totals.last_row = row;
    store.totals.add_bundle(bundle.class, bundle.copies, cost_bytes);
    Ok(row)
}

pub(super) fn one(db: &Connection, id: &BundleId) -> Result<Option<StoredBundle>, StoreError> {
    let query = "SELECT id, kind, priority, class, (SELECT id FROM node WHERE n = origin), header, payload, auth,
            age_ms, received_tl_ms, expires_tl_ms, hops, copies, (SELECT id FROM node WHERE n = ingress), unshown_in,
            commitment
         FROM bundle JOIN body USING (row) WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| {
        Ok(StoredBundle {
            id: get(row, 0)?,
            kind: get(row, 1)?,
            priority: get(row, 2)?,
            class: get(row, 3)?,
            origin: get_some(row, 4)?,
            header: row.get(5)?,
            payload: row.get(6)?,
            auth: row.get(7)?,
            age_ms: get(row, 8)?,
            received_tl_ms: get(row, 9)?,
            expires_tl_ms: get(row, 10)?,
            hops: get(row, 11)?,
            copies: get(row, 12)?,
            ingress: get_some(row, 13)?,
            unshown_in: row.get(14)?,
            commitment: get_some(row, 15)?.map(Commitment),
        })
    })
}

pub(super) fn known(db: &Connection, prefix: &IdPrefix) -> Result<Known, StoreError> {
    let held = "SELECT id FROM bundle WHERE substr(id, 1, 12) = ?1 ORDER BY id LIMIT 1";
    if let Some(id) = db.one(held, [prefix.0.as_slice()], |row| get(row, 0))? {
        return Ok(Known::Held(id));
    }
    Ok(dropped_like(db, &prefix.0)?.map_or(Known::No, Known::Dropped))
}

/// The first and the last prefix that starts like this.
fn alike(start: &[u8]) -> [[u8; IdPrefix::BYTES]; 2] {
    [0, u8::MAX].map(|fill| {
        let mut prefix = [fill; IdPrefix::BYTES];
        for (byte, of_start) in prefix.iter_mut().zip(start) {
            *byte = *of_start;
        }
        prefix
    })
}

pub(super) fn held_like(db: &Connection, start: &[u8], limit: usize) -> Result<Vec<Offer>, StoreError> {
    let [first, last] = alike(start);
    let query = "SELECT priority, row, id, hops, (SELECT id FROM node WHERE n = ingress), class, size_bytes
         FROM bundle WHERE substr(id, 1, 12) BETWEEN ?1 AND ?2 ORDER BY substr(id, 1, 12), id LIMIT ?3";
    db.all(query, (first.as_slice(), last.as_slice(), rows_max(limit)), |row| {
        Ok(Offer {
            key: OfferKey { priority: get(row, 0)?, row: get(row, 1)? },
            id: get(row, 2)?,
            hops: get(row, 3)?,
            ingress: get_some(row, 4)?,
            own: get::<Class>(row, 5)? == Class::Own,
            size_bytes: get(row, 6)?,
        })
    })
}

pub(super) fn dropped_like(db: &Connection, start: &[u8]) -> Result<Option<Dropped>, StoreError> {
    let [first, last] = alike(start);
    let query =
        "SELECT for_room FROM dropped WHERE substr(id, 1, 12) BETWEEN ?1 AND ?2 ORDER BY for_room LIMIT 1";
    db.one(query, [first.as_slice(), last.as_slice()], |row| {
        Ok(if row.get(0)? { Dropped::ForRoom } else { Dropped::ForGood })
    })
}

pub(super) fn each_id(db: &Connection, give: &mut dyn FnMut(&BundleId)) -> Result<(), StoreError> {
    db.each("SELECT id FROM bundle", [], |row| {
        give(&get(row, 0)?);
        Ok(true)
    })
}

/// One priority after the other; within each, the classes' rows are merged by the query as it is read.
pub(super) fn offers(db: &Connection, after: OfferKey, limit: usize) -> Result<Vec<Offer>, StoreError> {
    macro_rules! of_class {
        ($class:literal) => {
            concat!(
                "SELECT row, id, hops, (SELECT id FROM node WHERE n = ingress), class, size_bytes
                 FROM bundle WHERE priority = ?1 AND class = ",
                $class,
                " AND row > ?2"
            )
        };
    }
    let query = concat!(
        of_class!(0),
        " UNION ALL ",
        of_class!(1),
        " UNION ALL ",
        of_class!(2),
        " UNION ALL ",
        of_class!(3),
        " ORDER BY row LIMIT ?3"
    );
    let mut offers = Vec::new();
    for level in [Priority::Sos, Priority::Normal, Priority::Bulk] {
        if level < after.priority || offers.len() >= limit {
            continue;
        }
        let after_row = if level == after.priority { after.row } else { 0 };
        let params = [priority(level), int(after_row), rows_max(limit - offers.len())];
        db.each(query, params, |row| {
            offers.push(Offer {
                key: OfferKey { priority: level, row: get(row, 0)? },
                id: get(row, 1)?,
                hops: get(row, 2)?,
                ingress: get_some(row, 3)?,
                own: get::<Class>(row, 4)? == Class::Own,
                size_bytes: get(row, 5)?,
            });
            Ok(true)
        })?;
    }
    Ok(offers)
}

pub(super) fn newest_row(db: &Connection, of: Priority) -> Result<u64, StoreError> {
    let mut newest = 0;
    for among in Class::ALL {
        let query = "SELECT row FROM bundle WHERE priority = ?1 AND class = ?2 ORDER BY row DESC LIMIT 1";
        let row = db.one(query, [priority(of), class(among)], |row| get::<u64>(row, 0))?;
        newest = newest.max(row.unwrap_or(0));
    }
    Ok(newest)
}

pub(super) fn of_origin(db: &Connection, origin: &NodeId, limit: usize) -> Result<Vec<BundleId>, StoreError> {
    let Some(n) = node::number(db, origin)? else { return Ok(Vec::new()) };
    let query = "SELECT id FROM bundle WHERE origin = ?1 LIMIT ?2";
    db.all(query, [n, rows_max(limit)], |row| get(row, 0))
}

pub(super) fn unshown(
    db: &Connection,
    channel: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, BundleId)>, StoreError> {
    let query = "SELECT row, id FROM bundle WHERE unshown_in = ?1 AND row > ?2 ORDER BY row LIMIT ?3";
    db.all(query, (channel, int(after), rows_max(limit)), |row| Ok((get(row, 0)?, get(row, 1)?)))
}

pub(super) fn committed(db: &Connection, to: &Commitment, limit: usize) -> Result<Vec<BundleId>, StoreError> {
    let query = "SELECT id FROM bundle WHERE commitment = ?1 ORDER BY row LIMIT ?2";
    db.all(query, (to.0.as_slice(), rows_max(limit)), |row| get(row, 0))
}

pub(super) fn newest_of_kind(
    db: &Connection,
    origin: &NodeId,
    kind: u16,
) -> Result<Option<BundleId>, StoreError> {
    let Some(n) = node::number(db, origin)? else { return Ok(None) };
    let query = "SELECT id FROM bundle WHERE origin = ?1 AND kind = ?2 ORDER BY row DESC LIMIT 1";
    db.one(query, (n, kind), |row| get(row, 0))
}

pub(super) fn mark_shown(db: &mut Connection, id: &BundleId) -> Result<(), StoreError> {
    if let Some(row) = row_of(db, id)? {
        db.write("UPDATE bundle SET unshown_in = NULL WHERE row = ?1 AND unshown_in IS NOT NULL", [row])?;
    }
    Ok(())
}

pub(super) fn hand_over_copy(db: &mut Connection, id: &BundleId) -> Result<(), StoreError> {
    if let Some(row) = row_of(db, id)? {
        let least = COPIES_MAIL_MIN;
        let query = "UPDATE bundle SET copies = copies - 1 WHERE row = ?1 AND copies NOT IN (0, ?2)";
        db.write(query, (row, least))?;
    }
    Ok(())
}

pub(super) fn discard(
    store: &mut SqliteStore,
    id: &BundleId,
    until_tl_ms: u64,
    why: Dropped,
) -> Result<bool, StoreError> {
    let held = row_of(&store.db, id)?;
    if let Some(row) = held {
        remove(store, row)?;
    }
    let until = int(until_tl_ms);
    let db = &mut store.db;
    let for_room = why == Dropped::ForRoom;
    let again = "UPDATE dropped SET until_tl_ms = max(until_tl_ms, ?3), for_room = min(for_room, ?4)
         WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    if db.write(again, (id.prefix().0.as_slice(), id.0.as_slice(), until, for_room))? == 0 {
        let new = "INSERT INTO dropped (id, until_tl_ms, for_room) VALUES (?1, ?2, ?3)";
        db.write(new, (id.0.as_slice(), until, for_room))?;
    }
    Ok(held.is_some())
}

fn remove(store: &mut SqliteStore, row: i64) -> Result<(), StoreError> {
    let removed = store.db.write_returning(
        "DELETE FROM bundle WHERE row = ?1 RETURNING class, size_bytes, origin, ingress, copies",
        [row],
        |row| Ok((get::<Class>(row, 0)?, get::<u64>(row, 1)?, row.get(2)?, row.get(3)?, get(row, 4)?)),
    )?;
    let Some((class, size_bytes, origin, ingress, copies)) = removed else { return Ok(()) };
    store.db.write("DELETE FROM body WHERE row = ?1", [row])?;
    let cost_bytes = cost_of(size_bytes);
    node::remove(&mut store.db, origin, Role::Origin { cost_bytes })?;
    node::remove(&mut store.db, ingress, ingress_role(class, cost_bytes))?;
    store.totals.remove_bundle(class, copies, cost_bytes);
    Ok(())
}

pub(super) fn expired(db: &Connection, now_tl_ms: u64, limit: usize) -> Result<Vec<BundleId>, StoreError> {
    let query = "SELECT id FROM bundle WHERE expires_tl_ms <= ?1 ORDER BY expires_tl_ms, row LIMIT ?2";
    db.all(query, [int(now_tl_ms), rows_max(limit)], |row| get(row, 0))
}

pub(super) fn next_expiry(db: &Connection) -> Result<Option<u64>, StoreError> {
    db.one("SELECT expires_tl_ms FROM bundle ORDER BY expires_tl_ms LIMIT 1", [], |row| get(row, 0))
}

pub(super) fn forget_dropped(db: &mut Connection, now_tl_ms: u64, limit: usize) -> Result<usize, StoreError> {
    let query = "SELECT row FROM dropped WHERE until_tl_ms <= ?1 ORDER BY until_tl_ms, id LIMIT ?2";
    let due: Vec<i64> = db.all(query, [int(now_tl_ms), rows_max(limit)], |row| row.get(0))?;
    for row in &due {
        db.write("DELETE FROM dropped WHERE row = ?1", [row])?;
    }
    Ok(due.len())
}

macro_rules! victim_columns {
    () => {
        "SELECT id, priority, size_bytes, expires_tl_ms, received_tl_ms, copies,
            (SELECT id FROM node WHERE n = ingress), kind, class FROM bundle "
    };
}

pub(super) fn victim(db: &Connection, of: Class, copies_min: u8) -> Result<Option<Victim>, StoreError> {
    let query = concat!(
        victim_columns!(),
        "WHERE priority = ?1 AND class = ?2 AND copies >= ?3 ORDER BY copies, row LIMIT 1"
    );
    least_urgent(|level| db.one(query, [level, class(of), i64::from(copies_min)], read_victim))
}

/// The first that there is, from the least urgent on.
fn least_urgent(
    one: impl Fn(i64) -> Result<Option<Victim>, StoreError>,
) -> Result<Option<Victim>, StoreError> {
    for level in [Priority::Bulk, Priority::Normal, Priority::Sos] {
        let victim = one(priority(level))?;
        if victim.is_some() {
            return Ok(victim);
        }
    }
    Ok(None)
}

pub(super) fn victim_of_origin(db: &Connection, origin: &NodeId) -> Result<Option<Victim>, StoreError> {
    let Some(n) = node::number(db, origin)? else { return Ok(None) };
    let query = concat!(victim_columns!(), "WHERE origin = ?1 ORDER BY priority DESC, copies, row LIMIT 1");
    db.one(query, [n], read_victim)
}

pub(super) fn victim_of_ingress(
    db: &Connection,
    peer: &NodeId,
    copies_min: u8,
) -> Result<Option<Victim>, StoreError> {
    let Some(n) = node::number(db, peer)? else { return Ok(None) };
    let query = concat!(
        victim_columns!(),
        "WHERE ingress = ?1 AND class = 2 AND priority = ?2 AND copies >= ?3 ORDER BY copies, row LIMIT 1"
    );
    least_urgent(|level| db.one(query, [n, level, i64::from(copies_min)], read_victim))
}

fn read_victim(row: &Row<'_>) -> rusqlite::Result<Victim> {
    Ok(Victim {
        id: get(row, 0)?,
        priority: get(row, 1)?,
        cost_bytes: cost_of(get(row, 2)?),
        expires_tl_ms: get(row, 3)?,
        received_tl_ms: get(row, 4)?,
        copies: get(row, 5)?,
        ingress: get_some(row, 6)?,
        kind: get(row, 7)?,
        class: get(row, 8)?,
    })
}

fn ingress_role(class: Class, cost_bytes: u64) -> Role {
    Role::Ingress { cost_bytes: (class == Class::Stranger).then_some(cost_bytes) }
}

/// [`StoredBundle::cost_bytes`] of a bundle that is only known by its size.
fn cost_of(size_bytes: u64) -> u64 {
    size_bytes.max(BUNDLE_COST_BYTES_MIN)
}

fn row_of(db: &Connection, id: &BundleId) -> Result<Option<i64>, StoreError> {
    let query = "SELECT row FROM bundle WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| row.get(0))
}

fn forget_dropped_id(db: &mut Connection, id: &BundleId) -> Result<(), StoreError> {
    let query = "DELETE FROM dropped WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.write(query, [id.prefix().0.as_slice(), id.0.as_slice()])?;
    Ok(())
}
