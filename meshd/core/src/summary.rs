//! What a node's set of bundles looks like from afar: enough to see whether two sets are the same, how much they
//! differ, and which ids make the difference.
//!
//! It is kept up to date as bundles come and go, so an encounter costs the same however many are held:
//! - the **row** of coded symbols over the short ids (see [`crate::coded`]), at least twice as long as the set and at
//!   most [`SYMBOLS_MAX`];
//! - the **tugs**: 128 sums over all ids, each id pulling each one way or the other by its hash. The difference of
//!   two nodes' tugs is a random walk of as many steps as ids differ, so the mean of its square is their number, to
//!   about an eighth (Alon, Matias, Szegedy 1996);
//! - the **sum of the whole ids**, which shows two bundles with one short id.
//!
//! Nothing here is salted, because what is kept can't be made anew for each session. What somebody can craft, and
//! what it leads to, is in `docs/protocol.md` section 5.1.

use crate::coded::{CodedRow, mix};
use crate::id::BundleId;
use crate::limits::{FINGERPRINT_SYMBOLS, SYMBOLS_MAX, SYMBOLS_MIN};

/// Tugs.
pub(crate) const TUGS: usize = 128;
/// Bytes of the tugs on the wire: twelve bits of each.
pub(crate) const TUG_BYTES: usize = TUGS * 3 / 2;
/// A tug is sent modulo this: enough for 250,000 ids of difference.
const TUG_SPAN: i32 = 4_096;

/// The sum (XOR) of the bytes 8 to 23 of ids.
pub(crate) type WholeSum = u128;

/// See the module's text.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    count: u64,
    whole: WholeSum,
    tugs: [i32; TUGS],
    row: CodedRow,
    fingerprint: Option<[u8; 16]>,
}

/// What one side says of its set in the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) count: u64,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) tugs: [u8; TUG_BYTES],
}

impl Summary {
    /// Of the empty set, with room for `count` ids, or for `symbols` symbols if that is more.
    pub(crate) fn with_room(count: u64, symbols: usize) -> Self {
        // Twice as long each time: a neighbour that asks for ever more makes it be made anew ten times at most.
        let symbols = symbols.min(SYMBOLS_MAX).next_power_of_two().max(length_for(count));
        Self { count: 0, whole: 0, tugs: [0; TUGS], row: CodedRow::empty(symbols), fingerprint: None }
    }

    /// A bundle came.
    pub(crate) fn add(&mut self, id: &BundleId) {
        self.count += 1;
        self.change(id, 1);
    }

    /// A bundle that was there went.
    pub(crate) fn remove(&mut self, id: &BundleId) {
        self.count -= 1;
        self.change(id, -1);
    }

    /// Whether the row is long enough for the set, and has `symbols` symbols. If not, it has to be made anew.
    pub(crate) fn has_room(&self, symbols: usize) -> bool {
        self.row.len() >= length_for(self.count).max(symbols.min(SYMBOLS_MAX))
    }

    /// How many bundles there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The sum of their whole ids.
    pub(crate) fn whole(&self) -> WholeSum {
        self.whole
    }

    /// Their row of symbols.
    pub(crate) fn row(&self) -> &CodedRow {
        &self.row
    }

    /// What is said of it to others.
    pub(crate) fn view(&mut self) -> View {
        let mut tugs = [0; TUG_BYTES];
        for (pair, bytes) in self.tugs.chunks_exact(2).zip(tugs.chunks_exact_mut(3)) {
            let [one, other] = [pair[0], pair[1]].map(|tug| tug.rem_euclid(TUG_SPAN) as u16);
            bytes[0] = (one >> 4) as u8;
            bytes[1] = ((one & 0xf) << 4) as u8 | (other >> 8) as u8;
            bytes[2] = other as u8;
        }
        View { count: self.count, fingerprint: self.fingerprint(), tugs }
    }

    /// About how many ids the two sets differ by.
    pub(crate) fn distance(&self, other: &View) -> f64 {
        let mut squares = 0.0;
        for (pair, bytes) in self.tugs.chunks_exact(2).zip(other.tugs.chunks_exact(3)) {
            let one = i32::from(bytes[0]) << 4 | i32::from(bytes[1]) >> 4;
            let two = (i32::from(bytes[1]) & 0xf) << 8 | i32::from(bytes[2]);
            for (ours, theirs) in [(pair[0], one), (pair[1], two)] {
                let apart = (ours - theirs + TUG_SPAN / 2).rem_euclid(TUG_SPAN) - TUG_SPAN / 2;
                squares += f64::from(apart) * f64::from(apart);
            }
        }
        (squares / TUGS as f64).max(self.count.abs_diff(other.count) as f64).max(1.0)
    }

    /// The same for the same set. Hashes the count, the sum of whole ids and the first symbols: to make two different
    /// sets of one fingerprint takes as many bundles of one's own as those symbols have bits, and both nodes'
    /// trust to store them (threat S-04).
    fn fingerprint(&mut self) -> [u8; 16] {
        if let Some(fingerprint) = self.fingerprint {
            return fingerprint;
        }
        let mut hasher = blake3::Hasher::new_derive_key("MeshLink v1 set fingerprint");
        hasher.update(&self.count.to_be_bytes());
        hasher.update(&self.whole.to_be_bytes());
        hasher.update(&self.row.to_bytes(0..length_for(self.count).min(FINGERPRINT_SYMBOLS)));
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        self.fingerprint = Some(fingerprint);
        fingerprint
    }

    fn change(&mut self, id: &BundleId, by: i32) {
        self.fingerprint = None;
        self.whole ^= whole(id);
        self.row.toggle(id.short());
        let mut bits = id.short().number();
        for tugs in self.tugs.chunks_exact_mut(64) {
            bits = mix(bits);
            for (n, tug) in tugs.iter_mut().enumerate() {
                let way = ((bits >> n & 1) as i32) * 2 - 1;
                *tug = tug.wrapping_add(way * by);
            }
        }
    }
}

/// An id's part of a [`WholeSum`].
pub(crate) fn whole(id: &BundleId) -> WholeSum {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&id.0[8..24]);
    WholeSum::from_be_bytes(bytes)
}

/// Symbols kept for so many ids.
fn length_for(count: u64) -> usize {
    let twice = usize::try_from(count).unwrap_or(SYMBOLS_MAX).saturating_mul(2).min(SYMBOLS_MAX);
    twice.next_power_of_two().clamp(SYMBOLS_MIN, SYMBOLS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> BundleId {
        BundleId(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    fn summary(ids: impl Iterator<Item = u64>, count: u64) -> Summary {
        let mut summary = Summary::with_room(count, 0);
        ids.for_each(|n| summary.add(&id(n)));
        summary
    }

    #[test]
    fn the_same_set_has_the_same_view_whatever_happened_before() {
        let mut plain = summary(0..100, 100);
        let mut changed = Summary::with_room(5_000, 0);
        (0..5_000).rev().for_each(|n| changed.add(&id(n)));
        (100..5_000).for_each(|n| changed.remove(&id(n)));
        assert_eq!(plain.view(), changed.view());
        assert_eq!(plain.whole(), changed.whole());
        changed.add(&id(7_000));
        assert_ne!(plain.view().fingerprint, changed.view().fingerprint);
        changed.remove(&id(7_000));
        assert_eq!(plain.view(), changed.view());
    }

    #[test]
    fn the_distance_is_about_right() {
        for (from, differ) in [(10, 1), (1_000, 10), (1_000, 100), (20_000, 1_000), (0, 10_000)] {
            let ours = summary(0..from + differ / 2, from + differ);
            let mut theirs =
                summary((0..from).chain(1_000_000..1_000_000 + differ - differ / 2), from + differ);
            let distance = ours.distance(&theirs.view());
            let ratio = distance / differ as f64;
            assert!((0.6..1.5).contains(&ratio), "{differ}: {distance}");
        }
    }

    #[test]
    fn a_summary_says_when_its_row_is_too_short() {
        let mut summary = summary(0..32, 32);
        assert!(summary.has_room(SYMBOLS_MIN) && !summary.has_room(SYMBOLS_MIN + 1));
        summary.add(&id(32));
        assert!(!summary.has_room(0));
        assert!(Summary::with_room(33, 1_000).has_room(1_000));
        assert!(Summary::with_room(u64::MAX, usize::MAX).has_room(usize::MAX), "it has a limit");
    }

    #[test]
    fn s04_two_bundles_with_one_short_id_are_no_secret() {
        let (mut one, mut other) = (summary(0..50, 51), summary(0..50, 51));
        let honest = id(99);
        let mut crafted = honest;
        crafted.0[20] ^= 1;
        one.add(&honest);
        other.add(&crafted);
        assert_eq!(one.row(), other.row());
        assert_ne!(one.view().fingerprint, other.view().fingerprint);
        assert_ne!(one.whole(), other.whole());
    }
}
