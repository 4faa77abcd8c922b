//! What of groups goes into a backup, and what a member does for another one that was restored from one.
//!
//! In it is what was signed: the entries of each roster, and with them whether this node is a member. Not in it is any
//! session. To go on with an own one would use its indices twice, and others' are deleted on schedule (threat K-04). So a
//! restored member begins a session of its own, and is handed those of the others as soon as they hear of its new lineage.
//! They hand them over **from the first message on that it has not confirmed**: what it has shown before does not come back as
//! news (threat R-02).
//!
//! Who is a member may have changed since the backup was made. So nothing is sent to a group before everything is here that
//! one other member has of it: what came with its first note after the restoration, and whatever that names.

#[cfg(test)]
mod bounds;

use minicbor::bytes::ByteVec;
use minicbor::{CborLen, Decode, Encode};

use crate::clock::Now;
use crate::event::MessageStatus;
use crate::group::entry::{GroupId, SignedEntry};
use crate::group::note::{Handed, message_id};
use crate::group::roster::{Absorbed, Roster};
use crate::group::sender::SessionKey;
use crate::id::NodeId;
use crate::limits::{GROUP_BACKUP_BYTES_MAX, GROUP_SESSION_MESSAGES_MAX};
use crate::store::{Shelf, Store, StoreError};

use super::super::Custody;
use super::super::prekeys::encoded;
use super::{Group, HeldSession, Kept, Part};

/// A group as it is in a backup.
#[derive(Clone, Encode, Decode, CborLen)]
pub(in crate::custody) struct GroupExport {
    #[n(0)]
    since_unix_ms: Option<u64>,
    /// What is before another one first.
    #[n(1)]
    entries: Vec<ByteVec>,
}

impl GroupExport {
    fn of(group: &Group) -> Self {
        let entries = group.roster.entries().map(|entry| ByteVec::from(entry.bytes.clone()));
        Self { since_unix_ms: group.kept.since_unix_ms, entries: entries.collect() }
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.len()).sum()
    }

    /// The roster in it; `None` if it is none. Who signed the entries was checked when they came.
    pub(in crate::custody) fn roster(&self) -> Option<Roster> {
        let mut entries = self.entries.iter().map(|bytes| SignedEntry::decode_kept(bytes).ok());
        let mut roster = Roster::new(entries.next()??)?;
        for entry in entries {
            (roster.absorb(entry?) == Absorbed::New).then_some(())?;
        }
        roster.settle();
        Some(roster)
    }
}

impl<S: Store> Custody<S> {
    /// The groups for a backup, and how many had no room in it: those that this node left give way first, then the
    /// largest.
    pub(in crate::custody) fn export_groups(&self) -> (Vec<GroupExport>, usize) {
        let own = self.id();
        let all = self.groups.all.values();
        let mut all: Vec<_> =
            all.map(|group| (group.part_of(&own) == Part::Out, GroupExport::of(group))).collect();
        all.sort_by_key(|(is_out, export)| (*is_out, export.bytes()));
        let count = all.len();
        let mut room = GROUP_BACKUP_BYTES_MAX;
        let mut kept = Vec::new();
        for (_, export) in all {
            let Some(left) = room.checked_sub(export.bytes()) else { break };
            room = left;
            kept.push(export);
        }
        let left_out = count - kept.len();
        (kept, left_out)
    }

    /// Puts the groups of a backup on their shelves.
    pub(in crate::custody) fn restore_groups(&mut self, groups: Vec<GroupExport>) -> Result<(), StoreError> {
        for export in groups {
            let Some(roster) = export.roster() else { continue };
            let group = roster.id();
            for entry in roster.entries() {
                self.keep_entry(&group, entry)?;
            }
            let kept = Kept { since_unix_ms: export.since_unix_ms, is_behind: Some(true), ..Kept::default() };
            self.store.put_record(Shelf::Group, &group.0, &encoded(&kept))?;
        }
        Ok(())
    }

    /// Holds back what is said to groups until their members have been heard: this is an older copy of the store.
    pub(in crate::custody) fn fall_behind(&mut self) -> Result<(), StoreError> {
        let groups: Vec<GroupId> = self.groups.all.keys().copied().collect();
        for group in groups {
            if let Some(known) = self.groups.all.get_mut(&group) {
                known.kept.is_behind = Some(true);
                known.kept.heads.clear();
            }
            self.save_group(&group)?;
        }
        Ok(())
    }

    /// A member has lost what it had: it gets rosters as a whole, and sessions again.
    pub(in crate::custody) fn start_over_with(&mut self, who: &NodeId, now: Now) -> Result<(), StoreError> {
        let in_common = self.groups.all.iter().filter(|(_, group)| group.part_of(who) != Part::Out);
        let in_common: Vec<GroupId> = in_common.map(|(id, _)| *id).collect();
        for group in in_common {
            let sessions = self.unconfirmed_sessions(&group, who)?;
            let own = self.id();
            let Some(known) = self.groups.all.get_mut(&group) else { continue };
            known.kept.heads.retain(|heads| heads.of != *who);
            if let Some(session) = &mut known.kept.own {
                session.given.retain(|given| given != who);
                let current = session.sender.key().session();
                if sessions.iter().any(|handed| handed.key.session() == current) {
                    session.given.push(*who);
                }
            }
            let is_member = known.part_of(&own) == Part::Joined;
            self.save_group(&group)?;
            if is_member {
                self.tell(&group, who, sessions, now)?;
            }
        }
        Ok(())
    }

    /// The own sessions, each from the message on that a member and all later ones are not confirmed by.
    fn unconfirmed_sessions(&self, group: &GroupId, who: &NodeId) -> Result<Vec<Handed>, StoreError> {
        let own = self.id();
        let mut sessions = Vec::new();
        for held in self.groups.sessions.values().filter(|held| held.group == *group && held.from == own) {
            if let Some(key) = self.unconfirmed_part(held, who)? {
                sessions.push(Handed { cover: held.cover.0, key });
            }
        }
        Ok(sessions)
    }

    fn unconfirmed_part(&self, held: &HeldSession, who: &NodeId) -> Result<Option<SessionKey>, StoreError> {
        let mut first = None;
        for index in (held.key.index()..GROUP_SESSION_MESSAGES_MAX).rev() {
            let id = message_id(&held.group, &held.key.session(), index);
            let Some(sent) = self.sent_to_group(&id)? else {
                // Above the last one there is none.
                if first.is_some() { break } else { continue }
            };
            let recipient = sent.recipients.iter().find(|recipient| recipient.id == *who);
            if recipient.is_none_or(|recipient| recipient.status != MessageStatus::Pending) {
                break;
            }
            first = Some(index);
        }
        Ok(first.and_then(|index| held.key.from(index)))
    }
}
