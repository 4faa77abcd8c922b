//! The fingerprint of what a node holds: the ids of all bundles, folded together so that order does not matter.
//!
//! Ids are hashes, so folding is exclusive-or. New bundles are folded in as they come, a page at a time, so that
//! nobody waits for the node's thread; when some were dropped, all are walked again.
//!
//! It is no proof: whoever could choose the ids of many bundles could make two stores look alike, and would gain
//! that two nodes miss a reason to meet until either changes.

use meshlink_core::store::{OfferKey, Priority};
use meshlink_core::{Store, StoreError};

use super::beacon::Fingerprint;

/// Bundles folded in at a time.
const PAGE: usize = 1024;

/// How far the walk is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Holdings {
    fold: Fingerprint,
    count: u64,
    /// The last row folded in of each priority.
    rows: [u64; 3],
}

/// What a page of the walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    /// There is more: ask again.
    Unfinished,
    /// All there is.
    Whole(Fingerprint),
    /// Bundles were dropped since: the walk begins again.
    Stale,
}

impl Holdings {
    /// Folds in up to a page of what is new.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn walk(&mut self, store: &impl Store) -> Result<Walk, StoreError> {
        let mut room = PAGE;
        for (n, priority) in [Priority::Sos, Priority::Normal, Priority::Bulk].into_iter().enumerate() {
            if store.newest_row(priority)? <= self.rows[n] {
                continue;
            }
            if room == 0 {
                return Ok(Walk::Unfinished);
            }
            let after = OfferKey { priority, row: self.rows[n] };
            let offers = store.offers(after, room)?;
            for offer in offers.iter().take_while(|offer| offer.key.priority == priority) {
                self.add(n, offer.key.row, &offer.id.0);
                room -= 1;
            }
            if room == 0 && store.newest_row(priority)? > self.rows[n] {
                return Ok(Walk::Unfinished);
            }
        }
        if store.usage_of_all()?.bundles == self.count {
            return Ok(Walk::Whole(self.fold));
        }
        *self = Self::default();
        Ok(Walk::Stale)
    }

    fn add(&mut self, n: usize, row: u64, id: &[u8]) {
        for (sum, byte) in self.fold.0.iter_mut().zip(id) {
            *sum ^= byte;
        }
        self.count += 1;
        self.rows[n] = row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshlink_core::contract::bundle;
    use meshlink_core::mem::MemStore;
    use meshlink_core::store::StoredBundle;
    use proptest::prelude::*;

    /// More bundles than a page, every one with an id of its own.
    fn numbered(n: u16) -> StoredBundle {
        let mut bundle = bundle((n % 200) as u8);
        bundle.id.0[..2].copy_from_slice(&n.to_be_bytes());
        bundle.priority = [Priority::Sos, Priority::Normal, Priority::Bulk][usize::from(n % 3)];
        bundle
    }

    fn whole(holdings: &mut Holdings, store: &MemStore) -> Fingerprint {
        for _ in 0..100 {
            if let Walk::Whole(fingerprint) = holdings.walk(store).unwrap() {
                return fingerprint;
            }
        }
        panic!("the walk does not end");
    }

    #[test]
    fn an_empty_store_has_the_empty_fingerprint_and_a_bundle_changes_it() {
        let (mut holdings, mut store) = (Holdings::default(), MemStore::default());
        let empty = whole(&mut holdings, &store);
        assert_eq!(empty, Fingerprint::default());
        store.insert_bundle(&numbered(1)).unwrap();
        assert_ne!(whole(&mut holdings, &store), empty);
    }

    #[test]
    fn more_than_a_page_takes_several_walks() {
        let (mut holdings, mut store) = (Holdings::default(), MemStore::default());
        for n in 0..3000 {
            store.insert_bundle(&numbered(n)).unwrap();
        }
        assert_eq!(holdings.walk(&store).unwrap(), Walk::Unfinished);
        let stepwise = whole(&mut holdings, &store);
        assert_eq!(stepwise, whole(&mut Holdings::default(), &store));
    }

    proptest! {
        #[test]
        fn whatever_came_and_went_equal_sets_have_equal_fingerprints(
            steps in prop::collection::vec((any::<bool>(), 0..60u16), 0..120),
        ) {
            let (mut holdings, mut store) = (Holdings::default(), MemStore::default());
            let mut held = std::collections::BTreeSet::new();
            for (insert, n) in steps {
                if insert && held.insert(n) {
                    store.insert_bundle(&numbered(n)).unwrap();
                } else if !insert && held.remove(&n) {
                    store.drop_bundle(&numbered(n).id, u64::MAX / 2).unwrap();
                }
                if n % 3 == 0 {
                    whole(&mut holdings, &store);
                }
            }
            let mut other = MemStore::default();
            for n in held.iter().rev() {
                other.insert_bundle(&numbered(*n)).unwrap();
            }
            prop_assert_eq!(whole(&mut holdings, &store), whole(&mut Holdings::default(), &other));
        }
    }
}
