//! Private messages made here: sealed when the recipient's keys are known, until then waiting for them.
//!
//! ```text
//!  submit ─▶ message (pending) ─▶ keys? ─yes─▶ bundle ─▶ synced ─▶ delivered ─▶ read
//!                                   └─no─▶ waits ─(prekeys come)─▶ bundle
//! ```
//!
//! A message's id is not its bundle's: it is made of the secret inside, so it is there before the bundle and
//! the same for both people. `Outbound` remembers which bundle carries which message.

use minicbor::{CborLen, Decode, Encode};

use crate::bundle::NewBundle;
use crate::clock::Now;
use crate::draft::{ContactError, PrivateDraft, SubmitError};
use crate::event::{Event, LoggedEvent, MessageStatus};
use crate::header::{Header, Kind};
use crate::id::{BundleId, NodeId, Seq};
use crate::limits::{
    AGE_PRETENDED_MS_MAX, CONTACTS_MAX, CREATED_UNIX_MS_MAX, DROPPED_MS, HOPS_PRETENDED_MAX,
    LIFETIME_S_DEFAULT, LIFETIME_S_MIN, PRIVATE_LIFETIME_MS_MAX,
};
use crate::private::contact::{Contact, Key, ReceiptChoice, Standing, TheirPrekey, Trust};
use crate::private::envelope::{Envelope, Introduced};
use crate::private::seal::{Address, CodeKey, Hint, PairKey, Psk, seal};
use crate::receipt::Commitment;
use crate::store::{
    Class, Known, MessageRecord, MessageState, Priority, Protection, Shelf, Store, StoreError, StoredBundle,
};
use crate::tally::Loss;

use super::Custody;
use super::due::Task;
use super::own::{Start, check_text};
use super::prekeys::{decoded, encoded};

/// Said of a message that can't be sealed yet.
const WAITS_FOR_KEYS: &str = "waits for the recipient's keys: none that are fresh have come by";
/// Said of one that never could be.
const NO_KEYS_CAME: &str = "its lifetime ended before keys of the recipient came by";
/// Said of one that left and was never confirmed.
const NO_RECEIPT_CAME: &str = "its lifetime ended and no receipt came";

/// What is remembered of an own private message.
#[derive(Clone, Encode, Decode, CborLen)]
struct Outbound {
    #[n(0)]
    to: NodeId,
    /// Sixteen bytes, then zeros.
    #[n(1)]
    secret: Key,
    /// What carries it, once it is sealed.
    #[n(2)]
    bundle: Option<BundleId>,
    /// What it says, if it is a note about a group and no message that people see.
    #[n(3)]
    note: Option<Posted>,
}

/// A note on its way.
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct Posted {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) note: Vec<u8>,
    #[n(1)]
    pub(super) expires_tl_ms: u64,
    /// How often it may still be sent anew if nothing confirms it.
    #[n(2)]
    pub(super) attempts: u8,
}

/// What an envelope is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// A message, or an introduction.
    Ordinary,
    /// To show the owner of a code that one has it.
    Greeting,
    /// To answer who has shown that, with the code's key.
    Answer(Psk),
}

/// How the recipient will know that a bundle is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By what marks the mail of a contact, sealed with that key.
    Marked(Psk),
    /// By the code of its that the sender has.
    ByCode(Psk),
    /// By trying.
    Intro,
}

impl Way {
    fn of(contact: &Contact, manner: Manner) -> Self {
        let by_code = contact.code_psk.map(|psk| Self::ByCode(psk.0));
        match (manner, by_code) {
            (Manner::Answer(psk), _) => Self::Marked(psk),
            (Manner::Greeting, Some(by_code)) => by_code,
            (Manner::Greeting | Manner::Ordinary, _) if contact.is_heard => Self::Marked(contact.psk()),
            (Manner::Greeting | Manner::Ordinary, by_code) => by_code.unwrap_or(Self::Intro),
        }
    }
}

/// What to seal to, best first: a key for this message alone, the published one, that of the code.
fn choose_prekey(contact: &mut Contact, way: Way, now_tl_ms: u64) -> Option<[u8; 32]> {
    contact.one_time.retain(|prekey| prekey.until_tl_ms > now_tl_ms);
    let fresh = |prekey: TheirPrekey| (prekey.until_tl_ms > now_tl_ms).then_some(prekey.key.0);
    let published = contact.epoch.and_then(fresh);
    match way {
        Way::Marked(_) if !contact.one_time.is_empty() => Some(contact.one_time.remove(0).key.0),
        Way::Marked(_) | Way::Intro => published,
        Way::ByCode(_) => contact.code_prekey.and_then(fresh).or(published),
    }
}

impl<S: Store> Custody<S> {
    /// Stores a message for one recipient, shows it here, and seals it if that can be done now.
    pub(crate) fn submit_private(&mut self, draft: PrivateDraft, now: Now) -> Result<BundleId, SubmitError> {
        check_text(&draft.text)?;
        let most_s = PRIVATE_LIFETIME_MS_MAX / 1000;
        let lifetime_s = draft.lifetime_s.unwrap_or(LIFETIME_S_DEFAULT);
        if !(LIFETIME_S_MIN..=most_s).contains(&lifetime_s) {
            return Err(SubmitError::BadLifetime { min: LIFETIME_S_MIN, max: most_s });
        }
        let secret: [u8; 16] = self.entropy.draw();
        let to = draft.to;
        if to == self.id() {
            return self.keep_note(draft, secret, lifetime_s, now);
        }
        let contact = self.writable_contact(&to, now)?;
        let id = message_id(&secret, &self.id(), &to);
        self.show_own(id, &draft, lifetime_s, protection_of(&contact), MessageStatus::Pending, now)?;
        let mut padded = [0; 32];
        padded[..16].copy_from_slice(&secret);
        let outbound = Outbound { to, secret: Key(padded), bundle: None, note: None };
        self.store.put_record(Shelf::Outbound, &id.0, &encoded(&outbound))?;
        let give_up = self.timeline.at(now).saturating_add(lifetime_s * 1000);
        if !self.try_seal(&id, now)? {
            self.store.put_record(Shelf::Waiting, &waiting_key(&to, &id), &[])?;
            self.store.set_status(&id, MessageStatus::Pending, Some(WAITS_FOR_KEYS))?;
        }
        self.schedule(give_up, Task::GiveUp, &id.0)?;
        Ok(id)
    }

    /// Stores a note about a group for one recipient, and seals it if that can be done now. Like a message it waits for
    /// keys, and is known to have come by its receipt.
    pub(super) fn post_note(
        &mut self,
        to: &NodeId,
        note: Vec<u8>,
        attempts: u8,
        now: Now,
    ) -> Result<(), StoreError> {
        let secret: [u8; 16] = self.entropy.draw();
        let id = message_id(&secret, &self.id(), to);
        let mut padded = [0; 32];
        padded[..16].copy_from_slice(&secret);
        let expires_tl_ms = self.timeline.at(now).saturating_add(PRIVATE_LIFETIME_MS_MAX);
        let note = Some(Posted { note, expires_tl_ms, attempts });
        let outbound = Outbound { to: *to, secret: Key(padded), bundle: None, note };
        self.store.put_record(Shelf::Outbound, &id.0, &encoded(&outbound))?;
        self.store.put_record(Shelf::Waiting, &waiting_key(to, &id), &[])?;
        self.schedule(expires_tl_ms, Task::GiveUp, &id.0)?;
        self.seal_waiting(to, now)
    }

    /// Whoever is written to is a contact from then on.
    fn writable_contact(&mut self, to: &NodeId, now: Now) -> Result<Contact, SubmitError> {
        if self.is_blocked(to) {
            return Err(SubmitError::BlockedRecipient { to: *to });
        }
        let known = self.contacts.get(to);
        if let Some(rival) = known.and_then(|contact| contact.rival) {
            return Err(SubmitError::RivalRecipient { to: *to, rival });
        }
        if known.is_none_or(|contact| contact.standing != Standing::Added) {
            let draft = crate::draft::ContactDraft { id: Some(*to), ..Default::default() };
            self.add_contact(draft, now).map_err(|error| {
                if let ContactError::Store(error) = error {
                    return SubmitError::Store(error);
                }
                SubmitError::TooManyContacts { max: CONTACTS_MAX }
            })?;
        }
        Ok(self.contacts.get(to).cloned().expect("added above"))
    }

    /// A note to oneself stays here.
    fn keep_note(
        &mut self,
        draft: PrivateDraft,
        secret: [u8; 16],
        lifetime_s: u64,
        now: Now,
    ) -> Result<BundleId, SubmitError> {
        let id = message_id(&secret, &self.id(), &self.id());
        self.show_own(id, &draft, lifetime_s, Protection::SealedVerified, MessageStatus::Read, now)?;
        Ok(id)
    }

    fn show_own(
        &mut self,
        id: BundleId,
        draft: &PrivateDraft,
        lifetime_s: u64,
        protection: Protection,
        status: MessageStatus,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut message = MessageRecord {
            seq: Seq(0),
            id,
            conversation: draft.to.to_string(),
            from: Some(self.id()),
            from_alias: None,
            own: true,
            text: draft.text.clone(),
            created_unix_ms: now.unix_ms.filter(|ms| *ms <= CREATED_UNIX_MS_MAX),
            received_unix_ms: now.unix_ms,
            status,
            status_reason: None,
            priority: draft.priority,
            expires_tl_ms: self.timeline.at(now).saturating_add(lifetime_s * 1000),
            reply_to: draft.reply_to,
            read: true,
            protection,
        };
        let seq = self.store.insert_message(&mut message)?;
        self.logged(LoggedEvent { seq, at_unix_ms: now.unix_ms, event: Event::MessageNew { id } });
        Ok(())
    }

    /// Seals what waited for keys of that node.
    pub(super) fn seal_waiting(&mut self, to: &NodeId, now: Now) -> Result<(), StoreError> {
        let now_tl_ms = self.timeline.at(now);
        let is_writable = self.contacts.get(to).is_some_and(|contact| {
            contact.rival.is_none() && contact.has_keys(now_tl_ms) && !self.is_blocked(to)
        });
        if !is_writable {
            return Ok(());
        }
        loop {
            let found = self.store.records(Shelf::Waiting, &to.0, 64)?;
            let keys: Vec<Vec<u8>> =
                found.into_iter().map(|(key, _)| key).take_while(|key| key.starts_with(&to.0)).collect();
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                let Ok(id) = key[NodeId::BYTES..].try_into() else { continue };
                let id = BundleId(id);
                match self.try_seal(&id, now) {
                    Ok(true) => {
                        self.store.remove_record(Shelf::Waiting, &key)?;
                        if self.store.message_state(&id)?.is_some_and(|message| message.is_explained) {
                            self.store.set_status(&id, MessageStatus::Pending, None)?;
                        }
                    }
                    Ok(false) | Err(SubmitError::StoreFull) => return Ok(()),
                    Err(SubmitError::Store(error)) => return Err(error),
                    Err(_) => {
                        self.store.remove_record(Shelf::Waiting, &key)?;
                    }
                }
            }
        }
    }

    /// Seals again what a contact has not confirmed: it can't open what was sealed to keys it has lost. It knows what
    /// comes twice by the secret inside.
    pub(super) fn seal_again(&mut self, to: &NodeId, now: Now) -> Result<(), StoreError> {
        let until_tl_ms = self.timeline.at(now).saturating_add(PRIVATE_LIFETIME_MS_MAX + DROPPED_MS);
        for (key, bytes) in self.store.records(Shelf::Outbound, &[], usize::MAX)? {
            let outbound: Outbound = decoded(&bytes)?;
            let (Some(bundle), Ok(id)) = (outbound.bundle, <[u8; BundleId::BYTES]>::try_from(key)) else {
                continue;
            };
            let id = BundleId(id);
            let is_open = outbound.note.is_some()
                || self.store.message_state(&id)?.is_some_and(|message| {
                    matches!(message.status, MessageStatus::Pending | MessageStatus::Synced)
                });
            if outbound.to == *to && is_open {
                self.drop_and_remember(&bundle, until_tl_ms, Loss::Outdated)?;
                self.store.put_record(Shelf::Waiting, &waiting_key(to, &id), &[])?;
            }
        }
        self.start_over_with(to, now)
    }

    /// Seals a message or note that is stored, if there are keys for it.
    fn try_seal(&mut self, id: &BundleId, now: Now) -> Result<bool, SubmitError> {
        let Some(bytes) = self.store.record(Shelf::Outbound, &id.0)? else { return Ok(true) };
        let outbound: Outbound = decoded(&bytes)?;
        let Some((envelope, expires_tl_ms, priority)) = self.envelope_of(id, &outbound)? else {
            return Ok(true);
        };
        let left_ms = expires_tl_ms.saturating_sub(self.timeline.at(now));
        let lifetime_s = (left_ms / 1000).max(1) as u32;
        let Some(bundle) =
            self.seal_for(&outbound.to, Manner::Ordinary, envelope, lifetime_s, priority, now)?
        else {
            return Ok(false);
        };
        let outbound = Outbound { bundle: Some(bundle.id), ..outbound };
        self.store.put_record(Shelf::Outbound, &id.0, &encoded(&outbound))?;
        self.store.put_record(Shelf::Sent, &sent_key(&bundle.id.0), &id.0)?;
        if let Some(commitment) = bundle.header.commitment {
            self.store.put_record(Shelf::Sent, &sent_key(&commitment.0), &id.0)?;
        }
        Ok(true)
    }

    /// What is to be sealed, until when, and how urgent it is; nothing if it was forgotten.
    fn envelope_of(
        &self,
        id: &BundleId,
        outbound: &Outbound,
    ) -> Result<Option<(Envelope, u64, Priority)>, StoreError> {
        let mut secret = [0; 16];
        secret.copy_from_slice(&outbound.secret.0[..16]);
        if let Some(posted) = &outbound.note {
            let envelope = Envelope { secret, note: Some(posted.note.clone()), ..Envelope::default() };
            return Ok(Some((envelope, posted.expires_tl_ms, Priority::Normal)));
        }
        let Some(message) = self.store.message(id)? else { return Ok(None) };
        let receipts = self.contacts.get(&outbound.to).map(|contact| contact.receipts);
        let envelope = Envelope {
            secret,
            created_unix_ms: message.created_unix_ms,
            wants_read: receipts == Some(ReceiptChoice::Read),
            text: Some(message.text),
            reply_to: message.reply_to,
            ..Envelope::default()
        };
        Ok(Some((envelope, message.expires_tl_ms, message.priority)))
    }

    /// Greets the owner of a code, or answers somebody who has the own one.
    pub(super) fn greet(&mut self, to: &NodeId, manner: Manner, now: Now) -> Result<(), StoreError> {
        let is_answer = matches!(manner, Manner::Answer(_));
        let envelope = Envelope { secret: self.entropy.draw(), is_answer, ..Envelope::default() };
        self.send_unseen(to, manner, envelope, now)
    }

    /// Tells a contact who another one is.
    pub(crate) fn introduce(&mut self, who: &NodeId, to: &NodeId, now: Now) -> Result<(), ContactError> {
        let contact = self.contact_of(who)?;
        if contact.trust != Trust::Verified {
            return Err(ContactError::NotVerified);
        }
        let recipient = self.contact_of(to)?;
        if !recipient.has_keys(self.timeline.at(now)) {
            return Err(ContactError::NoKeys);
        }
        let keys = contact.keys().ok_or(ContactError::NoKeys)?;
        let name = contact.shown_name().map_or_else(|| who.to_string(), str::to_owned);
        let introduced = Some(Introduced { keys, name });
        let envelope = Envelope { secret: self.entropy.draw(), introduced, ..Envelope::default() };
        Ok(self.send_unseen(to, Manner::Ordinary, envelope, now)?)
    }

    /// Sends what is no message that people see. If there are no keys for it, it is not sent.
    fn send_unseen(
        &mut self,
        to: &NodeId,
        manner: Manner,
        envelope: Envelope,
        now: Now,
    ) -> Result<(), StoreError> {
        match self.seal_for(to, manner, envelope, LIFETIME_S_DEFAULT as u32, Priority::Normal, now) {
            Ok(_) => Ok(()),
            Err(SubmitError::Store(error)) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Seals an envelope with the best key there is for a contact, and stores the bundle.
    fn seal_for(
        &mut self,
        to: &NodeId,
        manner: Manner,
        mut envelope: Envelope,
        lifetime_s: u32,
        priority: Priority,
        now: Now,
    ) -> Result<Option<NewBundle>, SubmitError> {
        let now_tl_ms = self.timeline.at(now);
        let Some(mut contact) = self.contacts.get(to).cloned() else { return Ok(None) };
        let Some(keys) = contact.keys() else { return Ok(None) };
        let way = Way::of(&contact, manner);
        let Some(prekey) = choose_prekey(&mut contact, way, now_tl_ms) else { return Ok(None) };
        let (pair, code);
        let (psk, hint) = match way {
            Way::Marked(psk) => {
                let Some(key) = PairKey::new(&self.identity, &keys, &psk, true) else { return Ok(None) };
                pair = key;
                (psk, Hint::Pair(&pair))
            }
            Way::ByCode(psk) => {
                code = CodeKey::new(&psk, &keys);
                (psk, Hint::Code(&code))
            }
            Way::Intro => ([0; 32], Hint::None),
        };
        if !matches!(way, Way::Marked(_)) {
            envelope.sender_ed = Some(self.identity.public().ed);
            envelope.sender_name = self.profile()?.name;
        }
        if let (Way::ByCode(_), Some(token)) = (way, contact.token) {
            envelope.token = token.0.first_chunk().copied();
        }
        envelope.prekey = self.give_prekey(to, now)?;
        contact.used_tl_ms = now_tl_ms;
        self.save_contact(to, contact)?;
        let header = Header {
            commitment: Some(Commitment::of(&envelope.secret)),
            ..Header::bare(Kind::Sealed, lifetime_s, priority)
        };
        let address = Address { recipient: &keys, prekey: &prekey, psk: &psk, hint };
        let seed = self.entropy.draw();
        let Some(bundle) = seal(&self.identity, &address, header, &envelope.encode(), seed) else {
            return Ok(None);
        };
        self.keep_hidden(&bundle, Class::Own, &bundle.header.commitment, now)?;
        Ok(Some(bundle))
    }

    /// Stores a private bundle made here. Hops and age do not begin at nothing, so that whoever gets it
    /// first does not know that it was made here.
    pub(super) fn keep_hidden(
        &mut self,
        bundle: &NewBundle,
        class: Class,
        commitment: &Option<Commitment>,
        now: Now,
    ) -> Result<StoredBundle, SubmitError> {
        let [hops, a, b, c] = self.entropy.draw();
        let most = AGE_PRETENDED_MS_MAX.min(bundle.header.lifetime_ms() / 8);
        let age_ms = u64::from(u32::from_be_bytes([0, a, b, c])) * most / (1 << 24);
        let hops = hops % (HOPS_PRETENDED_MAX + 1);
        let start = Start { hops, age_ms, commitment: *commitment, unshown_in: None };
        self.keep_aged(bundle, class, start, now)
    }

    /// The own private message that a bundle carries.
    pub(super) fn message_in(&self, bundle: &BundleId) -> Result<Option<BundleId>, StoreError> {
        self.sent_as(&bundle.0)
    }

    /// The own private message that a receipt is for.
    pub(super) fn message_committed(&self, to: &Commitment) -> Result<Option<BundleId>, StoreError> {
        self.sent_as(&to.0)
    }

    fn sent_as(&self, name: &[u8]) -> Result<Option<BundleId>, StoreError> {
        if self.store.is_locked() {
            return Ok(None);
        }
        let found = self.store.record(Shelf::Sent, &sent_key(name))?;
        Ok(found.and_then(|id| id.as_slice().try_into().ok()).map(BundleId))
    }

    /// What carries an own private message.
    pub(crate) fn carrier_of(&self, id: &BundleId) -> Result<Option<BundleId>, StoreError> {
        let Some(bytes) = self.store.record(Shelf::Outbound, &id.0)? else { return Ok(None) };
        Ok(decoded::<Outbound>(&bytes)?.bundle)
    }

    /// The bundle held that carries an own message: of the same id for a post, another one for a private message, and none
    /// for one that was not sealed yet. A locked node knows only posts.
    pub(crate) fn bundle_of(&self, message: &BundleId) -> Result<Option<BundleId>, StoreError> {
        if self.store.known(&message.prefix())? == Known::Held(*message) {
            return Ok(Some(*message));
        }
        if self.store.is_locked() { Ok(None) } else { self.carrier_of(message) }
    }

    /// For whom an own private message is.
    pub(super) fn recipient_of(&self, id: &BundleId) -> Result<Option<NodeId>, StoreError> {
        let Some(bytes) = self.store.record(Shelf::Outbound, &id.0)? else { return Ok(None) };
        Ok(Some(decoded::<Outbound>(&bytes)?.to))
    }

    /// Whether a bundle made here carries a message for that node.
    pub(crate) fn is_for(&self, bundle: &BundleId, peer: &NodeId) -> Result<bool, StoreError> {
        let Some(message) = self.message_in(bundle)? else { return Ok(false) };
        Ok(self.recipient_of(&message)? == Some(*peer))
    }

    /// The lifetime of an own private message is over.
    pub(super) fn give_up(&mut self, id: &[u8], now: Now) -> Result<(), StoreError> {
        let Ok(id) = id.try_into().map(BundleId) else { return Ok(()) };
        let Some(bytes) = self.store.record(Shelf::Outbound, &id.0)? else { return Ok(()) };
        let outbound: Outbound = decoded(&bytes)?;
        if let Some(posted) = outbound.note.clone() {
            self.store.remove_record(Shelf::Waiting, &waiting_key(&outbound.to, &id))?;
            self.forget_outbound(&id, &outbound)?;
            return self.note_unconfirmed(&outbound.to, posted, now);
        }
        let message = self.store.message_state(&id)?;
        let Some(_) = outbound.bundle else {
            self.store.remove_record(Shelf::Waiting, &waiting_key(&outbound.to, &id))?;
            self.store.remove_record(Shelf::Outbound, &id.0)?;
            return self.advance(&id, MessageStatus::Expired, Some(NO_KEYS_CAME), now);
        };
        let now_tl_ms = self.timeline.at(now);
        let expired_tl_ms = message.map_or(0, |message| message.expires_tl_ms);
        let is_final = message.is_none_or(|message| message.status > MessageStatus::Delivered);
        // A receipt may be on its way as long as the message was.
        if !is_final && now_tl_ms < expired_tl_ms.saturating_add(PRIVATE_LIFETIME_MS_MAX) {
            let later = expired_tl_ms.saturating_add(PRIVATE_LIFETIME_MS_MAX);
            return self.schedule(later, Task::GiveUp, &id.0);
        }
        self.forget_outbound(&id, &outbound)?;
        self.advance(&id, MessageStatus::Expired, Some(NO_RECEIPT_CAME), now)
    }

    /// A receipt has come: if it was for a note, that is done.
    pub(super) fn note_came(&mut self, id: &BundleId, now: Now) -> Result<(), StoreError> {
        let Some(bytes) = self.store.record(Shelf::Outbound, &id.0)? else { return Ok(()) };
        let outbound: Outbound = decoded(&bytes)?;
        let Some(posted) = &outbound.note else { return Ok(()) };
        self.forget_outbound(id, &outbound)?;
        self.note_confirmed(&outbound.to, posted, now)
    }

    /// Withdraws an own private message that was not seen by anybody, and forgets about it.
    pub(super) fn withdraw_private(&mut self, message: &MessageState) -> Result<(), StoreError> {
        let Some(bytes) = self.store.record(Shelf::Outbound, &message.id.0)? else { return Ok(()) };
        let outbound: Outbound = decoded(&bytes)?;
        self.store.remove_record(Shelf::Waiting, &waiting_key(&outbound.to, &message.id))?;
        if let Some(bundle) = outbound.bundle
            && message.status == MessageStatus::Pending
        {
            self.drop_and_remember(
                &bundle,
                message.expires_tl_ms.saturating_add(DROPPED_MS),
                Loss::Withdrawn,
            )?;
        }
        self.forget_outbound(&message.id, &outbound)
    }

    fn forget_outbound(&mut self, id: &BundleId, outbound: &Outbound) -> Result<(), StoreError> {
        let mut secret = [0; 16];
        secret.copy_from_slice(&outbound.secret.0[..16]);
        if let Some(bundle) = outbound.bundle {
            self.store.remove_record(Shelf::Sent, &sent_key(&bundle.0))?;
        }
        self.store.remove_record(Shelf::Sent, &sent_key(&Commitment::of(&secret).0))?;
        self.store.remove_record(Shelf::Outbound, &id.0)?;
        Ok(())
    }
}

/// How protected a message with that contact is.
pub(super) fn protection_of(contact: &Contact) -> Protection {
    match contact.trust {
        Trust::Verified => Protection::SealedVerified,
        Trust::Unverified | Trust::Introduced => Protection::Sealed,
    }
}

/// The id that both people know a message by.
pub(super) fn message_id(secret: &[u8; 16], from: &NodeId, to: &NodeId) -> BundleId {
    Envelope { secret: *secret, ..Envelope::default() }.message_id(from, to)
}

fn waiting_key(to: &NodeId, id: &BundleId) -> Vec<u8> {
    [&to.0[..], &id.0].concat()
}

/// Bundle ids and commitments have different lengths, so one shelf does for both.
fn sent_key(name: &[u8]) -> Vec<u8> {
    name.to_vec()
}
