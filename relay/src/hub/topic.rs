//! A topic: who is in it, and the posts on their way to them.

use super::ClientId;
use super::outbox::Offer;
use crate::frame::{self, Outgoing};
use crate::limits::{SPARE_LOG_BYTES_MAX, SPARE_LOGS_MAX};
use std::ops::Range;

/// So many posts between two rounds are a load: then a round serves a part of the members.
const LOADED_POSTS: usize = 8;
/// Rounds it takes to serve everyone under load.
const ROUND_PARTS: usize = 3;
/// Members served in a round, if there are as many: fewer are not worth the look at the sockets between.
const ROUND_MEMBERS_MIN: usize = 4;
/// A log shorter than this keeps what everyone has until everyone has all.
const LOG_TRIM_BYTES: usize = 64 * 1024;

/// Which of the two dialects a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Text frames only.
    Json,
    /// Text frames and link frames: a node.
    Node,
}

/// Everyone in a topic. The two dialects get different posts: nodes hear each other over their links.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) json: Group,
    pub(super) nodes: Group,
    /// Whether it is listed as having posts that not everyone has.
    pub(super) is_hot: bool,
}

impl Topic {
    pub(super) fn group_mut(&mut self, dialect: Dialect) -> &mut Group {
        match dialect {
            Dialect::Json => &mut self.json,
            Dialect::Node => &mut self.nodes,
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.json.is_behind() || self.nodes.is_behind()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.json.members.is_empty() && self.nodes.members.is_empty()
    }
}

/// Clients that get the same posts, each without its own.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<ClientId>,
    pub(super) log: Log,
    /// The seat that is served next.
    next_seat: usize,
    /// Seats to visit until everyone has all of the log.
    unserved: usize,
    /// Posts that came since it was last served.
    fresh: usize,
}

impl Group {
    /// Puts a post on its way; returns the bytes it takes.
    pub(super) fn post(&mut self, from: ClientId, text: &str, spares: &mut Spares) -> usize {
        if self.members.is_empty() || self.members == [from] {
            return 0;
        }
        self.unserved = self.members.len();
        self.fresh += 1;
        self.log.append(from, text, spares)
    }

    /// Gives a client a seat.
    pub(super) fn join(&mut self, client: ClientId) -> usize {
        self.members.push(client);
        self.start_over();
        self.members.len() - 1
    }

    /// Gives up a seat; returns who has it now.
    pub(super) fn leave(&mut self, seat: usize) -> Option<ClientId> {
        self.members.swap_remove(seat);
        self.start_over();
        self.members.get(seat).copied()
    }

    /// Seats have changed, so it is not known who of the unserved sits where: visits everyone once more.
    fn start_over(&mut self) {
        if self.unserved > 0 {
            self.unserved = self.members.len();
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.unserved > 0
    }

    /// The members to serve now, as two stretches of `members`. Under load that is a part of them: see [`crate::hub`].
    pub(super) fn take_round(&mut self, all: bool) -> [Range<usize>; 2] {
        let count = self.members.len();
        let is_loaded = self.fresh >= LOADED_POSTS || self.fresh > 0 && self.unserved < count;
        self.fresh = 0;
        let part = count.div_ceil(ROUND_PARTS).max(ROUND_MEMBERS_MIN);
        let visits = if all || !is_loaded { self.unserved } else { part.min(self.unserved) };
        let start = if self.next_seat < count { self.next_seat } else { 0 };
        let end = start + visits;
        self.next_seat = if end < count { end } else { end - count };
        self.unserved -= visits;
        [start..end.min(count), 0..end.saturating_sub(count)]
    }
}

/// Encoded frames back to back, from the oldest that someone still has to get. Positions count from the
/// beginning of the topic and only grow.
#[derive(Debug, Default)]
pub(super) struct Log {
    bytes: Vec<u8>,
    /// The position of the first of `bytes`.
    start: u64,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: ClientId,
    end: u64,
}

impl Log {
    fn append(&mut self, from: ClientId, text: &str, spares: &mut Spares) -> usize {
        if self.spans.is_empty() {
            (self.bytes, self.spans) = spares.take();
        }
        let before = self.bytes.len();
        frame::put(Outgoing::Text, text.as_bytes(), &mut self.bytes);
        self.spans.push(Span { from, end: self.end() });
        self.bytes.len() - before
    }

    /// The position after the last frame.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(super) fn offer(&self) -> Offer<'_> {
        Offer::new(&self.bytes)
    }

    /// Collects in `parts` what a client at position `cursor` has to get: everything, or where `is_poster`,
    /// everything it has not posted itself. Returns how many frames that is.
    pub(super) fn parts(
        &self,
        client: ClientId,
        cursor: u64,
        is_poster: bool,
        parts: &mut Vec<Range<usize>>,
    ) -> usize {
        parts.clear();
        let first = self.spans.partition_point(|span| span.end <= cursor);
        let mut start = self.index(cursor);
        if !is_poster {
            parts.push(start..self.bytes.len());
            return self.spans.len() - first;
        }
        let mut frames = 0;
        for span in &self.spans[first..] {
            let end = self.index(span.end);
            if span.from != client {
                frames += 1;
                match parts.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    Some(_) | None => parts.push(start..end),
                }
            }
            start = end;
        }
        frames
    }

    fn index(&self, position: u64) -> usize {
        usize::try_from(position - self.start).expect("a position within the log fits its length")
    }

    /// Forgets what everyone has.
    pub(super) fn clear(&mut self, spares: &mut Spares) {
        self.start = self.end();
        spares.keep(std::mem::take(&mut self.bytes), std::mem::take(&mut self.spans));
    }

    /// Whether it is worth looking for the front that everyone has.
    pub(super) fn wants_trim(&self) -> bool {
        self.bytes.len() >= LOG_TRIM_BYTES
    }

    /// Forgets what comes before `oldest`, the position of whoever is furthest behind.
    pub(super) fn trim(&mut self, oldest: u64) {
        self.bytes.drain(..self.index(oldest));
        self.spans.drain(..self.spans.partition_point(|span| span.end <= oldest));
        self.start = oldest;
    }
}

/// Log buffers for the next turn. Few: topics without posts hold none.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<(Vec<u8>, Vec<Span>)>);

impl Spares {
    fn take(&mut self) -> (Vec<u8>, Vec<Span>) {
        self.0.pop().unwrap_or_default()
    }

    fn keep(&mut self, mut bytes: Vec<u8>, mut spans: Vec<Span>) {
        if self.0.len() < SPARE_LOGS_MAX && bytes.capacity() <= SPARE_LOG_BYTES_MAX {
            bytes.clear();
            spans.clear();
            self.0.push((bytes, spans));
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a client's part of a log is a list of ranges")]
mod tests {
    use super::*;

    fn group(members: usize) -> Group {
        Group { members: (0..members).map(ClientId).collect(), ..Group::default() }
    }

    #[test]
    fn a_poster_gets_the_frames_of_the_others_in_as_few_parts_as_possible() {
        let mut spares = Spares::default();
        let mut group = group(4);
        for from in [1, 1, 2, 2, 3, 1] {
            assert_eq!(group.post(ClientId(from), "ab", &mut spares), 4);
        }
        let mut parts = Vec::new();
        assert_eq!(group.log.parts(ClientId(1), 0, true, &mut parts), 3);
        assert_eq!(parts, [8..20]);
        assert_eq!(group.log.parts(ClientId(2), 0, true, &mut parts), 4);
        assert_eq!(parts, [0..8, 16..24]);
        assert_eq!(group.log.parts(ClientId(2), 12, true, &mut parts), 2);
        assert_eq!(parts, [16..24]);
        assert_eq!(group.log.parts(ClientId(0), 4, false, &mut parts), 5);
        assert_eq!(parts, [4..24]);
        group.log.trim(8);
        assert_eq!(group.log.parts(ClientId(2), 12, true, &mut parts), 2);
        assert_eq!(parts, [8..16]);
        assert_eq!(group.log.end(), 24);
        group.log.clear(&mut spares);
        assert_eq!((group.log.end(), group.log.spans.len()), (24, 0));
    }

    #[test]
    fn nothing_is_encoded_for_nobody() {
        let mut spares = Spares::default();
        assert_eq!(group(1).post(ClientId(0), "ab", &mut spares), 0);
        assert_eq!(group(0).post(ClientId(0), "ab", &mut spares), 0);
    }

    fn visited(group: &mut Group, all: bool) -> Vec<usize> {
        group.take_round(all).into_iter().flatten().collect()
    }

    #[test]
    fn a_single_post_is_handed_to_everyone_at_once() {
        let mut group = group(100);
        group.post(ClientId(3), "ab", &mut Spares::default());
        assert_eq!(visited(&mut group, false).len(), 100);
        assert!(!group.is_behind());
    }

    #[test]
    fn under_load_everyone_is_served_within_a_few_rounds_in_turn() {
        let mut group = group(10);
        let mut spares = Spares::default();
        let mut served = [0; 10];
        for round in 1..=30 {
            for _ in 0..LOADED_POSTS {
                group.post(ClientId(0), "ab", &mut spares);
            }
            visited(&mut group, false).into_iter().for_each(|seat| served[seat] = round);
            let waits = served.iter().map(|last| round - last).max().unwrap();
            assert!(waits <= ROUND_PARTS, "round {round}: {served:?}");
        }
        assert!(group.is_behind());
        visited(&mut group, false);
        assert!(!group.is_behind(), "without new posts the rest is served at once");
    }

    #[test]
    fn whoever_takes_over_a_seat_is_served_too() {
        for leaver in 0..10 {
            let mut group = group(10);
            let mut spares = Spares::default();
            for _ in 0..LOADED_POSTS {
                group.post(ClientId(0), "ab", &mut spares);
            }
            let mut served: Vec<_> =
                visited(&mut group, false).into_iter().map(|seat| group.members[seat]).collect();
            group.leave(leaver);
            served.extend(visited(&mut group, true).into_iter().map(|seat| group.members[seat]));
            assert!(
                (0..10).filter(|i| *i != leaver).all(|i| served.contains(&ClientId(i))),
                "{leaver}: {served:?}"
            );
        }
    }
}
