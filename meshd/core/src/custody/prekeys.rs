//! The own prekeys: made, published, used, and deleted on schedule.
//!
//! | key | others use it for | secret deleted |
//! |---|---|---|
//! | published | 7 days from its making | 14 days after its making: the last message sealed to it has come or expired |
//! | of a code | as long as the code works, at most 7 days | 7 days after that |
//! | for one answer | one message, within 7 days | 48 hours after that message came, or 14 days after its making |
//!
//! The deletion is the forward secrecy: what was recorded before can't be opened by whoever takes the disk later
//! (threat C-10).

use minicbor::{CborLen, Decode, Encode};

use crate::bundle::NewBundle;
use crate::clock::Now;
use crate::draft::SubmitError;
use crate::header::Kind;
use crate::id::{BundleId, NodeId};
use crate::limits::{
    DROPPED_MS, LIFETIME_S_DEFAULT, ONE_TIME_GRACE_MS, ONE_TIME_MAX, PREKEY_MS, PREKEY_OUTGROW_MS,
    PREKEY_RENEW_MS, PRIVATE_LIFETIME_MS_MAX, PUBLISHED_MAX,
};
use crate::prekeys::{PrekeyId, Prekeys};
use crate::private::contact::{Key, Lineage, TheirPrekey};
use crate::private::seal::PrekeySecret;
use crate::profile::REVISION_MAX;
use crate::store::{Class, Known, Priority, Shelf, Slot, Store, StoreError, StoredBundle};

use super::Custody;
use super::due::Task;

/// Sorts of prekeys, as the first byte of their keys on the shelf.
const PUBLISHED: u8 = 0;
const ONE_TIME: u8 = 1;

/// What is kept of the own published prekeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, CborLen)]
struct OwnPrekeys {
    #[n(0)]
    revision: u64,
    #[n(1)]
    bundle: Option<BundleId>,
    #[n(2)]
    made_tl_ms: u64,
    /// Newer ones came from elsewhere: the same keys are, or were, in use on another disk.
    #[n(3)]
    is_outgrown: Option<bool>,
    /// Drawn when the first ones are made in a store.
    #[n(4)]
    lineage: Option<Lineage>,
}

/// The secret half of a prekey, on the disk.
#[derive(Clone, Encode, Decode, CborLen)]
struct Kept {
    #[n(0)]
    secret: Key,
    /// Whether the one answer it was for has come.
    #[n(1)]
    used: bool,
    #[n(2)]
    made_tl_ms: u64,
}

impl<S: Store> Custody<S> {
    /// Whether others can write to this node. It publishes keys from now on, and renews them.
    pub(crate) fn set_reachable(&mut self) {
        self.is_reachable = true;
    }

    /// Publishes new prekeys if there are none, or the old ones are old.
    pub(super) fn renew_prekeys(&mut self, now: Now) -> Result<(), StoreError> {
        if !self.is_reachable || self.store.is_locked() {
            return Ok(());
        }
        let own = self.own_prekeys()?;
        let now_tl_ms = self.timeline.at(now);
        let is_held = match own.bundle {
            Some(bundle) => matches!(self.store.known(&bundle.prefix())?, Known::Held(_)),
            None => false,
        };
        let is_outgrown = own.is_outgrown == Some(true);
        let after_ms = if is_outgrown { PREKEY_OUTGROW_MS } else { PREKEY_RENEW_MS };
        if is_held && now_tl_ms < own.made_tl_ms.saturating_add(after_ms) {
            return Ok(());
        }
        match self.publish_prekeys(own, now) {
            Ok(()) => Ok(()),
            Err(SubmitError::Store(error)) => Err(error),
            // No room for them now: later.
            Err(_) => self.schedule(now_tl_ms.saturating_add(DROPPED_MS / 24), Task::RenewPrekeys, &[]),
        }
    }

    fn publish_prekeys(&mut self, own: OwnPrekeys, now: Now) -> Result<(), SubmitError> {
        let now_tl_ms = self.timeline.at(now);
        let secret = PrekeySecret::from_bytes(&self.entropy.draw());
        let today_s = now.unix_ms.map_or(0, |ms| ms / 1000);
        let revision = own.revision.saturating_add(1).max(today_s).min(REVISION_MAX);
        let lineage = own.lineage.unwrap_or_else(|| Lineage(self.entropy.draw()));
        let prekeys = Prekeys::new(revision, secret.public, lineage);
        let header = self.new_header(Kind::Prekeys, LIFETIME_S_DEFAULT as u32, Priority::Normal, now);
        let bundle = NewBundle::sign(header, prekeys.encode(), &self.identity);
        self.keep(&bundle, Class::Own, now)?;
        if let Some(older) = own.bundle {
            self.drop_outdated(&older, now)?;
        }
        let kept = Kept { secret: Key(*secret.bytes()), used: false, made_tl_ms: now_tl_ms };
        self.keep_prekey(&published_key(secret.id()), &kept)?;
        self.published.push(secret);
        let own = OwnPrekeys {
            revision,
            bundle: Some(bundle.id),
            made_tl_ms: now_tl_ms,
            is_outgrown: None,
            lineage: Some(lineage),
        };
        self.store.set_slot(Slot::Prekeys, &encoded(&own))?;
        self.schedule(now_tl_ms.saturating_add(PREKEY_RENEW_MS), Task::RenewPrekeys, &[])?;
        Ok(())
    }

    fn own_prekeys(&self) -> Result<OwnPrekeys, StoreError> {
        self.store.slot(Slot::Prekeys)?.map_or(Ok(OwnPrekeys::default()), |bytes| decoded(&bytes))
    }

    pub(super) fn prekeys_revision(&self) -> Result<u64, StoreError> {
        Ok(self.own_prekeys()?.revision)
    }

    /// Begins anew, beyond a revision: with keys that nobody has, of another lineage (threat K-04).
    pub(super) fn restore_prekeys(&mut self, beyond: u64) -> Result<(), StoreError> {
        self.store
            .set_slot(Slot::Prekeys, &encoded(&OwnPrekeys { revision: beyond, ..OwnPrekeys::default() }))
    }

    /// The same in a store that is an older copy of the node's own: what it gave out before is withdrawn, since what was
    /// given out after the copy was made is not known here.
    pub(super) fn begin_lineage(&mut self, now: Now) -> Result<(), StoreError> {
        let own = self.own_prekeys()?;
        if let Some(older) = own.bundle {
            self.drop_outdated(&older, now)?;
        }
        self.clear_shelf(Shelf::Prekey)?;
        self.published = Vec::new();
        self.restore_prekeys(own.revision)?;
        self.renew_prekeys(now)
    }

    /// Makes the next own revision higher than one that came from elsewhere, and soon: nobody has to have the secret
    /// half of those keys, so what others seal to them may never be opened (threat K-04). This store may be an old copy,
    /// so the lineage is another one, too, and so are the sessions of groups.
    fn outgrow_prekeys(&mut self, prekeys: &Prekeys, now: Now) -> Result<(), StoreError> {
        let own = self.own_prekeys()?;
        let due_tl_ms = own.made_tl_ms.saturating_add(PREKEY_OUTGROW_MS).max(self.timeline.at(now));
        let revision = own.revision.max(prekeys.revision);
        let own = OwnPrekeys { revision, is_outgrown: Some(true), lineage: None, ..own };
        self.store.set_slot(Slot::Prekeys, &encoded(&own))?;
        self.forget_own_sessions()?;
        self.schedule(due_tl_ms, Task::RenewPrekeys, &[])
    }

    /// Makes a prekey for one answer of a contact; none while it has many it did not use.
    pub(super) fn give_prekey(&mut self, to: &NodeId, now: Now) -> Result<Option<[u8; 32]>, StoreError> {
        let of_contact = [&[ONE_TIME][..], &to.0].concat();
        let mut unused = 0;
        for (key, bytes) in self.store.records(Shelf::Prekey, &of_contact, ONE_TIME_MAX * 4)? {
            if !key.starts_with(&of_contact) {
                break;
            }
            let kept: Kept = decoded(&bytes)?;
            unused += usize::from(!kept.used);
        }
        if unused >= ONE_TIME_MAX {
            return Ok(None);
        }
        let secret = PrekeySecret::from_bytes(&self.entropy.draw());
        let made_tl_ms = self.timeline.at(now);
        let kept = Kept { secret: Key(*secret.bytes()), used: false, made_tl_ms };
        self.keep_prekey(&one_time_key(to, secret.id()), &kept)?;
        Ok(Some(secret.public))
    }

    fn keep_prekey(&mut self, key: &[u8], kept: &Kept) -> Result<(), StoreError> {
        self.store.put_record(Shelf::Prekey, key, &encoded(kept))?;
        let until_tl_ms = kept.made_tl_ms.saturating_add(PREKEY_MS + PRIVATE_LIFETIME_MS_MAX);
        self.schedule(until_tl_ms, Task::DeletePrekey, key)
    }

    /// The secret half of a prekey that `from` may have sealed to.
    pub(super) fn prekey_for(&self, id: PrekeyId, from: &NodeId) -> Result<Option<PrekeySecret>, StoreError> {
        if let Some(published) = self.published.iter().find(|secret| secret.id() == id) {
            return Ok(Some(published.clone()));
        }
        let Some(bytes) = self.store.record(Shelf::Prekey, &one_time_key(from, id))? else { return Ok(None) };
        let kept: Kept = decoded(&bytes)?;
        Ok(Some(PrekeySecret::from_bytes(&kept.secret.0)))
    }

    /// A message came for a prekey: one that was for one answer is deleted soon.
    pub(super) fn use_up(&mut self, id: PrekeyId, by: &NodeId, now: Now) -> Result<(), StoreError> {
        let key = one_time_key(by, id);
        let Some(bytes) = self.store.record(Shelf::Prekey, &key)? else { return Ok(()) };
        let kept: Kept = decoded(&bytes)?;
        if kept.used {
            return Ok(());
        }
        self.store.put_record(Shelf::Prekey, &key, &encoded(&Kept { used: true, ..kept }))?;
        self.schedule(self.timeline.at(now).saturating_add(ONE_TIME_GRACE_MS), Task::DeletePrekey, &key)
    }

    pub(super) fn delete_prekey(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.store.remove_record(Shelf::Prekey, key)?;
        if key.first() == Some(&PUBLISHED) { self.load_published() } else { Ok(()) }
    }

    /// Reads the published keys' secret halves into memory. In a new place each time: what is freed is overwritten, what a list
    /// no longer counts is not.
    pub(super) fn load_published(&mut self) -> Result<(), StoreError> {
        let records = self.store.records(Shelf::Prekey, &[PUBLISHED], PUBLISHED_MAX)?;
        let published = records.into_iter().take_while(|(key, _)| key.first() == Some(&PUBLISHED));
        let secret = |(_, bytes): (Vec<u8>, Vec<u8>)| {
            let kept: Kept = decoded(&bytes)?;
            Ok(PrekeySecret::from_bytes(&kept.secret.0))
        };
        self.published = published.map(secret).collect::<Result<_, StoreError>>()?;
        Ok(())
    }

    /// Whether another node's prekeys are newer than those held; the bundle they replace.
    pub(super) fn compare_prekeys(
        &self,
        of: &NodeId,
        prekeys: &Prekeys,
    ) -> Result<(bool, Option<BundleId>), StoreError> {
        let is_newer_than = |revision| prekeys.revision > revision;
        if *of == self.id() {
            // Those this store made are known. Of its lineage and not known means that it is an old copy.
            let own = self.own_prekeys()?;
            let is_forgotten = own.lineage.is_some() && own.lineage == prekeys.lineage();
            return Ok((is_forgotten || is_newer_than(own.revision), None));
        }
        let remembered = self.contacts.get(of).map_or(0, |contact| contact.epoch_revision);
        let Some(held) = self.store.newest_of_kind(of, Kind::Prekeys.number())? else {
            return Ok((is_newer_than(remembered), None));
        };
        let known = self.store.bundle(&held)?.and_then(|bundle| Prekeys::decode(&bundle.payload).ok());
        let revision = known.map_or(0, |known| known.revision).max(remembered);
        Ok((is_newer_than(revision), Some(held)))
    }

    /// Keeps newer prekeys of another node, in place of those held; seals what waited for them.
    pub(super) fn take_prekeys(
        &mut self,
        stored: &StoredBundle,
        keys: crate::identity::PublicKeys,
        prekeys: &Prekeys,
        now: Now,
    ) -> Result<(), StoreError> {
        let of = keys.node_id();
        if of == self.id() {
            self.insert(stored)?;
            return self.outgrow_prekeys(prekeys, now);
        }
        if let (_, Some(older)) = self.compare_prekeys(&of, prekeys)? {
            self.drop_outdated(&older, now)?;
        }
        self.insert(stored)?;
        self.hear_of(&of, now)?;
        if let Some(mut contact) = self.contacts.get(&of).cloned() {
            let is_set_back = self.learn_prekeys(&mut contact, &keys, prekeys, stored);
            self.save_contact(&of, contact)?;
            if is_set_back {
                self.seal_again(&of, now)?;
            }
            self.seal_waiting(&of, now)?;
        }
        Ok(())
    }

    /// Notes prekeys of a contact, and how long they may be used: until its bundle expires. Says whether the contact
    /// has lost what it gave out before.
    pub(super) fn learn_prekeys(
        &self,
        contact: &mut crate::private::contact::Contact,
        keys: &crate::identity::PublicKeys,
        prekeys: &Prekeys,
        stored: &StoredBundle,
    ) -> bool {
        let until_tl_ms = stored
            .received_tl_ms
            .saturating_add(PREKEY_MS.saturating_sub(stored.age_ms))
            .min(stored.expires_tl_ms);
        contact.set_keys(keys);
        contact.epoch = Some(TheirPrekey { key: Key(prekeys.key), until_tl_ms });
        contact.epoch_revision = prekeys.revision;
        contact.note_lineage(prekeys.lineage())
    }
}

fn published_key(id: PrekeyId) -> Vec<u8> {
    [&[PUBLISHED][..], &id.0].concat()
}

fn one_time_key(given_to: &NodeId, id: PrekeyId) -> Vec<u8> {
    [&[ONE_TIME][..], &given_to.0, &id.0].concat()
}

/// How small records are written.
pub(super) fn encoded<T: Encode<()> + CborLen<()>>(record: &T) -> Vec<u8> {
    minicbor::to_vec(record).expect("a Vec takes every byte")
}

/// How they are read back.
pub(super) fn decoded<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|error| StoreError::Corrupt { detail: format!("a record: {error}") })
}
