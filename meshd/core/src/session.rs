//! What happens on a link after its handshake: reconcile, transfer, live push.
//!
//! ```text
//!              ┌── rounds, walks ───┐            ┌── push: small, own, or on a chain
//!  begin ──▶ reconciling ──────────▶ live ──▶ news ──▶ get ──▶ bundle
//!              └── bundles, stored ─┴── bundles, stored ────────────┘
//! ```
//!
//! - **Reconcile** covers what was held when the session began; **live push** what comes later, from a cursor
//!   per priority over the store's rows. Memory is the difference, a page and a window, not what is held.
//! - **Pulled.** Nothing is encoded before the link has room ([`Session::fill`]); an urgent bundle then goes
//!   first, whatever waits.
//! - **Window.** A bundle sent is in flight until the other side has said that it is stored, or not wanted. The
//!   other side says so only after its commit.
//! - **Resume.** A cut loses what was in flight; the next session's walk finds it, with this neighbour or
//!   another.

mod answers;
mod flights;
mod incoming;
#[cfg(test)]
mod ordeal;
mod outgoing;
mod round;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::answers::{Answers, Runs};
use self::flights::Flights;
use crate::bucket::Bucket;
use crate::canonical::{Malformed, Reader};
use crate::clock::Now;
use crate::custody::{Custody, Dealings, PRIORITIES};
use crate::event::{LinkKind, LinkPhase};
use crate::id::{BundleId, IdPrefix, LinkId, NodeId, ShortId};
use crate::limits::{
    ANSWERS_MAX, IDS_PER_HOUR_MAX, KNOWN_TO_PEER_MAX, OFFENCES_MAX, PUSH_BYTES_MAX, QUEUE_LOW,
    ROUNDS_PER_HOUR_MAX, SLOW_FRAME_BYTES, STALL_MS_MAX, TINY_BYTES_MAX, WALK_MS_MIN,
};
use crate::node::CloseReason;
use crate::reconcile::Reconciliation;
use crate::store::{HandOverStep, Offer, Priority, Store, StoreError};
use crate::wants::Wants;
use crate::wire::{Message, Refusal};

/// What a session works with beside itself.
pub(crate) struct Around<'a, S> {
    pub(crate) custody: &'a mut Custody<S>,
    pub(crate) wants: &'a mut Wants,
    /// Links whose handshake is done.
    pub(crate) links_open: usize,
    pub(crate) now: Now,
}

/// Why a session can't go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The neighbour's fault, or nobody's.
    Close(CloseReason),
    /// The disk's.
    Store(StoreError),
}

/// Whether somebody waits for what a frame brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Its sender or a user does.
    Now,
    /// It only says what became of bundles that this node had sent.
    MayWait,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// See the module's text.
pub(crate) struct Session {
    link: LinkId,
    peer: NodeId,
    via: LinkKind,
    began_mono_ms: u64,
    /// Whether a message of this session came in.
    pub(crate) has_heard: bool,
    reconciliation: Reconciliation,
    round_began_mono_ms: u64,
    /// When to begin another round because the neighbour has room again.
    round_again_mono_ms: Option<u64>,
    /// What a round has shown the neighbour to lack.
    gifts: BTreeMap<Turn, Offer>,

    /// Up to which row of each priority everything that is new was pushed or announced.
    pushed_rows: [u64; 3],
    fresh: [VecDeque<Offer>; 3],
    /// What the neighbour wants.
    queue: BTreeSet<Turn>,
    in_flight: Flights,
    /// Bundles that the neighbour has sent on this link, in this session and before.
    heard: u64,
    /// Ids announced, beside those the reconciliation offered; and how many were asked for by name.
    announced: u64,
    asked_for: u64,
    /// A body that did not fit into the last frame.
    body: Option<Vec<u8>>,
    news: Vec<IdPrefix>,
    answers: Answers,
    refused: BTreeMap<Refusal, Runs>,
    gone: Vec<ShortId>,
    say_takeover: bool,
    /// Whether this side has said so: the other one has begun anew, or will.
    pub(crate) has_taken_over: bool,
    say_again: bool,
    /// Own bundles handed out, to be noted with the next commit, and since when.
    handed_out: Vec<BundleId>,
    handed_out_mono_ms: u64,

    /// A page of theirs, until there is room to ask for more.
    held_page: Option<Vec<IdPrefix>>,
    /// What they announced, until there is room to ask for more.
    held_news: VecDeque<IdPrefix>,
    overlap: Overlap,
    known_to_peer: VecDeque<IdPrefix>,
    bucket: Bucket,
    ids: Bucket,
    /// Rounds and walks that the neighbour may still begin.
    rounds: Bucket,
    offences: u32,
    /// When to tell the neighbour that there is room again for what was refused.
    again_mono_ms: Option<u64>,
    /// Since when an answer is owed without any progress.
    owed_since_mono_ms: Option<u64>,

    /// What its reconciliation has cost.
    pub(crate) spent: Spent,
    /// Not yet added to the peer's record.
    pub(crate) dealings: Dealings,
    pub(crate) sent_bundles: u64,
    pub(crate) received_bundles: u64,
}

/// How far the numbers on a link are. They go on from one session to the next: what is under way of the last one can't be
/// taken for an answer to this one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    /// The last page or round of this side.
    page: u64,
    /// Bundles that this side has sent.
    sent: u64,
    /// Bundles that the other side has sent.
    heard: u64,
}

impl Reached {
    /// Takes in what is ignored since another link does the work: it counts all the same, as its sender counts it.
    pub(crate) fn pass_over(&mut self, plain: &[u8]) -> Result<(), Stop> {
        let mut reader = Reader::new(plain);
        while !reader.is_at_end() {
            let message = Message::read(&mut reader).map_err(broken)?;
            self.heard += u64::from(matches!(message, Message::Bundle(_)));
        }
        Ok(())
    }
}

/// What this side of a session has spent on finding out what each lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Bytes of its messages, and of the encryption of the frames they were in.
    pub bytes: u64,
    /// Frames with such messages.
    pub frames: u64,
    /// Times it asked for something and had to wait for the answer.
    pub questions: u64,
}

/// Whether the neighbour has from others what this node passes on. Learned from what it asks for, and from
/// what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    Unknown,
    /// It asked for what was announced: pushing saves a round trip.
    Little,
    /// It sent, or announced, what is held here: announcing saves copies.
    Much,
}

/// When a bundle is sent: what is more urgent first, then by sort, then what is small, then what was here first.
///
/// Nobody knows which of others' bundles is worth most, so each is worth the same, and the smaller one is worth more a byte: of
/// an encounter's seconds a long text takes as many as thirty short ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    priority: Priority,
    sort: Sort,
    /// Its size, rounded up to a power of two. What is pushed unasked is all the same, so that talk stays in order.
    bytes_up_to: u64,
    row: u64,
    id: BundleId,
}

/// What of equally urgent bundles goes first, since an encounter may end any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    /// Written here for the neighbour itself. Of others' mail a carrier can't know that.
    ForThem,
    /// Costs next to nothing, and frees more where it is a receipt.
    Tiny,
    /// The rest.
    Other,
}

impl Session {
    /// Begins a session on a link that this side dialled or not, on which these numbers were reached.
    pub(crate) fn begin<S: Store>(
        (link, peer, via): (LinkId, NodeId, LinkKind),
        (dialled, reached): (bool, Reached),
        custody: &Custody<S>,
        now: Now,
    ) -> Self {
        let pushed_rows = PRIORITIES.map(|priority| custody.newest_row(priority));
        Self {
            link,
            peer,
            via,
            began_mono_ms: now.mono_ms,
            has_heard: false,
            reconciliation: Reconciliation::new(dialled, reached.page),
            round_began_mono_ms: now.mono_ms,
            round_again_mono_ms: None,
            gifts: BTreeMap::new(),
            pushed_rows,
            fresh: [const { VecDeque::new() }; 3],
            queue: BTreeSet::new(),
            in_flight: Flights::after(reached.sent),
            heard: reached.heard,
            announced: 0,
            asked_for: 0,
            body: None,
            news: Vec::new(),
            answers: Answers::new(via),
            refused: BTreeMap::new(),
            gone: Vec::new(),
            say_takeover: false,
            has_taken_over: false,
            say_again: false,
            handed_out: Vec::new(),
            handed_out_mono_ms: 0,
            held_page: None,
            held_news: VecDeque::new(),
            overlap: Overlap::Unknown,
            known_to_peer: VecDeque::new(),
            bucket: custody.link_bucket(now),
            ids: Bucket::new(IDS_PER_HOUR_MAX, now),
            rounds: Bucket::new(ROUNDS_PER_HOUR_MAX, now),
            offences: 0,
            again_mono_ms: None,
            owed_since_mono_ms: None,
            spent: Spent::default(),
            dealings: Dealings::default(),
            sent_bundles: 0,
            received_bundles: 0,
        }
    }

    /// Tells the neighbour first that the link that did the work is down.
    pub(crate) fn take_over(mut self) -> Self {
        self.say_takeover = true;
        self.has_taken_over = true;
        self
    }

    fn turn_of<S: Store>(&self, offer: &Offer, around: &Around<'_, S>) -> Result<Turn, StoreError> {
        let sort = if offer.own && around.custody.is_for(&offer.id, &self.peer)? {
            Sort::ForThem
        } else if offer.size_bytes <= TINY_BYTES_MAX {
            Sort::Tiny
        } else {
            Sort::Other
        };
        let bytes_up_to = offer.size_bytes.max(PUSH_BYTES_MAX).next_power_of_two();
        Ok(Turn { priority: offer.key.priority, sort, bytes_up_to, row: offer.key.row, id: offer.id })
    }

    /// How far the numbers on this link are.
    pub(crate) fn reached(&self) -> Reached {
        let page = self.reconciliation.walker.last_page();
        Reached { page, sent: self.in_flight.sent(), heard: self.heard }
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> LinkPhase {
        if self.reconciliation.is_over() { LinkPhase::Live } else { LinkPhase::Reconciling }
    }

    /// Whether [`Session::fill`] may have something.
    pub(crate) fn has_something<S: Store>(&self, custody: &Custody<S>, wants: &Wants) -> bool {
        let has_words = self.say_takeover
            || self.say_again
            || self.body.is_some()
            || wants.has_gets(self.link)
            || self.answers.is_due()
            || !self.news.is_empty()
            || !self.gone.is_empty()
            || !self.refused.is_empty();
        has_words
            || self.reconciliation.is_due
            || !self.reconciliation.say.is_empty()
            || self.reconciliation.has_symbols()
            || self.has_wants(wants)
            || self.reconciliation.walker.has_next(self.may_offer())
            || (self.has_window()
                && (!self.queue.is_empty() || !self.gifts.is_empty() || self.has_fresh(custody))
                && !self.gathers(custody))
    }

    /// When [`Session::on_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<(u64, &'static str)> {
        let walk_again = self.round_again_mono_ms.filter(|_| self.reconciliation.is_free());
        let noted = (!self.handed_out.is_empty()).then_some(self.handed_out_mono_ms + NOTE_MS);
        [
            (
                self.owed_since_mono_ms.map(|since| since.saturating_add(STALL_MS_MAX)),
                "a neighbour owes an answer",
            ),
            (self.again_mono_ms, "say that there is room again"),
            (walk_again, "offer a neighbour everything again"),
            (noted, "note what was handed out"),
            (self.answers.deadline(), "say what was stored"),
        ]
        .into_iter()
        .filter_map(|(due, why)| due.map(|due| (due, why)))
        .min()
    }

    /// Does what is due.
    pub(crate) fn on_timeout<S: Store>(&mut self, around: &mut Around<'_, S>) -> Result<(), Stop> {
        let now_ms = around.now.mono_ms;
        if self.owed_since_mono_ms.is_some_and(|since| now_ms >= since.saturating_add(STALL_MS_MAX)) {
            return Err(Stop::Close(CloseReason::Stalled));
        }
        if self.again_mono_ms.is_some_and(|due| now_ms >= due) {
            let has_room = self.bucket.has(ROOM_BYTES, around.now);
            self.say_again = has_room;
            self.again_mono_ms = (!has_room).then_some(now_ms + WALK_MS_MIN);
        }
        self.answers.on_timeout(now_ms);
        self.round_again_if_due(around);
        if now_ms >= self.handed_out_mono_ms + NOTE_MS {
            self.note_handed_out(around)?;
        }
        Ok(())
    }

    /// Writes down what was handed out while nothing could be written.
    pub(crate) fn note_handed_out<S: Store>(&mut self, around: &mut Around<'_, S>) -> Result<(), StoreError> {
        for id in std::mem::take(&mut self.handed_out) {
            around.custody.note_step(&id, HandOverStep::Offered, &self.peer, self.via, around.now)?;
        }
        Ok(())
    }

    fn round_again_if_due<S: Store>(&mut self, around: &Around<'_, S>) {
        let is_due = self.round_again_mono_ms.is_some_and(|due| around.now.mono_ms >= due);
        if is_due && self.reconciliation.is_free() {
            self.reconciliation.is_due = true;
            self.round_began_mono_ms = around.now.mono_ms;
            self.round_again_mono_ms = None;
        }
    }

    fn may_offer(&self) -> bool {
        self.queue.len() < QUEUE_LOW
    }

    fn has_window(&self) -> bool {
        self.in_flight.has_room()
    }

    fn has_fresh<S: Store>(&self, custody: &Custody<S>) -> bool {
        PRIORITIES.into_iter().any(|priority| {
            let n = priority as usize;
            !self.fresh[n].is_empty() || custody.newest_row(priority) > self.pushed_rows[n]
        })
    }

    /// Whether the few small bundles that are new wait for the answer to what was sent, to share a frame with what comes
    /// meanwhile, and their answer with its (Nagle's rule, RFC 896): on a slow link a frame of its own and an answer of its
    /// own cost as much as a quarter of a short message. Nothing urgent waits, nothing waits that fills a frame, and not for
    /// more than a few frames to be answered.
    fn gathers<S: Store>(&self, custody: &Custody<S>) -> bool {
        let fill = SLOW_FRAME_BYTES as u64;
        let is_known =
            |priority: &Priority| custody.newest_row(*priority) <= self.pushed_rows[*priority as usize];
        self.via == LinkKind::Ble
            && !self.in_flight.is_empty()
            && self.in_flight.bytes() < GATHER_FRAMES_MAX * fill
            && self.queue.is_empty()
            && PRIORITIES.iter().all(is_known)
            && !self.has_urgent()
            && self.new_bytes_up_to(fill) < fill
    }

    fn has_urgent(&self) -> bool {
        let gift = self.gifts.first_key_value().map(|(turn, _)| turn.priority);
        !self.fresh[Priority::Sos as usize].is_empty() || gift == Some(Priority::Sos)
    }

    /// Bytes of what is new and was looked up, counted no further than `enough`.
    fn new_bytes_up_to(&self, enough: u64) -> u64 {
        let mut bytes = 0;
        for offer in self.gifts.values().chain(self.fresh.iter().flatten()) {
            bytes += offer.size_bytes;
            if bytes >= enough {
                break;
            }
        }
        bytes
    }

    /// Remembers that the neighbour holds something, so that it is not pushed back.
    fn remember_known(&mut self, prefix: IdPrefix) {
        if self.known_to_peer.contains(&prefix) {
            return;
        }
        if self.known_to_peer.len() == KNOWN_TO_PEER_MAX {
            self.known_to_peer.pop_front();
        }
        self.known_to_peer.push_back(prefix);
    }

    /// Something owed came in, or something is owed from now on.
    fn settle_debts<S: Store>(&mut self, around: &Around<'_, S>, has_progress: bool) {
        let is_owed = !self.in_flight.is_empty()
            || self.reconciliation.is_waiting()
            || around.wants.owed(self.link) > 0;
        if !is_owed {
            self.owed_since_mono_ms = None;
        } else if has_progress || self.owed_since_mono_ms.is_none() {
            self.owed_since_mono_ms = Some(around.now.mono_ms);
        }
    }

    /// A neighbour that speaks and never takes what is answered can't make this side keep all of it.
    fn check_answers(&self) -> Result<(), Stop> {
        let refused: usize = self.refused.values().map(Runs::count).sum();
        if self.answers.count() + refused + self.gone.len() > ANSWERS_MAX {
            return Err(Stop::Close(CloseReason::Protocol("it does not take its answers")));
        }
        Ok(())
    }

    /// Counts what no honest neighbour does.
    fn offend(&mut self) -> Result<(), Stop> {
        self.offences += 1;
        if self.offences >= OFFENCES_MAX { Err(Stop::Close(CloseReason::InvalidBundles)) } else { Ok(()) }
    }

    /// Something was refused that would be welcome later.
    fn decline(&mut self, now: Now) {
        self.again_mono_ms.get_or_insert(now.mono_ms + WALK_MS_MIN);
    }
}

/// What is new waits for the answer to at most so many frames of bundles.
const GATHER_FRAMES_MAX: u64 = 4;
/// What a bundle that is not known yet counts at least against a neighbour's budget, in bytes.
const COST_BYTES: u64 = crate::limits::BUNDLE_COST_BYTES_MIN;
/// What was handed out is noted with the answer to it, or without one after this time, in milliseconds.
const NOTE_MS: u64 = 1_000;
/// Room for this many bytes of strangers' bundles is worth telling a neighbour.
const ROOM_BYTES: u64 = 64 * 1024;

fn broken(Malformed(what): Malformed) -> Stop {
    Stop::Close(CloseReason::Protocol(what))
}
