//! The beacon: eight bytes in the advertisement that say whether a meeting is worth it, and nothing of who asks.
//!
//! Half is random, new every epoch; half is a hash of that and of the fingerprint of what the node holds. Whoever
//! holds the same gets the same hash and does not connect; to anybody else it is noise, in each epoch another
//! (threat B-02). Layout: docs/ble.md, "Beacon".

use std::time::Duration;

/// Length of a beacon, in bytes.
pub(crate) const BEACON_BYTES: usize = 8;
/// How long the random half lives. As long as BlueZ keeps a private address.
pub(crate) const EPOCH: Duration = Duration::from_secs(15 * 60);

const CONTEXT: &str = "meshlink beacon 1";

/// A hash over the set of bundles a node holds. See [`super::holdings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(pub(crate) [u8; 16]);

/// A beacon, ours or heard. Ordered as the big-endian number it is: the smaller one dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Beacon([u8; BEACON_BYTES]);

impl Beacon {
    /// The beacon of a node that holds this.
    pub(crate) fn new(random: [u8; 4], held: Fingerprint) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&random);
        hasher.update(&held.0);
        let hash = hasher.finalize();
        let mut bytes = [0; BEACON_BYTES];
        bytes[..4].copy_from_slice(&random);
        bytes[4..].copy_from_slice(&hash.as_bytes()[..4]);
        Self(bytes)
    }

    /// Reads what was heard. Longer ones are a later version's, whose first bytes mean the same.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    /// What goes on the air.
    pub(crate) fn bytes(self) -> [u8; BEACON_BYTES] {
        self.0
    }

    /// Whether its sender holds the same: there is nothing to swap.
    pub(crate) fn holds_the_same(self, held: Fingerprint) -> bool {
        let [a, b, c, d, ..] = self.0;
        Self::new([a, b, c, d], held) == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_stores_are_recognised_and_others_are_not(random: [u8; 4], held: [u8; 16], other: [u8; 16]) {
            let beacon = Beacon::new(random, Fingerprint(held));
            prop_assert!(beacon.holds_the_same(Fingerprint(held)));
            prop_assert_eq!(beacon.holds_the_same(Fingerprint(other)), held == other);
            prop_assert_eq!(Beacon::read(&beacon.bytes()), Some(beacon));
        }

        #[test]
        fn b02_two_epochs_of_one_store_have_nothing_in_common(one: [u8; 4], two: [u8; 4], held: [u8; 16]) {
            prop_assume!(one != two);
            let half = |random| Beacon::new(random, Fingerprint(held)).bytes()[4..].to_vec();
            prop_assert_ne!(half(one), half(two));
        }
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        // A change would make neighbours of different versions dial for nothing, for ever.
        let beacon = Beacon::new([1, 2, 3, 4], Fingerprint([5; 16]));
        let mut expected = blake3::Hasher::new_derive_key("meshlink beacon 1");
        expected.update(&[1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
        assert_eq!(beacon.bytes()[..4], [1, 2, 3, 4]);
        assert_eq!(beacon.bytes()[4..], expected.finalize().as_bytes()[..4]);
    }

    #[test]
    fn short_beacons_are_none_and_longer_ones_are_read() {
        assert_eq!(Beacon::read(&[0; 7]), None);
        assert!(Beacon::read(&[0; 12]).is_some());
    }
}
