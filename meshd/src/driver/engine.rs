//! The loop on the node's thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use meshlink_core::{
    CloseReason, Event, Input, LinkId, Node, Now, Output, Seq, Store, StoreError, TransportState,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::lane::{Lane, LinkCommand};
use super::tally::Tally;
use crate::clock::Clock;
use crate::vault;

/// Commands taken into one transaction; the rest share the next.
const BATCH_COMMANDS_MAX: usize = 512;
/// Time after which a batch is committed even if more is queued: what is in it waits no longer.
const BATCH_TIME_MAX: Duration = Duration::from_millis(5);
/// Frames of one link taken into one batch, so that the others get their turn.
const BATCH_FRAMES_MAX: usize = 128;
/// A commit is slow enough to wait for company if it took this long...
const LINGER_COMMIT_MIN: Duration = Duration::from_micros(100);
/// ...and company is waited for at most this part of the time a commit takes,
const LINGER_PART: u32 = 2;
/// and no longer than that.
const LINGER_TIME_MAX: Duration = Duration::from_millis(5);
/// Longest sleep. The kernel's timer does not count suspend, the node's clock does.
const SLEEP_MS_MAX: u64 = 60_000;
/// Before it waits the thread cleans its stack of keys that were worked with, some of which are deleted by now: this often at
/// most, and so within [`SLEEP_MS_MAX`] of the work.
const CLEAN_EVERY: Duration = Duration::from_secs(1);
/// Shortest sleep for a deadline that is still there after it was served.
const SLEEP_MS_MIN: u64 = 1;

/// Tells whoever asked how the commit went.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
pub(super) type Look<S> = Box<dyn FnOnce(&Node<S>, Now) + Send>;
type Change<S> = Box<dyn FnOnce(&mut Node<S>, Now) -> Answer + Send>;

/// Somebody who waits for news.
pub(super) struct Waiting<S> {
    pub(super) look: Look<S>,
    /// Gone when nobody waits any more.
    pub(super) waits: Weak<()>,
}

/// What the thread is asked to do.
pub(super) enum Command<S> {
    Read(Look<S>),
    /// To look as soon as there is an event after this one.
    Await {
        after: Seq,
        waiting: Waiting<S>,
        /// A place in the queue, not among those who wait.
        _permit: OwnedSemaphorePermit,
    },
    Write(Change<S>),
    Link(LinkCommand),
    Stop(oneshot::Sender<()>),
}

/// A node with everything around it that lives on its thread.
pub(super) struct Engine<S> {
    node: Node<S>,
    clock: Clock,
    newest: watch::Sender<Seq>,
    tally: Arc<Tally>,
    lanes: BTreeMap<LinkId, Arc<Lane>>,
    /// Links with frames left over from a full batch.
    unread: Vec<LinkId>,
    looks: Vec<Look<S>>,
    waiting: Vec<Waiting<S>>,
    answers: Vec<Answer>,
    /// How many the last two batches answered at most: so many may ask again at about the same time.
    company: [usize; 2],
    /// How long the last commit that wrote took.
    commit_time: Duration,
    stop: Option<oneshot::Sender<()>>,
    /// The disk failed at the last commit; said once.
    failing: bool,
    /// When the stack was cleaned last.
    cleaned: Instant,
}

impl<S: Store> Engine<S> {
    pub(super) fn new(node: Node<S>, clock: Clock, newest: watch::Sender<Seq>, tally: Arc<Tally>) -> Self {
        Self {
            node,
            clock,
            newest,
            tally,
            lanes: BTreeMap::new(),
            unread: Vec::new(),
            looks: Vec::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            company: [0; 2],
            commit_time: Duration::ZERO,
            stop: None,
            failing: false,
            cleaned: Instant::now(),
        }
    }

    /// Runs until told to stop, or until nobody is left who could tell.
    pub(super) fn run(mut self, queue: &Receiver<Command<S>>) {
        let mut served = None;
        loop {
            let now = self.clock.now();
            let deadline = self.node.poll_timeout().map(|deadline| deadline.mono_ms);
            // A deadline that serving it did not move must not spin.
            let floor_ms = if deadline.is_some() && deadline == served { SLEEP_MS_MIN } else { 0 };
            let sleep_ms = deadline.map_or(SLEEP_MS_MAX, |mono_ms| mono_ms.saturating_sub(now.mono_ms));
            match self.receive(queue, sleep_ms.clamp(floor_ms, SLEEP_MS_MAX)) {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.gather(queue);
            self.linger(queue);
            let now = self.clock.now();
            served = self.node.poll_timeout().map(|deadline| deadline.mono_ms);
            if served.is_some_and(|mono_ms| mono_ms <= now.mono_ms) {
                self.feed(Input::Timeout, now);
            }
            if self.is_somebody_waiting(now) {
                self.settle();
            }
            if self.stop.is_some() {
                break;
            }
        }
        self.finish();
    }

    /// Whether anybody waits for what a commit lets out. If not, more can share it.
    fn is_somebody_waiting(&self, now: Now) -> bool {
        !self.answers.is_empty()
            || !self.looks.is_empty()
            || self.stop.is_some()
            || self.node.is_commit_due(now)
    }

    fn receive(
        &mut self,
        queue: &Receiver<Command<S>>,
        sleep_ms: u64,
    ) -> Result<Command<S>, RecvTimeoutError> {
        if !self.unread.is_empty() {
            return Err(RecvTimeoutError::Timeout);
        }
        if self.cleaned.elapsed() >= CLEAN_EVERY {
            vault::clean_stack();
            self.cleaned = Instant::now();
        }
        queue.recv_timeout(Duration::from_millis(sleep_ms))
    }

    /// Takes what is there into this batch, within its bounds.
    fn gather(&mut self, queue: &Receiver<Command<S>>) {
        let started = Instant::now();
        for link in std::mem::take(&mut self.unread) {
            self.take_frames(link);
        }
        for _ in 0..BATCH_COMMANDS_MAX {
            if self.stop.is_some() || started.elapsed() > BATCH_TIME_MAX {
                return;
            }
            match queue.try_recv() {
                Ok(command) => self.take(command),
                Err(_) => return,
            }
        }
    }

    /// Waits a little for those who were answered together and are about to ask again: alone, the first of them
    /// would start a commit of its own and the others would wait for the end of it. Whoever is alone waits for
    /// nobody.
    fn linger(&mut self, queue: &Receiver<Command<S>>) {
        let company = self.company[0].max(self.company[1]);
        let is_worth_it = self.commit_time >= LINGER_COMMIT_MIN && !self.answers.is_empty();
        if !is_worth_it || self.answers.len() >= company {
            return;
        }
        let until = Instant::now() + (self.commit_time / LINGER_PART).min(LINGER_TIME_MAX);
        while self.answers.len() < company && self.stop.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            match queue.recv_timeout(left) {
                Ok(command) => self.take(command),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, command: Command<S>) {
        match command {
            Command::Read(look) => self.looks.push(look),
            Command::Await { after, waiting, _permit } => self.wait(after, waiting),
            Command::Write(change) => {
                let now = self.clock.now();
                self.answers.push(change(&mut self.node, now));
            }
            Command::Link(command) => self.take_link(command),
            Command::Stop(done) => self.stop = Some(done),
        }
    }

    /// Whoever gave up is forgotten here, so there are never more than wait.
    fn wait(&mut self, after: Seq, waiting: Waiting<S>) {
        if *self.newest.borrow() > after {
            self.looks.push(waiting.look);
            return;
        }
        self.waiting.retain(|other| other.waits.strong_count() > 0);
        self.waiting.push(waiting);
    }

    fn take_link(&mut self, command: LinkCommand) {
        let now = self.clock.now();
        match command {
            LinkCommand::Up { link, kind, address, dialled, lane } => {
                self.lanes.insert(link, lane);
                self.feed(Input::LinkUp { link, kind, address, dialled }, now);
            }
            LinkCommand::Down { link } => {
                if self.lanes.remove(&link).is_some() {
                    self.feed(Input::LinkDown { link }, now);
                }
            }
            LinkCommand::Frames { link } => self.take_frames(link),
            // The commit at the end of this batch pulls for it.
            LinkCommand::Room => {}
            LinkCommand::Facts { link, facts } => {
                if self.lanes.contains_key(&link) {
                    self.feed(Input::Facts { link, facts }, now);
                }
            }
            LinkCommand::Report(status) => {
                let reported = self.node.report_transport(status, now);
                self.note(reported);
            }
        }
    }

    fn take_frames(&mut self, link: LinkId) {
        let Some(lane) = self.lanes.get(&link).map(Arc::clone) else { return };
        for _ in 0..BATCH_FRAMES_MAX {
            let Some(frame) = lane.take() else { return };
            let now = self.clock.now();
            self.feed(Input::Frame { link, bytes: &frame }, now);
        }
        self.unread.push(link);
    }

    fn feed(&mut self, input: Input<'_>, now: Now) {
        let handled = self.node.handle(input, now);
        self.note(handled);
    }

    /// A failed store makes the commit of this batch fail as well, and that is where it is answered.
    fn note(&self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::debug!(%error, "the store failed inside a transaction");
        }
    }

    /// Commits the batch, answers it, and lets out what rests on it.
    fn settle(&mut self) {
        let now = self.clock.now();
        let known = *self.newest.borrow();
        let committed = self.commit(now);
        if !self.answers.is_empty() {
            self.company = [self.answers.len(), self.company[0]];
        }
        match &committed {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("the store takes writes again");
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "nothing new can be stored; reading still works, and writing is tried again");
            }
            Ok(()) | Err(_) => {}
        }
        for answer in self.answers.drain(..) {
            answer(committed.clone());
        }
        if *self.newest.borrow() > known {
            self.looks.extend(self.waiting.drain(..).map(|waiting| waiting.look));
        }
        for look in self.looks.drain(..) {
            look(&self.node, now);
        }
    }

    fn commit(&mut self, now: Now) -> Result<(), StoreError> {
        let is_writing = self.node.store().is_dirty();
        let begun = Instant::now();
        let committed = self.node.commit(now);
        if is_writing {
            self.commit_time = begun.elapsed();
            self.tally.committed(self.commit_time, committed.is_ok());
        }
        let mut outbox = committed?;
        let mut newest = None;
        while let Some(output) = outbox.next_output() {
            match output {
                Output::Event(logged) => {
                    newest = Some(logged.seq);
                    self.tally.event(&logged.event, now.mono_ms);
                    log_event(&logged.event);
                }
                Output::Close { link, why } => {
                    self.tally.closed(&why);
                    if why == CloseReason::Twin {
                        tracing::warn!(%link, "another machine runs with this node's keys; one of the two has to go");
                    }
                    tracing::debug!(%link, reason = %why, "link closed by this node");
                    if let Some(lane) = self.lanes.remove(&link) {
                        lane.close(Some(why));
                    }
                }
            }
        }
        for link in outbox.links_with_frames() {
            let Some(lane) = self.lanes.get(&link) else { continue };
            let mut pushed = false;
            while lane.has_room() {
                match outbox.next_frame(link, now) {
                    Ok(Some(frame)) => {
                        lane.push(frame);
                        pushed = true;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, %link, "the store can't be read; the link waits");
                        break;
                    }
                }
            }
            if pushed {
                lane.ring();
            }
        }
        if let Some(newest) = newest {
            self.newest.send_replace(newest);
        }
        Ok(())
    }

    /// Ends all links, commits, closes the store, and only then says that it is done.
    fn finish(mut self) {
        let now = self.clock.now();
        for (link, lane) in std::mem::take(&mut self.lanes) {
            self.feed(Input::LinkDown { link }, now);
            lane.close(None);
        }
        self.settle();
        let done = self.stop.take();
        drop(self);
        if let Some(done) = done {
            // Whoever asked may have given up waiting.
            let _ = done.send(());
        }
    }
}

/// What a user may want to see in the log: what works. Never what is said; and whom this node met only for who looks for a
/// mistake, as a journal is kept for months and no wipe reaches it.
fn log_event(event: &Event) {
    match event {
        Event::PeerUp { peer } => tracing::debug!(%peer, "neighbour is here"),
        Event::PeerDown { peer } => tracing::debug!(%peer, "neighbour is gone"),
        Event::LinkUp { link } => {
            tracing::debug!(link = link.id, kind = %link.kind, "link is up")
        }
        Event::LinkDown { link } => {
            tracing::debug!(link = link.id, kind = %link.kind, sent = link.sent_bytes, received = link.received_bytes, "link is down");
        }
        // Off is what the configuration says.
        Event::Transport { status } if status.state == TransportState::Off => {}
        Event::Transport { status } => {
            tracing::info!(kind = %status.kind, name = %status.name, state = %status.state, "{}", status.detail);
        }
        Event::MessageNew { .. }
        | Event::MessageStatus { .. }
        | Event::ContactChanged { .. }
        | Event::GroupChanged { .. } => {}
    }
}
