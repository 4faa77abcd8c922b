//! Contacts: added by id, by code or by introduction; named, verified, removed.
//!
//! A node id is a hash of the keys, so nobody's keys change under an id (threat C-02): whoever has new keys is
//! another node. What can happen is that two nodes claim to be one person. If the user, or somebody the user
//! verified, says so by adding or introducing a second node under a name that is taken, the contact gets a
//! **rival** and nothing is sent to it until the user has decided.

use zeroize::Zeroizing;

use crate::clock::Now;
use crate::draft::{ContactDraft, ContactError};
use crate::event::Event;
use crate::header::Kind;
use crate::id::NodeId;
use crate::limits::{CODE_IN_PERSON_MS, CODE_MS, CODES_MAX, CONTACTS_MAX, PRIVATE_LIFETIME_MS_MAX};
use crate::prekeys::Prekeys;
use crate::private::code::Code;
use crate::private::contact::{Contact, Key, ReceiptChoice, Standing, TheirPrekey, Trust};
use crate::private::safety::{is_same_number, safety_number};
use crate::private::seal::{CodeKey, PairKey, PrekeySecret};
use crate::profile::check_name;
use crate::store::{Shelf, Store, StoreError};

use super::Custody;
use super::due::Task;
use super::mail::Manner;
use super::prekeys::{decoded, encoded};

/// A code shown to somebody.
#[derive(Clone, minicbor::Encode, minicbor::Decode, minicbor::CborLen)]
pub(super) struct Invite {
    #[n(0)]
    pub(super) psk: Key,
    #[n(1)]
    pub(super) prekey: Key,
    #[n(2)]
    pub(super) token: Key,
    #[n(3)]
    pub(super) until_tl_ms: u64,
    /// Who used it: nobody else can (threat C-06).
    #[n(4)]
    pub(super) used_by: Option<NodeId>,
}

impl<S: Store> Custody<S> {
    /// Adds a contact. Says whether it was not one before.
    pub(crate) fn add_contact(
        &mut self,
        draft: ContactDraft,
        now: Now,
    ) -> Result<(NodeId, bool), ContactError> {
        let code = draft.code.as_ref();
        let id = match (code, draft.id) {
            (Some(code), None) => code.keys.node_id(),
            (None, Some(id)) => id,
            _ => return Err(ContactError::NobodyNamed),
        };
        if id == self.id() {
            return Err(ContactError::Oneself);
        }
        if let Some(code) = code {
            let is_over =
                now.unix_ms.is_some_and(|ms| code.expires_unix_s > 0 && code.expires_unix_s < ms / 1000);
            if is_over {
                return Err(ContactError::CodeExpired);
            }
        }
        let known = self.contacts.get(&id).cloned();
        if known.is_none() && self.contacts.len() >= CONTACTS_MAX {
            return Err(ContactError::TooMany { max: CONTACTS_MAX });
        }
        let is_new = known.as_ref().is_none_or(|contact| contact.standing != Standing::Added);
        let now_tl_ms = self.timeline.at(now);
        let mut contact = known.unwrap_or_else(|| Contact::new(Standing::Added, now_tl_ms, now.unix_ms));
        contact.standing = Standing::Added;
        if let Some(name) = draft.name {
            self.check_free(&id, &name)?;
            contact.name = Some(name);
        }
        self.find_prekeys(&id, &mut contact)?;
        if let Some(code) = code {
            Self::use_code(&mut contact, code, draft.in_person, now_tl_ms);
        }
        self.name_by_itself(&id, &mut contact);
        let greets = code.is_some();
        self.save_contact(&id, contact)?;
        self.note_rivals(&id, now)?;
        self.log(Event::ContactChanged { peer: id }, now)?;
        if greets {
            self.greet(&id, Manner::Greeting, now)?;
        }
        self.seal_waiting(&id, now)?;
        Ok((id, is_new))
    }

    fn use_code(contact: &mut Contact, code: &Code, in_person: bool, now_tl_ms: u64) {
        contact.set_keys(&code.keys);
        contact.own_name = code.name.clone().or(contact.own_name.take());
        contact.code_psk = Some(Key(code.psk()));
        let mut token = [0; 32];
        token[..16].copy_from_slice(&code.token());
        contact.token = Some(Key(token));
        let until_tl_ms = now_tl_ms.saturating_add(CODE_MS);
        contact.code_prekey = Some(TheirPrekey { key: Key(code.prekey), until_tl_ms });
        // Not before it has shown that it has these keys (threat C-03).
        contact.is_in_person |= in_person;
    }

    /// Keys of a node that published some and is no contact yet.
    pub(super) fn find_prekeys(&self, id: &NodeId, contact: &mut Contact) -> Result<(), StoreError> {
        let Some(held) = self.store.newest_of_kind(id, Kind::Prekeys.number())? else { return Ok(()) };
        let Some(stored) = self.store.bundle(&held)? else { return Ok(()) };
        let header = crate::header::Header::decode(&stored.header).ok();
        let (Some(keys), Ok(prekeys)) =
            (header.and_then(|header| header.origin), Prekeys::decode(&stored.payload))
        else {
            return Ok(());
        };
        if prekeys.revision >= contact.epoch_revision {
            let _ = self.learn_prekeys(contact, &keys, &prekeys, &stored);
        }
        if contact.own_name.is_none() {
            contact.own_name =
                self.store.peer(id)?.and_then(|peer| peer.profile).and_then(|profile| profile.name);
        }
        Ok(())
    }

    /// Gives a contact without a name the one it gives itself, if nobody else has that.
    pub(super) fn name_by_itself(&self, id: &NodeId, contact: &mut Contact) {
        if contact.name.is_none()
            && let Some(own) = contact.own_name.clone()
            && self.check_free(id, &own).is_ok()
        {
            contact.name = Some(own);
        }
    }

    /// Whether a name can be given to that contact.
    fn check_free(&self, id: &NodeId, name: &str) -> Result<(), ContactError> {
        check_name(name).map_err(|problem| ContactError::BadName { problem })?;
        if name.starts_with(['#', '@', '<']) || name.contains(':') || name.parse::<NodeId>().is_ok() {
            return Err(ContactError::BadName { problem: "looks like a channel, an id or an address" });
        }
        let taken = self.contacts.iter().find(|(other, contact)| *other != id && contact.is_called(name));
        match taken {
            Some((by, _)) => Err(ContactError::NameTaken { name: name.to_owned(), by: *by }),
            None => Ok(()),
        }
    }

    /// Whoever is called like the new one has a rival now.
    fn note_rivals(&mut self, new: &NodeId, now: Now) -> Result<(), StoreError> {
        let Some(own_name) = self.contacts.get(new).and_then(|contact| contact.own_name.clone()) else {
            return Ok(());
        };
        let is_code = self.contacts.get(new).is_some_and(|contact| contact.token.is_some());
        if is_code {
            self.set_rival(&own_name, new, now)?;
        }
        Ok(())
    }

    /// Somebody the user believes says that the one with that name has other keys.
    pub(super) fn set_rival(&mut self, name: &str, rival: &NodeId, now: Now) -> Result<(), StoreError> {
        let old = self.contacts.iter().find(|(id, contact)| *id != rival && contact.is_called(name));
        let Some((id, contact)) = old.map(|(id, contact)| (*id, contact.clone())) else { return Ok(()) };
        if contact.standing == Standing::Added && contact.rival.is_none() {
            self.save_contact(&id, Contact { rival: Some(*rival), ..contact })?;
            self.log(Event::ContactChanged { peer: id }, now)?;
        }
        Ok(())
    }

    /// The user has decided between a contact and its rival.
    pub(crate) fn resolve_rival(
        &mut self,
        id: &NodeId,
        keeps: bool,
        now: Now,
    ) -> Result<NodeId, ContactError> {
        let mut contact = self.contact_of(id)?;
        let Some(rival) = contact.rival.take() else { return Err(ContactError::NoRival) };
        if keeps {
            self.save_contact(id, contact)?;
            self.log(Event::ContactChanged { peer: *id }, now)?;
            return Ok(*id);
        }
        let name = contact.name.take();
        // The old one stays, with its messages, but no longer under that name and trust.
        contact.trust = Trust::Unverified;
        self.save_contact(id, contact)?;
        let now_tl_ms = self.timeline.at(now);
        let mut successor = self
            .contacts
            .get(&rival)
            .cloned()
            .unwrap_or_else(|| Contact::new(Standing::Added, now_tl_ms, now.unix_ms));
        successor.standing = Standing::Added;
        successor.name = name;
        self.find_prekeys(&rival, &mut successor)?;
        self.save_contact(&rival, successor)?;
        for changed in [*id, rival] {
            self.log(Event::ContactChanged { peer: changed }, now)?;
        }
        Ok(rival)
    }

    /// Gives a contact another name.
    pub(crate) fn rename_contact(
        &mut self,
        id: &NodeId,
        name: Option<String>,
        now: Now,
    ) -> Result<(), ContactError> {
        let mut contact = self.contact_of(id)?;
        if let Some(name) = &name {
            self.check_free(id, name)?;
        }
        contact.name = name;
        self.change_contact(id, contact, now)
    }

    /// Accepts somebody who wrote first.
    pub(crate) fn accept_contact(&mut self, id: &NodeId, now: Now) -> Result<(), ContactError> {
        let contact = self.contact_of(id)?;
        self.change_contact(id, Contact { standing: Standing::Added, ..contact }, now)
    }

    /// Chooses which receipts a contact gets.
    pub(crate) fn set_receipts(
        &mut self,
        id: &NodeId,
        receipts: ReceiptChoice,
        now: Now,
    ) -> Result<(), ContactError> {
        let contact = self.contact_of(id)?;
        self.change_contact(id, Contact { receipts, ..contact }, now)
    }

    /// The safety number with a contact.
    pub(crate) fn safety_number(&self, id: &NodeId) -> Result<String, ContactError> {
        let keys = self.contact_of(id)?.keys().ok_or(ContactError::NoKeys)?;
        Ok(safety_number(&self.identity.public(), &keys))
    }

    /// The user says that the other's device shows that number.
    pub(crate) fn verify_contact(&mut self, id: &NodeId, number: &str, now: Now) -> Result<(), ContactError> {
        if !is_same_number(number, &self.safety_number(id)?) {
            return Err(ContactError::WrongNumber);
        }
        let contact = self.contact_of(id)?;
        let verified = Contact { trust: Trust::Verified, standing: Standing::Added, rival: None, ..contact };
        self.change_contact(id, verified, now)
    }

    /// The user no longer vouches for a contact's keys.
    pub(crate) fn unverify_contact(&mut self, id: &NodeId, now: Now) -> Result<(), ContactError> {
        let contact = self.contact_of(id)?;
        self.change_contact(id, Contact { trust: Trust::Unverified, ..contact }, now)
    }

    /// Removes a contact with the keys shared with it; says whether there was one. Messages stay.
    pub(crate) fn remove_contact(&mut self, id: &NodeId, now: Now) -> Result<bool, StoreError> {
        if self.contact_of(id).is_err() {
            return Ok(false);
        }
        self.contacts.remove(id);
        self.pairs.remove(id);
        self.store.remove_record(Shelf::Contact, &id.0)?;
        self.keep_as_fellow(id, now)?;
        self.log(Event::ContactChanged { peer: *id }, now)?;
        Ok(true)
    }

    /// Makes a code for somebody, which works once.
    pub(crate) fn make_code(&mut self, in_person: bool, now: Now) -> Result<Code, ContactError> {
        let open = self.store.records(Shelf::Invite, &[], CODES_MAX * 4)?;
        let mut unused = 0;
        for (_, bytes) in &open {
            unused += usize::from(decoded::<Invite>(bytes)?.used_by.is_none());
        }
        if unused >= CODES_MAX {
            return Err(ContactError::TooManyCodes { max: CODES_MAX });
        }
        let now_tl_ms = self.timeline.at(now);
        let for_ms = if in_person { CODE_IN_PERSON_MS } else { CODE_MS };
        let prekey = PrekeySecret::from_bytes(&self.entropy.draw());
        let code = Code {
            keys: self.identity.public(),
            secret: Zeroizing::new(self.entropy.draw()),
            prekey: prekey.public,
            expires_unix_s: now.unix_ms.map_or(0, |ms| (ms + for_ms) / 1000),
            name: self.profile()?.name,
        };
        let mut token = [0; 32];
        token[..16].copy_from_slice(&code.token());
        let invite = Invite {
            psk: Key(code.psk()),
            prekey: Key(*prekey.bytes()),
            token: Key(token),
            until_tl_ms: now_tl_ms.saturating_add(for_ms),
            used_by: None,
        };
        let key = &prekey.id().0;
        self.store.put_record(Shelf::Invite, key, &encoded(&invite))?;
        let forget_tl_ms = invite.until_tl_ms.saturating_add(PRIVATE_LIFETIME_MS_MAX);
        self.schedule(forget_tl_ms, Task::ForgetCode, key)?;
        self.load_invites()?;
        Ok(code)
    }

    pub(super) fn forget_code(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.store.remove_record(Shelf::Invite, key)?;
        self.load_invites()
    }

    /// Reads the codes into memory. In a new place each time: what is freed is overwritten, what a list no longer counts is not.
    pub(super) fn load_invites(&mut self) -> Result<(), StoreError> {
        let own = self.identity.public();
        let invite = |(key, bytes): (Vec<u8>, Vec<u8>)| {
            let invite: Invite = decoded(&bytes)?;
            Ok((key, CodeKey::new(&invite.psk.0, &own), invite))
        };
        let records = self.store.records(Shelf::Invite, &[], CODES_MAX * 4)?;
        self.invites = records.into_iter().map(invite).collect::<Result<_, StoreError>>()?;
        Ok(())
    }

    /// Reads contacts into memory, with what recognises their mail.
    pub(super) fn load_contacts(&mut self) -> Result<(), StoreError> {
        self.contacts.clear();
        self.pairs.clear();
        for (key, bytes) in self.store.records(Shelf::Contact, &[], CONTACTS_MAX)? {
            let id = NodeId(
                key.as_slice()
                    .try_into()
                    .map_err(|_| StoreError::Corrupt { detail: "a contact without an id".to_owned() })?,
            );
            let contact: Contact = decoded(&bytes)?;
            self.pairs.insert(id, self.pairs_with(&contact));
            self.contacts.insert(id, contact);
        }
        Ok(())
    }

    pub(super) fn contact_of(&self, id: &NodeId) -> Result<Contact, ContactError> {
        let chosen = self.contacts.get(id).filter(|contact| contact.standing != Standing::Fellow);
        chosen.cloned().ok_or(ContactError::Unknown { id: *id })
    }

    fn change_contact(&mut self, id: &NodeId, contact: Contact, now: Now) -> Result<(), ContactError> {
        self.save_contact(id, contact)?;
        self.log(Event::ContactChanged { peer: *id }, now)?;
        Ok(())
    }

    pub(super) fn save_contact(&mut self, id: &NodeId, contact: Contact) -> Result<(), StoreError> {
        self.store.put_record(Shelf::Contact, &id.0, &encoded(&contact))?;
        let marks = |contact: &Contact| (contact.keys(), contact.psks.clone(), contact.code_psk);
        let is_same = self.contacts.get(id).is_some_and(|known| marks(known) == marks(&contact));
        if !is_same {
            self.pairs.insert(*id, self.pairs_with(&contact));
        }
        self.contacts.insert(*id, contact);
        Ok(())
    }

    /// What marks bundles from that contact: one for each key shared by a code, and one without.
    fn pairs_with(&self, contact: &Contact) -> Vec<(PairKey, [u8; 32])> {
        let Some(keys) = contact.keys() else { return Vec::new() };
        let psks = contact.psks.iter().chain(&contact.code_psk).map(|psk| psk.0).chain([[0; 32]]);
        psks.filter_map(|psk| Some((PairKey::new(&self.identity, &keys, &psk, false)?, psk))).collect()
    }

    /// Whether the user chose that node, and has not blocked it.
    pub(super) fn is_added(&self, id: &NodeId) -> bool {
        let is_added = |contact: &Contact| contact.standing == Standing::Added;
        self.contacts.get(id).is_some_and(is_added) && !self.is_blocked(id)
    }
}
