//! What of a node goes into a backup, and a node made of one.
//!
//! In it are who the node's contacts are and why they are believed, what it says about itself, which channels it shows,
//! the groups it is in and whom it blocked: with the node's keys, enough to be the same person on another machine. Not in it is whatever
//! would undo the deletion of keys or be used twice after the store was set back (threat K-04): no prekey of either side,
//! no session of a group, no code that was shown, no message. The restored node publishes new keys under a new **lineage**; others then drop the
//! keys it gave them before, and seal again what it has not confirmed.
//!
//! A node that goes on from an older copy of its whole store does the same, and keeps what else is in it.

use minicbor::{CborLen, Decode, Encode};

use crate::clock::Now;
use crate::draft::{ProfileDraft, SubmitError};
use crate::event::Event;
use crate::id::NodeId;
use crate::identity::Identity;
use crate::limits::{CONTACTS_MAX, SWEEP_MAX};
use crate::private::contact::Contact;
use crate::store::{Record, Shelf, Store, StoreError};
use crate::tally::Loss;

use super::Custody;
use super::groups::GroupExport;
use super::prekeys::encoded;

/// Longest name of a record in an export.
const KEY_BYTES_MAX: usize = 128;

/// See the module's text.
#[derive(Clone, Encode, Decode, CborLen)]
pub struct Export {
    #[n(0)]
    name: Option<String>,
    #[n(1)]
    about: Option<String>,
    #[n(2)]
    avatar: Option<String>,
    #[n(3)]
    profile_revision: u64,
    #[n(4)]
    prekeys_revision: u64,
    #[n(5)]
    contacts: Vec<(NodeId, Contact)>,
    /// Public channels, as they lie on their shelf.
    #[n(6)]
    channels: Vec<Kept>,
    /// Channels with a password, likewise, with their keys.
    #[n(7)]
    secret_channels: Vec<Kept>,
    #[n(8)]
    blocked: Vec<NodeId>,
    /// None in a backup of a version without groups.
    #[n(9)]
    groups: Option<Vec<GroupExport>>,
}

/// A record.
#[derive(Clone, Encode, Decode, CborLen)]
struct Kept {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: Vec<u8>,
}

impl Export {
    /// Writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// In words, if it is no export.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let export: Self = decoder.decode().map_err(|_| "it is not what a backup holds")?;
        if decoder.position() != bytes.len() {
            return Err("something follows what a backup holds");
        }
        if export.contacts.len() > CONTACTS_MAX {
            return Err("it has more contacts than a node");
        }
        if export.groups.iter().flatten().any(|group| group.roster().is_none()) {
            return Err("it has a group whose entries don't fit together");
        }
        let mut channels = export.channels.iter().chain(&export.secret_channels);
        if channels.any(|kept| kept.key.len() > KEY_BYTES_MAX) {
            return Err("it has a channel with a longer name than channels have");
        }
        Ok(export)
    }

    /// How many contacts are in it.
    pub fn contacts(&self) -> usize {
        self.contacts.len()
    }

    /// How many groups are in it, with those the node left.
    pub fn groups(&self) -> usize {
        self.groups.as_ref().map_or(0, Vec::len)
    }

    /// The name that the node gives itself.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Says how much there is, never what.
impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("contacts", &self.contacts.len()).finish_non_exhaustive()
    }
}

impl<S: Store> Custody<S> {
    /// What of this node goes into a backup.
    pub(crate) fn export(&self) -> Result<Export, StoreError> {
        let ProfileDraft { name, about, avatar } = self.profile()?;
        let kept = |(key, value): Record| Kept { key, value };
        let on = |shelf| Ok(self.store.records(shelf, &[], usize::MAX)?.into_iter().map(kept).collect());
        Ok(Export {
            name,
            about,
            avatar,
            profile_revision: self.profile_revision()?,
            prekeys_revision: self.prekeys_revision()?,
            contacts: self.contacts().iter().map(|(id, contact)| (*id, contact.for_backup())).collect(),
            channels: on(Shelf::Channel)?,
            secret_channels: on(Shelf::SecretChannel)?,
            blocked: self.store.blocked()?,
            groups: Some(self.export_groups().0),
        })
    }

    /// Goes on as the node of a backup. Everything that belonged to the identity before goes; what is carried stays.
    pub(crate) fn restore(
        &mut self,
        identity: Identity,
        export: Export,
        now: Now,
    ) -> Result<(), SubmitError> {
        self.shed_identity(now)?;
        self.restore_prekeys(export.prekeys_revision)?;
        let public = export.channels.into_iter().map(|kept| (Shelf::Channel, kept));
        let secret = export.secret_channels.into_iter().map(|kept| (Shelf::SecretChannel, kept));
        for (shelf, Kept { key, value }) in public.chain(secret) {
            self.store.put_record(shelf, &key, &value)?;
        }
        for (id, contact) in &export.contacts {
            self.store.put_record(Shelf::Contact, &id.0, &encoded(contact))?;
        }
        self.restore_groups(export.groups.unwrap_or_default())?;
        let before = std::mem::replace(&mut self.identity, identity);
        self.identity_before.get_or_insert(before);
        self.load_private()?;
        for peer in &export.blocked {
            self.block(peer, now)?;
        }
        for (id, mut contact) in export.contacts {
            // Keys that came by already, as carried bundles.
            self.find_prekeys(&id, &mut contact)?;
            self.save_contact(&id, contact)?;
            self.log(Event::ContactChanged { peer: id }, now)?;
        }
        let profile = ProfileDraft { name: export.name, about: export.about, avatar: export.avatar };
        self.restore_profile(profile, export.profile_revision, now)?;
        self.try_channels_again(now)?;
        Ok(self.renew_prekeys(now)?)
    }

    /// Goes on from an older copy of the own store: nothing that may have been used since is used again, and nobody is
    /// left with keys whose secret halves are not here.
    pub(crate) fn begin_anew(&mut self, now: Now) -> Result<(), StoreError> {
        self.clear_shelf(Shelf::Invite)?;
        self.load_invites()?;
        self.forget_own_sessions()?;
        self.fall_behind()?;
        let contacts: Vec<(NodeId, Contact)> =
            self.contacts().iter().map(|(id, contact)| (*id, contact.clone())).collect();
        for (id, contact) in contacts.into_iter().filter(|(_, contact)| !contact.one_time.is_empty()) {
            self.save_contact(&id, Contact { one_time: Vec::new(), ..contact })?;
        }
        self.begin_lineage(now)
    }

    /// Removes what only the identity until now can use.
    fn shed_identity(&mut self, now: Now) -> Result<(), StoreError> {
        let until_tl_ms = self.forgotten_tl_ms(now);
        let old = self.id();
        loop {
            let own = self.store.bundles_of_origin(&old, SWEEP_MAX)?;
            for id in &own {
                self.drop_and_remember(id, until_tl_ms, Loss::Withdrawn)?;
            }
            if own.len() < SWEEP_MAX {
                break;
            }
        }
        Shelf::ALL.into_iter().try_for_each(|shelf| self.clear_shelf(shelf))
    }
}
