//! Groups of this node: founded, joined, changed and left; what is kept of them.
//!
//! ```text
//!  groups (here)   the roster and what is done to it
//!  groups/notes    what members tell each other in sealed messages, sent, sent again, taken in
//!  groups/mail     messages to the group: own sessions, opening
//!  groups/receipts who has an own message
//!  groups/backup  what of it goes into a backup, and what a restored member gets again
//! ```
//!
//! Everything that changes a group is an entry, put on the shelf, sent to everybody in it. Whoever did not get it is told
//! again: with the next note, or when a roster that ends elsewhere shows that somebody lacks something.

mod backup;
#[cfg(test)]
mod bounds;
mod mail;
mod notes;
#[cfg(test)]
mod ordeal;
mod receipts;

pub(in crate::custody) use backup::GroupExport;
pub(in crate::custody) use mail::UNHEARD;
pub use mail::conversation_of;
pub use receipts::Recipient;

use std::collections::BTreeMap;

use minicbor::{CborLen, Decode, Encode};

use crate::clock::Now;
use crate::draft::{GroupDraft, GroupError};
use crate::event::Event;
use crate::group::entry::{Act, Entry, EntryHash, GroupId, SignedEntry};
use crate::group::roster::{Roster, View};
use crate::group::sender::{Sender, SessionId, SessionKey};
use crate::id::NodeId;
use crate::identity::PublicKeys;
use crate::limits::{GROUP_ENTRIES_MAX, GROUP_MEMBERS_MAX, GROUPS_MAX};
use crate::private::contact::{Contact, Key, Standing};
use crate::profile::check_name;
use crate::store::{Shelf, Store, StoreError};

use super::Custody;
use super::prekeys::{decoded, encoded};

/// What this node has to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is a member.
    Joined,
    /// It is invited and has not answered.
    Invited,
    /// It left, declined, or was removed.
    Out,
}

/// A group as this node knows it.
pub struct Group {
    pub(super) roster: Roster,
    pub(super) kept: Kept,
}

/// What is kept of a group beside its entries.
#[derive(Clone, Default, Encode, Decode, CborLen)]
pub(super) struct Kept {
    /// Since when it is known here, in milliseconds since 1970.
    #[n(0)]
    pub(super) since_unix_ms: Option<u64>,
    /// The session this node sends with.
    #[n(1)]
    pub(super) own: Option<OwnSession>,
    /// Where the others' rosters end, as far as they have said or confirmed.
    #[n(2)]
    pub(super) heads: Vec<Heads>,
    /// Set while the entries are those of a backup, and no member has said since what came after them.
    #[n(3)]
    pub(super) is_behind: Option<bool>,
}

/// Where a member's roster ends.
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct Heads {
    #[n(0)]
    pub(super) of: NodeId,
    #[n(1)]
    pub(super) heads: Vec<EntryHash>,
}

/// See [`Kept::own`].
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct OwnSession {
    #[n(0)]
    pub(super) sender: Sender,
    #[n(1)]
    pub(super) cover: Key,
    #[n(2)]
    pub(super) made_tl_ms: u64,
    /// Who has its key, or will have it with the next note that arrives.
    #[n(3)]
    pub(super) given: Vec<NodeId>,
    /// The run of the program that began it. Another one may have an older copy of the store, in which indices that were
    /// used are still free (threat K-04).
    #[n(4)]
    pub(super) run: Option<Run>,
}

/// Names a run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub(in crate::custody) struct Run(#[cbor(with = "minicbor::bytes")] pub(in crate::custody) [u8; 8]);

/// A session that can be read, an own one too.
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct HeldSession {
    #[n(0)]
    pub(super) group: GroupId,
    #[n(1)]
    pub(super) from: NodeId,
    #[n(2)]
    pub(super) cover: Key,
    #[n(3)]
    pub(super) key: SessionKey,
    /// Indices that were shown, a bit for each.
    #[n(4)]
    pub(super) seen: [u64; 2],
    #[n(5)]
    pub(super) came_tl_ms: u64,
}

/// What is remembered of all groups while the node runs.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) all: BTreeMap<GroupId, Group>,
    /// By whose they are: somebody who was given a session could pass it off as its own.
    pub(super) sessions: BTreeMap<(NodeId, SessionId), HeldSession>,
    pub(super) repairs: BTreeMap<(GroupId, NodeId), notes::Repair>,
}

impl Group {
    /// Who is in, and what it is called.
    pub fn view(&self) -> &View {
        self.roster.view()
    }

    /// Since when it is known here, in milliseconds since 1970, if that was known.
    pub fn since_unix_ms(&self) -> Option<u64> {
        self.kept.since_unix_ms
    }

    /// Who invited that node last.
    pub fn invited_by(&self, id: &NodeId) -> Option<NodeId> {
        let invites =
            |signed: &&SignedEntry| matches!(&signed.entry.act, Act::Add { who, .. } if who.node_id() == *id);
        self.roster.entries().filter(invites).last().map(SignedEntry::author)
    }

    /// What that node has to do with it.
    pub fn part_of(&self, id: &NodeId) -> Part {
        match self.view().members.get(id) {
            Some(member) if member.is_joined => Part::Joined,
            Some(_) => Part::Invited,
            None => Part::Out,
        }
    }
}

impl<S: Store> Custody<S> {
    /// The groups, by id; with those that were left.
    pub(crate) fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups.all
    }

    /// Founds a group and invites its first members.
    pub(crate) fn found_group(&mut self, draft: GroupDraft, now: Now) -> Result<GroupId, GroupError> {
        check_name(&draft.name).map_err(|problem| GroupError::BadName { problem })?;
        if self.groups.all.len() >= GROUPS_MAX {
            return Err(GroupError::TooManyGroups { max: GROUPS_MAX });
        }
        if draft.members.len() >= GROUP_MEMBERS_MAX {
            return Err(GroupError::TooManyMembers { max: GROUP_MEMBERS_MAX });
        }
        let keys =
            draft.members.iter().map(|who| self.invitable(who)).collect::<Result<Vec<_>, GroupError>>()?;
        let salt = self.entropy.draw();
        let act = Act::Create { name: draft.name, history: draft.history, salt };
        let first = Entry { parents: Vec::new(), author: self.identity.public(), act }.sign(&self.identity);
        let roster = Roster::new(first.clone()).expect("it is a first entry");
        let group = roster.id();
        let kept = Kept { since_unix_ms: now.unix_ms, ..Kept::default() };
        self.groups.all.insert(group, Group { roster, kept });
        self.keep_entry(&group, &first)?;
        self.save_group(&group)?;
        let keys: BTreeMap<NodeId, PublicKeys> =
            keys.into_iter().map(|keys| (keys.node_id(), keys)).collect();
        let acts = keys.into_values().map(|who| Act::Add { who, is_admin: false }).collect();
        self.act(&group, acts, now)?;
        self.log(Event::GroupChanged { group }, now)?;
        Ok(group)
    }

    /// Invites a contact, or makes a member an administrator.
    pub(crate) fn invite(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        is_admin: bool,
        now: Now,
    ) -> Result<(), GroupError> {
        let members = &self.administered(group)?.view().members;
        let keys = match members.get(who) {
            Some(member) if member.is_admin || !is_admin => return Err(GroupError::AlreadyIn { who: *who }),
            Some(member) => member.keys,
            None if members.len() >= GROUP_MEMBERS_MAX => {
                return Err(GroupError::TooManyMembers { max: GROUP_MEMBERS_MAX });
            }
            None => self.invitable(who)?,
        };
        // Whoever comes back may have come back without what it had.
        if let Some(known) = self.groups.all.get_mut(group) {
            known.kept.heads.retain(|heads| heads.of != *who);
        }
        self.act(group, vec![Act::Add { who: keys, is_admin }], now)
    }

    /// Accepts an invitation.
    pub(crate) fn join_group(&mut self, group: &GroupId, now: Now) -> Result<(), GroupError> {
        match self.known_group(group)?.part_of(&self.id()) {
            Part::Invited => self.act(group, vec![Act::Join], now),
            Part::Joined => Err(GroupError::AlreadyIn { who: self.id() }),
            Part::Out => Err(GroupError::NotInvited { group: *group }),
        }
    }

    /// Leaves a group, or declines an invitation.
    pub(crate) fn leave_group(&mut self, group: &GroupId, now: Now) -> Result<(), GroupError> {
        if self.known_group(group)?.part_of(&self.id()) == Part::Out {
            return Err(GroupError::NotMember { group: *group });
        }
        self.act(group, vec![Act::Leave], now)
    }

    /// Removes a member, or takes an invitation back.
    pub(crate) fn remove_member(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        now: Now,
    ) -> Result<(), GroupError> {
        if *who == self.id() {
            return self.leave_group(group, now);
        }
        if !self.administered(group)?.view().members.contains_key(who) {
            return Err(GroupError::NoMember { who: *who });
        }
        let act = Act::Remove { who: *who };
        let mut trial = self.administered(group)?.roster.clone();
        trial.absorb(self.signed(&trial, act.clone()));
        trial.settle();
        if trial.view().members.contains_key(who) {
            return Err(GroupError::Senior { who: *who });
        }
        self.act(group, vec![act], now)
    }

    /// Gives a group another name.
    pub(crate) fn rename_group(&mut self, group: &GroupId, name: String, now: Now) -> Result<(), GroupError> {
        check_name(&name).map_err(|problem| GroupError::BadName { problem })?;
        if self.administered(group)?.view().name == name {
            return Ok(());
        }
        self.act(group, vec![Act::Rename { name }], now)
    }

    /// Chooses whether new members get what was sent before.
    pub(crate) fn set_history(&mut self, group: &GroupId, history: bool, now: Now) -> Result<(), GroupError> {
        if self.administered(group)?.view().history == history {
            return Ok(());
        }
        self.act(group, vec![Act::Policy { history }], now)
    }

    pub(super) fn known_group(&self, group: &GroupId) -> Result<&Group, GroupError> {
        self.groups.all.get(group).ok_or(GroupError::Unknown { group: *group })
    }

    /// A group that this node may change.
    fn administered(&self, group: &GroupId) -> Result<&Group, GroupError> {
        let known = self.known_group(group)?;
        match known.view().members.get(&self.id()) {
            Some(own) if own.is_admin && own.is_joined => Ok(known),
            Some(own) if own.is_joined => Err(GroupError::NotAdmin { group: *group }),
            Some(_) | None => Err(GroupError::NotMember { group: *group }),
        }
    }

    /// The keys of somebody who can be invited: a contact, so that it takes an invitation from here.
    fn invitable(&self, who: &NodeId) -> Result<PublicKeys, GroupError> {
        if *who == self.id() {
            return Err(GroupError::AlreadyIn { who: *who });
        }
        let contact = self.contacts.get(who).filter(|contact| contact.standing == Standing::Added);
        let Some(contact) = contact else { return Err(GroupError::NoContact { who: *who }) };
        if self.is_blocked(who) {
            return Err(GroupError::Blocked { who: *who });
        }
        contact.keys().ok_or(GroupError::NoKeys { who: *who })
    }

    /// Does something to a group, and tells everybody in it; those too who are out by it.
    fn act(&mut self, group: &GroupId, acts: Vec<Act>, now: Now) -> Result<(), GroupError> {
        let known = self.known_group(group)?;
        if known.roster.entries().count() + acts.len() > GROUP_ENTRIES_MAX {
            return Err(GroupError::TooManyEntries { max: GROUP_ENTRIES_MAX });
        }
        let before: Vec<NodeId> = known.view().members.keys().copied().collect();
        for act in acts {
            let signed = self.signed(&self.known_group(group)?.roster, act);
            self.take_entries(group, vec![signed], now)?;
        }
        let after = self.known_group(group)?.view().members.keys().copied();
        let own = self.id();
        let mut told: Vec<NodeId> = before.into_iter().chain(after).filter(|id| *id != own).collect();
        told.sort();
        told.dedup();
        for who in told {
            self.tell(group, &who, Vec::new(), now)?;
        }
        Ok(())
    }

    fn signed(&self, roster: &Roster, act: Act) -> SignedEntry {
        Entry { parents: roster.heads(), author: self.identity.public(), act }.sign(&self.identity)
    }

    /// Takes entries into a group that is known, and does what follows from them; says whether there was news.
    pub(super) fn take_entries(
        &mut self,
        group: &GroupId,
        entries: Vec<SignedEntry>,
        now: Now,
    ) -> Result<bool, StoreError> {
        let Some(known) = self.groups.all.get_mut(group) else { return Ok(false) };
        let before = known.roster.view().clone();
        let count = known.roster.entries().count();
        for entry in entries {
            known.roster.absorb(entry);
        }
        let placed: Vec<SignedEntry> = known.roster.entries().skip(count).cloned().collect();
        if placed.is_empty() {
            return Ok(false);
        }
        let is_changed = known.roster.settle();
        for entry in &placed {
            self.keep_entry(group, entry)?;
        }
        if is_changed {
            self.follow_roster(group, &before, now)?;
            self.log(Event::GroupChanged { group: *group }, now)?;
        }
        Ok(true)
    }

    /// What a changed roster means for contacts and sessions.
    fn follow_roster(&mut self, group: &GroupId, before: &View, now: Now) -> Result<(), StoreError> {
        let after = self.groups.all[group].view().clone();
        self.know_fellows(&after, now)?;
        self.roll_up_all(group, before, &after, now)?;
        for gone in before.members.keys().filter(|id| !after.members.contains_key(id)) {
            self.forget_sessions_of(group, gone)?;
        }
        let own = self.id();
        match after.members.get(&own) {
            Some(member) if member.is_joined => {}
            Some(_) | None => return self.forget_all_sessions(group),
        }
        let had_joined = |id: &NodeId| before.members.get(id).is_some_and(|member| member.is_joined);
        let is_new = |id: &NodeId| *id != own && !had_joined(id);
        let joined = after.members.iter().filter(|(_, member)| member.is_joined);
        let newcomers: Vec<NodeId> = joined.map(|(id, _)| *id).filter(is_new).collect();
        for who in newcomers.iter().filter(|_| after.history) {
            self.hand_over_history(group, who, now)?;
        }
        Ok(())
    }

    /// Everybody in a group can be written to, by the keys in its roster.
    fn know_fellows(&mut self, view: &View, now: Now) -> Result<(), StoreError> {
        let now_tl_ms = self.timeline.at(now);
        for (id, member) in &view.members {
            if *id == self.id() || self.contacts.get(id).is_some_and(|contact| contact.keys().is_some()) {
                continue;
            }
            let known = self.contacts.get(id).cloned();
            let mut contact = known.unwrap_or_else(|| Contact::new(Standing::Fellow, now_tl_ms, now.unix_ms));
            contact.set_keys(&member.keys);
            self.find_prekeys(id, &mut contact)?;
            self.save_contact(id, contact)?;
        }
        Ok(())
    }

    /// Whoever is removed from the contacts and is in a group stays a fellow.
    pub(super) fn keep_as_fellow(&mut self, id: &NodeId, now: Now) -> Result<(), StoreError> {
        let views: Vec<View> = self.groups.all.values().map(|group| group.view().clone()).collect();
        for view in views.iter().filter(|view| view.members.contains_key(id)) {
            self.know_fellows(view, now)?;
        }
        Ok(())
    }

    /// Whether a node is known by a group.
    pub(super) fn is_fellow(&self, id: &NodeId) -> bool {
        let is_fellow = |contact: &Contact| contact.standing == Standing::Fellow;
        self.contacts.get(id).is_some_and(is_fellow) && !self.is_blocked(id)
    }

    fn keep_entry(&mut self, group: &GroupId, entry: &SignedEntry) -> Result<(), StoreError> {
        self.store.put_record(Shelf::GroupEntry, &entry_key(group, &entry.hash), &entry.bytes)
    }

    pub(super) fn save_group(&mut self, group: &GroupId) -> Result<(), StoreError> {
        let Some(known) = self.groups.all.get(group) else { return Ok(()) };
        self.store.put_record(Shelf::Group, &group.0, &encoded(&known.kept))
    }

    /// Reads groups and sessions into memory.
    pub(super) fn load_groups(&mut self) -> Result<(), StoreError> {
        self.groups = Groups::default();
        let mut entries: BTreeMap<GroupId, Vec<SignedEntry>> = BTreeMap::new();
        for (key, bytes) in self.store.records(Shelf::GroupEntry, &[], usize::MAX)? {
            let entry = SignedEntry::decode_kept(&bytes).map_err(|error| damaged(error.0))?;
            let group = key.first_chunk().ok_or_else(|| damaged("one without a group"))?;
            entries.entry(GroupId(*group)).or_default().push(entry);
        }
        for (group, entries) in entries {
            let first = entries.iter().find(|entry| entry.founds() == Some(group)).cloned();
            let mut roster =
                first.and_then(Roster::new).ok_or_else(|| damaged("none of them is the first"))?;
            for entry in entries {
                roster.absorb(entry);
            }
            roster.settle();
            let kept = self.store.record(Shelf::Group, &group.0)?;
            let kept = kept.map_or(Ok(Kept::default()), |bytes| decoded(&bytes))?;
            self.groups.all.insert(group, Group { roster, kept });
        }
        for (_, bytes) in self.store.records(Shelf::GroupSession, &[], usize::MAX)? {
            let session: HeldSession = decoded(&bytes)?;
            self.groups.sessions.insert((session.from, session.key.session()), session);
        }
        Ok(())
    }

    /// Forgets whom this node knew by a group only and is in none any more.
    pub(super) fn forget_old_fellows(&mut self) -> Result<(), StoreError> {
        let is_in = |id: &NodeId| self.groups.all.values().any(|group| group.view().members.contains_key(id));
        let fellows = self.contacts.iter().filter(|(_, contact)| contact.standing == Standing::Fellow);
        let old: Vec<NodeId> = fellows.map(|(id, _)| *id).filter(|id| !is_in(id)).collect();
        for id in old {
            self.contacts.remove(&id);
            self.pairs.remove(&id);
            self.store.remove_record(Shelf::Contact, &id.0)?;
        }
        Ok(())
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt { detail: format!("a group's entries: {what}") }
}

fn entry_key(group: &GroupId, hash: &EntryHash) -> Vec<u8> {
    [&group.0[..], &hash.0].concat()
}
