//! What was answered to requests with an `Idempotency-Key`, so that a repeated one gets the same answer.
//!
//! Written in the transaction of the message it answers with: either both are there or neither.

use meshlink_core::id::BundleId;
use meshlink_core::store::StoreError;

use super::SqliteStore;
use super::column::{get, int};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentRow {
    /// Hash of the request's body: the same key with another body is a mistake of the caller.
    pub body_hash: [u8; 32],
    /// The message that was made.
    pub message: BundleId,
    /// When, on the store's timeline.
    pub made_tl_ms: u64,
}

#[allow(clippy::missing_errors_doc, reason = "each fails only if the disk does")]
impl SqliteStore {
    /// What was answered to a key.
    pub fn idempotent(&self, key: &str) -> Result<Option<IdempotentRow>, StoreError> {
        let query = "SELECT body_hash, message, made_tl_ms FROM idempotent WHERE key = ?1";
        self.db.one(query, [key], |row| {
            Ok(IdempotentRow { body_hash: get(row, 0)?, message: get(row, 1)?, made_tl_ms: get(row, 2)? })
        })
    }

    /// Notes what was answered to a key; a later answer replaces an earlier one.
    pub fn insert_idempotent(&mut self, key: &str, row: &IdempotentRow) -> Result<(), StoreError> {
        let n = self.totals.last_idempotent + 1;
        self.db.write(
            "INSERT OR REPLACE INTO idempotent (n, key, body_hash, message, made_tl_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            (int(n), key, row.body_hash.as_slice(), row.message.0.as_slice(), int(row.made_tl_ms)),
        )?;
        self.totals.last_idempotent = n;
        Ok(())
    }

    /// Forgets answers made before `before_tl_ms`, and the oldest of more than `keep`; says how many.
    pub fn trim_idempotent(&mut self, before_tl_ms: u64, keep: u64) -> Result<u64, StoreError> {
        let keep_from = (self.totals.last_idempotent + 1).saturating_sub(keep);
        let mut trimmed = 0;
        // Oldest first, so that nothing is written when there is nothing to forget.
        let oldest = "SELECT n, made_tl_ms FROM idempotent ORDER BY n LIMIT 1";
        while let Some((n, made)) =
            self.db.one(oldest, [], |row| Ok((get::<u64>(row, 0)?, get::<u64>(row, 1)?)))?
        {
            if n >= keep_from && made >= before_tl_ms {
                break;
            }
            trimmed += self.db.write("DELETE FROM idempotent WHERE n = ?1", [int(n)])? as u64;
        }
        Ok(trimmed)
    }
}
