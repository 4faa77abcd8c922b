//! Megolm sessions: one sender's ratchet, by vodozemac.
//!
//! Whoever has a session's key from some index on can read that message and all later ones of the session, and none
//! before; every message is signed with the session's own Ed25519 key. Messages are opened each by itself, so loss and
//! reordering cost nothing.
//!
//! vodozemac draws a new session from the thread's generator. Here randomness is an argument, so a session is made
//! from a drawn state in the form in which vodozemac takes up stored ones. What a session is handed over as
//! carries no signature of its own: the sealed message it travels in says whose it is.

use minicbor::{CborLen, Decode, Encode};
use vodozemac::megolm::{
    ExportedSessionKey, GroupSession, GroupSessionPickle, InboundGroupSession, MegolmMessage, SessionConfig,
};
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::Entropy;
use crate::limits::GROUP_SESSION_MESSAGES_MAX;
use crate::private::contact::Key;

const RATCHET_BYTES: usize = 128;

/// Names a session: its public signing key.
pub(crate) type SessionId = [u8; 32];

/// What reads a session from an index on: version, index, ratchet, public signing key.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub(crate) struct SessionKey(#[cbor(with = "minicbor::bytes")] pub(crate) [u8; SessionKey::BYTES]);

/// An own session.
#[derive(Clone, Encode, Decode, CborLen)]
pub(crate) struct Sender {
    #[n(0)]
    signing: Key,
    #[cbor(n(1), with = "minicbor::bytes")]
    ratchet: [u8; RATCHET_BYTES],
    /// Of the next message.
    #[n(2)]
    index: u32,
}

/// A message that was opened.
pub(crate) struct Said {
    pub(crate) index: u32,
    pub(crate) plain: Zeroizing<Vec<u8>>,
}

impl SessionKey {
    /// Length in bytes.
    pub(crate) const BYTES: usize = 1 + 4 + RATCHET_BYTES + 32;

    pub(crate) fn session(&self) -> SessionId {
        *self.0.last_chunk().expect("it ends with the signing key")
    }

    /// The first index that it reads.
    pub(crate) fn index(&self) -> u32 {
        let (_, rest) = self.0.split_at(1);
        u32::from_be_bytes(*rest.first_chunk().expect("the index is there"))
    }

    /// What reads the session from a later message on.
    pub(crate) fn from(&self, index: u32) -> Option<Self> {
        let key = ExportedSessionKey::from_bytes(&self.0).ok()?;
        let later = InboundGroupSession::import(&key, SessionConfig::version_1()).export_at(index)?;
        later.to_bytes().try_into().ok().map(Self)
    }

    /// Whether it is one.
    pub(crate) fn is_sound(&self) -> bool {
        self.index() < GROUP_SESSION_MESSAGES_MAX && ExportedSessionKey::from_bytes(&self.0).is_ok()
    }

    /// Opens a message of the session, if it is one that this key reads.
    pub(crate) fn open(&self, message: &[u8]) -> Option<Said> {
        let message = MegolmMessage::from_bytes(message).ok()?;
        // Also what bounds the work: nobody makes this node turn a ratchet four billion times.
        if message.message_index() >= GROUP_SESSION_MESSAGES_MAX {
            return None;
        }
        let key = ExportedSessionKey::from_bytes(&self.0).ok()?;
        let mut session = InboundGroupSession::import(&key, SessionConfig::version_1());
        let opened = session.decrypt(&message).ok()?;
        Some(Said { index: opened.message_index, plain: Zeroizing::new(opened.plaintext) })
    }
}

impl Sender {
    pub(crate) fn draw(entropy: &mut Entropy) -> Self {
        Self { signing: Key(entropy.draw()), ratchet: entropy.draw(), index: 0 }
    }

    /// The index of the next message: so many were sent.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// What reads the session from the next message on.
    pub(crate) fn key(&self) -> SessionKey {
        key_of(&self.session())
    }

    /// Encrypts and signs the next message.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut session = self.session();
        let message = session.encrypt(plain).to_bytes();
        let after = key_of(&session);
        self.index = after.index();
        self.ratchet.copy_from_slice(&after.0[5..5 + RATCHET_BYTES]);
        message
    }

    fn session(&self) -> GroupSession {
        let pickle = serde_json::json!({
            "ratchet": { "inner": self.ratchet.to_vec(), "counter": self.index },
            "signing_key": { "Normal": self.signing.0 },
            "config": { "version": "V1" },
        });
        let pickle: GroupSessionPickle = serde_json::from_value(pickle)
            .expect("the form is the one that vodozemac writes, which a test holds");
        GroupSession::from_pickle(pickle)
    }
}

/// Without the signature that vodozemac puts at its end, and marked as such.
fn key_of(session: &GroupSession) -> SessionKey {
    let mut signed = session.session_key().to_bytes();
    let mut key = [0; SessionKey::BYTES];
    key.copy_from_slice(&signed[..SessionKey::BYTES]);
    key[0] = 1;
    signed.zeroize();
    SessionKey(key)
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.signing.0.zeroize();
        self.ratchet.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(seed: u8) -> Sender {
        Sender::draw(&mut Entropy::new(&[seed; 32]))
    }

    #[test]
    fn a_session_is_the_one_that_vodozemac_would_make_of_the_same_state() {
        let mut sender = sender(1);
        let theirs = sender.session();
        let pickle = serde_json::to_value(theirs.pickle()).expect("plain data");
        assert_eq!(pickle["ratchet"]["counter"], 0);
        assert_eq!(theirs.session_key().to_bytes()[5..133], sender.ratchet);
        let mut inbound = InboundGroupSession::new(&theirs.session_key(), SessionConfig::version_1());
        for n in 0..3 {
            let message = MegolmMessage::from_bytes(&sender.seal(&[n])).expect("well-formed");
            assert_eq!(inbound.decrypt(&message).expect("opens").plaintext, [n]);
        }
    }

    #[test]
    fn messages_open_in_any_order_from_the_keys_index_on() {
        let mut sender = sender(1);
        let first = sender.key();
        let messages: Vec<Vec<u8>> = (0..50).map(|n| sender.seal(&[n])).collect();
        let later = sender.key();
        assert_eq!((first.session(), first.index(), later.index()), (later.session(), 0, 50));
        for (n, message) in messages.iter().enumerate().rev() {
            let said = first.open(message).expect("opens");
            assert_eq!((said.index as usize, &said.plain[..]), (n, &[n as u8][..]));
            assert!(later.open(message).is_none(), "c14: nothing before the hand-over");
        }
        assert!(later.open(&sender.seal(b"next")).is_some());
    }

    #[test]
    fn c14_a_key_from_beyond_the_last_message_is_none() {
        let key = sender(1).key();
        let last = key.from(GROUP_SESSION_MESSAGES_MAX - 1).expect("an index to come");
        assert!(key.is_sound() && last.is_sound());
        assert_eq!(last.index(), GROUP_SESSION_MESSAGES_MAX - 1);
        assert!(!key.from(GROUP_SESSION_MESSAGES_MAX).expect("an index to come").is_sound());
        assert!(last.from(0).is_none(), "no way back");
    }

    #[test]
    fn c14_a_message_changed_at_any_byte_opens_nowhere() {
        let mut sender = sender(1);
        let key = sender.key();
        let good = sender.seal(b"hello");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(key.open(&bytes).is_none(), "{at}");
            assert!(key.open(&good[..at]).is_none(), "{at}");
        }
        assert!(super::tests::sender(2).key().open(&good).is_none());
        assert!(key.open(&good).is_some());
    }

    #[test]
    fn no_index_beyond_the_last_is_opened() {
        let mut sender = sender(1);
        let key = sender.key();
        let messages: Vec<Vec<u8>> = (0..=GROUP_SESSION_MESSAGES_MAX).map(|_| sender.seal(b"x")).collect();
        let opened = messages.iter().filter(|message| key.open(message).is_some()).count();
        assert_eq!(opened, GROUP_SESSION_MESSAGES_MAX as usize);
        assert!(!sender.key().is_sound() && key.is_sound());
    }
}
