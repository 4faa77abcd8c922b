//! Coded symbols: a set written as an endless row of sums, of which the receiver needs about as many as its
//! own set differs by.
//!
//! Each short id is added to some of the symbols, thinning out along the row; a symbol is the XOR of the ids in
//! it and of a check of each. Of two sets' rows the XOR is the row of their difference: a symbol with one id
//! left shows it, the id is taken out of its other symbols, and so on until all are empty (a rateless invertible
//! Bloom lookup table: Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024).
//!
//! Three things differ from that paper, each to save bytes on a slow radio:
//! - **Two kinds of ids.** Of 256 ids about 220 are in symbol `i` with chance 1 / (1 + 5i/8), the rest with
//!   1 / (1 + i/8). Density evolution gives 1.16 symbols per id instead of 1.35; at 1,000 ids 1.21 were needed
//!   instead of 1.38. Steeper mixtures need still fewer on average, and many more now and then: two ids that
//!   share all of their few symbols can't be told apart.
//! - **No count.** Whose an id is, its owner knows: it holds it.
//! - **Two check bytes.** A symbol is taken for a single id if its check fits and that id belongs in this place. One
//!   byte is too little: a wrong guess is the sum of ids that are there, which then seem to come and go.
//!
//! ```text
//!   symbol      0   1   2   3   4   5  ...        10 bytes each
//!   id a        x       x           x
//!   id b        x   x           x
//!   a ^ b       ab  b   a       b   a
//! ```
//!
//! The row depends on nothing but the set, so it is kept and changed with the set, and a session only copies it.
//! Deliberately not here: which ids, and who decides how many symbols (see `reconcile`).

use std::collections::BTreeMap;

use crate::id::ShortId;

/// Bytes of a symbol on the wire: the sum of its ids, then of their checks.
pub(crate) const SYMBOL_BYTES: usize = ShortId::BYTES + 2;
/// Ids of the wide kind among 256.
const WIDE_OF_256: u64 = 36;

/// The beginning of a set's row of symbols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CodedRow {
    sums: Vec<u64>,
    checks: Vec<u16>,
}

impl CodedRow {
    /// The row of the empty set.
    pub(crate) fn empty(symbols: usize) -> Self {
        Self { sums: vec![0; symbols], checks: vec![0; symbols] }
    }

    /// How many symbols of it are kept.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Adds an id, or takes it out.
    pub(crate) fn toggle(&mut self, id: ShortId) {
        let key = id.number();
        let check = check_of(key);
        let last = self.sums.len() as u64;
        for at in Places::of(key).take_while(|at| *at < last) {
            self.sums[at as usize] ^= key;
            self.checks[at as usize] ^= check;
        }
    }

    /// These symbols, as bytes. Empty ones at the end are left out.
    pub(crate) fn to_bytes(&self, symbols: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(symbols.len() * SYMBOL_BYTES);
        for at in symbols {
            bytes.extend_from_slice(&self.sums[at].to_be_bytes());
            bytes.extend_from_slice(&self.checks[at].to_be_bytes());
        }
        let full = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(full.next_multiple_of(SYMBOL_BYTES));
        bytes
    }

    /// The first so many symbols.
    pub(crate) fn first(&self, symbols: usize) -> Self {
        Self { sums: self.sums[..symbols].to_vec(), checks: self.checks[..symbols].to_vec() }
    }
}

/// Takes the ids out of the row of a difference, as its symbols come in.
///
/// Work is bounded by the number of symbols, whatever is in them (threat S-04).
#[derive(Debug, Clone)]
pub(crate) struct Peeler {
    /// What is left: of the first symbols the difference, beyond that this side's own.
    row: CodedRow,
    /// Symbols of the other side taken in.
    taken: usize,
    /// What came out, and where each goes on beyond the symbols taken.
    ids: BTreeMap<u64, Places>,
    /// Symbols taken that are not empty.
    full: usize,
    steps_left: usize,
    /// Symbols to be looked at, each once: those where fewer ids meet come first.
    waiting: Vec<usize>,
    is_waiting: Vec<bool>,
}

impl Peeler {
    /// Begins with this side's own row, as long as the other's may become.
    pub(crate) fn new(own: CodedRow) -> Self {
        let is_waiting = vec![false; own.len()];
        let steps_left = own.len() * 4 + 256;
        Self {
            row: own,
            taken: 0,
            ids: BTreeMap::new(),
            full: 0,
            steps_left,
            waiting: Vec::new(),
            is_waiting,
        }
    }

    /// How many of the other side's symbols were taken in.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// How many it can take in.
    pub(crate) fn capacity(&self) -> usize {
        self.row.len()
    }

    /// Takes in the next `symbols` of the other side, of which those beyond `bytes` are empty. `false` if the
    /// bytes are not whole symbols, or too many.
    pub(crate) fn take(&mut self, bytes: &[u8], symbols: usize) -> bool {
        let is_whole = bytes.len().is_multiple_of(SYMBOL_BYTES) && bytes.len() / SYMBOL_BYTES <= symbols;
        if !is_whole || symbols > self.row.len() - self.taken {
            return false;
        }
        let (from, to) = (self.taken, self.taken + symbols);
        for (at, symbol) in (from..).zip(bytes.chunks_exact(SYMBOL_BYTES)) {
            let (sum, check) = symbol.split_at(ShortId::BYTES);
            self.row.sums[at] ^= u64::from_be_bytes(sum.try_into().expect("split there"));
            self.row.checks[at] ^= u16::from_be_bytes(check.try_into().expect("split there"));
        }
        for (key, places) in &mut self.ids {
            let check = check_of(*key);
            while let Some(at) = places.next_below(to) {
                self.row.sums[at] ^= key;
                self.row.checks[at] ^= check;
            }
        }
        self.taken = to;
        self.full += (from..to).filter(|at| !self.is_empty(*at)).count();
        (from..to).for_each(|at| self.look_at_later(at));
        true
    }

    /// Whether what came out is all there is.
    pub(crate) fn is_whole(&self) -> bool {
        self.taken > 0 && self.full == 0
    }

    /// What came out, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ShortId> {
        self.ids.keys().map(|key| ShortId::from_number(*key))
    }

    /// Takes out what the symbols so far show.
    pub(crate) fn peel(&mut self) {
        while let Some(at) = self.waiting.pop() {
            self.is_waiting[at] = false;
            let Some(key) = self.single(at) else { continue };
            if self.steps_left == 0 {
                return;
            }
            self.steps_left -= 1;
            self.take_out(key);
        }
    }

    /// Takes an id out of all symbols; one that came out before was a wrong guess then.
    fn take_out(&mut self, key: u64) {
        let check = check_of(key);
        let mut places = Places::of(key);
        while let Some(at) = places.next_below(self.taken) {
            let was_empty = self.is_empty(at);
            self.row.sums[at] ^= key;
            self.row.checks[at] ^= check;
            match (was_empty, self.is_empty(at)) {
                (true, false) => self.full += 1,
                (false, true) => self.full -= 1,
                (true, true) | (false, false) => {}
            }
            self.look_at_later(at);
        }
        if self.ids.remove(&key).is_none() {
            self.ids.insert(key, places);
        }
    }

    fn look_at_later(&mut self, at: usize) {
        if !self.is_waiting[at] && !self.is_empty(at) {
            self.is_waiting[at] = true;
            self.waiting.push(at);
        }
    }

    fn is_empty(&self, at: usize) -> bool {
        self.row.sums[at] == 0 && self.row.checks[at] == 0
    }

    /// The id in a symbol that seems to hold no other.
    fn single(&self, at: usize) -> Option<u64> {
        let key = self.row.sums[at];
        if self.is_empty(at) || self.row.checks[at] != check_of(key) {
            return None;
        }
        let at = at as u64;
        Places::of(key).find(|place| *place >= at).filter(|place| *place == at).map(|_| key)
    }
}

/// How many symbols are enough for a difference of so many ids in nineteen of twenty cases.
pub(crate) fn symbols_for(ids: f64) -> usize {
    (1.17 * ids + 3.3 * ids.sqrt() + 4.0).ceil() as usize
}

/// The symbols an id is in, ascending; the first is 0.
///
/// After place `i` the next is drawn so that it is beyond `j` with chance ((i + s) / (j + s)) ^ (1 / a), where `a` is
/// 5/8 or 1/8 and `s` is (1 + 1/a) / 2: for 1/8 this is the exact chance of being in none of the symbols up to
/// `j`, for 5/8 close to it. Only multiplication, division and square roots are used, which IEEE 754 rounds alike
/// everywhere.
#[derive(Debug, Clone)]
struct Places {
    state: u64,
    at: Option<u64>,
    is_wide: bool,
}

impl Places {
    fn of(key: u64) -> Self {
        let state = mix(key ^ 0x6d65_7368_6c69_6e6b);
        Self { state, at: Some(0), is_wide: state & 0xff < WIDE_OF_256 }
    }

    /// The next place, if it is below `end`; else it stays the next.
    fn next_below(&mut self, end: usize) -> Option<usize> {
        let at = usize::try_from(self.at?).ok().filter(|at| *at < end)?;
        self.next();
        Some(at)
    }
}

impl Iterator for Places {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = self.at?;
        self.state = mix(self.state);
        let chance = ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        let quarter = chance.sqrt().sqrt();
        let eighth = quarter.sqrt();
        let (shift, factor) =
            if self.is_wide { (4.5, 1.0 / eighth) } else { (1.3, 1.0 / (chance.sqrt() * eighth)) };
        let next = ((at as f64 + shift) * factor - shift).ceil();
        self.at = (next < PLACE_MAX).then_some((next as u64).max(at + 1));
        Some(at)
    }
}

/// Far beyond any symbol that is ever sent.
const PLACE_MAX: f64 = 1e12;

/// Two bytes of a hash of an id.
fn check_of(key: u64) -> u16 {
    (mix(key ^ 0x6368_6563_6b6d_6521) >> 48) as u16
}

/// The next number of SplitMix64 (Steele, Lea, Flood 2014): spreads the bits of an id, which is a hash already.
/// It keeps no secret.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(seed: u64, count: u64) -> Vec<ShortId> {
        let mut ids: Vec<ShortId> =
            (0..count).map(|n| ShortId::from_number(mix(mix(seed).wrapping_add(n)))).collect();
        ids.sort();
        ids
    }

    fn row(ids: &[ShortId], symbols: usize) -> CodedRow {
        let mut row = CodedRow::empty(symbols);
        ids.iter().for_each(|id| row.toggle(*id));
        row
    }

    /// Gives the symbols of `theirs` to somebody who has `own`, in portions; what came out if that was all.
    fn peel(own: &CodedRow, theirs: &CodedRow, symbols: usize, portion: usize) -> Option<Vec<ShortId>> {
        let mut peeler = Peeler::new(own.first(symbols));
        while !peeler.is_whole() && peeler.taken() < symbols {
            let from = peeler.taken();
            let to = symbols.min(from + portion);
            assert!(peeler.take(&theirs.to_bytes(from..to), to - from));
            peeler.peel();
        }
        peeler.is_whole().then(|| peeler.ids().collect())
    }

    #[test]
    fn the_difference_of_two_sets_comes_out_whoever_holds_it() {
        let (both, ours, theirs) = (ids(1, 5_000), ids(2, 60), ids(3, 40));
        let one = row(&[both.clone(), ours.clone()].concat(), 256);
        let other = row(&[both, theirs.clone()].concat(), 256);
        let mut expected = [ours, theirs].concat();
        expected.sort();
        for portion in [1, 7, 200] {
            assert_eq!(peel(&one, &other, 200, portion), Some(expected.clone()));
        }
        assert_eq!(peel(&one, &one, 256, 1), Some(Vec::new()), "one symbol shows that nothing differs");
    }

    #[test]
    fn symbols_that_are_enough_in_nineteen_of_twenty_cases_are_enough_that_often() {
        for count in [1, 3, 10, 30, 100, 300, 1_000, 5_000] {
            let symbols = symbols_for(count as f64);
            let tries = if count > 500 { 40 } else { 200 };
            let is_enough = |seed: &u64| {
                let ids = ids(seed * 7 + count, count);
                peel(&CodedRow::empty(symbols), &row(&ids, symbols), symbols, symbols) == Some(ids)
            };
            let whole = (0..tries).filter(is_enough).count();
            assert!(whole * 20 >= tries as usize * 18, "{count} ids: {whole} of {tries}");
        }
    }

    #[test]
    fn an_added_id_that_is_taken_out_leaves_no_trace() {
        let kept = ids(1, 50);
        let mut one = row(&kept, 128);
        for id in ids(9, 50) {
            one.toggle(id);
            one.toggle(id);
        }
        assert_eq!(one, row(&kept, 128));
    }

    #[test]
    fn empty_symbols_at_the_end_are_not_sent() {
        assert_eq!(CodedRow::empty(64).to_bytes(0..64), Vec::<u8>::new());
        let few = row(&ids(4, 3), 4_096);
        assert!(few.to_bytes(0..4_096).len() < 4_096 * SYMBOL_BYTES);
        assert_eq!(peel(&CodedRow::empty(4_096), &few, 4_096, 4_096), Some(ids(4, 3)));
    }

    #[test]
    fn s04_a_row_of_nonsense_costs_bounded_work_and_is_not_taken_for_whole() {
        for seed in 0..20 {
            let noise: Vec<u8> = (0..4_000 * SYMBOL_BYTES as u64).map(|n| mix(n ^ mix(seed)) as u8).collect();
            let mut peeler = Peeler::new(CodedRow::empty(4_000));
            assert!(peeler.take(&noise, 4_000));
            peeler.peel();
            assert!(!peeler.is_whole());
            assert!(peeler.ids().count() < 100);
        }
        // Ids of somebody's who makes each symbol look like a single one: the steps end, not the patience.
        let mut peeler = Peeler::new(CodedRow::empty(64));
        peeler.steps_left = 10;
        assert!(peeler.take(&row(&ids(1, 30), 64).to_bytes(0..64), 64));
        peeler.peel();
        assert!(!peeler.is_whole() && peeler.ids().count() <= 10);
    }

    #[test]
    fn w01_bytes_that_are_no_symbols_are_refused() {
        let mut peeler = Peeler::new(CodedRow::empty(8));
        assert!(!peeler.take(&[1; SYMBOL_BYTES - 1], 1));
        assert!(!peeler.take(&[1; SYMBOL_BYTES * 2], 1));
        assert!(!peeler.take(&[], 9), "more than it has room for");
        assert!(peeler.take(&[], 8) && peeler.is_whole());
    }

    #[test]
    fn too_few_symbols_give_no_id_that_is_not_there() {
        let ids = ids(5, 1_000);
        let mut peeler = Peeler::new(CodedRow::empty(1_000));
        assert!(peeler.take(&row(&ids, 1_000).to_bytes(0..1_000), 1_000));
        peeler.peel();
        assert!(!peeler.is_whole());
        assert!(peeler.ids().all(|id| ids.contains(&id)));
    }
}
