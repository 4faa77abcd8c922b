//! Counting anew what is otherwise counted as it changes.
//!
//! Needed twice: to check that the counts are true, and to make them true after a release counts costs by
//! another rule. One walk over each table; memory grows with the number of node ids in use, not with bundles.

use std::collections::BTreeMap;

use meshlink_core::event::MessageStatus;
use meshlink_core::limits::{BUNDLE_COST_BYTES_MIN, MESSAGE_COST_BYTES};
use meshlink_core::store::{Class, StoreError};
use rusqlite::Row;

use super::column::{get, int};
use super::connection::Connection;
use super::totals::{Tally, Totals};

/// What the rows add up to.
struct Counted {
    totals: Totals,
    /// By number: uses, made bundles and bytes, brought bundles and bytes.
    nodes: BTreeMap<i64, [u64; 5]>,
    /// By number: messages.
    authors: BTreeMap<i64, u64>,
    /// By number: messages, unread ones.
    conversations: BTreeMap<i64, [u64; 2]>,
}

/// Whether the costs in the file were counted by the rules of this program.
pub(super) fn is_by_our_rules(db: &Connection) -> Result<bool, StoreError> {
    let rules = db.one("SELECT bundle_cost_min, message_cost FROM meta", [], |row| {
        Ok((get::<u64>(row, 0)?, get::<u64>(row, 1)?))
    })?;
    Ok(rules == Some((BUNDLE_COST_BYTES_MIN, MESSAGE_COST_BYTES)))
}

/// Counts everything anew by the rules of this program, and writes it down.
pub(super) fn recount(db: &mut Connection, before: &Totals) -> Result<Totals, StoreError> {
    let counted = Counted::all(db, before)?;
    counted.totals.save(db)?;
    let rules = [int(BUNDLE_COST_BYTES_MIN), int(MESSAGE_COST_BYTES)];
    db.write("UPDATE meta SET bundle_cost_min = ?1, message_cost = ?2", rules)?;
    let node = "UPDATE node SET uses = ?2, made_bundles = ?3, made_bytes = ?4, brought_bundles = ?5,
                brought_bytes = ?6 WHERE n = ?1";
    for (n, counts) in &counted.nodes {
        let [a, b, c, d, e] = counts.map(int);
        db.write(node, [*n, a, b, c, d, e])?;
    }
    for (n, messages) in &counted.authors {
        db.write("UPDATE author SET messages = ?2 WHERE n = ?1", [*n, int(*messages)])?;
    }
    for (n, counts) in &counted.conversations {
        let [messages, unread] = counts.map(int);
        db.write("UPDATE conversation SET messages = ?2, unread = ?3 WHERE n = ?1", [*n, messages, unread])?;
    }
    db.commit()?;
    Ok(counted.totals)
}

/// Says whether all counts are true.
pub(super) fn verify(db: &Connection, totals: &Totals) -> Result<(), StoreError> {
    let wrong = |detail: String| Err(StoreError::Corrupt { detail });
    let counted = Counted::all(db, totals)?;
    if counted.totals != *totals {
        return wrong(format!("the totals say {totals:?}, the rows {:?}", counted.totals));
    }
    let nodes = written(
        db,
        "SELECT n, uses, made_bundles, made_bytes, brought_bundles, brought_bytes FROM node",
        |row| Ok([get(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 4)?, get(row, 5)?]),
    )?;
    if nodes != counted.nodes {
        return wrong("the counts of a node are not what its rows add up to".to_owned());
    }
    if written(db, "SELECT n, messages FROM author", |row| get::<u64>(row, 1))? != counted.authors {
        return wrong("the messages of an author are not as many as are counted".to_owned());
    }
    let conversations =
        written(db, "SELECT n, messages, unread FROM conversation", |row| Ok([get(row, 1)?, get(row, 2)?]))?;
    if conversations != counted.conversations {
        return wrong("the counts of a conversation are not what its messages add up to".to_owned());
    }
    Ok(())
}

fn written<T>(
    db: &Connection,
    query: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<BTreeMap<i64, T>, StoreError> {
    let rows = db.all(query, [], |row| Ok((row.get(0)?, read(row)?)))?;
    Ok(rows.into_iter().collect())
}

impl Counted {
    fn all(db: &Connection, before: &Totals) -> Result<Self, StoreError> {
        let one = |query: &str| db.one(query, [], |row| get::<u64>(row, 0)).map(Option::unwrap_or_default);
        let mut totals = Totals::default();
        totals.clock = before.clock;
        totals.last_event = before.last_event.max(one("SELECT ifnull(max(seq), 0) FROM event")?);
        totals.last_row = before.last_row.max(one("SELECT ifnull(max(row), 0) FROM bundle")?);
        totals.last_idempotent = before.last_idempotent.max(one("SELECT ifnull(max(n), 0) FROM idempotent")?);
        totals.peers = one("SELECT count(*) FROM peer")?;
        let mut counted =
            Self { totals, nodes: BTreeMap::new(), authors: BTreeMap::new(), conversations: BTreeMap::new() };
        counted.bundles(db)?;
        counted.messages(db)?;
        db.each("SELECT peer FROM hand_over", [], |row| {
            counted.node(row.get(0)?, [1, 0, 0, 0, 0]);
            Ok(true)
        })?;
        Ok(counted)
    }

    fn bundles(&mut self, db: &Connection) -> Result<(), StoreError> {
        db.each("SELECT class, size_bytes, origin, ingress, copies FROM bundle", [], |row| {
            let class: Class = get(row, 0)?;
            let cost = get::<u64>(row, 1)?.max(BUNDLE_COST_BYTES_MIN);
            self.totals.add_bundle(class, get(row, 4)?, cost);
            self.node(row.get(2)?, [1, 1, cost, 0, 0]);
            let counts = if class == Class::Stranger { [1, 0, 0, 1, cost] } else { [1, 0, 0, 0, 0] };
            self.node(row.get(3)?, counts);
            Ok(true)
        })
    }

    fn messages(&mut self, db: &Connection) -> Result<(), StoreError> {
        let query = "SELECT own, read, status, text_bytes, author, conversation FROM message";
        db.each(query, [], |row| {
            let status: MessageStatus = get(row, 2)?;
            let cost_bytes = get::<u64>(row, 3)?.saturating_add(MESSAGE_COST_BYTES);
            let message = Tally { own: get(row, 0)?, read: get(row, 1)?, status, cost_bytes };
            self.totals.add_message(message);
            if let Some(author) = row.get(4)? {
                *self.authors.entry(author).or_default() += 1;
            }
            let [messages, unread] = self.conversations.entry(row.get(5)?).or_default();
            *messages += 1;
            *unread += u64::from(message.is_unread());
            Ok(true)
        })
    }

    fn node(&mut self, n: Option<i64>, counts: [u64; 5]) {
        let Some(n) = n else { return };
        for (sum, count) in self.nodes.entry(n).or_default().iter_mut().zip(counts) {
            *sum += count;
        }
    }
}
