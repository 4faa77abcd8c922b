//! What may never happen, seen from outside the nodes.
//!
//! The oracle only believes what a user could see: a submission that was answered, events that were
//! published, what a store holds after a commit. It keeps its own books and compares.

use std::collections::{BTreeMap, BTreeSet};

use meshlink_core::event::{Event, MessageStatus};
use meshlink_core::id::{BundleId, NodeId, Seq};
use meshlink_core::limits::{INGRESS_PERCENT, Limits, ORIGIN_PERCENT};
use meshlink_core::store::{Class, LoggedEvent, OfferKey, Store, StoredBundle};

/// The books.
#[derive(Debug, Default)]
pub struct Oracle {
    acknowledged: BTreeMap<BundleId, usize>,
    /// Dated so long ago by a wrong clock that others rightly take them for old.
    misdated: BTreeSet<BundleId>,
    shown: BTreeSet<(usize, BundleId)>,
    shown_first: BTreeMap<BundleId, usize>,
    lost_words: BTreeSet<BundleId>,
    statuses: BTreeMap<(usize, BundleId), MessageStatus>,
    newest: BTreeMap<usize, Seq>,
    /// Of nodes that keep to nothing, nothing is expected.
    traitors: BTreeSet<usize>,
    held: BTreeMap<usize, BTreeMap<BundleId, StoredBundle>>,
    gone: BTreeSet<(usize, BundleId)>,
    violations: Vec<String>,
}

impl Oracle {
    /// A node answered that it stored a message.
    pub fn acknowledged(&mut self, node: usize, id: BundleId) {
        self.acknowledged.insert(id, node);
    }

    /// A message carries a date that makes it old news: it must be kept where it was written, and need not
    /// arrive anywhere.
    pub fn misdated(&mut self, id: BundleId) {
        self.misdated.insert(id);
    }

    /// A node published an event. `held_elsewhere` tells whether some other node holds the message it names.
    pub fn published(&mut self, node: usize, logged: &LoggedEvent, held_elsewhere: bool) {
        let newest = self.newest.entry(node).or_default();
        if logged.seq <= *newest {
            self.violations.push(format!("node {node} published event {:?} after {newest:?}", logged.seq));
        }
        *newest = logged.seq;
        match &logged.event {
            Event::MessageNew { id } => {
                // One that keeps to nothing has not even to know what it showed.
                if !self.shown.insert((node, *id)) && !self.traitors.contains(&node) {
                    self.violations.push(format!("node {node} showed {id} twice"));
                }
                self.shown_first.entry(*id).or_insert(node);
            }
            Event::MessageStatus { id, status, .. } => self.moved(node, *id, *status, held_elsewhere),
            Event::PeerUp { .. }
            | Event::PeerDown { .. }
            | Event::LinkUp { .. }
            | Event::LinkDown { .. }
            | Event::Transport { .. }
            | Event::ContactChanged { .. }
            | Event::GroupChanged { .. } => {}
        }
    }

    fn moved(&mut self, node: usize, id: BundleId, status: MessageStatus, held_elsewhere: bool) {
        let before = self.statuses.insert((node, id), status).unwrap_or(MessageStatus::Pending);
        if !before.may_become(status) {
            self.violations.push(format!("node {node} moved {id} from {before:?} to {status:?}"));
        }
        if status == MessageStatus::Synced && !held_elsewhere {
            self.violations.push(format!("node {node} says {id} is synced, and nobody else holds it"));
        }
    }

    /// A node came back with what its disk held: events that were committed but never published are still
    /// in its log for whoever resumes.
    pub fn reopened<S: Store>(&mut self, node: usize, store: &S) {
        self.check_kept(node, store);
        let after = self.newest.get(&node).copied().unwrap_or_default();
        let mut position = after;
        loop {
            let events = store.events_after(position, 100).expect("a store in memory");
            let Some(last) = events.last() else { break };
            position = last.seq;
            for logged in &events {
                // Whether the claim was true was checked when it was published, or can't be known any more.
                self.published(node, logged, true);
            }
        }
    }

    /// Every message a node acknowledged is still there.
    pub fn check_kept<S: Store>(&mut self, node: usize, store: &S) {
        if self.traitors.contains(&node) {
            return;
        }
        for (id, _) in self.acknowledged.iter().filter(|(_, owner)| **owner == node) {
            if store.message(id).expect("a store in memory").is_none() {
                self.violations.push(format!("node {node} lost {id}, which it had acknowledged"));
            }
        }
    }

    /// A node that keeps to nothing.
    pub fn betrays(&mut self, node: usize) {
        self.traitors.insert(node);
    }

    /// What a node holds after a commit, in a world whose stores are small: nobody has more than its share, what once
    /// went does not come back, and of two bundles that are alike but for their urgency the less urgent one goes.
    pub fn check_shares<S: Store>(&mut self, node: usize, store: &S, limits: &Limits) {
        if self.traitors.contains(&node) {
            return;
        }
        let offers = store.offers(OfferKey::START, usize::MAX).expect("a store in memory");
        let bundle = |id| store.bundle(id).expect("a store in memory").expect("it is offered");
        let now: BTreeMap<BundleId, StoredBundle> =
            offers.iter().map(|offer| (offer.id, bundle(&offer.id))).collect();
        self.check_sums(node, &now, limits);
        let before = self.held.remove(&node).unwrap_or_default();
        for id in now.keys().filter(|id| !before.contains_key(id)) {
            if self.gone.contains(&(node, *id)) {
                self.violations.push(format!("node {node} took {id} again, which it had dropped"));
            }
        }
        for (id, went) in before.iter().filter(|(id, _)| !now.contains_key(id)) {
            self.gone.insert((node, *id));
            let is_like = |one: &StoredBundle| {
                (one.class, one.origin, one.ingress) == (went.class, went.origin, went.ingress)
            };
            let spared = now
                .values()
                .find(|one| is_like(one) && one.priority > went.priority && before.contains_key(&one.id));
            if let Some(spared) = spared {
                self.violations.push(format!("node {node} dropped {id} and kept {}, less urgent", spared.id));
            }
        }
        self.held.insert(node, now);
    }

    fn check_sums(&mut self, node: usize, held: &BTreeMap<BundleId, StoredBundle>, limits: &Limits) {
        let space = limits.bundle_bytes_max();
        let mut sums: BTreeMap<(&str, Option<NodeId>), u64> = BTreeMap::new();
        for bundle in held.values() {
            *sums.entry(("all", None)).or_default() += bundle.cost_bytes();
            if bundle.class == Class::Stranger {
                *sums.entry(("link", bundle.ingress)).or_default() += bundle.cost_bytes();
                *sums.entry(("author", bundle.origin)).or_default() += bundle.cost_bytes();
            }
        }
        for ((of, whom), bytes) in sums {
            let percent = match of {
                "link" => INGRESS_PERCENT,
                "author" => ORIGIN_PERCENT,
                _ => 100,
            };
            if bytes > space * percent / 100 && (whom.is_some() || of == "all") {
                let what = format!("node {node} holds {bytes} of {space} bytes of one {of}");
                self.violations.push(what);
            }
        }
    }

    /// Whatever was shown anywhere, somebody wrote.
    pub fn check_nothing_is_made_up(&mut self) {
        for (id, node) in self.shown_first.iter().filter(|(id, _)| !self.acknowledged.contains_key(id)) {
            if !self.lost_words.contains(id) {
                self.violations.push(format!("node {node} showed {id}, which nobody wrote"));
            }
        }
    }

    /// A message was stored where its user got no answer any more: a crash came between.
    pub fn unanswered(&mut self, id: BundleId) {
        self.lost_words.insert(id);
    }

    /// Pairs of an acknowledged message that can arrive and another node that shows it.
    pub fn deliveries(&self) -> usize {
        let arrived = |(node, id): &&(usize, BundleId)| {
            let owner = self.acknowledged.get(id);
            self.is_to_arrive(id) && !self.traitors.contains(node) && owner.is_some_and(|owner| owner != node)
        };
        self.shown.iter().filter(arrived).count()
    }

    /// After healing: everybody shows everything.
    pub fn check_everybody_has_everything(&mut self, nodes: usize) {
        let arriving: Vec<(BundleId, usize)> = self
            .acknowledged
            .iter()
            .filter(|(id, _)| self.is_to_arrive(id))
            .map(|(id, owner)| (*id, *owner))
            .collect();
        for (id, owner) in arriving {
            for node in (0..nodes).filter(|node| !self.traitors.contains(node)) {
                if !self.shown.contains(&(node, id)) {
                    self.violations.push(format!("node {node} never got {id} of node {owner}"));
                }
            }
        }
    }

    /// Whether a message was written by one that keeps to the rules, and is not dated too long ago.
    fn is_to_arrive(&self, id: &BundleId) -> bool {
        let is_honest = self.acknowledged.get(id).is_some_and(|owner| !self.traitors.contains(owner));
        is_honest && !self.misdated.contains(id)
    }

    /// Messages acknowledged so far.
    pub fn messages(&self) -> usize {
        self.acknowledged.len()
    }

    /// Pairs of a message that can arrive and another node that is to have it.
    pub fn arriving_elsewhere(&self, nodes: usize) -> usize {
        let honest = nodes - self.traitors.len();
        self.acknowledged.keys().filter(|id| self.is_to_arrive(id)).count() * honest.saturating_sub(1)
    }

    /// What happened and may not.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
