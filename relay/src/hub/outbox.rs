//! What waits for one client.
//!
//! Frames for one client alone are appended to a piece of their own; frames for many are pieces of one
//! [`Parcel`] that all slow clients share, so that 500 clients that never read cost one copy of what they
//! miss, not 500. A [`Meter`] counts the bytes held by all outboxes of a relay together, shared ones once.

use crate::limits::PIECE_COST;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pieces handed to one write.
const SLICES_MAX: usize = 64;
/// A piece of one client's own frames grows up to this before the next one is begun.
const OWN_PIECE_BYTES: usize = 64 * 1024;

/// Takes bytes for a client off the relay's hands: how many it took (fewer than offered: it has no more
/// room until it says so), or `None` if the connection is broken.
pub(crate) trait Write: FnMut(&[IoSlice<'_>]) -> Option<usize> {}
impl<F: FnMut(&[IoSlice<'_>]) -> Option<usize>> Write for F {}

/// The connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Bytes held by all outboxes together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicUsize>);

impl Meter {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that wait for several clients.
#[derive(Debug)]
struct Parcel {
    bytes: Box<[u8]>,
    meter: Meter,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.meter.sub(self.bytes.len());
    }
}

/// Bytes offered to many clients. Copied when the first of them can't take its part, and not again for those
/// that come later and want no more than it did.
pub(crate) struct Offer<'a> {
    bytes: &'a [u8],
    /// The copy, and where in `bytes` it begins.
    parcel: Option<(Arc<Parcel>, usize)>,
}

impl<'a> Offer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, parcel: None }
    }

    fn piece(&mut self, range: Range<usize>, meter: &Meter) -> Piece {
        if let Some((parcel, start)) = self.parcel.as_ref().filter(|(_, start)| *start <= range.start) {
            return Piece::Shared(Arc::clone(parcel), range.start - start..range.end - start);
        }
        let bytes = &self.bytes[range.start..];
        meter.add(bytes.len());
        let parcel = Arc::new(Parcel { bytes: bytes.into(), meter: meter.clone() });
        self.parcel = Some((Arc::clone(&parcel), range.start));
        Piece::Shared(parcel, 0..range.len())
    }
}

#[derive(Debug)]
enum Piece {
    Own(Vec<u8>),
    Shared(Arc<Parcel>, Range<usize>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(parcel, range) => &parcel.bytes[range.clone()],
        }
    }
}

/// The queue of one client.
#[derive(Debug)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written already.
    written: usize,
    /// Bytes in `pieces`, less `written`, and what the pieces cost besides.
    cost: usize,
    /// Bytes in pieces of its own, as told to the meter.
    own: usize,
    meter: Meter,
    /// The last write did not take all it was offered.
    is_blocked: bool,
    /// When it last moved or began to fill.
    moved_ms: u64,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.meter.sub(self.own);
    }
}

impl Outbox {
    pub(crate) fn new(meter: Meter) -> Self {
        Self { pieces: VecDeque::new(), written: 0, cost: 0, own: 0, meter, is_blocked: false, moved_ms: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait, with the cost of keeping them.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// For how long it has not moved, in milliseconds; 0 when nothing waits.
    pub(crate) fn stalled_ms(&self, now_ms: u64) -> u64 {
        if self.is_empty() { 0 } else { now_ms.saturating_sub(self.moved_ms) }
    }

    /// The client can take bytes again.
    pub(crate) fn unblock(&mut self) {
        self.is_blocked = false;
    }

    /// Appends whatever `put` appends to the buffer it is given.
    pub(crate) fn append(&mut self, now_ms: u64, put: impl FnOnce(&mut Vec<u8>)) {
        if self.pieces.is_empty() {
            self.moved_ms = now_ms;
        }
        if !matches!(self.pieces.back(), Some(Piece::Own(bytes)) if bytes.len() < OWN_PIECE_BYTES) {
            self.pieces.push_back(Piece::Own(Vec::new()));
            self.cost += PIECE_COST;
        }
        let Some(Piece::Own(bytes)) = self.pieces.back_mut() else {
            unreachable!("the last piece was just made an own one")
        };
        let before = bytes.len();
        put(bytes);
        let added = bytes.len() - before;
        self.cost += added;
        self.own += added;
        self.meter.add(added);
    }

    /// Writes the parts of `offer` at once if nothing waits, and queues what is not taken.
    ///
    /// # Errors
    /// [`Broken`] if the connection is.
    pub(crate) fn deliver(
        &mut self,
        offer: &mut Offer<'_>,
        parts: &[Range<usize>],
        now_ms: u64,
        write: &mut impl Write,
    ) -> Result<(), Broken> {
        let mut parts = parts;
        let mut skip = 0;
        while self.pieces.is_empty() && !self.is_blocked && !parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = parts.len().min(SLICES_MAX);
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(&offer.bytes[part.clone()]);
            }
            slices[0] = IoSlice::new(&offer.bytes[parts[0].start + skip..parts[0].end]);
            let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let taken = write(&slices[..count]).ok_or(Broken)?;
            self.is_blocked = taken < offered;
            let mut left = taken + skip;
            while let Some(first) = parts.first()
                && left >= first.len()
            {
                left -= first.len();
                parts = &parts[1..];
            }
            skip = left;
        }
        for part in parts {
            self.queue(offer, part.start + std::mem::take(&mut skip)..part.end, now_ms);
        }
        Ok(())
    }

    fn queue(&mut self, offer: &mut Offer<'_>, range: Range<usize>, now_ms: u64) {
        if self.pieces.is_empty() {
            self.moved_ms = now_ms;
        }
        self.cost += range.len() + PIECE_COST;
        self.pieces.push_back(offer.piece(range, &self.meter));
    }

    /// Writes what waits, as far as the client takes it.
    ///
    /// # Errors
    /// [`Broken`] if the connection is.
    pub(crate) fn send(&mut self, now_ms: u64, write: &mut impl Write) -> Result<(), Broken> {
        while !self.pieces.is_empty() && !self.is_blocked {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece.bytes());
            }
            let count = self.pieces.len().min(SLICES_MAX);
            slices[0] = IoSlice::new(&self.pieces[0].bytes()[self.written..]);
            let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let taken = write(&slices[..count]).ok_or(Broken)?;
            self.is_blocked = taken < offered;
            if taken > 0 {
                self.moved_ms = now_ms;
            }
            self.drop_written(taken);
        }
        Ok(())
    }

    fn drop_written(&mut self, taken: usize) {
        self.cost -= taken;
        self.written += taken;
        while let Some(first) = self.pieces.front() {
            let bytes = first.bytes().len();
            if self.written < bytes {
                return;
            }
            if let Piece::Own(_) = first {
                self.own -= bytes;
                self.meter.sub(bytes);
            }
            self.written -= bytes;
            self.cost -= PIECE_COST;
            self.pieces.pop_front();
        }
        // Most clients wait for nothing most of the time: an idle outbox holds no memory.
        self.pieces = VecDeque::new();
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a client's part of a log is a list of ranges")]
mod tests {
    use super::*;

    /// Takes `room` bytes in all, then no more.
    fn pipe(out: &mut Vec<u8>, room: usize) -> impl Write {
        move |slices| {
            let mut taken = 0;
            for slice in slices {
                let part = slice.len().min(room - out.len());
                out.extend_from_slice(&slice[..part]);
                taken += part;
            }
            Some(taken)
        }
    }

    #[test]
    fn what_is_not_taken_follows_in_order_whatever_the_room() {
        let bytes: Vec<u8> = (0..=255).collect();
        let expected = [&bytes[10..100], &bytes[150..256], b"own", &bytes[0..5]].concat();
        for room in 0..=expected.len() {
            let mut outbox = Outbox::new(Meter::default());
            let mut out = Vec::new();
            let mut offer = Offer::new(&bytes);
            outbox.deliver(&mut offer, &[10..100, 150..256], 0, &mut pipe(&mut out, room)).unwrap();
            outbox.append(0, |own| own.extend_from_slice(b"own"));
            outbox.deliver(&mut offer, &[0..5], 0, &mut pipe(&mut out, room)).unwrap();
            outbox.send(0, &mut pipe(&mut out, room)).unwrap();
            outbox.unblock();
            outbox.send(0, &mut pipe(&mut out, usize::MAX)).unwrap();
            assert_eq!(out, expected, "room {room}");
            assert!(outbox.is_empty());
            assert_eq!(outbox.cost(), 0);
        }
    }

    #[test]
    fn y04_clients_that_do_not_read_share_one_copy() {
        let meter = Meter::default();
        let bytes = vec![7; 10_000];
        let mut offer = Offer::new(&bytes);
        let mut outboxes: Vec<_> = (0..500).map(|_| Outbox::new(meter.clone())).collect();
        for outbox in &mut outboxes {
            outbox.deliver(&mut offer, &[0..10_000], 0, &mut |_: &[IoSlice<'_>]| Some(0)).unwrap();
        }
        assert_eq!(meter.bytes(), 10_000);
        drop(offer);
        outboxes.truncate(1);
        assert_eq!(meter.bytes(), 10_000);
        outboxes.clear();
        assert_eq!(meter.bytes(), 0);
    }

    #[test]
    fn own_bytes_are_metered_until_written_or_dropped() {
        let meter = Meter::default();
        let mut outbox = Outbox::new(meter.clone());
        outbox.append(0, |own| own.extend_from_slice(&[1; 100]));
        assert_eq!((meter.bytes(), outbox.cost()), (100, 100 + PIECE_COST));
        outbox.send(0, &mut |_: &[IoSlice<'_>]| Some(60)).unwrap();
        assert_eq!(outbox.cost(), 40 + PIECE_COST);
        drop(outbox);
        assert_eq!(meter.bytes(), 0);
    }

    #[test]
    fn a_stall_is_counted_from_the_last_byte_taken() {
        let mut outbox = Outbox::new(Meter::default());
        assert_eq!(outbox.stalled_ms(50), 0);
        outbox.append(100, |own| own.extend_from_slice(&[1; 10]));
        assert_eq!(outbox.stalled_ms(150), 50);
        outbox.send(200, &mut |_: &[IoSlice<'_>]| Some(1)).unwrap();
        assert_eq!(outbox.stalled_ms(250), 50);
    }
}
