//! Private messages that come in: recognised, opened, shown once.
//!
//! Whatever can't be opened is somebody else's and is carried like everything else; nobody on the link learns the
//! difference (threat C-17). That goes for what is marked as this node's, too: a mark is over the ephemeral key alone,
//! so whoever carries one bundle can begin others as it begins. So mail is opened first, and what opened is a
//! contact's; a mark by itself gives no right to anything, and what is answered does not tell whose mark it is. A message that comes twice, even sealed anew, is known by its secret, for as long
//! as there is a key that could open it (threats C-09, R-01).

#[cfg(test)]
mod bounds;

use minicbor::{CborLen, Decode, Encode};

use crate::bucket::Bucket;
use crate::bundle::Bundle;
use crate::clock::Now;
use crate::event::{Event, LinkKind, LoggedEvent, MessageStatus};
use crate::group::entry::GroupId;
use crate::group::note::Note;
use crate::header::Kind;
use crate::id::{BundleId, NodeId, Seq};
use crate::identity::PublicKeys;
use crate::limits::{ASKING_MAX, CONTACTS_MAX, ONE_TIME_MAX, PREKEY_MS, PRIVATE_LIFETIME_MS_MAX};
use crate::prekeys::PrekeyId;
use crate::private::contact::{Contact, Key, ReceiptChoice, Standing, TheirPrekey, Trust};
use crate::private::envelope::{Envelope, Introduced};
use crate::private::seal::{Opened, PrekeySecret, open};
use crate::receipt::{Commitment, Stage};
use crate::sealed::{CODE_TAG_BYTES, Sealed, TAG_BYTES};
use crate::store::{HandOverStep, MessageRecord, Shelf, Store, StoreError, StoredBundle};

use super::Custody;
use super::due::Task;
use super::mail::{Manner, message_id, protection_of};
use super::prekeys::{decoded, encoded};
use super::shown::priority_said;

/// What is remembered of a private message that was opened.
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct OpenedMessage {
    #[n(0)]
    pub(super) from: NodeId,
    /// Sixteen bytes, then zeros.
    #[n(1)]
    pub(super) secret: Key,
    /// What carried it.
    #[n(2)]
    pub(super) bundle: BundleId,
    /// Whether its sender would like to know when it is read.
    #[n(3)]
    pub(super) wants_read: bool,
    /// The group it was for, if it was for one.
    #[n(4)]
    pub(super) group: Option<GroupId>,
}

/// A private message that was opened.
pub(super) struct Letter {
    author: Author,
    envelope: Envelope,
}

/// Who wrote what came in.
struct Author {
    keys: PublicKeys,
    psk: [u8; 32],
    /// The prekey for one message that it used up.
    used: Option<PrekeyId>,
    /// The code it came by.
    code: Option<usize>,
}

impl<S: Store> Custody<S> {
    /// Opens a bundle that is marked as mail for this node; `None` if it is not, or does not open. `link` is what the
    /// neighbour that brings it may still make this node write.
    pub(super) fn open_marked(
        &mut self,
        bundle: &Bundle<'_>,
        link: &mut Bucket,
        now: Now,
    ) -> Result<Option<Letter>, StoreError> {
        let Some(sealed) = marked(bundle) else { return Ok(None) };
        let cost = bundle.bytes.cost_bytes();
        let may_fail = self.failures.has(1, now) || (self.strangers.has(cost, now) && link.has(cost, now));
        if !may_fail {
            return Ok(None);
        }
        let (letter, is_tried) = self.try_marks(bundle, &sealed)?;
        if letter.is_none() && is_tried {
            self.failures.take(1, now);
        }
        Ok(letter)
    }

    /// Tries every key whose mark a bundle has, and says whether there was one. Costs a MAC for each contact and code.
    fn try_marks(&self, bundle: &Bundle<'_>, sealed: &Sealed) -> Result<(Option<Letter>, bool), StoreError> {
        let of_contact = self.pairs.iter().find_map(|(id, pairs)| {
            pairs.iter().find_map(|(pair, psk)| Some((id, psk, pair.recognises(sealed)?)))
        });
        if let Some((id, psk, prekey)) = of_contact
            && let Some(letter) = self.open_of_contact(bundle, sealed, id, *psk, prekey)?
        {
            return Ok((Some(letter), true));
        }
        let mut is_tried = of_contact.is_some();
        for (place, (_, hint, _)) in self.invites.iter().enumerate() {
            if hint.may_be_of(sealed) {
                is_tried = true;
                if let Some(letter) = self.open_by_code(bundle, sealed, place) {
                    return Ok((Some(letter), true));
                }
            }
        }
        Ok((None, is_tried))
    }

    /// Opens what was put by when it came in.
    pub(super) fn open_late(
        &self,
        bundle: &Bundle<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Letter>, StoreError> {
        if sealed.is_marked {
            Ok(self.try_marks(bundle, sealed)?.0)
        } else {
            Ok(self.open_intro(bundle, sealed))
        }
    }

    fn open_of_contact(
        &self,
        bundle: &Bundle<'_>,
        sealed: &Sealed,
        id: &NodeId,
        psk: [u8; 32],
        prekey: PrekeyId,
    ) -> Result<Option<Letter>, StoreError> {
        let Some(keys) = self.contacts.get(id).and_then(Contact::keys) else { return Ok(None) };
        let Some(secret) = self.prekey_for(prekey, id)? else { return Ok(None) };
        let own = self.identity.public();
        let (_, noise) = sealed.split::<TAG_BYTES>();
        let Some(opened) = open(&own, &secret, &psk, Some(&keys.x), &bundle.header, noise) else {
            return Ok(None);
        };
        let author = Author { keys, psk, used: Some(prekey), code: None };
        Ok(read(bundle, &opened).map(|envelope| Letter { author, envelope }))
    }

    fn open_by_code(&self, bundle: &Bundle<'_>, sealed: &Sealed, place: usize) -> Option<Letter> {
        let (_, _, invite) = self.invites.get(place)?;
        let own = self.identity.public();
        let (_, noise) = sealed.split::<CODE_TAG_BYTES>();
        let of_code = PrekeySecret::from_bytes(&invite.prekey.0);
        // The code's own key, or a published one if that had expired on the way.
        let secrets = [of_code].into_iter().chain(self.published.iter().cloned());
        let opened = secrets
            .into_iter()
            .find_map(|secret| open(&own, &secret, &invite.psk.0, None, &bundle.header, noise))?;
        let envelope = read(bundle, &opened)?;
        let author = Author {
            keys: PublicKeys { ed: envelope.sender_ed?, x: opened.sender },
            psk: invite.psk.0,
            used: None,
            code: Some(place),
        };
        let is_token = envelope.token.is_some_and(|token| token[..] == invite.token.0[..16]);
        let is_first = invite.used_by.is_none_or(|by| by == author.keys.node_id());
        (is_token && is_first).then_some(Letter { author, envelope })
    }

    /// Tries an intro with every published prekey.
    pub(super) fn open_intro(&self, bundle: &Bundle<'_>, sealed: &Sealed) -> Option<Letter> {
        let own = self.identity.public();
        // Newest first: that is the one most likely used.
        let opened = self
            .published
            .iter()
            .rev()
            .find_map(|secret| open(&own, secret, &[0; 32], None, &bundle.header, &sealed.payload))?;
        let envelope = read(bundle, &opened)?;
        let keys = PublicKeys { ed: envelope.sender_ed?, x: opened.sender };
        let author = Author { keys, psk: [0; 32], used: None, code: None };
        Some(Letter { author, envelope })
    }

    /// Whether the bundle of a letter counts as a contact's.
    pub(super) fn is_contacts(&self, letter: &Letter) -> bool {
        let author = letter.author.keys.node_id();
        letter.author.code.is_some() || self.is_added(&author) || self.is_fellow(&author)
    }

    /// Takes in what a bundle said that is stored now. `from` is the neighbour that brought it just now.
    pub(super) fn take_letter(
        &mut self,
        stored: &StoredBundle,
        Letter { author, envelope }: Letter,
        from: Option<(NodeId, LinkKind)>,
        now: Now,
    ) -> Result<(), StoreError> {
        let peer = author.keys.node_id();
        if peer == self.id() || self.is_blocked(&peer) {
            return Ok(());
        }
        let id = message_id(&envelope.secret, &peer, &self.id());
        if self.store.record(Shelf::Opened, &id.0)?.is_some() {
            return Ok(());
        }
        if let Some(place) = author.code
            && !self.is_code_open(place, &peer, now)
        {
            return Ok(());
        }
        let note = match &envelope.note {
            Some(bytes) => match Note::decode(bytes) {
                Ok(note) if self.welcome(&peer, &note, now)? => Some(note),
                Ok(_) | Err(_) => return Ok(()),
            },
            None => None,
        };
        let known = self.contacts.get(&peer).cloned();
        let is_new = known.is_none();
        if is_new && author.code.is_none() && !self.has_room_to_ask()? {
            return Ok(());
        }
        let now_tl_ms = self.timeline.at(now);
        let mut contact = known.unwrap_or_else(|| Contact::new(Standing::Asking, now_tl_ms, now.unix_ms));
        let before = contact.clone();
        self.learn_from(&mut contact, &peer, &author, &envelope, stored, now);
        if is_new {
            self.find_prekeys(&peer, &mut contact)?;
        }
        self.remember_opened(&id, &peer, &envelope, stored, now)?;
        if let Some(prekey) = author.used {
            self.use_up(prekey, &peer, now)?;
        }
        let is_changed =
            (before.trust, before.standing, before.name.as_ref(), before.keys(), before.awaits_answer())
                != (
                    contact.trust,
                    contact.standing,
                    contact.name.as_ref(),
                    contact.keys(),
                    contact.awaits_answer(),
                );
        let receipts = contact.receipts;
        let protection = protection_of(&contact);
        let may_introduce = contact.trust == Trust::Verified;
        self.save_contact(&peer, contact)?;
        if is_changed {
            self.log(Event::ContactChanged { peer }, now)?;
        }
        if let Some(place) = author.code {
            self.answer_code(place, &peer, now)?;
        }
        if let Some(introduced) = envelope.introduced
            && may_introduce
        {
            self.take_introduction(&peer, introduced, now)?;
        }
        if receipts >= ReceiptChoice::Delivered {
            self.schedule_receipt(&envelope.secret, Stage::Delivered, now)?;
        }
        if let Some(note) = note {
            self.take_note(&peer, note, now)?;
        }
        if let Some(text) = envelope.text {
            let mut message = MessageRecord {
                seq: Seq(0),
                id,
                conversation: peer.to_string(),
                from: Some(peer),
                from_alias: None,
                own: false,
                text,
                created_unix_ms: envelope.created_unix_ms,
                received_unix_ms: now.unix_ms,
                status: MessageStatus::Synced,
                status_reason: None,
                priority: priority_said(stored),
                expires_tl_ms: stored.expires_tl_ms,
                reply_to: envelope.reply_to,
                read: false,
                protection,
            };
            self.show_received(&mut message, now)?;
            if let Some((neighbour, via)) = from {
                self.note_step(&id, HandOverStep::Received, &neighbour, via, now)?;
            }
        }
        self.seal_waiting(&peer, now)
    }

    pub(super) fn show_received(&mut self, message: &mut MessageRecord, now: Now) -> Result<(), StoreError> {
        if self.store.message_state(&message.id)?.is_some() {
            return Ok(());
        }
        let seq = self.store.insert_message(message)?;
        let event = Event::MessageNew { id: message.id };
        self.logged(LoggedEvent { seq, at_unix_ms: now.unix_ms, event });
        self.trim_received()
    }

    /// What a message says about its sender.
    fn learn_from(
        &self,
        contact: &mut Contact,
        peer: &NodeId,
        author: &Author,
        envelope: &Envelope,
        stored: &StoredBundle,
        now: Now,
    ) {
        let now_tl_ms = self.timeline.at(now);
        contact.set_keys(&author.keys);
        contact.is_heard = true;
        contact.used_tl_ms = now_tl_ms;
        if envelope.sender_name.is_some() {
            contact.own_name.clone_from(&envelope.sender_name);
        }
        if author.code.is_some() {
            contact.standing = Standing::Added;
        }
        if author.psk != [0; 32] {
            let is_answer = author.code.is_none() && contact.code_psk == Some(Key(author.psk));
            contact.prefer_psk(author.psk);
            // It has shown that it has the keys of its code.
            if is_answer {
                contact.token = None;
                contact.code_psk = None;
                contact.code_prekey = None;
                if contact.is_in_person {
                    contact.trust = Trust::Verified;
                }
            }
        }
        if contact.standing == Standing::Added {
            self.name_by_itself(peer, contact);
        }
        if let Some(key) = envelope.prekey {
            let until_tl_ms = now_tl_ms.saturating_add(PREKEY_MS.saturating_sub(stored.age_ms));
            contact.one_time.push(TheirPrekey { key: Key(key), until_tl_ms });
            if contact.one_time.len() > ONE_TIME_MAX {
                contact.one_time.remove(0);
            }
        }
    }

    fn remember_opened(
        &mut self,
        id: &BundleId,
        peer: &NodeId,
        envelope: &Envelope,
        stored: &StoredBundle,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&envelope.secret);
        let opened = OpenedMessage {
            from: *peer,
            secret: Key(secret),
            bundle: stored.id,
            wants_read: envelope.wants_read,
            group: None,
        };
        self.store.put_record(Shelf::Opened, &id.0, &encoded(&opened))?;
        let until = self.timeline.at(now).saturating_add(PREKEY_MS + PRIVATE_LIFETIME_MS_MAX);
        self.schedule(until, Task::ForgetOpened, &id.0)
    }

    /// Strangers may ask, up to a number; the one that asked longest ago makes room.
    fn has_room_to_ask(&mut self) -> Result<bool, StoreError> {
        let asking = self.contacts.iter().filter(|(_, contact)| contact.standing == Standing::Asking);
        let count = asking.clone().count();
        if count < ASKING_MAX && self.contacts.len() < CONTACTS_MAX {
            return Ok(true);
        }
        let oldest = asking.min_by_key(|(_, contact)| contact.used_tl_ms).map(|(id, _)| *id);
        let Some(oldest) = oldest else { return Ok(false) };
        self.contacts.remove(&oldest);
        self.pairs.remove(&oldest);
        self.store.remove_record(Shelf::Contact, &oldest.0)?;
        Ok(true)
    }

    /// Whether a code may be used by that node now (threat C-06).
    fn is_code_open(&self, place: usize, by: &NodeId, now: Now) -> bool {
        let Some((_, _, invite)) = self.invites.get(place) else { return false };
        match invite.used_by {
            Some(user) => user == *by,
            None => {
                let has_room = self.contacts.len() < CONTACTS_MAX || self.contacts.contains_key(by);
                // What was under way while it expired came too late.
                has_room && self.timeline.at(now) <= invite.until_tl_ms
            }
        }
    }

    /// Somebody has the own code: it is theirs now, and they hear that it is this node's.
    fn answer_code(&mut self, place: usize, by: &NodeId, now: Now) -> Result<(), StoreError> {
        let Some((key, _, mut invite)) = self.invites.get(place).cloned() else { return Ok(()) };
        if invite.used_by.is_some() {
            return Ok(());
        }
        invite.used_by = Some(*by);
        let psk = invite.psk.0;
        self.store.put_record(Shelf::Invite, &key, &encoded(&invite))?;
        self.invites[place].2 = invite;
        self.greet(by, Manner::Answer(psk), now)
    }

    /// A verified contact says who somebody is.
    fn take_introduction(&mut self, by: &NodeId, who: Introduced, now: Now) -> Result<(), StoreError> {
        let id = who.keys.node_id();
        if id == self.id() || self.is_blocked(&id) {
            return Ok(());
        }
        self.set_rival(&who.name, &id, now)?;
        let known = self.contacts.get(&id).cloned();
        if known.is_none() && self.contacts.len() >= CONTACTS_MAX {
            return Ok(());
        }
        let now_tl_ms = self.timeline.at(now);
        let mut contact = known.unwrap_or_else(|| Contact::new(Standing::Added, now_tl_ms, now.unix_ms));
        if contact.trust >= Trust::Introduced {
            return Ok(());
        }
        contact.set_keys(&who.keys);
        contact.trust = Trust::Introduced;
        contact.introduced_by = Some(*by);
        contact.standing = Standing::Added;
        contact.own_name.get_or_insert(who.name);
        self.name_by_itself(&id, &mut contact);
        self.find_prekeys(&id, &mut contact)?;
        self.save_contact(&id, contact)?;
        self.log(Event::ContactChanged { peer: id }, now)?;
        self.seal_waiting(&id, now)
    }

    /// What is remembered of a private message that came in.
    pub(super) fn opened(&self, id: &BundleId) -> Result<Option<OpenedMessage>, StoreError> {
        self.store.record(Shelf::Opened, &id.0)?.map(|bytes| decoded(&bytes)).transpose()
    }

    /// What carried a private message that came in.
    pub(crate) fn carrier_of_opened(&self, id: &BundleId) -> Result<Option<BundleId>, StoreError> {
        Ok(self.opened(id)?.map(|opened| opened.bundle))
    }
}

/// A sealed bundle that begins with a mark.
fn marked(bundle: &Bundle<'_>) -> Option<Sealed> {
    if bundle.header.kind != Kind::Sealed {
        return None;
    }
    Sealed::decode(&bundle.header, bundle.bytes.payload).ok()
}

/// What is inside, if the bundle is the one that its receipts are for.
fn read(bundle: &Bundle<'_>, opened: &Opened) -> Option<Envelope> {
    let envelope = Envelope::decode(&opened.plain).ok()?;
    (bundle.header.commitment == Some(Commitment::of(&envelope.secret))).then_some(envelope)
}
