//! Chunks: how frames travel in values of a few hundred bytes.
//!
//! A chunk is two bytes (what it is, and its number) and data. BlueZ drops what a reader does not take in time
//! and tells nobody, so every chunk is numbered and a gap that stays ends the link, and a credit window keeps the
//! gap from happening: no more is under way than the reader's socket holds. Chunks that overtook others (BlueZ
//! spreads values over several EATT channels) wait for them. Nothing is asked for again; the session above resumes
//! where it was. Layout and reasons: docs/ble.md, "Chunks".
//!
//! This is arithmetic alone: it knows no sockets and no clock.

use std::collections::{BTreeMap, VecDeque};

use meshlink_core::limits::FRAME_BYTES_MAX;

/// What comes before a chunk's data, in bytes.
pub(crate) const HEAD_BYTES: usize = 2;
/// Smallest value that chunks are cut to; BLE guarantees 20 bytes.
pub(crate) const VALUE_BYTES_MIN: usize = 20;
/// What a chunk counts at least against the window, so that a socket of 208 KiB holds the largest: Linux spends
/// 1,280 bytes of it on a value of 193 to 704, and 768 on a smaller one.
const COST_BYTES_MIN: usize = 400;
/// A credit goes out after this part of the window.
const CREDITS_PER_WINDOW: usize = 8;
/// Chunk numbers wrap after this one.
const NUMBER_MAX: u16 = 0x3fff;
/// Bytes of a credit's data.
const CREDIT_BYTES: usize = 2;

const MORE: u16 = 0b00 << 14;
const LAST: u16 = 0b01 << 14;
const CREDIT: u16 = 0b10 << 14;
const CLOSE: u16 = 0b11 << 14;

/// Why a link has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// Shorter than its head.
    #[error("a chunk without a head")]
    Short,
    /// Something was repeated or put in between, or more was lost than a window holds.
    #[error("chunk {got} came where {wanted} was due")]
    Misnumbered {
        /// The number that was due.
        wanted: u16,
        /// The number that came.
        got: u16,
    },
    /// A piece of a frame without data.
    #[error("an empty chunk")]
    Empty,
    /// The frame would be larger than any may be.
    #[error("a frame of more than {FRAME_BYTES_MAX} bytes")]
    FrameTooLarge,
    /// A credit for nothing or for what was never sent, or of the wrong length.
    #[error("a credit that makes no sense")]
    BadCredit,
    /// More than the window was sent without waiting for credit.
    #[error("more chunks than the window allows")]
    WindowExceeded,
}

/// What a value brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A piece of a frame that goes on.
    Piece,
    /// A frame is complete.
    Frame(Vec<u8>),
    /// The other side has taken in this much of what it was sent, as the window counts it.
    Credit(usize),
    /// The other side ends the link.
    Close,
}

/// Both directions of one link.
#[derive(Debug)]
pub(crate) struct Chunks {
    value_bytes_max: usize,
    window_bytes: usize,
    // out
    /// What may be under way of the window.
    limit_bytes: usize,
    next_out: u16,
    frame: Vec<u8>,
    /// How much of `frame` was cut off already; all of it: there is none.
    cut: usize,
    /// What each data chunk not yet credited counts.
    uncredited: VecDeque<usize>,
    uncredited_bytes: usize,
    /// Data chunks credited so far, modulo 2^16.
    credited: u16,
    // in
    next_in: u16,
    /// Values that came and were not looked at, by number.
    early: BTreeMap<u16, Vec<u8>>,
    early_bytes: usize,
    assembly: Vec<u8>,
    /// Data chunks taken in so far, modulo 2^16.
    taken: u16,
    /// What they count since the last credit was given.
    owed_bytes: usize,
}

impl Chunks {
    /// Chunks for a link whose values have at most `value_bytes_max` bytes, with `window_bytes` under way at
    /// most. A window holds at least four of the largest chunks, or it would stand still.
    pub(crate) fn new(value_bytes_max: usize, window_bytes: usize) -> Self {
        let value_bytes_max = value_bytes_max.max(VALUE_BYTES_MIN);
        let window_bytes = window_bytes.max(4 * cost(value_bytes_max));
        Self {
            value_bytes_max,
            window_bytes,
            limit_bytes: window_bytes,
            next_out: 0,
            frame: Vec::new(),
            cut: 0,
            uncredited: VecDeque::new(),
            uncredited_bytes: 0,
            credited: 0,
            next_in: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            assembly: Vec::new(),
            taken: 0,
            owed_bytes: 0,
        }
    }

    /// Leaves part of the window unused from now on: no more than `bytes` get under way, though never fewer than
    /// half of it, since credit comes for an eighth, nor more than all of it.
    pub(crate) fn limit(&mut self, bytes: usize) {
        self.limit_bytes = bytes.clamp(self.window_bytes / 2, self.window_bytes);
    }

    /// What may be under way, in bytes as the window counts them.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What is under way, counted so.
    pub(crate) fn uncredited_bytes(&self) -> usize {
        self.uncredited_bytes
    }

    /// Whether the next frame may be loaded: the last one is cut up, and there is room for a chunk. So a frame is
    /// chosen as late as possible, and an urgent one waits for no more than the window.
    pub(crate) fn wants_frame(&self) -> bool {
        self.cut == self.frame.len() && self.has_room()
    }

    /// Takes the next frame to cut up; only when [`Chunks::wants_frame`]. An empty frame is no frame.
    pub(crate) fn load(&mut self, frame: Vec<u8>) {
        debug_assert_eq!(self.cut, self.frame.len(), "the last frame is still being sent");
        self.frame = frame;
        self.cut = 0;
    }

    /// Cuts the next chunk off, if a frame is loaded and the window has room.
    pub(crate) fn cut(&mut self) -> Option<Vec<u8>> {
        let left = self.frame.len() - self.cut;
        if left == 0 || !self.has_room() {
            return None;
        }
        let length = left.min(self.value_bytes_max - HEAD_BYTES);
        let kind = if length == left { LAST } else { MORE };
        let chunk = encode(kind, take_number(&mut self.next_out), &self.frame[self.cut..self.cut + length]);
        self.cut += length;
        if self.cut == self.frame.len() {
            self.frame = Vec::new();
            self.cut = 0;
        }
        self.uncredited.push_back(cost(chunk.len()));
        self.uncredited_bytes += cost(chunk.len());
        Some(chunk)
    }

    /// The credit to send now, after an eighth of the window was taken in.
    pub(crate) fn credit(&mut self) -> Option<Vec<u8>> {
        if self.owed_bytes < self.window_bytes / CREDITS_PER_WINDOW {
            return None;
        }
        self.owed_bytes = 0;
        Some(encode(CREDIT, take_number(&mut self.next_out), &self.taken.to_le_bytes()))
    }

    /// The last chunk of all: the link ends.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        encode(CLOSE, take_number(&mut self.next_out), &[])
    }

    /// Whether a frame has begun to arrive and is not complete.
    pub(crate) fn is_assembling(&self) -> bool {
        !self.assembly.is_empty()
    }

    /// Whether a value is missing that others have overtaken.
    pub(crate) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes in a value from the other side; [`Chunks::arrival`] says what it brought.
    ///
    /// # Errors
    /// [`ChunkError`]: the link has to end.
    pub(crate) fn take_in(&mut self, value: Vec<u8>) -> Result<(), ChunkError> {
        let head = value.first_chunk::<HEAD_BYTES>().ok_or(ChunkError::Short)?;
        let got = u16::from_be_bytes(*head) & NUMBER_MAX;
        let wanted = self.next_in;
        let ahead = got.wrapping_sub(wanted) & NUMBER_MAX;
        let bytes = cost(value.len());
        // Credits and the last chunk are not in the window: one more of each is room enough.
        let is_far =
            self.early_bytes + bytes > self.window_bytes + 8 * COST_BYTES_MIN || ahead > NUMBER_MAX / 2;
        if is_far || self.early.contains_key(&got) {
            return Err(ChunkError::Misnumbered { wanted, got });
        }
        self.early_bytes += bytes;
        self.early.insert(got, value);
        Ok(())
    }

    /// What came next, in order; nothing if the next value is missing.
    ///
    /// # Errors
    /// [`ChunkError`]: the link has to end.
    pub(crate) fn arrival(&mut self) -> Result<Option<Arrival>, ChunkError> {
        let Some(value) = self.early.remove(&self.next_in) else { return Ok(None) };
        self.early_bytes -= cost(value.len());
        take_number(&mut self.next_in);
        let (head, data) = value.split_first_chunk::<HEAD_BYTES>().ok_or(ChunkError::Short)?;
        match u16::from_be_bytes(*head) & !NUMBER_MAX {
            CREDIT => self.take_credit(data),
            CLOSE => Ok(Arrival::Close),
            kind => self.take_piece(data, kind == LAST),
        }
        .map(Some)
    }

    fn take_piece(&mut self, data: &[u8], is_last: bool) -> Result<Arrival, ChunkError> {
        if data.is_empty() {
            return Err(ChunkError::Empty);
        }
        if self.assembly.len() + data.len() > FRAME_BYTES_MAX {
            return Err(ChunkError::FrameTooLarge);
        }
        self.owed_bytes += cost(data.len() + HEAD_BYTES);
        if self.owed_bytes > self.window_bytes {
            return Err(ChunkError::WindowExceeded);
        }
        self.taken = self.taken.wrapping_add(1);
        self.assembly.extend_from_slice(data);
        Ok(if is_last { Arrival::Frame(std::mem::take(&mut self.assembly)) } else { Arrival::Piece })
    }

    fn take_credit(&mut self, data: &[u8]) -> Result<Arrival, ChunkError> {
        let taken: [u8; CREDIT_BYTES] = data.try_into().map_err(|_| ChunkError::BadCredit)?;
        let taken = u16::from_le_bytes(taken);
        let newly = usize::from(taken.wrapping_sub(self.credited));
        // Who says it again and again would keep us busy for nothing.
        if !(1..=self.uncredited.len()).contains(&newly) {
            return Err(ChunkError::BadCredit);
        }
        self.credited = taken;
        let bytes = self.uncredited.drain(..newly).sum();
        self.uncredited_bytes -= bytes;
        Ok(Arrival::Credit(bytes))
    }

    fn has_room(&self) -> bool {
        self.uncredited_bytes + cost(self.value_bytes_max) <= self.limit_bytes
    }
}

fn cost(bytes: usize) -> usize {
    bytes.max(COST_BYTES_MIN)
}

fn take_number(next: &mut u16) -> u16 {
    let number = *next;
    *next = (number + 1) & NUMBER_MAX;
    number
}

fn encode(kind: u16, number: u16, data: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(HEAD_BYTES + data.len());
    chunk.extend_from_slice(&(kind | number).to_be_bytes());
    chunk.extend_from_slice(data);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: usize = 64 * 1024;

    /// One value in, what it brought out.
    fn feed(chunks: &mut Chunks, value: &[u8]) -> Result<Option<Arrival>, ChunkError> {
        chunks.take_in(value.to_vec())?;
        chunks.arrival()
    }

    /// Sends a frame until it has arrived, with credits going back, and says how many values it took.
    fn pass(from: &mut Chunks, to: &mut Chunks, frame: &[u8]) -> (Vec<u8>, usize) {
        assert!(from.wants_frame());
        from.load(frame.to_vec());
        let mut values = 0;
        loop {
            let chunk = from.cut().expect("credit always comes before the window is used up");
            values += 1;
            let arrival = feed(to, &chunk).expect("what we send is right");
            while let Some(credit) = to.credit() {
                let before = from.uncredited_bytes();
                let credited = before
                    - match feed(from, &credit) {
                        Ok(Some(Arrival::Credit(bytes))) => bytes,
                        other => panic!("a credit came as {other:?}"),
                    };
                assert_eq!(credited, from.uncredited_bytes());
            }
            if let Some(Arrival::Frame(frame)) = arrival {
                return (frame, values);
            }
        }
    }

    proptest! {
        #[test]
        fn frames_of_any_size_arrive_whole_and_in_order_through_values_of_any_size(
            value_bytes in VALUE_BYTES_MIN..=600usize,
            window_bytes in 0..=WINDOW,
            limit_bytes in 0..=WINDOW,
            sizes in prop::collection::vec(1..=FRAME_BYTES_MAX, 1..6),
        ) {
            let (mut near, mut far) = (Chunks::new(value_bytes, window_bytes), Chunks::new(value_bytes, window_bytes));
            near.limit(limit_bytes);
            for (n, size) in sizes.into_iter().enumerate() {
                let frame: Vec<u8> = (0..size).map(|i| (i * 7 + n) as u8).collect();
                let (arrived, values) = pass(&mut near, &mut far, &frame);
                prop_assert_eq!(arrived, frame);
                prop_assert_eq!(values, size.div_ceil(value_bytes - HEAD_BYTES));
            }
        }

        #[test]
        fn w08_a_lost_or_repeated_value_is_noticed(size in 600..20_000usize, at in 0..64usize, lose: bool) {
            let (mut near, mut far) = (Chunks::new(200, WINDOW), Chunks::new(200, WINDOW));
            near.load(vec![1; size]);
            let mut values: Vec<_> = std::iter::from_fn(|| near.cut()).collect();
            let at = at % (values.len() - 1);
            if lose {
                values.remove(at);
            } else {
                values.insert(at, values[at].clone());
            }
            let outcome: Result<Vec<_>, _> = values.iter().map(|value| feed(&mut far, value)).collect();
            if lose {
                prop_assert!(far.has_gap() && !outcome.unwrap().iter().flatten().any(|a| matches!(a, Arrival::Frame(_))));
            } else {
                prop_assert!(outcome.is_err());
            }
        }

        #[test]
        fn values_that_overtake_each_other_are_put_in_order(
            size in 1..20_000usize, swaps in prop::collection::vec((0..100usize, 0..100usize), 0..20),
        ) {
            let (mut near, mut far) = (Chunks::new(200, WINDOW), Chunks::new(200, WINDOW));
            let frame: Vec<u8> = (0..size).map(|i| i as u8).collect();
            near.load(frame.clone());
            let mut values: Vec<_> = std::iter::from_fn(|| near.cut()).collect();
            let count = values.len();
            for (a, b) in swaps {
                values.swap(a % count, b % count);
            }
            let mut frames = Vec::new();
            for value in values {
                far.take_in(value).unwrap();
                while let Some(arrival) = far.arrival().unwrap() {
                    if let Arrival::Frame(frame) = arrival {
                        frames.push(frame);
                    }
                }
            }
            prop_assert!(!far.has_gap());
            prop_assert_eq!(frames, [frame]);
        }

        #[test]
        fn w09_values_that_wait_for_a_missing_one_stay_within_the_window(
            values in prop::collection::vec((any::<u16>(), 0..600usize), 0..400),
        ) {
            let mut chunks = Chunks::new(510, WINDOW);
            for (number, size) in values {
                let _ = chunks.take_in(encode(MORE, number & NUMBER_MAX, &vec![0; size]));
                let held: usize = chunks.early.values().map(Vec::len).sum();
                prop_assert!(held <= WINDOW + 8 * COST_BYTES_MIN);
            }
        }

        #[test]
        fn w01_w09_whatever_arrives_memory_stays_within_a_frame(
            values in prop::collection::vec((0..4u16, prop::collection::vec(any::<u8>(), 0..600)), 0..200),
        ) {
            let mut chunks = Chunks::new(510, WINDOW);
            for (n, (kind, data)) in values.into_iter().enumerate() {
                let outcome = feed(&mut chunks, &encode(kind << 14, n as u16, &data));
                chunks.credit();
                prop_assert!(chunks.assembly.capacity() <= 2 * FRAME_BYTES_MAX);
                if outcome.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn b06_garbage_never_panics(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = feed(&mut Chunks::new(100, WINDOW), &value);
        }
    }

    #[test]
    fn w09_a_frame_that_never_ends_is_refused() {
        let (mut chunks, piece) = (Chunks::new(510, WINDOW), [0; 500]);
        let outcome = (0..).find_map(|number| {
            let outcome = feed(&mut chunks, &encode(MORE, number, &piece));
            chunks.credit();
            outcome.err().map(|error| (number, error))
        });
        assert_eq!(outcome, Some(((FRAME_BYTES_MAX / 500) as u16, ChunkError::FrameTooLarge)));
    }

    #[test]
    fn numbers_and_credits_wrap() {
        let (mut near, mut far) = (Chunks::new(VALUE_BYTES_MIN, 0), Chunks::new(VALUE_BYTES_MIN, 0));
        let frame = vec![9; 18 * 1000];
        for _ in 0..140 {
            assert_eq!(pass(&mut near, &mut far, &frame).0, frame);
        }
        assert!(near.credited < 10_000, "it wrapped: {}", near.credited);
    }

    #[test]
    fn without_credit_no_more_than_the_window_or_the_limit_leaves() {
        for (limit, leaves) in [(0, WINDOW / 2), (40_000, 40_000), (2 * WINDOW, WINDOW)] {
            let mut chunks = Chunks::new(510, WINDOW);
            chunks.limit(limit);
            let mut sent = 0;
            loop {
                if chunks.wants_frame() {
                    chunks.load(vec![0; 3000]);
                }
                let Some(chunk) = chunks.cut() else { break };
                sent += chunk.len();
            }
            assert!(sent <= leaves && sent > leaves - 2 * 510, "{sent} of {leaves}");
            assert!(!chunks.wants_frame());
        }
    }

    /// What Linux (5.15 to 6.12, 64 bits) counts of a socket's `wmem_default` for a value: the sk_buff, and its data
    /// with what ends it in a slab of a power of two.
    fn socket_bytes(value_bytes: usize) -> usize {
        256 + (value_bytes + 320).next_power_of_two()
    }

    #[test]
    fn the_largest_window_fits_into_a_socket_whatever_the_size_of_its_values() {
        for value_bytes in 1..=512 {
            let values = WINDOW / cost(value_bytes);
            assert!(values * socket_bytes(value_bytes) <= 212_992, "{values} of {value_bytes} bytes");
        }
    }

    #[test]
    fn b05_a_sender_that_ignores_the_window_is_refused() {
        let mut chunks = Chunks::new(510, WINDOW);
        let outcome = (0..).find_map(|number| feed(&mut chunks, &encode(LAST, number, &[0; 100])).err());
        assert_eq!(outcome, Some(ChunkError::WindowExceeded));
    }

    #[test]
    fn b05_a_credit_for_nothing_ends_the_link() {
        let mut chunks = Chunks::new(100, WINDOW);
        chunks.load(vec![7; 90]);
        chunks.cut();
        assert_eq!(feed(&mut chunks, &encode(CREDIT, 0, &[1, 0])), Ok(Some(Arrival::Credit(400))));
        assert_eq!(
            feed(&mut chunks, &encode(CREDIT, 1, &[1, 0])),
            Err(ChunkError::BadCredit),
            "the same again"
        );
    }

    #[test]
    fn what_makes_no_sense_ends_the_link() {
        let fresh = || Chunks::new(100, WINDOW);
        assert_eq!(feed(&mut fresh(), &[]), Err(ChunkError::Short));
        assert_eq!(feed(&mut fresh(), &[0]), Err(ChunkError::Short));
        assert_eq!(feed(&mut fresh(), &encode(LAST, 0, &[])), Err(ChunkError::Empty));
        assert_eq!(feed(&mut fresh(), &encode(MORE, 0, &[])), Err(ChunkError::Empty));
        assert_eq!(feed(&mut fresh(), &encode(CREDIT, 0, &[1, 0])), Err(ChunkError::BadCredit));
        assert_eq!(feed(&mut fresh(), &encode(CREDIT, 0, &[0])), Err(ChunkError::BadCredit));
        assert_eq!(feed(&mut fresh(), &encode(CLOSE, 0, &[])), Ok(Some(Arrival::Close)));
    }

    #[test]
    fn a_closing_side_says_so_in_order() {
        let (mut near, mut far) = (Chunks::new(100, WINDOW), Chunks::new(100, WINDOW));
        pass(&mut near, &mut far, b"hello");
        assert_eq!(feed(&mut far, &near.close()), Ok(Some(Arrival::Close)));
    }
}
