//! What is to be done at a time: keys to delete, receipts to send, messages to give up.
//!
//! One shelf, ordered by time on the timeline, so that it survives a restart and the next deadline is its first key.

use crate::clock::Now;
use crate::limits::SWEEP_MAX;
use crate::store::{Shelf, Store, StoreError};

use super::Custody;

/// What to do. The number is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Delete the secret half of a prekey.
    DeletePrekey = 0,
    /// Publish new prekeys.
    RenewPrekeys = 1,
    /// Send a receipt.
    SendReceipt = 2,
    /// Stop waiting for a receipt of an own message, or for keys to seal it with.
    GiveUp = 3,
    /// Forget that a private message was opened: nothing can open it again.
    ForgetOpened = 4,
    /// Forget a code that was shown.
    ForgetCode = 5,
    /// Go on showing what is held of channels that were joined.
    CatchUp = 6,
    /// Send the receipts for messages to a group that wait for their author.
    SendGroupReceipts = 10,
    /// Stop waiting for receipts of an own message to a group.
    GiveUpGroup = 11,
    /// Tell a member of a group what its roster lacks.
    RepairGroup = 12,
    /// Forget the key to a session of a group.
    ForgetSession = 13,
    /// Go on opening messages to groups that came before their sessions.
    TryUnheard = 14,
}

impl Task {
    fn from_number(number: u8) -> Option<Self> {
        let all = [
            Self::DeletePrekey,
            Self::RenewPrekeys,
            Self::SendReceipt,
            Self::GiveUp,
            Self::ForgetOpened,
            Self::ForgetCode,
            Self::CatchUp,
            Self::SendGroupReceipts,
            Self::GiveUpGroup,
            Self::RepairGroup,
            Self::ForgetSession,
            Self::TryUnheard,
        ];
        all.into_iter().find(|task| *task as u8 == number)
    }
}

impl<S: Store> Custody<S> {
    /// Does something at a time on the timeline.
    pub(super) fn schedule(&mut self, at_tl_ms: u64, task: Task, what: &[u8]) -> Result<(), StoreError> {
        let mut key = at_tl_ms.to_be_bytes().to_vec();
        key.push(task as u8);
        key.extend_from_slice(what);
        self.store.put_record(Shelf::Due, &key, &[])?;
        self.next_due_tl_ms = Some(self.next_due_tl_ms.map_or(at_tl_ms, |next| next.min(at_tl_ms)));
        Ok(())
    }

    /// When something is to be done.
    pub(crate) fn next_due_mono_ms(&self) -> Option<u64> {
        self.next_due_tl_ms.map(|due| self.timeline.mono_at(due))
    }

    /// Does what is due.
    pub(super) fn do_what_is_due(&mut self, now: Now) -> Result<(), StoreError> {
        let now_tl_ms = self.timeline.at(now);
        if self.next_due_tl_ms.is_none_or(|due| due > now_tl_ms) {
            return Ok(());
        }
        for (key, _) in self.store.records(Shelf::Due, &[], SWEEP_MAX)? {
            let Some((at, rest)) = key.split_first_chunk::<8>() else {
                return Err(StoreError::Corrupt { detail: "a task without a time".to_owned() });
            };
            if u64::from_be_bytes(*at) > now_tl_ms {
                break;
            }
            self.store.remove_record(Shelf::Due, &key)?;
            if let Some((number, what)) = rest.split_first()
                && let Some(task) = Task::from_number(*number)
            {
                self.perform(task, what, now)?;
            }
        }
        self.load_next_due()
    }

    pub(super) fn load_next_due(&mut self) -> Result<(), StoreError> {
        let first = self.store.records(Shelf::Due, &[], 1)?;
        self.next_due_tl_ms = first.first().and_then(|(key, _)| {
            let (at, _) = key.split_first_chunk::<8>()?;
            Some(u64::from_be_bytes(*at))
        });
        Ok(())
    }

    fn perform(&mut self, task: Task, what: &[u8], now: Now) -> Result<(), StoreError> {
        match task {
            Task::DeletePrekey => self.delete_prekey(what),
            Task::RenewPrekeys => self.renew_prekeys(now),
            Task::SendReceipt => self.send_receipt(what, now),
            Task::GiveUp => self.give_up(what, now),
            Task::ForgetOpened => self.store.remove_record(Shelf::Opened, what).map(drop),
            Task::ForgetCode => self.forget_code(what),
            Task::CatchUp => self.catch_up(now),
            Task::SendGroupReceipts => self.send_group_receipts(what, now),
            Task::GiveUpGroup => self.give_up_group(what, now),
            Task::RepairGroup => self.repair(what, now),
            Task::ForgetSession => self.forget_session(what, now),
            Task::TryUnheard => self.try_unheard_after(what, now),
        }
    }
}
