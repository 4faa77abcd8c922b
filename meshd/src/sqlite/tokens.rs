//! Named tokens of the API: their hashes, never themselves.

use meshlink_core::store::StoreError;
use rusqlite::Row;

use super::SqliteStore;
use super::column::{get, get_some, int, some_int};

/// Most tokens at one time.
pub const TOKENS_MAX: u64 = 256;

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// What it is called by.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// What it allows, by number.
    pub scope: u8,
    /// The hash of the secret.
    pub hash: [u8; 32],
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: Option<u64>,
    /// When it was last used.
    pub last_used_unix_ms: Option<u64>,
}

/// What became of a row to add to a table that has a most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there.
    Done,
    /// Another of that name was there before.
    Exists,
    /// The table is full.
    TooMany {
        /// Most rows.
        max: u64,
    },
}

macro_rules! tokens {
    () => {
        "SELECT id, name, scope, hash, created_unix_ms, last_used_unix_ms FROM token "
    };
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: get(row, 2)?,
        hash: get(row, 3)?,
        created_unix_ms: get_some(row, 4)?,
        last_used_unix_ms: get_some(row, 5)?,
    })
}

#[allow(clippy::missing_errors_doc, reason = "each fails only if the disk does")]
impl SqliteStore {
    /// All tokens, by id.
    pub fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.db.all(concat!(tokens!(), "ORDER BY id"), [], read_token)
    }

    /// The token with that hash.
    pub fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        self.db.one(concat!(tokens!(), "WHERE hash = ?1"), [hash.as_slice()], read_token)
    }

    /// Adds a token.
    pub fn insert_token(&mut self, token: &TokenRow) -> Result<Inserted, StoreError> {
        let taken = "SELECT 1 FROM token WHERE id = ?1 OR hash = ?2";
        if self.db.one(taken, (&token.id, token.hash.as_slice()), |_| Ok(()))?.is_some() {
            return Ok(Inserted::Exists);
        }
        let count = self.db.one("SELECT count(*) FROM token", [], |row| get::<u64>(row, 0))?;
        if count >= Some(TOKENS_MAX) {
            return Ok(Inserted::TooMany { max: TOKENS_MAX });
        }
        self.db.write(
            "INSERT INTO token (id, name, scope, hash, created_unix_ms, last_used_unix_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                &token.id,
                &token.name,
                token.scope,
                token.hash.as_slice(),
                some_int(token.created_unix_ms),
                some_int(token.last_used_unix_ms),
            ),
        )?;
        Ok(Inserted::Done)
    }

    /// Notes when a token was used; says whether there is such a token.
    pub fn touch_token(&mut self, id: &str, unix_ms: u64) -> Result<bool, StoreError> {
        let touch = "UPDATE token SET last_used_unix_ms = ?2 WHERE id = ?1";
        Ok(self.db.write(touch, (id, int(unix_ms)))? > 0)
    }

    /// Removes a token; says whether it was there.
    pub fn delete_token(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.db.write("DELETE FROM token WHERE id = ?1", [id])? > 0)
    }
}
