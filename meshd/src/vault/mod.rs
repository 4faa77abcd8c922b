//! What a thief of the disk must not read, and the keys it is sealed with.
//!
//! ```text
//!  passphrase ──Argon2id──▶ wraps ┐
//!                                 ▼
//!   `master-key` file:  32 random bytes          (no passphrase: they lie there in the clear)
//!                          │ BLAKE3 derive_key, one context each
//!             ┌────────────┼──────────────┐
//!             ▼            ▼              ▼
//!      identity key     record key     tag key
//!      seals the file   seals private  names private records without
//!      `identity`       columns        saying what they are called
//! ```
//!
//! Everything is sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under a random nonce of 24 bytes, which
//! is long enough that chance never repeats one. What is sealed is bound to its [`Place`], so that no record can
//! pass for another one.
//!
//! **To add a private thing to the store**: a small record found by a key lies on a
//! [`Shelf`](meshlink_core::store::Shelf) of the core's `Store`, which seals it by itself. A column of a table of
//! its own is sealed with [`RecordKeys::seal`] and looked up by [`RecordKeys::tag`]. Either way the table must be named
//! in `sqlite::tables`, which says of each what a thief sees of it; a test holds the list.
//!
//! Destroying the master key destroys all of it at once: that is what a wipe begins with.

mod backup;
mod keyring;
mod master_key;
mod passphrase;
mod record_keys;
mod stack;
mod tries;

pub use backup::{BACKUP_BYTES_MAX, Backup, BackupError};
pub use keyring::{Keyring, KeyringError, Unlocked};
pub use master_key::{MASTER_KEY_FILE, MasterKey, MasterKeyError};
pub use passphrase::{Cost, Passphrase, PassphraseError};
pub use record_keys::{Place, RecordKeys, SealError};
pub use stack::{apart, clean_stack};

/// Bytes that sealing adds: the nonce and the authenticator.
pub const SEAL_BYTES: usize = 24 + 16;
