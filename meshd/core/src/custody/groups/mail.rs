//! Messages to groups: encrypted once for all members, and opened.
//!
//! A new session begins with the first message after somebody who has the old one's key left or was removed, after 100
//! messages, and after 7 days. Whoever joins gets the session from the next message on; with the policy for it, from its
//! first one. A bundle whose session is not known yet is carried like any other, and tried when a session comes.

#[cfg(test)]
mod bounds;

use crate::bundle::Bundle;
use crate::clock::Now;
use crate::draft::{GroupMessageDraft, SubmitError};
use crate::event::{Event, LinkKind, LoggedEvent, MessageStatus};
use crate::group::cover::{CoverKey, Covered};
use crate::group::entry::GroupId;
use crate::group::note::{Handed, Words, digest, message_id};
use crate::group::sender::{Sender, SessionId};
use crate::header::{Header, Kind};
use crate::id::{BundleId, NodeId, Seq};
use crate::limits::{
    CREATED_UNIX_MS_MAX, GROUP_LIFETIME_S_MAX, GROUP_SESSION_KEPT_MS, GROUP_SESSION_MESSAGES_MAX,
    GROUP_SESSION_MS_MAX, GROUP_SESSIONS_OF_MEMBER_MAX, GROUP_TRIES_MAX, LIFETIME_S_MIN, SWEEP_MAX,
};
use crate::private::contact::{Key, ReceiptChoice, Trust};
use crate::receipt::Stage;
use crate::store::{Class, HandOverStep, MessageRecord, Protection, Shelf, Store, StoreError, StoredBundle};

use super::super::Custody;
use super::super::due::Task;
use super::super::mail::protection_of;
use super::super::opening::OpenedMessage;
use super::super::own::check_text;
use super::super::prekeys::encoded;
use super::receipts::{Recipient, Sent};
use super::{HeldSession, OwnSession, Part};

/// Where bundles of groups are listed whose session is not known. No channel has such a name.
pub(in crate::custody) const UNHEARD: &str = "group";

/// What a bundle of a group that this node can read says.
pub(in crate::custody) struct Heard {
    session: (NodeId, SessionId),
    index: u32,
    words: Words,
}

impl HeldSession {
    fn open(&self, bundle: &Bundle<'_>, covered: &Covered) -> Option<(u32, Words)> {
        let message = CoverKey(&self.cover.0).uncover(&bundle.header, covered)?;
        let said = self.key.open(&message)?;
        let words = Words::decode(&said.plain).ok()?;
        let is_bound = words.group == self.group
            && words.author == self.from
            && words.priority == bundle.header.priority;
        is_bound.then_some((said.index, words))
    }

    fn bit(index: u32) -> (usize, u64) {
        ((index / 64) as usize % 2, 1 << (index % 64))
    }

    fn has_seen(&self, index: u32) -> bool {
        let (word, bit) = Self::bit(index);
        self.seen[word] & bit != 0
    }

    fn see(&mut self, index: u32) {
        let (word, bit) = Self::bit(index);
        self.seen[word] |= bit;
    }
}

impl<S: Store> Custody<S> {
    /// Encrypts a message for everybody in a group, and hands the key to those who lack it.
    pub(crate) fn submit_to_group(
        &mut self,
        draft: GroupMessageDraft,
        now: Now,
    ) -> Result<BundleId, SubmitError> {
        check_text(&draft.text)?;
        let lifetime_s = draft.lifetime_s.unwrap_or(GROUP_LIFETIME_S_MAX);
        if !(LIFETIME_S_MIN..=GROUP_LIFETIME_S_MAX).contains(&lifetime_s) {
            return Err(SubmitError::BadLifetime { min: LIFETIME_S_MIN, max: GROUP_LIFETIME_S_MAX });
        }
        let (group, own) = (draft.group, self.id());
        let Some(known) = self.groups.all.get(&group).filter(|group| group.part_of(&own) == Part::Joined)
        else {
            return Err(SubmitError::NotInGroup { group });
        };
        let is_alone = !known.view().members.iter().any(|(id, member)| member.is_joined && *id != own);
        if known.kept.is_behind == Some(true) && !is_alone {
            return Err(SubmitError::BehindGroup { group });
        }
        let heads = digest(&known.roster.heads());
        let joined = known.view().members.iter().filter(|(id, member)| member.is_joined && **id != own);
        let recipients: Vec<NodeId> = joined.map(|(id, _)| *id).filter(|id| !self.is_blocked(id)).collect();
        let mut session = self.current_session(&group, now);
        let newcomers = self.newcomers(&session, &recipients);
        let handed = Handed { cover: session.cover.0, key: session.sender.key() };
        let id = message_id(&group, &handed.key.session(), session.sender.index());
        let chooses_read = |who: &NodeId| {
            self.contacts.get(who).is_some_and(|contact| contact.receipts == ReceiptChoice::Read)
        };
        let words = Words {
            group,
            author: own,
            digest: heads,
            created_unix_ms: now.unix_ms.filter(|ms| *ms <= CREATED_UNIX_MS_MAX),
            priority: draft.priority,
            wants_read: recipients.iter().any(chooses_read),
            text: draft.text,
            reply_to: draft.reply_to,
        };
        let is_first = session.sender.index() == 0;
        let message = session.sender.seal(&words.encode());
        let header = Header::bare(Kind::Group, lifetime_s as u32, draft.priority);
        let nonce = self.entropy.draw();
        let bundle = CoverKey(&session.cover.0)
            .cover(header, &message, nonce)
            .expect("the longest text fits into a bundle");
        self.keep_hidden(&bundle, Class::Own, &None, now)?;
        if is_first {
            self.hold_session(&group, &own, handed.clone(), now)?;
        }
        for who in &newcomers {
            self.tell(&group, who, vec![handed.clone()], now)?;
        }
        session.given.extend(newcomers);
        self.set_own_session(&group, Some(session))?;
        let recipients = recipients.into_iter().map(|id| Recipient { id, status: MessageStatus::Pending });
        let sent = Sent { group, bundle: bundle.id, recipients: recipients.collect() };
        self.store.put_record(Shelf::GroupSent, &id.0, &encoded(&sent))?;
        self.store.put_record(Shelf::Sent, &bundle.id.0, &id.0)?;
        let expires_tl_ms = self.timeline.at(now).saturating_add(lifetime_s * 1000);
        self.schedule(expires_tl_ms, Task::GiveUpGroup, &id.0)?;
        self.show_own_words(id, words, &sent, expires_tl_ms, now)?;
        Ok(id)
    }

    /// The session to send with: the last one, unless its time is over or somebody has it who should not.
    fn current_session(&mut self, group: &GroupId, now: Now) -> OwnSession {
        let now_tl_ms = self.timeline.at(now);
        let known = &self.groups.all[group];
        let is_good = |own: &&OwnSession| {
            own.run == Some(self.run)
                && own.sender.index() < GROUP_SESSION_MESSAGES_MAX
                && now_tl_ms.saturating_sub(own.made_tl_ms) < GROUP_SESSION_MS_MAX
                && own.given.iter().all(|who| known.part_of(who) != Part::Out && !self.is_blocked(who))
        };
        if let Some(own) = known.kept.own.as_ref().filter(is_good) {
            return own.clone();
        }
        let sender = Sender::draw(&mut self.entropy);
        OwnSession {
            sender,
            cover: Key(self.entropy.draw()),
            made_tl_ms: now_tl_ms,
            given: Vec::new(),
            run: Some(self.run),
        }
    }

    /// Who is to get a session's key. Whoever has a rival gets none before the user has decided.
    fn newcomers(&self, session: &OwnSession, recipients: &[NodeId]) -> Vec<NodeId> {
        let is_certain =
            |who: &&NodeId| self.contacts.get(who).is_some_and(|contact| contact.rival.is_none());
        recipients.iter().filter(|who| !session.given.contains(who)).filter(is_certain).copied().collect()
    }

    fn show_own_words(
        &mut self,
        id: BundleId,
        words: Words,
        sent: &Sent,
        expires_tl_ms: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        let is_verified = |recipient: &Recipient| {
            self.contacts.get(&recipient.id).is_some_and(|contact| contact.trust == Trust::Verified)
        };
        let all_verified = !sent.recipients.is_empty() && sent.recipients.iter().all(is_verified);
        let mut message = MessageRecord {
            seq: Seq(0),
            id,
            conversation: conversation_of(&words.group),
            from: Some(self.id()),
            from_alias: None,
            own: true,
            text: words.text,
            created_unix_ms: words.created_unix_ms,
            received_unix_ms: now.unix_ms,
            status: MessageStatus::Pending,
            status_reason: None,
            priority: words.priority,
            expires_tl_ms,
            reply_to: words.reply_to,
            read: true,
            protection: if all_verified { Protection::SealedVerified } else { Protection::Sealed },
        };
        let seq = self.store.insert_message(&mut message)?;
        self.logged(LoggedEvent { seq, at_unix_ms: now.unix_ms, event: Event::MessageNew { id } });
        Ok(())
    }

    /// Hands own sessions to somebody who may read what was sent before.
    pub(super) fn hand_over_history(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        now: Now,
    ) -> Result<(), StoreError> {
        let own = self.id();
        let held = self.groups.sessions.values().filter(|held| held.group == *group && held.from == own);
        let sessions: Vec<Handed> =
            held.map(|held| Handed { cover: held.cover.0, key: held.key.clone() }).collect();
        if sessions.is_empty() || self.is_blocked(who) {
            return Ok(());
        }
        self.tell(group, who, sessions, now)?;
        if let Some(mut session) = self.groups.all[group].kept.own.clone() {
            session.given.push(*who);
            self.set_own_session(group, Some(session))?;
        }
        Ok(())
    }

    /// Takes in sessions of a member's, and opens what waited for them.
    pub(super) fn take_sessions(
        &mut self,
        group: &GroupId,
        from: &NodeId,
        sessions: Vec<Handed>,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut news = Vec::new();
        for handed in sessions {
            let place = (*from, handed.key.session());
            let known = self.groups.sessions.get(&place);
            // The same from an earlier index on reads more; from a later one it brings nothing.
            if known.is_some_and(|held| held.group != *group || held.key.index() <= handed.key.index()) {
                continue;
            }
            news.push(place);
            self.hold_session(group, from, handed, now)?;
        }
        if news.is_empty() { Ok(()) } else { self.try_unheard(&news, 0, now) }
    }

    fn hold_session(
        &mut self,
        group: &GroupId,
        from: &NodeId,
        handed: Handed,
        now: Now,
    ) -> Result<(), StoreError> {
        let came_tl_ms = self.timeline.at(now);
        let place = (*from, handed.key.session());
        let seen = self.groups.sessions.get(&place).map_or([0; 2], |held| held.seen);
        let held = HeldSession {
            group: *group,
            from: *from,
            cover: Key(handed.cover),
            key: handed.key,
            seen,
            came_tl_ms,
        };
        self.save_session(held)?;
        let forget = came_tl_ms.saturating_add(GROUP_SESSION_KEPT_MS);
        self.schedule(forget, Task::ForgetSession, &session_key(&place))?;
        let of_member =
            self.groups.sessions.values().filter(|held| held.group == *group && held.from == *from);
        if of_member.clone().count() > GROUP_SESSIONS_OF_MEMBER_MAX {
            let oldest =
                of_member.min_by_key(|held| held.came_tl_ms).map(|held| (held.from, held.key.session()));
            oldest.map_or(Ok(()), |place| self.drop_session(&place))?;
        }
        Ok(())
    }

    fn save_session(&mut self, held: HeldSession) -> Result<(), StoreError> {
        let place = (held.from, held.key.session());
        self.store.put_record(Shelf::GroupSession, &session_key(&place), &encoded(&held))?;
        self.groups.sessions.insert(place, held);
        Ok(())
    }

    fn drop_session(&mut self, place: &(NodeId, SessionId)) -> Result<(), StoreError> {
        self.groups.sessions.remove(place);
        self.store.remove_record(Shelf::GroupSession, &session_key(place)).map(drop)
    }

    /// The last message of a session has come or expired.
    pub(in crate::custody) fn forget_session(&mut self, what: &[u8], now: Now) -> Result<(), StoreError> {
        let Some((from, session)) = what.split_first_chunk() else { return Ok(()) };
        let Ok(session) = session.try_into() else { return Ok(()) };
        let place = (NodeId(*from), session);
        let now_tl_ms = self.timeline.at(now);
        let is_over = |held: &HeldSession| now_tl_ms >= held.came_tl_ms.saturating_add(GROUP_SESSION_KEPT_MS);
        if self.groups.sessions.get(&place).is_some_and(is_over) { self.drop_session(&place) } else { Ok(()) }
    }

    /// Forgets the sessions of somebody who is no longer in the group.
    pub(super) fn forget_sessions_of(&mut self, group: &GroupId, who: &NodeId) -> Result<(), StoreError> {
        self.drop_sessions(|held| held.group == *group && held.from == *who)
    }

    /// Forgets all sessions of a group that this node is no longer in.
    pub(super) fn forget_all_sessions(&mut self, group: &GroupId) -> Result<(), StoreError> {
        self.set_own_session(group, None)?;
        self.drop_sessions(|held| held.group == *group)
    }

    fn drop_sessions(&mut self, is_over: impl Fn(&HeldSession) -> bool) -> Result<(), StoreError> {
        let over = self.groups.sessions.iter().filter(|(_, held)| is_over(held));
        let over: Vec<(NodeId, SessionId)> = over.map(|(place, _)| *place).collect();
        over.iter().try_for_each(|place| self.drop_session(place))
    }

    /// Sends in new sessions from here on: what was sent in the old ones after this copy of the store was made is not
    /// known here, and no index of theirs may be used twice (threats C-08, K-04).
    pub(in crate::custody) fn forget_own_sessions(&mut self) -> Result<(), StoreError> {
        let groups: Vec<GroupId> = self.groups.all.keys().copied().collect();
        groups.iter().try_for_each(|group| self.set_own_session(group, None))
    }

    fn set_own_session(&mut self, group: &GroupId, session: Option<OwnSession>) -> Result<(), StoreError> {
        let Some(known) = self.groups.all.get_mut(group) else { return Ok(()) };
        if known.kept.own.is_none() && session.is_none() {
            return Ok(());
        }
        known.kept.own = session;
        self.save_group(group)
    }

    /// What a bundle says, if it is of a group and session that this node can read. Costs a hash for each session.
    pub(in crate::custody) fn hear(&self, bundle: &Bundle<'_>) -> Option<Heard> {
        if bundle.header.kind != Kind::Group {
            return None;
        }
        let covered = Covered::decode(&bundle.header, bundle.bytes.payload).ok()?;
        self.groups.sessions.iter().find_map(|(place, held)| {
            let (index, words) = held.open(bundle, &covered)?;
            // Whoever ever had the session's cover key can cover a message anew that was seen; that is no fellow's.
            (!held.has_seen(index)).then_some(Heard { session: *place, index, words })
        })
    }

    /// Shows what a bundle that is stored says, once (threats C-14, R-01).
    pub(in crate::custody) fn take_heard(
        &mut self,
        stored: &StoredBundle,
        heard: Heard,
        via: Option<LinkKind>,
        now: Now,
    ) -> Result<(), StoreError> {
        let Heard { session, index, words } = heard;
        let (group, from) = (words.group, words.author);
        let Some(held) = self.groups.sessions.get(&session).filter(|held| !held.has_seen(index)) else {
            return Ok(());
        };
        let mut held = held.clone();
        held.see(index);
        self.save_session(held)?;
        let Some(known) = self.groups.all.get(&group) else { return Ok(()) };
        let is_shown = known.part_of(&self.id()) == Part::Joined && known.part_of(&from) != Part::Out;
        if from == self.id() || self.is_blocked(&from) || !is_shown {
            return Ok(());
        }
        let is_level = words.digest == digest(&known.roster.heads());
        if !is_level {
            self.plan_repair(&group, &from, Some(words.digest), now)?;
        }
        let id = message_id(&group, &session.1, index);
        let opened = OpenedMessage {
            from,
            secret: Key([0; 32]),
            bundle: stored.id,
            wants_read: words.wants_read,
            group: Some(group),
        };
        self.store.put_record(Shelf::Opened, &id.0, &encoded(&opened))?;
        let forget = self.timeline.at(now).saturating_add(GROUP_SESSION_KEPT_MS);
        self.schedule(forget, Task::ForgetOpened, &id.0)?;
        let contact = self.contacts.get(&from);
        let protection = contact.map_or(Protection::Sealed, protection_of);
        let confirms = contact.is_some_and(|contact| contact.receipts >= ReceiptChoice::Delivered);
        let mut message = MessageRecord {
            seq: Seq(0),
            id,
            conversation: conversation_of(&group),
            from: Some(from),
            from_alias: None,
            own: false,
            text: words.text,
            created_unix_ms: words.created_unix_ms,
            received_unix_ms: now.unix_ms,
            status: MessageStatus::Synced,
            status_reason: None,
            priority: stored.priority,
            expires_tl_ms: stored.expires_tl_ms,
            reply_to: words.reply_to,
            read: false,
            protection,
        };
        self.show_received(&mut message, now)?;
        if let (Some(peer), Some(via)) = (stored.ingress, via) {
            self.note_step(&id, HandOverStep::Received, &peer, via, now)?;
        }
        if confirms {
            self.confirm(&group, &from, &id, Stage::Delivered, now)?;
        }
        Ok(())
    }

    /// Opens what came before its session did, as far as it is still carried: some now, the rest as soon as everybody else
    /// had a turn.
    fn try_unheard(
        &mut self,
        sessions: &[(NodeId, SessionId)],
        mut after: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut tries = 0;
        while tries < GROUP_TRIES_MAX {
            let found = self.store.unshown(UNHEARD, after, SWEEP_MAX)?;
            for (row, id) in &found {
                after = *row;
                let Some(stored) = self.store.bundle(id)? else { continue };
                if let Some(heard) = self.hear_stored(&stored, sessions) {
                    self.adopt(&stored)?;
                    self.take_heard(&stored, heard, None, now)?;
                }
            }
            tries += found.len();
            if found.len() < SWEEP_MAX {
                return Ok(());
            }
        }
        self.schedule(self.timeline.at(now), Task::TryUnheard, &after.to_be_bytes())
    }

    /// Opens what came while the node could read nothing private.
    pub(in crate::custody) fn try_all_unheard(&mut self, now: Now) -> Result<(), StoreError> {
        self.try_unheard_after(&[0; 8], now)
    }

    /// Goes on opening what came before its session did.
    pub(in crate::custody) fn try_unheard_after(&mut self, row: &[u8], now: Now) -> Result<(), StoreError> {
        let all: Vec<(NodeId, SessionId)> = self.groups.sessions.keys().copied().collect();
        let Ok(row) = row.try_into().map(u64::from_be_bytes) else { return Ok(()) };
        if all.is_empty() { Ok(()) } else { self.try_unheard(&all, row, now) }
    }

    /// A bundle that was carried for strangers is a fellow's: it stays as long as its author wanted it to.
    fn adopt(&mut self, stored: &StoredBundle) -> Result<(), StoreError> {
        let lifetime_ms = stored.bytes().parse().map_or(0, |bundle| bundle.header.lifetime_ms());
        let expires_tl_ms = stored.received_tl_ms.saturating_add(lifetime_ms.saturating_sub(stored.age_ms));
        let adopted =
            StoredBundle { class: Class::Contact, expires_tl_ms, unshown_in: None, ..stored.clone() };
        self.store.drop_bundle(&stored.id, 0)?;
        if let Some(summary) = &mut self.summary {
            summary.remove(&stored.id);
        }
        self.insert(&adopted)
    }

    fn hear_stored(&self, stored: &StoredBundle, sessions: &[(NodeId, SessionId)]) -> Option<Heard> {
        let bundle = stored.bytes().parse().ok()?;
        let covered = Covered::decode(&bundle.header, bundle.bytes.payload).ok()?;
        sessions.iter().find_map(|place| {
            let (index, words) = self.groups.sessions.get(place)?.open(&bundle, &covered)?;
            Some(Heard { session: *place, index, words })
        })
    }
}

/// How the conversation of a group is called.
pub fn conversation_of(group: &GroupId) -> String {
    format!("group:{group}")
}

fn session_key(place: &(NodeId, SessionId)) -> Vec<u8> {
    [&place.0.0[..], &place.1].concat()
}
