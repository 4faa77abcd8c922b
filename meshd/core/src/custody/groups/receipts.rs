//! Who has an own message to a group: receipts, sent and taken in, and what they come to.

#[cfg(test)]
mod bounds;

use minicbor::{CborLen, Decode, Encode};

use crate::clock::Now;
use crate::event::MessageStatus;
use crate::group::entry::GroupId;
use crate::group::note::Note;
use crate::group::roster::View;
use crate::id::{BundleId, NodeId};
use crate::limits::{DROPPED_MS, GROUP_RECEIPTS_MAX, PRIVATE_LIFETIME_MS_MAX, SWEEP_MAX};
use crate::private::contact::ReceiptChoice;
use crate::receipt::Stage;
use crate::store::{MessageState, Record, Shelf, Store, StoreError};
use crate::tally::Loss;

use super::super::Custody;
use super::super::due::Task;
use super::super::opening::OpenedMessage;
use super::super::prekeys::{decoded, encoded};
use super::Part;

/// Said of a message that not everybody has when its lifetime ends.
const NOT_ALL_HAVE_IT: &str = "its lifetime ended before all members confirmed it";

/// What is remembered of an own message to a group.
#[derive(Clone, Encode, Decode, CborLen)]
pub(super) struct Sent {
    #[n(0)]
    pub(super) group: GroupId,
    #[n(1)]
    pub(super) bundle: BundleId,
    #[n(2)]
    pub(super) recipients: Vec<Recipient>,
}

/// Somebody who was a member when a message was sent, and how far it got with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Recipient {
    /// Who.
    #[n(0)]
    pub id: NodeId,
    /// `Pending` until a receipt has come, then `Delivered` or `Read`.
    #[n(1)]
    pub status: MessageStatus,
}

impl<S: Store> Custody<S> {
    /// A person has read a message to a group.
    pub(in crate::custody) fn confirm_reading(
        &mut self,
        group: &GroupId,
        id: &BundleId,
        opened: &OpenedMessage,
        now: Now,
    ) -> Result<(), StoreError> {
        let contact = self.contacts.get(&opened.from);
        let says = contact.is_some_and(|contact| contact.receipts == ReceiptChoice::Read);
        if says && opened.wants_read && !self.is_blocked(&opened.from) {
            self.confirm(group, &opened.from, id, Stage::Read, now)?;
        }
        Ok(())
    }

    /// Puts a receipt on the shelf for its message's author; those of some seconds go together.
    pub(super) fn confirm(
        &mut self,
        group: &GroupId,
        author: &NodeId,
        id: &BundleId,
        stage: Stage,
        now: Now,
    ) -> Result<(), StoreError> {
        let pile = [&author.0[..], &group.0].concat();
        let is_planned = !self.receipts_in(&pile)?.is_empty();
        let key = [&pile[..], &id.0].concat();
        self.store.put_record(Shelf::GroupReceipt, &key, &[stage as u8])?;
        if is_planned {
            return Ok(());
        }
        let at_tl_ms = self.timeline.at(now).saturating_add(self.receipt_wait_ms());
        self.schedule(at_tl_ms, Task::SendGroupReceipts, &pile)
    }

    fn receipts_in(&self, pile: &[u8]) -> Result<Vec<Record>, StoreError> {
        let mut found = self.store.records(Shelf::GroupReceipt, pile, GROUP_RECEIPTS_MAX)?;
        found.retain(|(key, _)| key.starts_with(pile));
        Ok(found)
    }

    /// Sends the receipts that wait for one author.
    pub(in crate::custody) fn send_group_receipts(
        &mut self,
        pile: &[u8],
        now: Now,
    ) -> Result<(), StoreError> {
        let Some((author, rest)) = pile.split_first_chunk() else { return Ok(()) };
        let (Ok(group), author) = (rest.try_into().map(GroupId), NodeId(*author)) else { return Ok(()) };
        let waiting = self.receipts_in(pile)?;
        let mut receipts = Vec::new();
        for (key, stage) in &waiting {
            self.store.remove_record(Shelf::GroupReceipt, key)?;
            let Ok(id) = key[pile.len()..].try_into() else { continue };
            let stage = if stage == &[Stage::Read as u8] { Stage::Read } else { Stage::Delivered };
            receipts.push((BundleId(id), stage));
        }
        let Some(known) = self.groups.all.get(&group) else { return Ok(()) };
        if !receipts.is_empty() && known.part_of(&author) != Part::Out && !self.is_blocked(&author) {
            let note = Note { receipts, ..Note::new(group, known.roster.heads()) };
            // Without it the author wonders; that is no reason to send for weeks.
            self.post_note(&author, note.encode().to_vec(), 0, now)?;
        }
        if waiting.len() == GROUP_RECEIPTS_MAX {
            let next_tl_ms = self.timeline.at(now).saturating_add(self.receipt_wait_ms());
            self.schedule(next_tl_ms, Task::SendGroupReceipts, pile)?;
        }
        Ok(())
    }

    /// A member says that it has a message, or has read it.
    pub(super) fn take_group_receipt(
        &mut self,
        group: &GroupId,
        by: &NodeId,
        id: &BundleId,
        stage: Stage,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(mut sent) = self.sent_to_group(id)?.filter(|sent| sent.group == *group) else {
            return Ok(());
        };
        let wants_read = self.contacts.get(by).is_some_and(|contact| contact.receipts == ReceiptChoice::Read);
        let status = match stage {
            Stage::Read if wants_read => MessageStatus::Read,
            Stage::Read | Stage::Delivered => MessageStatus::Delivered,
        };
        let Some(recipient) = sent.recipients.iter_mut().find(|recipient| recipient.id == *by) else {
            return Ok(());
        };
        if recipient.status.may_become(status) {
            recipient.status = status;
            self.store.put_record(Shelf::GroupSent, &id.0, &encoded(&sent))?;
            self.roll_up(id, &sent, now)?;
        }
        Ok(())
    }

    /// Whoever left is not waited for any more.
    pub(super) fn roll_up_all(
        &mut self,
        group: &GroupId,
        before: &View,
        after: &View,
        now: Now,
    ) -> Result<(), StoreError> {
        if before.members.keys().all(|id| after.members.contains_key(id)) {
            return Ok(());
        }
        let mut from = Vec::new();
        loop {
            let page = self.store.records(Shelf::GroupSent, &from, SWEEP_MAX)?;
            for (key, bytes) in &page {
                let sent: Sent = decoded(bytes)?;
                if let (Ok(id), true) = (key.as_slice().try_into(), sent.group == *group) {
                    self.roll_up(&BundleId(id), &sent, now)?;
                }
            }
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = [&last[..], &[0]].concat();
        }
    }

    /// A message is delivered, or read, when it is with everybody who was in when it was sent and still is.
    fn roll_up(&mut self, id: &BundleId, sent: &Sent, now: Now) -> Result<(), StoreError> {
        let Some(known) = self.groups.all.get(&sent.group) else { return Ok(()) };
        let still = sent.recipients.iter().filter(|recipient| known.part_of(&recipient.id) != Part::Out);
        let least = still.map(|recipient| recipient.status).min();
        least.map_or(Ok(()), |status| self.advance(id, status, None, now))
    }

    /// The lifetime of an own message to a group is over.
    pub(in crate::custody) fn give_up_group(&mut self, what: &[u8], now: Now) -> Result<(), StoreError> {
        let Ok(id) = what.try_into().map(BundleId) else { return Ok(()) };
        let Some(sent) = self.sent_to_group(&id)? else { return Ok(()) };
        self.roll_up(&id, &sent, now)?;
        let message = self.store.message_state(&id)?;
        let now_tl_ms = self.timeline.at(now);
        let is_open = message.as_ref().is_some_and(|message| message.status <= MessageStatus::Delivered);
        let later =
            message.map_or(0, |message| message.expires_tl_ms).saturating_add(PRIVATE_LIFETIME_MS_MAX);
        // Receipts may be on their way as long as a private message is.
        if is_open && now_tl_ms < later {
            return self.schedule(later, Task::GiveUpGroup, &id.0);
        }
        self.store.remove_record(Shelf::Sent, &sent.bundle.0)?;
        // Who has it stays known as long as the message does.
        self.advance(&id, MessageStatus::Expired, Some(NOT_ALL_HAVE_IT), now)
    }

    /// Withdraws an own message to a group that nobody else has, and forgets about it.
    pub(in crate::custody) fn withdraw_from_group(
        &mut self,
        message: &MessageState,
    ) -> Result<(), StoreError> {
        let Some(sent) = self.sent_to_group(&message.id)? else { return Ok(()) };
        if message.status == MessageStatus::Pending {
            let until_tl_ms = message.expires_tl_ms.saturating_add(DROPPED_MS);
            self.drop_and_remember(&sent.bundle, until_tl_ms, Loss::Withdrawn)?;
        }
        self.store.remove_record(Shelf::Sent, &sent.bundle.0)?;
        self.store.remove_record(Shelf::GroupSent, &message.id.0).map(drop)
    }

    pub(super) fn sent_to_group(&self, id: &BundleId) -> Result<Option<Sent>, StoreError> {
        self.store.record(Shelf::GroupSent, &id.0)?.map(|bytes| decoded(&bytes)).transpose()
    }

    /// What carries an own message to a group.
    pub(crate) fn carrier_to_group(&self, id: &BundleId) -> Result<Option<BundleId>, StoreError> {
        Ok(self.sent_to_group(id)?.map(|sent| sent.bundle))
    }

    /// For whom an own message to a group is, and who has it.
    pub(crate) fn group_recipients(&self, id: &BundleId) -> Result<Vec<Recipient>, StoreError> {
        Ok(self.sent_to_group(id)?.map_or_else(Vec::new, |sent| sent.recipients))
    }
}
