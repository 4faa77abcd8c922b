//! Private messages, between two people and in password channels: everything about them that needs no store.
//!
//! ```text
//!  envelope (what it says) ─pad─▶ seal (Noise X + PSK) ─▶ bundle of kind sealed or intro
//!                                     ▲
//!        keys of the recipient: epoch prekey (gossiped) or one-time prekey (from its last message)
//! ```
//!
//! `docs/protocol.md` section 3.8 is the specification. Nothing here decides whom to write to; that is
//! `custody`.

pub mod channel_key;
pub mod code;
pub mod contact;
pub(crate) mod envelope;
pub mod safety;
pub(crate) mod seal;

#[cfg(test)]
mod ordeal;
