//! The messages kept, by the place of their event, with their words indexed and their conversations counted.

use meshlink_core::event::{Event, MessageStatus};
use meshlink_core::id::{BundleId, Seq};
use meshlink_core::limits::MESSAGE_COST_BYTES;
use meshlink_core::store::{MessageRecord, StoreError};
use rusqlite::Row;

use super::column::{get, get_some, int, priority, protection, some_int, status};
use super::connection::Connection;
use super::node::{self, Role};
use super::totals::Tally;
use super::{SqliteStore, events, hand_overs, rows_max};

/// The columns [`read_record`] reads, of a message called `m`. Conversation and sender follow as numbers.
macro_rules! record_columns {
    () => {
        "m.seq, m.id, (SELECT name FROM conversation WHERE n = m.conversation),
         (SELECT id FROM node WHERE n = m.sender), m.alias, m.own, m.text, m.created_unix_ms, m.received_unix_ms,
         m.status, m.status_reason, m.priority, m.expires_tl_ms, m.reply_to, m.read, m.protection, m.conversation,
         m.sender"
    };
}
pub(super) use record_columns;

pub(super) fn read_record(row: &Row<'_>) -> rusqlite::Result<MessageRecord> {
    Ok(MessageRecord {
        seq: Seq(get(row, 0)?),
        id: get(row, 1)?,
        conversation: row.get(2)?,
        from: get_some(row, 3)?,
        from_alias: row.get(4)?,
        own: get(row, 5)?,
        text: row.get(6)?,
        created_unix_ms: get_some(row, 7)?,
        received_unix_ms: get_some(row, 8)?,
        status: get(row, 9)?,
        status_reason: row.get(10)?,
        priority: get(row, 11)?,
        expires_tl_ms: get(row, 12)?,
        reply_to: get_some(row, 13)?,
        read: get(row, 14)?,
        protection: get(row, 15)?,
    })
}

pub(super) fn insert(store: &mut SqliteStore, message: &mut MessageRecord) -> Result<Seq, StoreError> {
    assert!(seq_of(&store.db, &message.id)?.is_none(), "the caller has looked whether it is kept");
    let seq = events::append(store, &Event::MessageNew { id: message.id }, message.received_unix_ms)?;
    message.seq = seq;
    let tally = tally_of(message);
    let conversation: Option<i64> = store.db.write_returning(
        "INSERT INTO conversation (name, messages, unread) VALUES (?1, 1, ?2)
         ON CONFLICT (name) DO UPDATE SET messages = messages + 1, unread = unread + ?2 RETURNING n",
        (&message.conversation, tally.is_unread()),
        |row| row.get(0),
    )?;
    let sender = node::add_some(&mut store.db, message.from.as_ref(), Role::Sender)?;
    store.db.write(
        "INSERT INTO message (seq, id, conversation, sender, alias, own, read, status, priority, created_unix_ms,
            received_unix_ms, expires_tl_ms, status_reason, reply_to, text, protection)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        (
            int(seq.0),
            message.id.0.as_slice(),
            conversation,
            sender,
            &message.from_alias,
            message.own,
            message.read,
            status(message.status),
            priority(message.priority),
            some_int(message.created_unix_ms),
            some_int(message.received_unix_ms),
            int(message.expires_tl_ms),
            &message.status_reason,
            message.reply_to.as_ref().map(|id| id.0.as_slice()),
            &message.text,
            protection(message.protection),
        ),
    )?;
    store.db.write("INSERT INTO message_words (rowid, text) VALUES (?1, ?2)", (int(seq.0), &message.text))?;
    store.totals.add_message(tally);
    Ok(seq)
}

fn tally_of(message: &MessageRecord) -> Tally {
    let MessageRecord { own, read, status, .. } = *message;
    Tally { own, read, status, cost_bytes: message.cost_bytes() }
}

pub(super) fn one(db: &Connection, id: &BundleId) -> Result<Option<MessageRecord>, StoreError> {
    let query =
        concat!("SELECT ", record_columns!(), " FROM message m WHERE substr(m.id, 1, 12) = ?1 AND m.id = ?2");
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], read_record)
}

pub(super) fn after(db: &Connection, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError> {
    let query =
        concat!("SELECT ", record_columns!(), " FROM message m WHERE m.seq > ?1 ORDER BY m.seq LIMIT ?2");
    db.all(query, [int(after.0), rows_max(limit)], read_record)
}

pub(super) fn set_status(
    store: &mut SqliteStore,
    id: &BundleId,
    next: MessageStatus,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let Some((seq, before)) = brief(&store.db, id)? else { return Ok(()) };
    let change = "UPDATE message SET status = ?2, status_reason = ?3 WHERE seq = ?1";
    store.db.write(change, (seq, status(next), reason))?;
    store.totals.remove_message(before);
    store.totals.add_message(Tally { status: next, ..before });
    Ok(())
}

pub(super) fn mark_read(store: &mut SqliteStore, id: &BundleId) -> Result<bool, StoreError> {
    let Some((seq, before)) = brief(&store.db, id)?.filter(|(_, message)| !message.read) else {
        return Ok(false);
    };
    store.db.write("UPDATE message SET read = 1 WHERE seq = ?1", [seq])?;
    if before.is_unread() {
        let change = "UPDATE conversation SET unread = unread - 1
                      WHERE n = (SELECT conversation FROM message WHERE seq = ?1)";
        store.db.write(change, [seq])?;
    }
    store.totals.remove_message(before);
    store.totals.add_message(Tally { read: true, ..before });
    Ok(true)
}

pub(super) fn delete(store: &mut SqliteStore, id: &BundleId) -> Result<bool, StoreError> {
    let Some((seq, before)) = brief(&store.db, id)? else { return Ok(false) };
    let deleted = store.db.write_returning(
        "DELETE FROM message WHERE seq = ?1 RETURNING text, conversation, sender",
        [seq],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?)),
    )?;
    let Some((text, conversation, sender)) = deleted else { return Ok(false) };
    let unindex = "INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', ?1, ?2)";
    store.db.write(unindex, (seq, text))?;
    let left = store.db.write_returning(
        "UPDATE conversation SET messages = messages - 1, unread = unread - ?2 WHERE n = ?1 RETURNING messages",
        (conversation, before.is_unread()),
        |row| row.get::<_, i64>(0),
    )?;
    if left.is_some_and(|left| left <= 0) {
        store.db.write("DELETE FROM conversation WHERE n = ?1", [conversation])?;
    }
    node::remove(&mut store.db, sender, Role::Sender)?;
    hand_overs::forget(&mut store.db, seq)?;
    store.totals.remove_message(before);
    Ok(true)
}

pub(super) fn trim_received(
    store: &mut SqliteStore,
    bytes_max: u64,
    limit: usize,
) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    while forgotten < limit && store.totals.received().bytes > bytes_max {
        let oldest = "SELECT id FROM message WHERE own = 0 ORDER BY read DESC, seq LIMIT 1";
        let Some(id) = store.db.one(oldest, [], |row| get::<BundleId>(row, 0))? else { break };
        delete(store, &id)?;
        forgotten += 1;
    }
    Ok(forgotten)
}

/// The place of a message kept.
pub(super) fn seq_of(db: &Connection, id: &BundleId) -> Result<Option<i64>, StoreError> {
    let query = "SELECT seq FROM message WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| row.get(0))
}

/// A message's place and how it is counted.
fn brief(db: &Connection, id: &BundleId) -> Result<Option<(i64, Tally)>, StoreError> {
    let query = "SELECT seq, own, read, status, octet_length(text) FROM message
                 WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| {
        let cost_bytes = get::<u64>(row, 4)?.saturating_add(MESSAGE_COST_BYTES);
        Ok((row.get(0)?, Tally { own: get(row, 1)?, read: get(row, 2)?, status: get(row, 3)?, cost_bytes }))
    })
}
