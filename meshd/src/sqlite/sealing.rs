//! Sealing what older versions of the schema kept in the clear, as the second half of a migration.
//!
//! Whatever is sealed here is overwritten where it was, and the log is emptied after the upgrade: the files then
//! hold nothing of it. A store is upgraded with its keys: versions without passphrases have them lying there.

use meshlink_core::store::Shelf;
use rusqlite::{Row, Transaction};
use rusqlite_migration::{HookError, HookResult};

use super::records;
use crate::vault::RecordKeys;

/// What a step does beside its SQL.
pub(super) type Seal = fn(&Transaction<'_>, Option<&RecordKeys>) -> HookResult;

/// The second half of the migration with that number, if it has one.
pub(super) fn step(number: usize) -> Option<Seal> {
    match number {
        3 => Some(seal_records),
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

fn present(keys: Option<&RecordKeys>) -> Result<&RecordKeys, HookError> {
    keys.ok_or_else(|| failed("it has to be unlocked to be upgraded".to_owned()))
}

fn failed(why: String) -> HookError {
    HookError::Hook(why)
}
