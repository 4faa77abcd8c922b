//! What all tasks of one adapter share: who was heard, which slots and lanes are taken. `A` is what the system's own
//! library calls the adapter; nothing here touches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use meshlink_core::LinkId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::BleSettings;
use super::beacon::Beacon;
use super::candidates::{Address, Candidates, Ours};
use super::duty::Duty;
use super::held::Friends;
use super::lane_book::LaneBook;
use super::offer::{OUR_WINDOW_KIB, Offer};
use super::slots::{Key, Slots, Who};
use crate::driver::LinkPort;

/// Frames that a link has to bring to have been of use: more than a handshake.
const FRAMES_OF_USE: u32 = 3;

/// See the module's text.
pub(super) struct Air<A> {
    pub(super) adapter: A,
    pub(super) port: LinkPort,
    /// Whether links go over L2CAP where they can.
    pub(super) uses_l2cap: bool,
    /// Rings when the scanner should look again: a slot is free, somebody is due.
    pub(super) wake: Notify,
    /// Whether the adapter is there and switched on.
    pub(super) power: watch::Sender<Power>,
    /// Where callers may open L2CAP channels, if they may.
    pub(super) psm: OnceLock<u16>,
    /// Lanes that are offered.
    pub(super) lanes: u8,
    /// Which links are to contacts.
    friends: watch::Receiver<Friends>,
    /// Rings when a device's services are known, or it has come or gone.
    resolved: Notify,
    started: Instant,
    state: Mutex<State>,
    tasks: Mutex<JoinSet<()>>,
}

struct State {
    candidates: Candidates,
    slots: Slots,
    lanes: LaneBook,
    ours: Ours,
    duty: Duty,
    /// Devices that have connected or were connected to, and whether their services are known.
    connected: BTreeMap<Address, bool>,
    cuts: BTreeMap<Key, Arc<Notify>>,
    /// What the node calls each link, once it was told of it.
    ids: BTreeMap<Key, LinkId>,
    /// Who is being dialled.
    dialling: Option<Address>,
    /// Callers that have asked for a lane on the connection they have now.
    visitors: BTreeSet<Address>,
}

/// What was heard on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A device is here now. It says what it said before, unless there is a beacon.
    Heard { address: Address, beacon: Option<Beacon>, dbm: Option<i16> },
    /// Somebody has connected, or has gone.
    Connected { address: Address, is: bool },
    /// All services of a connected device are known.
    Resolved { address: Address },
    /// The adapter was switched on or off.
    Powered(bool),
    /// The adapter is gone.
    Gone,
}

/// How an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    Off,
    Gone,
}

/// What the scanner should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Dial(Address),
    /// Nobody is due before.
    At(Duration),
    Nobody,
}

impl<A> Air<A> {
    /// An adapter that offers so many lanes to callers.
    pub(super) fn new(
        adapter: A,
        lanes: u8,
        ours: Ours,
        settings: &BleSettings,
        port: LinkPort,
        friends: watch::Receiver<Friends>,
    ) -> Arc<Self> {
        let state = State {
            candidates: Candidates::default(),
            slots: Slots::new(settings.slots),
            lanes: LaneBook::new(lanes),
            ours,
            duty: Duty::new(settings.profile, Duration::ZERO),
            connected: BTreeMap::new(),
            cuts: BTreeMap::new(),
            ids: BTreeMap::new(),
            dialling: None,
            visitors: BTreeSet::new(),
        };
        Arc::new(Self {
            adapter,
            port,
            uses_l2cap: settings.l2cap,
            wake: Notify::new(),
            power: watch::Sender::new(Power::On),
            psm: OnceLock::new(),
            lanes,
            friends,
            resolved: Notify::new(),
            started: Instant::now(),
            state: Mutex::new(state),
            tasks: Mutex::new(JoinSet::new()),
        })
    }

    /// Time since this adapter came up.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A moment of [`Air::now`] as one to wait for.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.started + at
    }

    /// Takes in what the system tells of this adapter.
    pub(super) fn hear(&self, news: News) {
        let now = self.now();
        let mut state = self.lock();
        match news {
            News::Heard { address, beacon, dbm } => {
                let ours = state.ours;
                let is_new = state.candidates.heard(address, beacon, ours, now, dice());
                if let Some(dbm) = dbm {
                    state.candidates.measured(&address, dbm);
                }
                if is_new {
                    tracing::trace!(?address, "heard with news");
                    state.duty.something_new(now);
                    self.wake.notify_one();
                }
            }
            News::Connected { address, is } => {
                state.candidates.connected(&address, is, now);
                if is {
                    state.connected.entry(address).or_default();
                } else {
                    state.connected.remove(&address);
                }
                self.resolved.notify_waiters();
            }
            News::Resolved { address } => {
                state.connected.insert(address, true);
                self.resolved.notify_waiters();
            }
            News::Powered(is) => drop(self.power.send_replace(if is { Power::On } else { Power::Off })),
            News::Gone => drop(self.power.send_replace(Power::Gone)),
        }
    }

    /// The system remembers a neighbour. Who dialled one that is still connected would get the dying connection.
    pub(super) fn remember(&self, address: Address, beacon: Beacon, is_connected: bool) {
        let now = self.now();
        let mut state = self.lock();
        state.candidates.remember(address, beacon);
        if is_connected {
            state.candidates.connected(&address, true, now);
        }
    }

    /// Waits until the services of a device that was just connected to are known, as they were already if
    /// `at_first`. Returns whether they are: it may go meanwhile.
    pub(super) async fn is_resolved(&self, address: &Address, at_first: impl Future<Output = bool>) -> bool {
        let mut was_there = false;
        let mut at_first = Some(at_first);
        loop {
            let mut news = std::pin::pin!(self.resolved.notified());
            news.as_mut().enable();
            match self.lock().connected.get(address) {
                Some(true) => return true,
                Some(false) => was_there = true,
                None if was_there => return false,
                // BlueZ's word of it is under way, or it was there before we listened.
                None => {}
            }
            if let Some(at_first) = at_first.take()
                && at_first.await
            {
                return true;
            }
            news.await;
        }
    }

    /// BlueZ has forgotten a device: it must be heard again before it is dialled.
    pub(super) fn forget(&self, address: &Address) {
        self.lock().candidates.forget(address);
    }

    /// How long to listen, and then how long to rest.
    pub(super) fn duty(&self) -> (Duration, Duration) {
        let (state, now) = (self.lock(), self.now());
        (state.duty.scan(now), state.duty.pause(now))
    }

    /// How strong a neighbour's signal was when last heard, in dBm.
    pub(super) fn dbm(&self, address: &Address) -> Option<i16> {
        self.lock().candidates.dbm(address)
    }

    /// What we hold or say is now this; returns it.
    pub(super) fn ours_changed(&self, ours: Ours) -> Ours {
        let mut state = self.lock();
        state.ours = ours;
        state.candidates.ours_changed(ours, self.now(), dice());
        drop(state);
        self.wake.notify_one();
        ours
    }

    /// What is next. When somebody is due and no slot is free, a link that had its time is cut.
    pub(super) fn next(&self) -> Next {
        let (mut state, now) = (self.lock(), self.now());
        match state.candidates.due(now) {
            Some(address) if state.may_dial(now) => Next::Dial(address),
            Some(_) => {
                state.cut_for(false, &self.friends.borrow(), now);
                Next::Nobody
            }
            None => state.candidates.next_due(now).map_or(Next::Nobody, Next::At),
        }
    }

    /// Keeps a slot for a dial while the answer is kept, if one is free.
    pub(super) fn begin_dial(self: &Arc<Self>, address: Address) -> Option<Dialling<A>> {
        let (mut state, now) = (self.lock(), self.now());
        if !state.may_dial(now) {
            return None;
        }
        state.dialling = Some(address);
        drop(state);
        Some(Dialling(Arc::clone(self)))
    }

    /// The answer to a caller that reads.
    pub(super) fn offer_to(&self, address: Address) -> Offer {
        let lane = self.lock().give_lane(address, &self.friends.borrow(), self.now());
        Offer { lane, psm: self.psm.get().copied(), window_kib: OUR_WINDOW_KIB }
    }

    /// Somebody asks for a lane. Returns whether it is the first time on this connection.
    pub(super) fn visits(&self, address: Address) -> bool {
        self.lock().visitors.insert(address)
    }

    /// Whether somebody holds a connection and no link, and is not being dialled: it only takes up room. Its next
    /// question is one of a new visit.
    pub(super) fn loiters(&self, address: &Address) -> bool {
        let mut state = self.lock();
        state.visitors.remove(address);
        state.connected.contains_key(address)
            && !state.slots.has(address)
            && state.dialling.as_ref() != Some(address)
    }

    /// Whether somebody may have an L2CAP channel, as whoever would be offered a lane; it takes the lane's place.
    pub(super) fn takes_channel(&self, address: &Address) -> bool {
        let mut state = self.lock();
        let lane = state.give_lane(*address, &self.friends.borrow(), self.now());
        if let Some(lane) = lane {
            state.lanes.free(lane);
        }
        lane.is_some()
    }

    /// Whether to try a channel there before anything was offered: not where the last dial came to nothing.
    pub(super) fn may_go_straight(&self, address: &Address) -> bool {
        self.lock().candidates.is_promising(address)
    }

    pub(super) fn lane_is_of(&self, lane: u8, address: &Address) -> bool {
        self.lock().lanes.is_of(lane, address, self.now())
    }

    pub(super) fn take_lane(&self, lane: u8, by: Address) {
        self.lock().lanes.take(lane, by);
    }

    pub(super) fn free_lane(&self, lane: u8) {
        self.lock().lanes.free(lane);
    }

    /// Whether there is another link to that link's address.
    pub(super) fn is_linked_besides(&self, key: &Key) -> bool {
        self.lock().slots.has_besides(key)
    }

    /// Whether there is a link to that address.
    pub(super) fn is_linked(&self, address: &Address) -> bool {
        self.lock().slots.has(address)
    }

    pub(super) fn links(&self) -> usize {
        self.lock().slots.len()
    }

    pub(super) fn in_range(&self) -> usize {
        self.lock().candidates.in_range(self.now())
    }

    /// An attempt to reach that address came to nothing.
    pub(super) fn dial_failed(&self, address: Address) {
        let now = self.now();
        self.lock().candidates.dial_failed(address, now, dice());
    }

    /// A caller stayed without becoming a link.
    pub(super) fn call_wasted(&self, address: Address) {
        let now = self.now();
        self.lock().candidates.link_down(address, false, now, dice());
    }

    /// Takes a slot for a link.
    pub(super) fn open(self: &Arc<Self>, key: Key) -> Slot<A> {
        let (mut state, now) = (self.lock(), self.now());
        let cut = Arc::new(Notify::new());
        state.slots.add(key, now);
        state.candidates.link_up(key.address);
        state.dialling = state.dialling.filter(|address| *address != key.address);
        state.cuts.insert(key, Arc::clone(&cut));
        drop(state);
        Slot { air: Arc::clone(self), key, cut, answer_by: None, frames: 0 }
    }

    /// Runs a link's task until it ends or the adapter goes.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("nothing panics while it holds this lock");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Asks all links to end in good order, and waits until they have.
    pub(super) async fn cut_all(&self) {
        for cut in self.lock().cuts.values() {
            cut.notify_one();
        }
        while self.links() > 0 {
            self.wake.notified().await;
        }
    }

    /// Ends all links at once when the answer is dropped: they do not outlive their adapter's task.
    pub(super) fn end_links(self: &Arc<Self>) -> EndLinks<A> {
        EndLinks(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn may_dial(&self, now: Duration) -> bool {
        self.slots.may_dial(self.lanes.expected_besides(None, now))
    }

    /// The lane of whoever calls: the one it was given already, or a free one. If it has to wait, a link that had its time
    /// is cut.
    fn give_lane(&mut self, address: Address, friends: &Friends, now: Duration) -> Option<u8> {
        if !self.candidates.may_call(&address, now) || self.slots.has(&address) {
            return None;
        }
        if self.may_accept(&address, now) {
            return self.lanes.give(address, now);
        }
        self.cut_for(true, friends, now);
        None
    }

    fn may_accept(&self, address: &Address, now: Duration) -> bool {
        let dialling = self.dialling.filter(|other| other != address);
        self.slots.may_accept(self.lanes.expected_besides(Some(address), now), dialling.iter().count())
    }

    fn cut_for(&mut self, caller: bool, friends: &Friends, now: Duration) {
        let ids = &self.ids;
        self.slots.known(friends.has_contacts, |key| match ids.get(key) {
            Some(id) if friends.links.contains(id) => Who::Contact,
            Some(_) | None => Who::Stranger,
        });
        if let Some(cut) = self.slots.victim(caller, now).and_then(|victim| self.cuts.get(&victim)) {
            cut.notify_one();
        }
    }
}

/// See [`Air::end_links`].
pub(super) struct EndLinks<A>(Arc<Air<A>>);

impl<A> Drop for EndLinks<A> {
    fn drop(&mut self) {
        self.0.tasks.lock().expect("nothing panics while it holds this lock").abort_all();
    }
}

/// A slot that is kept while a neighbour is dialled.
pub(super) struct Dialling<A>(Arc<Air<A>>);

impl<A> Drop for Dialling<A> {
    fn drop(&mut self) {
        self.0.lock().dialling = None;
    }
}

/// A slot while its link lives.
pub(super) struct Slot<A> {
    air: Arc<Air<A>>,
    pub(super) key: Key,
    /// Rings when the link has to go.
    pub(super) cut: Arc<Notify>,
    /// The first frame has to be there by then.
    pub(super) answer_by: Option<Instant>,
    frames: u32,
}

impl<A> Slot<A> {
    /// What the node calls the link.
    pub(super) fn named(&self, link: LinkId) {
        self.air.lock().ids.insert(self.key, link);
    }

    /// A frame was sent.
    pub(super) fn sent(&self) {
        self.air.lock().slots.moved(&self.key, self.air.now());
    }

    /// A frame arrived.
    pub(super) fn received(&mut self) {
        self.answer_by = None;
        self.frames = self.frames.saturating_add(1);
        self.sent();
    }
}

impl<A> Drop for Slot<A> {
    fn drop(&mut self) {
        let (mut state, now) = (self.air.lock(), self.air.now());
        state.slots.remove(&self.key);
        state.cuts.remove(&self.key);
        state.ids.remove(&self.key);
        if state.slots.has(&self.key.address) {
            return;
        }
        if self.key.dialled && self.frames == 0 {
            // Nobody answered: it was refused.
            state.candidates.dial_failed(self.key.address, now, dice());
        } else {
            state.candidates.link_down(self.key.address, self.frames >= FRAMES_OF_USE, now, dice());
        }
        drop(state);
        self.air.wake.notify_one();
    }
}

/// A random number for delays; a system without randomness makes them predictable, not wrong.
pub(super) fn dice() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::beacon::Fingerprint;
    use super::super::limits::SlotLimits;
    use super::*;
    use crate::driver::Commands;

    const A: Address = [1; 6];
    const B: Address = [2; 6];
    const C: Address = [3; 6];

    /// The air of an adapter with three links at most, two of them callers'.
    pub(in super::super) fn air() -> Arc<Air<()>> {
        let (held, limits) = (Fingerprint([1; 16]), SlotLimits::new(3, 2).unwrap());
        let ours = Ours { beacon: Beacon::new([0; 4], held), held, unsettled: false };
        let settings = BleSettings { slots: limits, ..BleSettings::default() };
        let (port, _) = Commands::pair();
        Air::new((), limits.callers(), ours, &settings, port, watch::channel(Friends::default()).1)
    }

    fn call(address: Address) -> Key {
        Key { address, dialled: false }
    }

    #[tokio::test]
    async fn b03_a_channel_is_for_whoever_would_be_offered_a_lane() {
        let air = air();
        assert!(air.takes_channel(&A), "nothing was offered, and there is room");
        let first = air.open(call(A));
        assert!(!air.takes_channel(&A), "it has a link");
        assert!(air.takes_channel(&B));
        let _second = air.open(call(B));
        assert!(!air.takes_channel(&C), "callers have no more than their part");
        drop(first);
        assert!(air.takes_channel(&C));
    }

    #[tokio::test]
    async fn b03_a_channel_takes_the_place_of_the_lane_that_was_offered() {
        let air = air();
        assert_eq!((air.offer_to(A).lane, air.offer_to(B).lane), (Some(0), Some(1)));
        assert!(!air.takes_channel(&C), "both places are promised");
        assert!(air.takes_channel(&A));
        let _link = air.open(call(A));
        assert!(!air.lane_is_of(0, &A));
        assert_eq!(air.offer_to(C).lane, None, "there are two callers");
    }

    #[tokio::test]
    async fn b03_who_is_dialled_and_says_nothing_is_asked_for_an_offer_next_and_may_still_call() {
        let air = air();
        let dialled = Key { address: A, dialled: true };
        assert!(air.may_go_straight(&A));
        for _ in 0..3 {
            drop(air.open(dialled));
            assert!(!air.may_go_straight(&A));
        }
        assert!(air.offer_to(A).lane.is_some());
        let mut link = air.open(dialled);
        for _ in 0..FRAMES_OF_USE {
            link.received();
        }
        drop(link);
        assert!(air.may_go_straight(&A));
    }
}
