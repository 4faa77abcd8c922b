//! The node: what a program drives.
//!
//! ```text
//!  submit, handle ──▶ Node ──commit()──▶ Outbox ──▶ frames, closes, events
//!                       │                  ▲
//!                       └── Store ─────────┘  one transaction, durable before anything leaves
//! ```
//!
//! Everything that comes in changes the store's open transaction and this process's memory. Nothing goes out:
//! an [`Outbox`] is the only source of frames and events, and only a successful [`Node::commit`] gives one.
//! Whatever fails on the disk rolls the whole transaction back, drops the sessions and makes the next commit
//! fail, so that nobody is told that something is stored which is not.

mod at_rest;
mod channels;
mod contacts;
pub mod groups;
mod links;
mod outbox;

pub use channels::JoinedChannel;
pub use outbox::Outbox;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bucket::Bucket;
use crate::clock::Now;
use crate::custody::Custody;
pub use crate::draft::{
    BridgedPost, ContactDraft, ContactError, Draft, GroupDraft, GroupError, GroupMessageDraft, PrivateDraft,
    ProfileDraft, SubmitError,
};
use crate::entropy::Entropy;
use crate::event::{Event, LinkFacts, LinkKind, LinkStatus, LoggedEvent, TransportStatus};
use crate::id::{BundleId, LinkId, NodeId};
use crate::identity::Identity;
use crate::limits::{self, Limits};
use crate::link::Link;
pub use crate::session::Spent;
use crate::store::{Store, StoreError};
use crate::tally::Tally;
use crate::wants::Wants;

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A link is there. Of its two ends exactly one says `dialled`.
    LinkUp {
        /// Its number, not used before.
        link: LinkId,
        /// What carries it.
        kind: LinkKind,
        /// The other end's address on that transport.
        address: String,
        /// Whether this side made the connection.
        dialled: bool,
    },
    /// A link is gone.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// A whole frame came in.
    Frame {
        /// On which link.
        link: LinkId,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The transport knows something of a link.
    Facts {
        /// Which link.
        link: LinkId,
        /// All it knows now.
        facts: LinkFacts,
    },
    /// The time of [`Node::poll_timeout`] may have come. Spurious ones do nothing.
    Timeout,
}

/// What a node wants done or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Hang up. The node has forgotten the link already; a `LinkDown` for it does nothing.
    Close {
        /// Which link.
        link: LinkId,
        /// Why.
        why: CloseReason,
    },
    /// Something became true. It is in the store's log too.
    Event(LoggedEvent),
}

/// Why a node hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The other end is this node.
    #[error("the other end is this node itself")]
    SelfLink,
    /// The other end has this node's keys and is another machine.
    #[error("another machine runs with this node's keys")]
    Twin,
    /// The user blocked the neighbour.
    #[error("the neighbour is blocked")]
    Blocked,
    /// A better link to the same neighbour is up.
    #[error("another link to the same neighbour is better")]
    Duplicate,
    /// The neighbour says this link is dead.
    #[error("the neighbour moved to another link")]
    Replaced,
    /// No protocol version in common.
    #[error("the neighbour speaks no protocol version this node knows")]
    NoCommonVersion,
    /// The handshake did not come to its end.
    #[error("the handshake failed: {0}")]
    HandshakeFailed(&'static str),
    /// The handshake took too long.
    #[error("the handshake took longer than {} s", crate::limits::HANDSHAKE_MS_MAX / 1000)]
    HandshakeTimeout,
    /// An answer was owed for too long.
    #[error("the neighbour owed an answer for {} s", crate::limits::STALL_MS_MAX / 1000)]
    Stalled,
    /// The neighbour does not keep to the protocol.
    #[error("the neighbour broke the protocol: {0}")]
    Protocol(&'static str),
    /// Too many of its bundles were no good.
    #[error("too many of the neighbour's bundles were invalid")]
    InvalidBundles,
    /// Too many links are open.
    #[error("too many links are open")]
    TooManyLinks,
    /// The disk failed and what the session had done is lost.
    #[error("the store failed")]
    StoreFailed,
    /// This node goes on as another one: it was locked or unlocked.
    #[error("this node was locked or unlocked")]
    OtherIdentity,
}

/// When a node wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// On the clock of [`Now::mono_ms`].
    pub mono_ms: u64,
    /// What for, in words.
    pub reason: &'static str,
}

/// A running node. See the module's text.
pub struct Node<S> {
    custody: Custody<S>,
    links: BTreeMap<LinkId, Link>,
    wants: Wants,
    /// Neighbours whose last link went down here; not all of them, and since the start.
    parted: BTreeSet<NodeId>,
    /// Links that others may still open.
    answered: Bucket,
    transports: BTreeMap<(LinkKind, String), TransportStatus>,
    /// Room for a frame's plain text, used again.
    plain: Vec<u8>,
    dealings_saved_mono_ms: Option<u64>,
    closes: VecDeque<(LinkId, CloseReason)>,
    events: VecDeque<LoggedEvent>,
    /// By when the open transaction is to be committed.
    commit_by_mono_ms: Option<u64>,
    /// Why the transaction was lost, until a commit has said so.
    lost: Option<StoreError>,
    /// When to try again whether the full disk has room.
    probe_mono_ms: Option<u64>,
    /// Whether the store may be without what every node has, or its log have links as up that are gone.
    is_unsettled: bool,
    /// Whether what is in memory may differ from the store, because that could not be read.
    is_stale: bool,
    /// Which keys of this node's another machine with the same ones was met with.
    twin_of: Option<NodeId>,
}

impl<S: Store> Node<S> {
    /// Starts a node on a store. `seed` is fresh randomness from the operating system; all of the node's own
    /// comes from it.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn open(
        store: S,
        identity: Identity,
        seed: [u8; 32],
        limits: Limits,
        now: Now,
    ) -> Result<Self, StoreError> {
        let custody = Custody::open(store, identity, Entropy::new(&seed), limits, now)?;
        Ok(Self {
            custody,
            links: BTreeMap::new(),
            wants: Wants::default(),
            parted: BTreeSet::new(),
            answered: Bucket::new(limits::ANSWERED_PER_HOUR_MAX, now),
            plain: Vec::new(),
            dealings_saved_mono_ms: None,
            transports: BTreeMap::new(),
            closes: VecDeque::new(),
            events: VecDeque::new(),
            commit_by_mono_ms: None,
            lost: None,
            probe_mono_ms: None,
            is_unsettled: true,
            is_stale: false,
            twin_of: None,
        })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.custody.id()
    }

    /// Whether it has met another machine with its keys since it started: a copied disk image, or a backup put
    /// back beside its original (threat C-13). What is for one of them reaches either.
    pub fn has_met_twin(&self) -> bool {
        self.twin_of == Some(self.id())
    }

    /// Its keys.
    pub fn identity(&self) -> &Identity {
        &self.custody.identity
    }

    /// Its store, to read from.
    pub fn store(&self) -> &S {
        &self.custody.store
    }

    /// Its store, for tables the node does not know; they share its transaction.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.custody.store
    }

    /// Its store, and the end of the node. What was not committed is still in the store's transaction.
    pub fn into_store(self) -> S {
        self.custody.store
    }

    /// Where `now` is on the store's timeline, in milliseconds.
    pub fn timeline_ms(&self, now: Now) -> u64 {
        self.custody.timeline.at(now)
    }

    /// Posts a message: signs it, stores it, shows it here.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit(&mut self, draft: Draft, now: Now) -> Result<BundleId, SubmitError> {
        self.write_private(now, |node| node.custody.submit(draft, now))
    }

    /// Sends a message to one recipient, who becomes a contact: stores it, shows it here, and seals it as soon as
    /// the recipient's keys are known. Its id is not that of the bundle that carries it.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_private(&mut self, draft: PrivateDraft, now: Now) -> Result<BundleId, SubmitError> {
        self.write_private(now, |node| node.custody.submit_private(draft, now))
    }

    /// Takes over a post from a client that knows nothing of MeshLink; `None` if it is known already.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_bridged(&mut self, post: BridgedPost, now: Now) -> Result<Option<BundleId>, SubmitError> {
        self.write(now, |node| node.custody.submit_bridged(post, now))
    }

    /// Changes what the node says about itself, as a whole. Saying the same again does nothing.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn set_profile(&mut self, profile: ProfileDraft, now: Now) -> Result<(), SubmitError> {
        self.write_private(now, |node| node.custody.set_profile(profile, now))
    }

    /// What the node says about itself.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn profile(&self) -> Result<ProfileDraft, StoreError> {
        self.custody.profile()
    }

    /// Marks a message read; says whether it was unread. Its sender hears of it if both sides want that.
    ///
    /// # Errors
    /// The store failed.
    pub fn mark_read(&mut self, id: &BundleId, now: Now) -> Result<bool, StoreError> {
        self.write_private(now, |node| node.custody.mark_read(id, now))
    }

    /// Forgets a message here; says whether it was kept. An own one that nobody else has is withdrawn: it
    /// will not be sent.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget(&mut self, id: &BundleId, now: Now) -> Result<bool, StoreError> {
        self.write_private(now, |node| node.custody.forget(id))
    }

    /// Blocks a node: its links are closed, its bundles neither shown nor carried from now on. Says whether
    /// it was not blocked before.
    ///
    /// # Errors
    /// The store failed.
    pub fn block(&mut self, peer: &NodeId, now: Now) -> Result<bool, StoreError> {
        self.write(now, |node| {
            node.close_peer(peer, CloseReason::Blocked, now)?;
            node.custody.block(peer, now)
        })
    }

    /// Undoes a block; says whether there was one.
    ///
    /// # Errors
    /// The store failed.
    pub fn unblock(&mut self, peer: &NodeId, now: Now) -> Result<bool, StoreError> {
        self.write(now, |node| node.custody.unblock(peer, now))
    }

    /// Notes how a transport stands; logged if it changed. Remembered even if the disk can't log it.
    ///
    /// # Errors
    /// The store failed.
    pub fn report_transport(&mut self, status: TransportStatus, now: Now) -> Result<(), StoreError> {
        let place = (status.kind, status.name.clone());
        if self.transports.get(&place) == Some(&status) {
            return Ok(());
        }
        self.transports.insert(place, status.clone());
        self.write(now, |node| node.custody.log(Event::Transport { status }, now))
    }

    /// How the transports stand, by kind and name.
    pub fn transports(&self) -> impl Iterator<Item = &TransportStatus> {
        self.transports.values()
    }

    /// Takes in what happened. A neighbour's nonsense is no error: it closes that neighbour's link.
    ///
    /// # Errors
    /// The store failed; the transaction is lost, and the next commit says so too.
    pub fn handle(&mut self, input: Input<'_>, now: Now) -> Result<(), StoreError> {
        match input {
            Input::LinkUp { link, kind, address, dialled } => {
                self.on_link_up(link, kind, address, dialled, now);
                Ok(())
            }
            Input::LinkDown { link } if self.links.contains_key(&link) => {
                self.write(now, |node| node.on_link_down(link, now))
            }
            Input::Frame { link, bytes } if self.links.contains_key(&link) => {
                self.note(now, |node| node.on_frame(link, bytes, now))
            }
            Input::LinkDown { .. } | Input::Frame { .. } => Ok(()),
            Input::Facts { link, facts } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.facts = facts;
                }
                Ok(())
            }
            Input::Timeout => self.on_timeout(now),
        }
    }

    /// Makes everything since the last commit durable, and opens the door out.
    ///
    /// # Errors
    /// Nothing since the last commit has happened: the store is rolled back, all links are closed (with the
    /// next outbox). After [`StoreError::Full`] the node takes nothing in until there is room again.
    pub fn commit(&mut self, now: Now) -> Result<Outbox<'_, S>, StoreError> {
        self.commit_by_mono_ms = None;
        if let Some(error) = self.lost.take() {
            return Err(error);
        }
        if self.custody.store.is_dirty()
            && let Err(error) = self.try_commit(now)
        {
            self.lose(&error, now);
            self.lost = None;
            return Err(error);
        }
        self.events.extend(self.custody.events.drain(..));
        // Whoever does not take them finds them in the log.
        let spare = self.events.len().saturating_sub(limits::EVENTS_WAITING_MAX);
        self.events.drain(..spare);
        Ok(Outbox::new(self))
    }

    /// Whether somebody waits for what a commit would let out: a neighbour for a frame, a user for an event or
    /// for the answer to a failure. Until then a driver may take more into the transaction: each commit waits
    /// for the disk, and wears it. Whoever was promised an answer is the driver's business. Any other call
    /// may change it.
    pub fn is_commit_due(&self, now: Now) -> bool {
        self.lost.is_some()
            || !self.closes.is_empty()
            || self.commit_by_mono_ms.is_some_and(|by| now.mono_ms >= by)
            || self.links_with_frames().next().is_some()
    }

    /// Whether the disk takes what is submitted.
    pub fn is_writable(&self) -> bool {
        self.probe_mono_ms.is_none()
    }

    /// The links, by number.
    pub fn links(&self) -> impl Iterator<Item = LinkStatus> {
        self.links.values().map(Link::status)
    }

    /// Makes it break a rule, or keep all of them again.
    #[cfg(feature = "flaws")]
    pub fn plant(&mut self, flaw: Option<crate::flaw::Flaw>) {
        self.custody.flaw = flaw;
    }

    /// What became of the bundles that came by, since the start.
    pub fn tally(&self) -> &Tally {
        &self.custody.tally
    }

    /// What this side has spent so far on finding out what it and a neighbour lack; `None` without a session there.
    pub fn spent_on_reconciling(&self, link: LinkId) -> Option<Spent> {
        self.links.get(&link)?.session().map(|session| session.spent)
    }

    /// Sums up what is held, which else the first encounter does: half a second for a million bundles.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn prepare_to_meet(&mut self) -> Result<(), StoreError> {
        self.custody.summary(0).map(|_| ())
    }

    /// When to call [`Node::handle`] with [`Input::Timeout`] at the latest. Any other call may change it.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if let Some(mono_ms) = self.probe_mono_ms {
            return Some(Deadline { mono_ms, reason: "is there room on the disk again" });
        }
        let sweep = self.custody.next_sweep_mono_ms();
        let due = self.custody.next_due_mono_ms();
        let deadlines = [
            due.map(|mono_ms| Deadline { mono_ms, reason: "a key, receipt or message is due" }),
            self.custody.has_put_by().then_some(Deadline { mono_ms: 0, reason: "mail came while locked" }),
            sweep.map(|mono_ms| Deadline { mono_ms, reason: "a bundle expires" }),
            Some(Deadline { mono_ms: self.custody.next_clock_save_mono_ms(), reason: "save the clocks" }),
            self.commit_by_mono_ms.map(|mono_ms| Deadline { mono_ms, reason: "commit what became true" }),
        ];
        let of_links = self.links.values().filter_map(links::link_deadline);
        let of_links = of_links.map(|(mono_ms, reason)| Deadline { mono_ms, reason });
        deadlines.into_iter().flatten().chain(of_links).min()
    }

    fn on_timeout(&mut self, now: Now) -> Result<(), StoreError> {
        if self.probe_mono_ms.is_some_and(|due| now.mono_ms >= due) {
            self.probe_mono_ms = self.custody.store.probe().is_err().then(|| now.mono_ms + limits::PROBE_MS);
        }
        if !self.is_writable() {
            return Ok(());
        }
        self.write(now, |node| {
            node.on_link_timeouts(now)?;
            node.custody.sweep(now)
        })
    }

    fn try_commit(&mut self, now: Now) -> Result<(), StoreError> {
        self.note_handed_out(now)?;
        self.save_dealings(now)?;
        self.custody.before_commit(now)?;
        self.custody.store.commit()?;
        self.custody.committed();
        Ok(())
    }

    /// Does something that writes, and that somebody waits for.
    fn write<T, E: From<StoreError> + AsStoreError>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.note(now, work);
        self.commit_by(now.mono_ms);
        result
    }

    /// The same for what needs the keys: refused in a locked store before anything is written.
    fn write_private<T, E: From<StoreError> + AsStoreError>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.custody.store.is_locked() {
            return Err(StoreError::Locked.into());
        }
        self.write(now, work)
    }

    /// Has the open transaction committed by then.
    fn commit_by(&mut self, mono_ms: u64) {
        if self.custody.store.is_dirty() {
            self.commit_by_mono_ms = Some(self.commit_by_mono_ms.map_or(mono_ms, |by| by.min(mono_ms)));
        }
    }

    /// Does something that may write. If the disk fails, the transaction is lost as a whole.
    fn note<T, E: From<StoreError> + AsStoreError>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(error) = &self.lost {
            return Err(error.clone().into());
        }
        if !self.is_writable() {
            return Err(StoreError::Full.into());
        }
        if self.is_stale {
            self.custody.reload()?;
            self.is_stale = false;
        }
        let settled = if self.is_unsettled { self.settle(now) } else { Ok(()) };
        let result = settled.map_err(E::from).and_then(|()| work(self));
        if let Some(error) = result.as_ref().err().and_then(AsStoreError::as_store_error) {
            let error = error.clone();
            self.lose(&error, now);
        }
        result
    }

    /// Comes with the first write, not with the start: a node starts on a full disk too, and can be read.
    fn settle(&mut self, now: Now) -> Result<(), StoreError> {
        self.custody.settle(now)?;
        self.settle_log(now)?;
        self.is_unsettled = false;
        Ok(())
    }

    /// Goes back to what is durable.
    fn lose(&mut self, error: &StoreError, now: Now) {
        self.custody.store.rollback();
        self.custody.forget_transaction();
        self.drop_links(CloseReason::StoreFailed);
        self.is_unsettled = true;
        self.dealings_saved_mono_ms = None;
        self.is_stale = self.custody.reload().is_err();
        if *error == StoreError::Full {
            self.probe_mono_ms = Some(now.mono_ms + limits::PROBE_MS);
        }
        self.lost = Some(error.clone());
    }
}

/// Errors behind which there may be a disk.
trait AsStoreError {
    fn as_store_error(&self) -> Option<&StoreError>;
}

impl AsStoreError for StoreError {
    fn as_store_error(&self) -> Option<&StoreError> {
        // Nothing was asked of the disk.
        Some(self).filter(|error| **error != StoreError::Locked)
    }
}

impl AsStoreError for ContactError {
    fn as_store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self { error.as_store_error() } else { None }
    }
}

impl AsStoreError for GroupError {
    fn as_store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self { Some(error) } else { None }
    }
}

impl AsStoreError for SubmitError {
    fn as_store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self { error.as_store_error() } else { None }
    }
}
