//! What members of a group tell each other, each note inside a sealed message to one of them.
//!
//! A note brings what its recipient is not known to have: entries, the keys of a session, receipts. The first thing it
//! says is where the sender's roster ends. A note that nothing confirms is sent again, some times.

#[cfg(test)]
mod bounds;

use crate::clock::Now;
use crate::group::entry::{EntryHash, GroupId, SignedEntry};
use crate::group::note::{Digest, Handed, Note, digest};
use crate::group::roster::Roster;
use crate::id::NodeId;
use crate::limits::{
    GROUP_INVITATIONS_MAX, GROUP_NOTE_BYTES_MAX, GROUP_PARENTS_MAX, GROUP_REPAIR_MS, GROUP_REPAIRS_MAX,
    GROUPS_MAX,
};
use crate::private::contact::Standing;
use crate::store::{Store, StoreError};

use super::super::Custody;
use super::super::due::Task;
use super::super::mail::Posted;
use super::{Group, Heads, Kept, Part};

/// How often a note is sent anew; it lives for 7 days each time.
const ATTEMPTS: u8 = 3;
/// Room in a note beside entries and sessions: the group, heads, receipts, and the lengths of all.
const NOTE_BYTES_BESIDE: usize = 4 * 1024;

/// How a member's roster is brought up to date.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::custody) struct Repair {
    /// When the next note goes, or the last one went.
    at_tl_ms: u64,
    /// Notes since there was news.
    tries: u32,
    /// What the member's last message said of its roster.
    said: Option<Digest>,
}

impl Group {
    /// Where a member's roster ends, as far as that is known.
    fn heads_of(&self, who: &NodeId) -> &[EntryHash] {
        self.kept.heads.iter().find(|known| known.of == *who).map_or(&[], |known| &known.heads)
    }

    fn learn_heads(&mut self, of: &NodeId, heads: &[EntryHash]) {
        let mut all = heads.to_vec();
        all.extend(self.heads_of(of).iter().filter(|old| !heads.contains(old)));
        all.truncate(GROUP_PARENTS_MAX);
        self.kept.heads.retain(|known| known.of != *of);
        self.kept.heads.push(Heads { of: *of, heads: all });
    }

    /// Whether a member and this node have the same entries, as far as is known.
    fn is_level_with(&self, who: &NodeId) -> bool {
        let heads = self.heads_of(who);
        self.has_all(heads) && self.roster.beyond(heads).next().is_none()
    }

    /// Whether all is here that somebody has whose roster ends there.
    fn has_all(&self, heads: &[EntryHash]) -> bool {
        heads.iter().all(|head| self.roster.has(head))
    }
}

impl<S: Store> Custody<S> {
    /// Tells a member what it is not known to have, and hands it sessions.
    pub(super) fn tell(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        sessions: Vec<Handed>,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.is_blocked(who) {
            return Ok(());
        }
        let Some(known) = self.groups.all.get(group) else { return Ok(()) };
        let mut room = GROUP_NOTE_BYTES_MAX - NOTE_BYTES_BESIDE;
        room = room.saturating_sub(sessions.len() * Handed::BYTES);
        let mut note = Note::new(*group, known.roster.heads());
        note.sessions = sessions;
        let mut lacking = known.roster.beyond(known.heads_of(who)).peekable();
        while let Some(entry) = lacking.next_if(|entry| entry.bytes.len() + 3 <= room) {
            room -= entry.bytes.len() + 3;
            note.entries.push(entry.clone());
        }
        // What has no room in this one follows when it is confirmed.
        let is_part = lacking.peek().is_some();
        drop(lacking);
        if is_part {
            note.heads = ends(known.heads_of(who), &note.entries);
        }
        self.post_note(who, note.encode().to_vec(), ATTEMPTS, now)
    }

    /// A note has come: its recipient has what was in it.
    pub(in crate::custody) fn note_confirmed(
        &mut self,
        by: &NodeId,
        posted: &Posted,
        now: Now,
    ) -> Result<(), StoreError> {
        let Ok(note) = Note::decode(&posted.note) else { return Ok(()) };
        let Some(known) = self.groups.all.get_mut(&note.group) else { return Ok(()) };
        known.learn_heads(by, &note.heads);
        let is_part = !note.entries.is_empty() && note.heads != known.roster.heads();
        self.save_group(&note.group)?;
        if is_part && self.is_to_be_told(&note.group, by) {
            self.tell(&note.group, by, Vec::new(), now)?;
        }
        Ok(())
    }

    /// Nothing has confirmed a note in its lifetime.
    pub(in crate::custody) fn note_unconfirmed(
        &mut self,
        to: &NodeId,
        posted: Posted,
        now: Now,
    ) -> Result<(), StoreError> {
        let Ok(note) = Note::decode(&posted.note) else { return Ok(()) };
        if posted.attempts == 0 || !self.is_to_be_told(&note.group, to) {
            return Ok(());
        }
        self.post_note(to, posted.note, posted.attempts - 1, now)
    }

    fn is_to_be_told(&self, group: &GroupId, who: &NodeId) -> bool {
        let is_in = |group: &Group| group.part_of(who) != Part::Out;
        self.groups.all.get(group).is_some_and(is_in) && !self.is_blocked(who)
    }

    /// Whether a note is taken in from that node; if so, its entries are.
    ///
    /// Of a group that is known: from whoever is in it, by its entries too. Of another one: from a contact that the
    /// user chose and that may invite, as an invitation. Everything else is as if it had not come (threat C-14).
    pub(in crate::custody) fn welcome(
        &mut self,
        peer: &NodeId,
        note: &Note,
        now: Now,
    ) -> Result<bool, StoreError> {
        let Some(known) = self.groups.all.get(&note.group) else {
            return self.welcome_invitation(peer, note, now);
        };
        let mut is_in = known.view().members.contains_key(peer);
        if !is_in {
            let mut trial = known.roster.clone();
            for entry in &note.entries {
                trial.absorb(entry.clone());
            }
            trial.settle();
            is_in = trial.view().members.contains_key(peer);
        }
        if is_in && self.take_entries(&note.group, note.entries.clone(), now)? {
            for repair in self.groups.repairs.values_mut() {
                repair.tries = 0;
            }
        }
        Ok(is_in)
    }

    fn welcome_invitation(&mut self, peer: &NodeId, note: &Note, now: Now) -> Result<bool, StoreError> {
        let is_chosen = self.contacts.get(peer).is_some_and(|contact| contact.standing == Standing::Added);
        let own = self.id();
        let others = self.groups.all.values().filter(|group| group.part_of(&own) != Part::Joined).count();
        let has_room = self.groups.all.len() < GROUPS_MAX && others < GROUP_INVITATIONS_MAX;
        if !is_chosen || !has_room {
            return Ok(false);
        }
        let first = note.entries.iter().find(|entry| entry.founds() == Some(note.group));
        let Some(mut roster) = first.cloned().and_then(Roster::new) else { return Ok(false) };
        for entry in &note.entries {
            roster.absorb(entry.clone());
        }
        roster.settle();
        let may_invite = roster.view().members.get(peer).is_some_and(|member| member.is_admin);
        if !may_invite {
            return Ok(false);
        }
        let first = roster.entries().next().cloned().expect("it has a first entry");
        let begun = Roster::new(first.clone()).expect("it is a first entry");
        let kept = Kept { since_unix_ms: now.unix_ms, ..Kept::default() };
        self.groups.all.insert(note.group, Group { roster: begun, kept });
        self.keep_entry(&note.group, &first)?;
        self.save_group(&note.group)?;
        self.take_entries(&note.group, note.entries.clone(), now)?;
        Ok(true)
    }

    /// Takes in the rest of a note that is welcome.
    pub(in crate::custody) fn take_note(
        &mut self,
        peer: &NodeId,
        note: Note,
        now: Now,
    ) -> Result<(), StoreError> {
        let group = note.group;
        let own = self.id();
        let Some(known) = self.groups.all.get_mut(&group) else { return Ok(()) };
        known.learn_heads(peer, &note.heads);
        if known.has_all(known.heads_of(peer)) && known.part_of(peer) == Part::Joined {
            known.kept.is_behind = None;
        }
        let is_level = known.is_level_with(peer);
        let takes_sessions = known.part_of(&own) == Part::Joined && known.part_of(peer) != Part::Out;
        self.save_group(&group)?;
        if !is_level {
            self.plan_repair(&group, peer, None, now)?;
        }
        if takes_sessions && !note.sessions.is_empty() {
            self.take_sessions(&group, peer, note.sessions, now)?;
        }
        for (message, stage) in note.receipts {
            self.take_group_receipt(&group, peer, &message, stage, now)?;
        }
        Ok(())
    }

    /// A member's roster seems to end elsewhere: unless that settles itself in a while, it is told.
    pub(super) fn plan_repair(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        said: Option<Digest>,
        now: Now,
    ) -> Result<(), StoreError> {
        let now_tl_ms = self.timeline.at(now);
        let repair = self.groups.repairs.entry((*group, *who)).or_default();
        repair.said = said.or(repair.said);
        if repair.at_tl_ms > now_tl_ms || repair.tries >= GROUP_REPAIRS_MAX {
            return Ok(());
        }
        repair.at_tl_ms = now_tl_ms.saturating_add(GROUP_REPAIR_MS);
        let at_tl_ms = repair.at_tl_ms;
        self.schedule(at_tl_ms, Task::RepairGroup, &[&group.0[..], &who.0].concat())
    }

    /// Tells a member what it lacks, or what this node has, if the two still differ.
    pub(in crate::custody) fn repair(&mut self, what: &[u8], now: Now) -> Result<(), StoreError> {
        let Some((group, who)) = what.split_first_chunk() else { return Ok(()) };
        let (Ok(who), group) = (who.try_into(), GroupId(*group)) else { return Ok(()) };
        let who = NodeId(who);
        let Some(known) = self.groups.all.get(&group) else { return Ok(()) };
        let own = digest(&known.roster.heads());
        let repair = self.groups.repairs.entry((group, who)).or_default();
        let said = repair.said.take();
        let differs = !known.is_level_with(&who) || said.is_some_and(|said| said != own);
        if !differs || known.part_of(&self.identity.node_id()) == Part::Out {
            return Ok(());
        }
        repair.tries += 1;
        if self.is_to_be_told(&group, &who) { self.tell(&group, &who, Vec::new(), now) } else { Ok(()) }
    }
}

/// Where a roster ends that ended there and then got these entries.
fn ends(before: &[EntryHash], entries: &[SignedEntry]) -> Vec<EntryHash> {
    let is_named = |hash: &EntryHash| entries.iter().any(|entry| entry.entry.parents.contains(hash));
    let all = before.iter().copied().chain(entries.iter().map(|entry| entry.hash));
    let mut ends: Vec<EntryHash> = all.filter(|hash| !is_named(hash)).collect();
    ends.sort();
    ends.dedup();
    ends.truncate(GROUP_PARENTS_MAX);
    ends
}
