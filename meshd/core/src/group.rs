//! Groups: everything about them that needs no store.
//!
//! ```text
//!  entries (signed, each names those before it) ──▶ roster: who is in, who may change what, name, policy
//!  text ─▶ Megolm session of the sender ─▶ cover (hides even that) ─▶ one bundle for all
//!              └ its key, entries, receipts: notes, inside sealed one-recipient messages
//! ```
//!
//! `docs/protocol.md` section 3.10 is the specification. Whom to send what is `custody`'s business.

pub mod cover;
pub mod entry;
pub(crate) mod note;
pub mod roster;
pub(crate) mod sender;

#[cfg(test)]
mod convergence;
