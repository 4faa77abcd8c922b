//! A contact: what this node knows about somebody it writes with.

use minicbor::{CborLen, Decode, Encode};

use super::seal::Psk;
use crate::id::NodeId;
use crate::identity::PublicKeys;

/// Why the keys of a contact are believed to be that person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum Trust {
    /// Nothing says so but the one who gave the id.
    #[n(0)]
    Unverified,
    /// A verified contact says so.
    #[n(1)]
    Introduced,
    /// The user compared the safety number, or met that person.
    #[n(2)]
    Verified,
}

/// Whether the user chose this contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum Standing {
    /// The user added it, or wrote to it.
    #[n(0)]
    Added,
    /// It wrote first, and the user has said nothing about it yet.
    #[n(1)]
    Asking,
    /// It is in a group with the user, and nothing else: people don't see it among their contacts.
    #[n(2)]
    Fellow,
}

/// Which receipts a contact gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum ReceiptChoice {
    /// None.
    #[n(0)]
    Nothing,
    /// That its messages arrived.
    #[n(1)]
    Delivered,
    /// That its messages were read too, if it says the same of ours.
    #[n(2)]
    Read,
}

/// 32 bytes as a byte string.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub(crate) struct Key(#[cbor(with = "minicbor::bytes")] pub(crate) [u8; 32]);

/// A prekey of theirs, and until when it may be used.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct TheirPrekey {
    #[n(0)]
    pub(crate) key: Key,
    #[n(1)]
    pub(crate) until_tl_ms: u64,
}

/// Names the store that prekeys were made in: another one has not the secret halves of those made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub(crate) struct Lineage(#[cbor(with = "minicbor::bytes")] pub(crate) [u8; Lineage::BYTES]);

impl Lineage {
    pub(crate) const BYTES: usize = 8;
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Contact {
    #[n(0)]
    pub(crate) ed: Option<Key>,
    #[n(1)]
    pub(crate) x: Option<Key>,
    /// The name the user gave it. No two contacts have the same.
    #[n(2)]
    pub name: Option<String>,
    /// The name it gives itself. Proves nothing.
    #[n(3)]
    pub own_name: Option<String>,
    /// Why its keys are believed.
    #[n(4)]
    pub trust: Trust,
    /// Who introduced it.
    #[n(5)]
    pub introduced_by: Option<NodeId>,
    /// Whether the user chose it.
    #[n(6)]
    pub standing: Standing,
    /// Which receipts it gets.
    #[n(7)]
    pub receipts: ReceiptChoice,
    /// When it was added, in milliseconds since 1970.
    #[n(8)]
    pub added_unix_ms: Option<u64>,
    /// Whether something sealed by it, or a receipt of its, has come: it knows this node then.
    #[n(9)]
    pub is_heard: bool,
    /// Somebody else who claims to be this person; nothing is sent until the user has decided.
    #[n(10)]
    pub rival: Option<NodeId>,
    /// Whether the code it was added by came from it in person: verified as soon as it answers.
    #[n(11)]
    pub(crate) is_in_person: bool,
    /// Keys shared by codes that the contact has shown to have; what is sent is sealed with the first.
    #[n(12)]
    pub(crate) psks: Vec<Key>,
    /// The token of its code, until it has answered under the code's key.
    #[n(13)]
    pub(crate) token: Option<Key>,
    /// That key, likewise.
    #[n(19)]
    pub(crate) code_psk: Option<Key>,
    /// The prekey of its code, likewise.
    #[n(14)]
    pub(crate) code_prekey: Option<TheirPrekey>,
    /// Its published prekey.
    #[n(15)]
    pub(crate) epoch: Option<TheirPrekey>,
    /// The revision of that.
    #[n(16)]
    pub(crate) epoch_revision: u64,
    /// Prekeys it gave for one message each, oldest first.
    #[n(17)]
    pub(crate) one_time: Vec<TheirPrekey>,
    /// When the last private message came from it or went to it, on the timeline.
    #[n(18)]
    pub(crate) used_tl_ms: u64,
    /// The lineage of its prekeys, if it ever said one.
    #[n(20)]
    pub(crate) lineage: Option<Lineage>,
}

impl Contact {
    pub(crate) fn new(standing: Standing, now_tl_ms: u64, added_unix_ms: Option<u64>) -> Self {
        Self {
            ed: None,
            x: None,
            name: None,
            own_name: None,
            trust: Trust::Unverified,
            introduced_by: None,
            standing,
            receipts: ReceiptChoice::Delivered,
            added_unix_ms,
            is_heard: false,
            rival: None,
            is_in_person: false,
            psks: Vec::new(),
            token: None,
            code_psk: None,
            code_prekey: None,
            epoch: None,
            epoch_revision: 0,
            one_time: Vec::new(),
            used_tl_ms: now_tl_ms,
            lineage: None,
        }
    }

    /// As it goes into a backup: without what counts on a store's timeline, and without what is to be used once.
    pub(crate) fn for_backup(&self) -> Self {
        Self {
            is_in_person: false,
            token: None,
            code_psk: None,
            code_prekey: None,
            epoch: None,
            // Older ones are refused, but the same one is to be taken again.
            epoch_revision: self.epoch_revision.saturating_sub(1),
            one_time: Vec::new(),
            used_tl_ms: 0,
            ..self.clone()
        }
    }

    /// Notes the lineage of its prekeys. Says whether it is another one than before: then the keys it gave for one
    /// message each are of no use any more.
    pub(crate) fn note_lineage(&mut self, lineage: Option<Lineage>) -> bool {
        let is_other = lineage.is_some() && self.lineage.is_some() && lineage != self.lineage;
        if is_other {
            self.one_time.clear();
        }
        self.lineage = lineage.or(self.lineage);
        is_other
    }

    /// Its identity keys, once they are known.
    pub fn keys(&self) -> Option<PublicKeys> {
        Some(PublicKeys { ed: self.ed?.0, x: self.x?.0 })
    }

    pub(crate) fn set_keys(&mut self, keys: &PublicKeys) {
        (self.ed, self.x) = (Some(Key(keys.ed)), Some(Key(keys.x)));
    }

    /// How it is called here.
    pub fn shown_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.own_name.as_deref())
    }

    /// Whether this node could seal a message for it now.
    pub fn has_keys(&self, now_tl_ms: u64) -> bool {
        let is_fresh = |prekey: &TheirPrekey| prekey.until_tl_ms > now_tl_ms;
        self.keys().is_some()
            && (self.epoch.iter().any(is_fresh)
                || self.code_prekey.iter().any(is_fresh)
                || self.one_time.iter().any(is_fresh))
    }

    /// Whether it has the own code, or the other way round, and nothing came from it yet.
    pub fn awaits_answer(&self) -> bool {
        self.token.is_some()
    }

    /// What is sealed for it is sealed with this too.
    pub(crate) fn psk(&self) -> Psk {
        self.psks.first().map_or([0; 32], |psk| psk.0)
    }

    /// Makes a pre-shared key the first; the oldest beyond three are forgotten.
    pub(crate) fn prefer_psk(&mut self, psk: Psk) {
        self.psks.retain(|known| known.0 != psk);
        self.psks.insert(0, Key(psk));
        self.psks.truncate(PSKS_MAX);
    }

    /// Whether two contacts would be told apart by that name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.to_lowercase() == name.to_lowercase())
    }
}

/// Keys shared by codes that are remembered of one contact.
const PSKS_MAX: usize = 3;

/// Shows whether there are keys, never which (threat C-18).
impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contact")
            .field("name", &self.name)
            .field("trust", &self.trust)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn contact() -> Contact {
        Contact::new(Standing::Added, NOW, None)
    }

    fn prekey(until_tl_ms: u64) -> TheirPrekey {
        TheirPrekey { key: Key([9; 32]), until_tl_ms }
    }

    #[test]
    fn there_is_something_to_seal_with_only_while_a_prekey_lasts_and_the_keys_are_known() {
        let keys = PublicKeys { ed: [1; 32], x: [2; 32] };
        let holders: [fn(&mut Contact, TheirPrekey); 3] = [
            |contact, prekey| contact.epoch = Some(prekey),
            |contact, prekey| contact.code_prekey = Some(prekey),
            |contact, prekey| contact.one_time.push(prekey),
        ];
        for give in holders {
            let mut known = contact();
            known.set_keys(&keys);
            assert_eq!((known.keys(), known.has_keys(NOW)), (Some(keys), false), "no prekey");
            give(&mut known, prekey(NOW + 1));
            assert!(known.has_keys(NOW) && !known.has_keys(NOW + 1) && !known.has_keys(NOW + 2));
            let mut unknown = contact();
            give(&mut unknown, prekey(NOW + 1));
            assert!(!unknown.has_keys(NOW), "no keys");
        }
    }

    #[test]
    fn k04_another_lineage_voids_the_keys_for_one_message_and_the_same_does_not() {
        let (one, other) = (Some(Lineage([1; 8])), Some(Lineage([2; 8])));
        for (before, said, is_other, after) in [
            (None, one, false, one),
            (one, one, false, one),
            (one, None, false, one),
            (None, None, false, None),
            (one, other, true, other),
        ] {
            let mut contact = Contact { lineage: before, one_time: vec![prekey(NOW)], ..contact() };
            assert_eq!(contact.note_lineage(said), is_other);
            assert_eq!((contact.lineage, contact.one_time.is_empty()), (after, is_other));
        }
    }

    #[test]
    fn k02_a_backup_of_a_contact_has_nothing_that_is_used_once() {
        let full = Contact {
            is_in_person: true,
            token: Some(Key([3; 32])),
            code_psk: Some(Key([4; 32])),
            code_prekey: Some(prekey(NOW)),
            epoch: Some(prekey(NOW)),
            epoch_revision: 7,
            one_time: vec![prekey(NOW)],
            name: Some("Ana".to_owned()),
            ..contact()
        };
        let kept = full.for_backup();
        assert!(!kept.is_in_person && !kept.awaits_answer() && full.awaits_answer());
        assert!(kept.code_psk.is_none() && kept.code_prekey.is_none() && kept.epoch.is_none());
        assert_eq!((kept.one_time.len(), kept.used_tl_ms, kept.epoch_revision), (0, 0, 6));
        assert_eq!(kept.name, full.name);
    }

    #[test]
    fn the_last_key_shared_is_used_first_and_three_are_remembered() {
        let mut contact = contact();
        assert_eq!(contact.psk(), [0; 32], "none is zeros");
        for n in [1, 2, 3, 1, 4] {
            contact.prefer_psk([n; 32]);
            assert_eq!(contact.psk(), [n; 32]);
        }
        let kept: Vec<u8> = contact.psks.iter().map(|key| key.0[0]).collect();
        assert_eq!(kept, [4, 1, 3], "each once");
    }

    #[test]
    fn c02_a_name_is_the_same_in_any_case_and_the_users_own_goes_before_the_contacts() {
        let by_itself = Contact { own_name: Some("Zo\u{eb}".to_owned()), ..contact() };
        assert_eq!((contact().shown_name(), by_itself.shown_name()), (None, Some("Zo\u{eb}")));
        assert!(!by_itself.is_called("Zo\u{eb}"), "the user did not choose it");
        let named = Contact { name: Some("\u{c9}va".to_owned()), ..by_itself };
        assert_eq!(named.shown_name(), Some("\u{c9}va"));
        assert!(named.is_called("\u{e9}VA") && !named.is_called("Eva"));
    }
}
