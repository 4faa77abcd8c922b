//! What may never happen, seen from outside the nodes.
//!
//! The oracle only believes what a user could see: a submission that was answered, events that were
//! published, what a store holds after a commit. It keeps its own books and compares.

use std::collections::{BTreeMap, BTreeSet};

use meshlink_core::event::{Event, MessageStatus};
use meshlink_core::id::{BundleId, Seq};
use meshlink_core::store::{LoggedEvent, Store};

/// The books.
#[derive(Debug, Default)]
pub struct Oracle {
    acknowledged: BTreeMap<BundleId, usize>,
    /// Dated so long ago by a wrong clock that others rightly take them for old.
    misdated: BTreeSet<BundleId>,
    shown: BTreeSet<(usize, BundleId)>,
    statuses: BTreeMap<(usize, BundleId), MessageStatus>,
    newest: BTreeMap<usize, Seq>,
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
                if !self.shown.insert((node, *id)) {
                    self.violations.push(format!("node {node} showed {id} twice"));
                }
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
        for (id, _) in self.acknowledged.iter().filter(|(_, owner)| **owner == node) {
            if store.message(id).expect("a store in memory").is_none() {
                self.violations.push(format!("node {node} lost {id}, which it had acknowledged"));
            }
        }
    }

    /// Pairs of an acknowledged message that can arrive and another node that shows it.
    pub fn deliveries(&self) -> usize {
        let arrived = |(node, id): &&(usize, BundleId)| {
            !self.misdated.contains(id) && self.acknowledged.get(id).is_some_and(|owner| owner != node)
        };
        self.shown.iter().filter(arrived).count()
    }

    /// After healing: everybody shows everything.
    pub fn check_everybody_has_everything(&mut self, nodes: usize) {
        for (id, owner) in self.acknowledged.iter().filter(|(id, _)| !self.misdated.contains(id)) {
            for node in 0..nodes {
                if !self.shown.contains(&(node, *id)) {
                    self.violations.push(format!("node {node} never got {id} of node {owner}"));
                }
            }
        }
    }

    /// Messages acknowledged so far.
    pub fn messages(&self) -> usize {
        self.acknowledged.len()
    }

    /// Those of them that can arrive.
    pub fn arriving(&self) -> usize {
        self.acknowledged.len() - self.misdated.len()
    }

    /// What happened and may not.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
