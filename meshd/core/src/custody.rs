//! What a node has taken into its keeping: its bundles, messages, profile and peers, by the rules for them.
//!
//! Everything but links. A bundle comes in through [`Custody::receive`] or is made by [`Custody::submit`];
//! it leaves by expiry, eviction or withdrawal, and its id is remembered for a while so that it is not taken
//! again. Nothing here is durable before the node commits, and nothing of a bundle is kept in memory.

mod channels;
mod contacts;
mod due;
mod eviction;
mod expiry;
mod export;
pub(crate) mod groups;
mod later;
mod mail;
mod opening;
pub(crate) mod own;
mod peers;
mod prekeys;
mod receipts;
mod receive;
mod shown;

pub(crate) use channels::SecretChannel;
pub use export::Export;
pub(crate) use peers::Dealings;
pub(crate) use receive::{Arrival, Verdict};

use std::collections::{BTreeMap, BTreeSet};

use crate::bucket::Bucket;
use crate::channel::MESH;
use crate::clock::{Now, Timeline};
use crate::entropy::Entropy;
use crate::event::{Event, LoggedEvent, MessageStatus};
use crate::id::{BundleId, NodeId};
use crate::identity::Identity;
use crate::limits::{self, DROPPED_MS, LIFETIME_S_MAX, Limits, percent};
use crate::private::contact::Contact;
use crate::private::seal::{CodeKey, PairKey, PrekeySecret, Psk};
use crate::store::{Priority, Shelf, Slot, Store, StoreError, StoredBundle};
use crate::summary::Summary;
use crate::tally::{Loss, Tally};

/// See the module's text.
pub(crate) struct Custody<S> {
    pub(crate) store: S,
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) timeline: Timeline,
    pub(crate) entropy: Entropy,
    /// Events of the open transaction, then of the last one.
    pub(crate) events: Vec<LoggedEvent>,
    /// The highest row held of each priority, so that a session knows at no cost whether there is news.
    newest_rows: [u64; 3],
    blocked: BTreeSet<NodeId>,
    /// Dropped ids remembered, and whether the store has another number.
    dropped: u64,
    is_dropped_changed: bool,
    /// What is held, from afar; made when a neighbour first needs it.
    summary: Option<Summary>,
    /// Bundles that went since the start.
    pub(crate) removals: u64,
    pub(crate) tally: Tally,
    next_expiry_tl_ms: Option<u64>,
    swept_mono_ms: Option<u64>,
    /// What strangers may still make this node write.
    strangers: Bucket,
    /// How many calls for help by strangers may still go before others.
    urgent: Bucket,
    hoard: Option<eviction::Hoard>,
    clock_saved_mono_ms: Option<u64>,
    events_since_trim: u64,
    peers_since_trim: u64,
    /// Whether others can write to this node: it publishes prekeys.
    is_reachable: bool,
    contacts: BTreeMap<NodeId, Contact>,
    /// What marks mail from each contact, with the shared key it is sealed with.
    pairs: BTreeMap<NodeId, Vec<(PairKey, Psk)>>,
    /// Codes shown, by their names on the shelf, with what marks mail that comes by them.
    invites: Vec<(Vec<u8>, CodeKey, contacts::Invite)>,
    /// Secret halves of the published prekeys, oldest first.
    published: Vec<PrekeySecret>,
    /// Password channels joined, by name.
    secret_channels: BTreeMap<String, SecretChannel>,
    /// Intros that may still be tried.
    intros: Bucket,
    /// Marked bundles that may still fail to open before a neighbour's share decides whether one is tried.
    failures: Bucket,
    next_due_tl_ms: Option<u64>,
    /// Whether bundles came while the store was locked that were not looked into yet.
    has_put_by: bool,
    /// Who this node was when the open transaction began, if it made it another one.
    identity_before: Option<Identity>,
    groups: groups::Groups,
    /// Names this run of the program.
    run: groups::Run,
    #[cfg(feature = "flaws")]
    pub(crate) flaw: Option<crate::flaw::Flaw>,
}

impl<S: Store> Custody<S> {
    pub(crate) fn open(
        store: S,
        identity: Identity,
        entropy: Entropy,
        limits: Limits,
        now: Now,
    ) -> Result<Self, StoreError> {
        let timeline = Timeline::resume(store.saved_clock()?, now);
        let mut entropy = entropy;
        let run = groups::Run(entropy.draw());
        let mut custody = Self {
            store,
            identity,
            limits,
            timeline,
            entropy,
            events: Vec::new(),
            newest_rows: [0; 3],
            blocked: BTreeSet::new(),
            dropped: 0,
            is_dropped_changed: false,
            summary: None,
            removals: 0,
            tally: Tally::default(),
            next_expiry_tl_ms: None,
            swept_mono_ms: None,
            strangers: Bucket::new(hour_bytes(&limits, limits::HOUR_PERCENT), now),
            urgent: Bucket::new(urgent_hour_bytes(&limits), now),
            hoard: None,
            clock_saved_mono_ms: None,
            events_since_trim: 0,
            peers_since_trim: 0,
            is_reachable: false,
            contacts: BTreeMap::new(),
            pairs: BTreeMap::new(),
            invites: Vec::new(),
            published: Vec::new(),
            secret_channels: BTreeMap::new(),
            intros: Bucket::new(limits::INTROS_PER_HOUR_MAX, now),
            failures: Bucket::new(limits::FAILURES_PER_HOUR_MAX, now),
            next_due_tl_ms: None,
            has_put_by: false,
            identity_before: None,
            groups: groups::Groups::default(),
            run,
            #[cfg(feature = "flaws")]
            flaw: None,
        };
        custody.reload()?;
        Ok(custody)
    }

    /// Writes what every store has, and shows what came in while it was locked. In a locked store none of that is
    /// known.
    pub(crate) fn settle(&mut self, now: Now) -> Result<(), StoreError> {
        if self.store.is_locked() {
            return Ok(());
        }
        if !self.store.is_joined(MESH)? {
            self.store.join(MESH, now.unix_ms)?;
        }
        self.catch_up(now)?;
        self.recall_taken(now)?;
        self.renew_profile(now)?;
        self.renew_prekeys(now)?;
        if self.store.is_locked() {
            return Ok(());
        }
        self.forget_old_fellows()?;
        self.try_all_unheard(now)
    }

    /// Reads again what is kept in memory, after the store went back.
    pub(crate) fn reload(&mut self) -> Result<(), StoreError> {
        for priority in PRIORITIES {
            self.newest_rows[priority as usize] = self.store.newest_row(priority)?;
        }
        self.blocked = self.store.blocked()?.into_iter().collect();
        let dropped = self.store.slot(Slot::Dropped)?.unwrap_or_default();
        self.dropped = dropped.try_into().map_or(0, u64::from_be_bytes);
        self.is_dropped_changed = false;
        self.next_expiry_tl_ms = self.store.next_expiry()?;
        self.load_private()
    }

    /// Reads what private messages need; nothing while the store is locked, when they are only carried.
    fn load_private(&mut self) -> Result<(), StoreError> {
        if self.store.is_locked() {
            self.contacts.clear();
            self.pairs.clear();
            // Freed, and so overwritten; an emptied list would still have the keys.
            (self.invites, self.published) = (Vec::new(), Vec::new());
            self.secret_channels.clear();
            self.next_due_tl_ms = None;
            self.has_put_by = false;
            self.groups = groups::Groups::default();
            return Ok(());
        }
        self.load_put_by()?;
        self.load_contacts()?;
        self.load_invites()?;
        self.load_published()?;
        self.load_channels()?;
        self.load_groups()?;
        self.load_next_due()
    }

    pub(crate) fn contacts(&self) -> &BTreeMap<NodeId, Contact> {
        &self.contacts
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) fn is_blocked(&self, peer: &NodeId) -> bool {
        self.blocked.contains(peer)
    }

    /// The highest row of that priority.
    pub(crate) fn newest_row(&self, priority: Priority) -> u64 {
        self.newest_rows[priority as usize]
    }

    /// The highest row of all.
    pub(crate) fn newest_row_of_all(&self) -> u64 {
        self.newest_rows.into_iter().max().unwrap_or(0)
    }

    /// The budget of one link for what strangers make this node write.
    pub(crate) fn link_bucket(&self, now: Now) -> Bucket {
        Bucket::new(hour_bytes(&self.limits, limits::LINK_HOUR_PERCENT), now)
    }

    /// Adds an event to the log.
    pub(crate) fn log(&mut self, event: Event, now: Now) -> Result<(), StoreError> {
        let seq = self.store.append_event(&event, now.unix_ms)?;
        self.logged(LoggedEvent { seq, at_unix_ms: now.unix_ms, event });
        Ok(())
    }

    fn logged(&mut self, event: LoggedEvent) {
        self.events_since_trim += 1;
        self.events.push(event);
    }

    /// What is held, from afar, with `symbols` symbols of its row. The first call reads all ids, and so does one when
    /// the set has doubled.
    pub(crate) fn summary(&mut self, symbols: usize) -> Result<&mut Summary, StoreError> {
        if !self.summary.as_ref().is_some_and(|summary| summary.has_room(symbols)) {
            let count = self.store.usage_of_all()?.bundles;
            let mut summary = Summary::with_room(count, symbols);
            self.store.each_id(&mut |id| summary.add(id))?;
            self.summary = Some(summary);
        }
        Ok(self.summary.as_mut().expect("it was made just now"))
    }

    /// Adds a bundle, and remembers what has to be known about it without asking.
    fn insert(&mut self, bundle: &StoredBundle) -> Result<(), StoreError> {
        let row = self.store.insert_bundle(bundle)?;
        if let Some(summary) = &mut self.summary {
            summary.add(&bundle.id);
        }
        self.newest_rows[bundle.priority as usize] = row;
        let expiry = bundle.expires_tl_ms;
        self.next_expiry_tl_ms = Some(self.next_expiry_tl_ms.map_or(expiry, |next| next.min(expiry)));
        Ok(())
    }

    /// Drops a bundle, and remembers its id so that it is not taken again. A message that it carried says why.
    fn drop_and_remember(&mut self, id: &BundleId, until_tl_ms: u64, why: Loss) -> Result<(), StoreError> {
        let was_held = self.store.drop_bundle(id, until_tl_ms)?;
        self.note_dropped(id, was_held, why)
    }

    /// Drops others' mail for want of room, or does not take it: it is welcome again when there is room.
    fn let_go(&mut self, id: &BundleId, until_tl_ms: u64, why: Loss) -> Result<(), StoreError> {
        let was_held = self.store.let_go(id, until_tl_ms)?;
        self.note_dropped(id, was_held, why)
    }

    fn note_dropped(&mut self, id: &BundleId, was_held: bool, why: Loss) -> Result<(), StoreError> {
        if was_held {
            self.removals += 1;
            self.tally.count_dropped(why);
            self.explain(id, why)?;
            if let Some(summary) = &mut self.summary {
                summary.remove(id);
            }
        }
        self.dropped += 1;
        self.is_dropped_changed = true;
        Ok(())
    }

    /// Drops what its author has sent a newer one of.
    fn drop_outdated(&mut self, older: &BundleId, now: Now) -> Result<(), StoreError> {
        self.drop_and_remember(older, self.forgotten_tl_ms(now), Loss::Outdated)
    }

    /// How long the id of a bundle is remembered of which only that it was held is known.
    fn forgotten_tl_ms(&self, now: Now) -> u64 {
        self.timeline.at(now).saturating_add(LIFETIME_S_MAX * 1000 + DROPPED_MS)
    }

    /// Removes all that lies on a shelf.
    fn clear_shelf(&mut self, shelf: Shelf) -> Result<(), StoreError> {
        for (key, _) in self.store.records(shelf, &[], usize::MAX)? {
            self.store.remove_record(shelf, &key)?;
        }
        Ok(())
    }

    /// Says of a message that is still under way why its bundle is gone from here.
    fn explain(&mut self, bundle: &BundleId, why: Loss) -> Result<(), StoreError> {
        if matches!(why, Loss::Arrived | Loss::Outdated | Loss::Withdrawn) {
            return Ok(());
        }
        let Some(message) = self.state_of(bundle)? else { return Ok(()) };
        if message.status == MessageStatus::Synced {
            self.store.set_status(&message.id, message.status, Some(why.words()))?;
        }
        Ok(())
    }

    /// Forgets dropped ids: those whose time is over, and the ones nearest to it beyond what is remembered at
    /// most. What was shown once is not shown again even so; there is its message.
    fn forget_dropped(&mut self, now: Now) -> Result<(), StoreError> {
        let most = self.limits.dropped_max();
        let until_tl_ms = if self.dropped > most { i64::MAX as u64 } else { self.timeline.at(now) };
        let excess = usize::try_from(self.dropped.saturating_sub(most)).unwrap_or(usize::MAX);
        let limit = if excess > 0 { excess.min(limits::FORGET_MAX) } else { limits::FORGET_MAX };
        let forgotten = self.store.forget_dropped(until_tl_ms, limit)?;
        self.dropped = self.dropped.saturating_sub(forgotten as u64);
        // An id that was dropped twice was counted twice.
        if forgotten < limit && until_tl_ms == i64::MAX as u64 {
            self.dropped = 0;
        }
        self.is_dropped_changed |= forgotten > 0;
        Ok(())
    }

    /// Moves an own message on, if that is forward.
    pub(crate) fn advance(
        &mut self,
        id: &BundleId,
        status: MessageStatus,
        reason: Option<&str>,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(message) = self.store.message_state(id)? else { return Ok(()) };
        if !message.own || !message.status.may_become(status) {
            return Ok(());
        }
        self.store.set_status(id, status, reason)?;
        self.note_confirmation(id, status, now)?;
        let reason = reason.map(str::to_owned);
        self.log(Event::MessageStatus { id: *id, status, reason }, now)
    }

    /// What a transaction does last: trims what grows, saves the clocks.
    pub(crate) fn before_commit(&mut self, now: Now) -> Result<(), StoreError> {
        if self.events_since_trim >= limits::TRIM_EVERY {
            self.store.trim_events(self.limits.events_kept)?;
            self.events_since_trim = 0;
        }
        if self.peers_since_trim >= limits::TRIM_EVERY {
            self.store.trim_peers(self.limits.peers_kept)?;
            self.peers_since_trim = 0;
        }
        if self.dropped > self.limits.dropped_max() {
            self.forget_dropped(now)?;
        }
        if self.is_dropped_changed {
            self.store.set_slot(Slot::Dropped, &self.dropped.to_be_bytes())?;
            self.is_dropped_changed = false;
        }
        let is_due = |saved: u64| now.mono_ms.saturating_sub(saved) >= limits::CLOCK_SAVE_MS;
        if self.clock_saved_mono_ms.is_none_or(is_due) {
            self.save_clock(now)?;
        }
        Ok(())
    }

    /// What a transaction had made of this node is what it is.
    pub(crate) fn committed(&mut self) {
        self.identity_before = None;
    }

    fn save_clock(&mut self, now: Now) -> Result<(), StoreError> {
        self.store.save_clock(self.timeline.save(now))?;
        self.clock_saved_mono_ms = Some(now.mono_ms);
        Ok(())
    }

    /// Forgets what a transaction that failed had put into memory.
    pub(crate) fn forget_transaction(&mut self) {
        if let Some(before) = self.identity_before.take() {
            self.identity = before;
        }
        self.events.clear();
        self.summary = None;
        self.clock_saved_mono_ms = None;
        // Trimming more often than needed costs nothing.
        self.events_since_trim = limits::TRIM_EVERY;
        self.peers_since_trim = limits::TRIM_EVERY;
    }
}

/// Most urgent first.
pub(crate) const PRIORITIES: [Priority; 3] = [Priority::Sos, Priority::Normal, Priority::Bulk];

fn urgent_hour_bytes(limits: &Limits) -> u64 {
    percent(limits.bundle_bytes_max(), limits::URGENT_HOUR_PERCENT).min(limits::URGENT_HOUR_BYTES_MAX)
}

fn hour_bytes(limits: &Limits, share: u64) -> u64 {
    percent(limits.store_bytes_max, share).max(limits::HOUR_BYTES_MIN)
}
