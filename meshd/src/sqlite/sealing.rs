//! Sealing what older versions of the schema kept in the clear, as the second half of a migration.
//!
//! Whatever is sealed here is overwritten where it was, and the log is emptied after the upgrade: the files then
//! hold nothing of it. A store is upgraded with its keys: versions without passphrases have them lying there.

use meshlink_core::id::{BundleId, NodeId};
use meshlink_core::store::Shelf;
use rusqlite::{Row, Transaction};
use rusqlite_migration::{HookError, HookResult};

use super::column::{get, get_some};
use super::records;
use super::words::{self, Words};
use crate::vault::RecordKeys;

/// What a step does beside its SQL.
pub(super) type Seal = fn(&Transaction<'_>, Option<&RecordKeys>) -> HookResult;

/// The second half of the migration with that number, if it has one.
pub(super) fn step(number: usize) -> Option<Seal> {
    match number {
        3 => Some(seal_records),
        4 => Some(seal_messages),
        _ => None,
    }
}

/// Records are sealed, and joined channels become records.
fn seal_records(transaction: &Transaction<'_>, keys: Option<&RecordKeys>) -> HookResult {
    let read =
        |row: &Row<'_>| Ok((row.get::<_, u8>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?));
    let mut query = transaction.prepare("SELECT shelf, key, value FROM record")?;
    let in_the_clear = query.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.execute("DELETE FROM record", [])?;
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?));
    let mut query = transaction.prepare("SELECT name, joined_unix_ms FROM moved_channel")?;
    let channels = query.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    drop(query);
    let channel = |(name, since): (String, Option<i64>)| {
        let since = since.map_or(Vec::new(), |ms| ms.to_be_bytes().to_vec());
        (Shelf::Channel.number(), name.into_bytes(), since)
    };
    for (shelf, key, value) in in_the_clear.into_iter().chain(channels.into_iter().map(channel)) {
        let shelf = Shelf::from_number(shelf).ok_or_else(|| failed(format!("shelf {shelf} is unknown")))?;
        let (label, sealed) =
            records::seal(present(keys)?, shelf, &key, &value).map_err(|error| failed(error.to_string()))?;
        let insert = "INSERT INTO record (shelf, key, value) VALUES (?1, ?2, ?3)";
        transaction.execute(insert, (shelf.number(), label, sealed))?;
    }
    transaction.execute("DROP TABLE moved_channel", [])?;
    Ok(())
}

/// Messages read at a time.
const MESSAGES_PAGE: i64 = 256;

/// Names of conversations, senders and words are sealed; the columns they lay in are emptied by the next step.
fn seal_messages(transaction: &Transaction<'_>, keys: Option<&RecordKeys>) -> HookResult {
    let read = |row: &Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    };
    let mut query = transaction.prepare("SELECT n, name, messages, unread FROM moved_conversation")?;
    let conversations = query.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let insert = "INSERT INTO conversation (n, tag, name, messages, unread) VALUES (?1, ?2, ?3, ?4, ?5)";
    for (n, name, messages, unread) in conversations {
        let keys = present(keys)?;
        let tag = words::conversation_tag(keys, &name);
        let sealed =
            words::seal_conversation(keys, &tag, &name).map_err(|error| failed(error.to_string()))?;
        transaction.execute(insert, (n, tag, sealed, messages, unread))?;
    }
    let mut last = 0;
    loop {
        let page = clear_messages(transaction, last)?;
        let Some((seq, _)) = page.last() else { return Ok(()) };
        last = *seq;
        for (seq, message) in &page {
            seal_message(transaction, present(keys)?, *seq, message)?;
        }
    }
}

/// A message of the older schema.
struct ClearMessage {
    id: BundleId,
    conversation: String,
    from: Option<NodeId>,
    alias: Option<String>,
    reply_to: Option<BundleId>,
    text: String,
}

fn clear_messages(transaction: &Transaction<'_>, after: i64) -> rusqlite::Result<Vec<(i64, ClearMessage)>> {
    let mut query = transaction.prepare_cached(
        "SELECT m.seq, m.id, c.name, (SELECT id FROM node WHERE n = m.sender), m.alias, m.reply_to, m.text
         FROM message m JOIN moved_conversation c ON c.n = m.conversation
         WHERE m.seq > ?1 ORDER BY m.seq LIMIT ?2",
    )?;
    let read = |row: &Row<'_>| {
        let message = ClearMessage {
            id: get(row, 1)?,
            conversation: row.get(2)?,
            from: get_some(row, 3)?,
            alias: row.get(4)?,
            reply_to: get_some(row, 5)?,
            text: row.get(6)?,
        };
        Ok((row.get(0)?, message))
    };
    query.query_map([after, MESSAGES_PAGE], read)?.collect()
}

fn seal_message(
    transaction: &Transaction<'_>,
    keys: &RecordKeys,
    seq: i64,
    message: &ClearMessage,
) -> HookResult {
    let ClearMessage { id, conversation, from, alias, reply_to, text } = message;
    let words = Words { conversation, text, from: *from, alias: alias.as_deref(), reply_to: *reply_to };
    let sealed = words.seal(keys, id).map_err(|error| failed(error.to_string()))?;
    let author: Option<i64> = match from {
        None => None,
        Some(from) => transaction
            .prepare_cached(
                "INSERT INTO author (tag, messages) VALUES (?1, 1)
                 ON CONFLICT (tag) DO UPDATE SET messages = messages + 1 RETURNING n",
            )?
            .query_row([words::author_tag(keys, from)], |row| row.get(0))
            .map(Some)?,
    };
    transaction
        .prepare_cached(
            "UPDATE message SET words = ?2, author = ?3, text_bytes = octet_length(text) WHERE seq = ?1",
        )?
        .execute((seq, sealed, author))?;
    Ok(())
}

fn present(keys: Option<&RecordKeys>) -> Result<&RecordKeys, HookError> {
    keys.ok_or_else(|| failed("it has to be unlocked to be upgraded".to_owned()))
}

fn failed(why: String) -> HookError {
    HookError::Hook(why)
}
