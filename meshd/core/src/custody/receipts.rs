//! Receipts: what has arrived is carried no further.

use crate::header::Kind;
use crate::limits::{DROPPED_MS, SWEEP_MAX};
use crate::store::{Store, StoreError, StoredBundle};

use super::Custody;

impl<S: Store> Custody<S> {
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

    /// Drops what a receipt proves to have arrived (threat C-19: nobody but the recipient can make one).
    pub(super) fn purge_arrived(&mut self, receipt: &StoredBundle) -> Result<(), StoreError> {
        let Some(commitment) = receipt.commitment else { return Ok(()) };
        for id in self.store.bundles_committed(&commitment, SWEEP_MAX)? {
            let Some(held) = self.store.bundle(&id)? else { continue };
            if held.kind != Kind::Receipt.number() {
                self.drop_and_remember(&id, held.expires_tl_ms.saturating_add(DROPPED_MS))?;
            }
        }
        Ok(())
    }
}
