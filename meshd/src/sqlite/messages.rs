//! The messages kept, by the place of their event, with their words sealed and their conversations counted.

use meshlink_core::event::{Event, MessageStatus};
use meshlink_core::id::{BundleId, NodeId, Seq};
use meshlink_core::limits::MESSAGE_COST_BYTES;
use meshlink_core::store::{MessageRecord, MessageState, StoreError};
use rusqlite::Row;

use super::column::{get, get_some, int, priority, protection, some_int, status};
use super::connection::Connection;
use super::records::seal_failure;
use super::totals::Tally;
use super::words::{self, Words};
use super::{SqliteStore, events, hand_overs, rows_max};
use crate::vault::RecordKeys;

/// The columns [`Kept::read`] reads, of a message called `m`. Conversation and author follow as numbers.
macro_rules! record_columns {
    () => {
        "m.seq, m.id, m.own, m.created_unix_ms, m.received_unix_ms, m.status, m.status_reason, m.priority,
         m.expires_tl_ms, m.read, m.protection, m.words, m.conversation, m.author"
    };
}
pub(super) use record_columns;

/// A message as its row has it, still sealed.
pub(super) struct Kept {
    record: MessageRecord,
    words: Vec<u8>,
}

impl Kept {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let record = MessageRecord {
            seq: Seq(get(row, 0)?),
            id: get(row, 1)?,
            conversation: String::new(),
            from: None,
            from_alias: None,
            own: get(row, 2)?,
            text: String::new(),
            created_unix_ms: get_some(row, 3)?,
            received_unix_ms: get_some(row, 4)?,
            status: get(row, 5)?,
            status_reason: row.get(6)?,
            priority: get(row, 7)?,
            expires_tl_ms: get(row, 8)?,
            reply_to: None,
            read: get(row, 9)?,
            protection: get(row, 10)?,
        };
        Ok(Self { record, words: row.get(11)? })
    }

    /// The message with its words, or without if there are no keys.
    pub(super) fn open(self, keys: Option<&RecordKeys>) -> Result<MessageRecord, StoreError> {
        let Self { mut record, words } = self;
        let id = record.id;
        words::with(keys, &id, &words, |words| {
            record.conversation = words.conversation.to_owned();
            record.text = words.text.to_owned();
            record.from = words.from;
            record.from_alias = words.alias.map(str::to_owned);
            record.reply_to = words.reply_to;
        })?;
        Ok(record)
    }
}

pub(super) fn insert(store: &mut SqliteStore, message: &mut MessageRecord) -> Result<Seq, StoreError> {
    let keys = store.keys()?;
    let words = Words::of(message).seal(keys, &message.id).map_err(seal_failure)?;
    let tag = words::conversation_tag(keys, &message.conversation);
    let name = words::seal_conversation(keys, &tag, &message.conversation).map_err(seal_failure)?;
    let author_tag = message.from.map(|from| words::author_tag(keys, &from));
    assert!(seq_of(&store.db, &message.id)?.is_none(), "the caller has looked whether it is kept");
    let seq = events::append(store, &Event::MessageNew { id: message.id }, message.received_unix_ms)?;
    message.seq = seq;
    let tally = tally_of(message);
    let conversation: Option<i64> = store.db.write_returning(
        "INSERT INTO conversation (tag, name, messages, unread) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (tag) DO UPDATE SET messages = messages + 1, unread = unread + ?3 RETURNING n",
        (tag, name, tally.is_unread()),
        |row| row.get(0),
    )?;
    let author: Option<i64> = match author_tag {
        None => None,
        Some(tag) => store.db.write_returning(
            "INSERT INTO author (tag, messages) VALUES (?1, 1)
             ON CONFLICT (tag) DO UPDATE SET messages = messages + 1 RETURNING n",
            [tag],
            |row| row.get(0),
        )?,
    };
    store.db.write(
        "INSERT INTO message (seq, id, conversation, author, own, read, status, priority, created_unix_ms,
            received_unix_ms, expires_tl_ms, status_reason, text_bytes, words, protection)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        (
            int(seq.0),
            message.id.0.as_slice(),
            conversation,
            author,
            message.own,
            message.read,
            status(message.status),
            priority(message.priority),
            some_int(message.created_unix_ms),
            some_int(message.received_unix_ms),
            int(message.expires_tl_ms),
            &message.status_reason,
            int(message.text.len() as u64),
            words,
            protection(message.protection),
        ),
    )?;
    store.totals.add_message(tally);
    Ok(seq)
}

fn tally_of(message: &MessageRecord) -> Tally {
    let MessageRecord { own, read, status, .. } = *message;
    Tally { own, read, status, cost_bytes: message.cost_bytes() }
}

pub(super) fn one(store: &SqliteStore, id: &BundleId) -> Result<Option<MessageRecord>, StoreError> {
    let query =
        concat!("SELECT ", record_columns!(), " FROM message m WHERE substr(m.id, 1, 12) = ?1 AND m.id = ?2");
    let kept = store.db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], Kept::read)?;
    kept.map(|kept| kept.open(store.keys.as_ref())).transpose()
}

pub(super) fn state(db: &Connection, id: &BundleId) -> Result<Option<MessageState>, StoreError> {
    let query = "SELECT own, status, status_reason IS NOT NULL, expires_tl_ms, protection FROM message
                 WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| {
        Ok(MessageState {
            id: *id,
            own: get(row, 0)?,
            status: get(row, 1)?,
            is_explained: get(row, 2)?,
            expires_tl_ms: get(row, 3)?,
            protection: get(row, 4)?,
        })
    })
}

pub(super) fn after(store: &SqliteStore, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError> {
    let query =
        concat!("SELECT ", record_columns!(), " FROM message m WHERE m.seq > ?1 ORDER BY m.seq LIMIT ?2");
    let kept = store.db.all(query, [int(after.0), rows_max(limit)], Kept::read)?;
    kept.into_iter().map(|kept| kept.open(store.keys.as_ref())).collect()
}

pub(super) fn pending(db: &Connection, until: Seq, limit: usize) -> Result<Vec<BundleId>, StoreError> {
    let query = "SELECT id FROM message WHERE status = ?1 AND status <> 1 AND own = 1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
    let params = [status(MessageStatus::Pending), int(until.0), rows_max(limit)];
    db.all(query, params, |row| get(row, 0))
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
        "DELETE FROM message WHERE seq = ?1 RETURNING conversation, author",
        [seq],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
    )?;
    let Some((conversation, author)) = deleted else { return Ok(false) };
    let left = store.db.write_returning(
        "UPDATE conversation SET messages = messages - 1, unread = unread - ?2 WHERE n = ?1 RETURNING messages",
        (conversation, before.is_unread()),
        |row| row.get::<_, i64>(0),
    )?;
    if left.is_some_and(|left| left <= 0) {
        store.db.write("DELETE FROM conversation WHERE n = ?1", [conversation])?;
    }
    if let Some(author) = author {
        store.db.write("UPDATE author SET messages = messages - 1 WHERE n = ?1", [author])?;
        store.db.write("DELETE FROM author WHERE n = ?1 AND messages <= 0", [author])?;
    }
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
    let query = "SELECT seq, own, read, status, text_bytes FROM message
                 WHERE substr(id, 1, 12) = ?1 AND id = ?2";
    db.one(query, [id.prefix().0.as_slice(), id.0.as_slice()], |row| {
        let cost_bytes = get::<u64>(row, 4)?.saturating_add(MESSAGE_COST_BYTES);
        Ok((row.get(0)?, Tally { own: get(row, 1)?, read: get(row, 2)?, status: get(row, 3)?, cost_bytes }))
    })
}

impl SqliteStore {
    /// How many messages of a node are kept; none can be told in a locked store.
    ///
    /// # Errors
    /// The disk failed.
    pub fn messages_of(&self, peer: &NodeId) -> Result<u64, StoreError> {
        let Some(keys) = &self.keys else { return Ok(0) };
        let messages = "SELECT messages FROM author WHERE tag = ?1";
        let messages = self.db.one(messages, [words::author_tag(keys, peer)], |row| get(row, 0))?;
        Ok(messages.unwrap_or(0))
    }
}
