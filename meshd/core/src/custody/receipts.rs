//! Receipts: what has arrived is carried no further, and its sender knows.
//!
//! A receipt leaves some seconds after the message came, and as a bundle like any other, so that nobody on the link
//! can tell who made it. They are a tenth of the smallest message, so they don't count against the number of bundles; all
//! of them together have a share of the bytes. That a message was read is only said to contacts for whom the user chose so, and who say
//! the same.

use crate::bundle::NewBundle;
use crate::clock::Now;
use crate::draft::SubmitError;
use crate::event::MessageStatus;
use crate::header::Kind;
use crate::id::BundleId;
use crate::limits::{COPIES_MAX, DROPPED_MS, RECEIPT_MS_MAX, RECEIPT_MS_MIN, SWEEP_MAX};
use crate::private::contact::{Contact, ReceiptChoice};
use crate::receipt::{Commitment, Receipt, Stage};
use crate::store::{Class, Known, Store, StoreError, StoredBundle};
use crate::tally::Loss;

use super::Custody;
use super::due::Task;

/// Copies that a receipt begins with at most which took nothing back here. Whoever invents receipts makes such ones,
/// and they give way before those that did.
const IDLE_COPIES: u8 = COPIES_MAX / 2;

impl<S: Store> Custody<S> {
    /// Takes in a receipt from a neighbour.
    pub(super) fn receive_receipt(
        &mut self,
        stored: &mut StoredBundle,
        receipt: &Receipt,
        now: Now,
    ) -> Result<(), StoreError> {
        if !self.take_receipt(receipt, now)? {
            stored.copies = stored.copies.min(IDLE_COPIES);
        }
        if self.store.is_locked() { self.put_by(stored) } else { self.insert(stored) }
    }

    /// Whether a receipt for that sealed bundle is held: it has arrived, and nobody needs to carry it.
    pub(super) fn has_arrived(&self, sealed: &StoredBundle) -> Result<bool, StoreError> {
        let Some(commitment) = sealed.commitment else { return Ok(false) };
        for id in self.store.bundles_committed(&commitment, SWEEP_MAX)? {
            if self.store.bundle(&id)?.is_some_and(|held| held.kind == Kind::Receipt.number()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes in a receipt, one's own or another's: drops what it proves to have arrived (threat C-19: nobody
    /// but the recipient can make one), and moves the message on. Says whether it was good for something.
    pub(super) fn take_receipt(&mut self, receipt: &Receipt, now: Now) -> Result<bool, StoreError> {
        let commitment = receipt.commitment();
        let mut has_purged = false;
        if let Some(message) = self.message_committed(&commitment)? {
            let status = match receipt.stage {
                Stage::Delivered => MessageStatus::Delivered,
                Stage::Read => MessageStatus::Read,
            };
            self.hear_from_recipient(&message)?;
            self.note_came(&message, now)?;
            self.advance(&message, status, None, now)?;
            has_purged = true;
        }
        for id in self.store.bundles_committed(&commitment, SWEEP_MAX)? {
            let Some(held) = self.store.bundle(&id)? else { continue };
            if held.kind != Kind::Receipt.number() {
                let until_tl_ms = held.expires_tl_ms.saturating_add(DROPPED_MS);
                self.drop_and_remember(&id, until_tl_ms, Loss::Arrived)?;
                has_purged = true;
            }
        }
        Ok(has_purged)
    }

    /// Whoever confirms an intro knows this node from then on.
    fn hear_from_recipient(&mut self, message: &BundleId) -> Result<(), StoreError> {
        let Some(to) = self.recipient_of(message)? else { return Ok(()) };
        match self.contacts.get(&to) {
            Some(contact) if !contact.is_heard => {
                let contact = Contact { is_heard: true, ..contact.clone() };
                self.save_contact(&to, contact)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sends a receipt, after a while.
    pub(super) fn schedule_receipt(
        &mut self,
        secret: &[u8; Commitment::BYTES],
        stage: Stage,
        now: Now,
    ) -> Result<(), StoreError> {
        let wait_ms = self.receipt_wait_ms();
        let receipt = Receipt::of(secret, stage).encode();
        self.schedule(self.timeline.at(now).saturating_add(wait_ms), Task::SendReceipt, &receipt)
    }

    /// How long a receipt waits.
    pub(super) fn receipt_wait_ms(&mut self) -> u64 {
        let spread = RECEIPT_MS_MAX - RECEIPT_MS_MIN;
        let [a, b] = self.entropy.draw();
        RECEIPT_MS_MIN + u64::from(u16::from_be_bytes([a, b])) * spread / (1 << 16)
    }

    pub(super) fn send_receipt(&mut self, what: &[u8], now: Now) -> Result<(), StoreError> {
        let Ok(receipt) = Receipt::decode(what) else { return Ok(()) };
        let bundle = NewBundle::receipt(&receipt);
        if self.store.known(&bundle.id.prefix())? == Known::No {
            match self.keep_hidden(&bundle, Class::Receipt, &Some(receipt.commitment()), now) {
                Ok(_) => {}
                Err(SubmitError::Store(error)) => return Err(error),
                // No room: the sender will wonder, which is what it does without a receipt.
                Err(_) => return Ok(()),
            }
        }
        self.take_receipt(&receipt, now).map(drop)
    }

    /// A person has read a message.
    pub(crate) fn mark_read(&mut self, id: &BundleId, now: Now) -> Result<bool, StoreError> {
        if !self.store.mark_read(id)? {
            return Ok(false);
        }
        let Some(opened) = self.opened(id)? else { return Ok(true) };
        if let Some(group) = opened.group {
            self.confirm_reading(&group, id, &opened, now)?;
            return Ok(true);
        }
        let wants = self.contacts.get(&opened.from).is_some_and(|c| c.receipts == ReceiptChoice::Read);
        if wants && opened.wants_read && !self.is_blocked(&opened.from) {
            let mut secret = [0; Commitment::BYTES];
            secret.copy_from_slice(&opened.secret.0[..Commitment::BYTES]);
            self.schedule_receipt(&secret, Stage::Read, now)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::identity::Identity;
    use crate::limits::Limits;
    use crate::mem::MemStore;

    #[test]
    fn a_receipt_waits_anything_from_one_second_to_fifteen() {
        let now = Now { mono_ms: 0, unix_ms: None };
        let (identity, entropy) = (Identity::from_bytes(&[1; 64]), Entropy::new(&[2; 32]));
        let mut custody = Custody::open(MemStore::new(), identity, entropy, Limits::default(), now).unwrap();
        let waits: Vec<u64> = (0..4_000).map(|_| custody.receipt_wait_ms()).collect();
        assert!(waits.iter().all(|ms| (RECEIPT_MS_MIN..RECEIPT_MS_MAX).contains(ms)));
        // Each second has its share: who waits always as long as others do shows what it answers.
        for second in 1..15 {
            let within = waits.iter().filter(|ms| *ms / 1_000 == second).count();
            assert!((200..400).contains(&within), "{within} of 4000 in second {second}");
        }
    }
}
