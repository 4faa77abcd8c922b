//! What this node has asked neighbours for and not got yet.
//!
//! A bundle is asked for on one link at a time, however many neighbours offer it (threat S-07). When that link
//! goes down, or has lost the bundle, the next one that offered it is asked: this is how an interrupted
//! transfer goes on with another carrier. Bounded by what each link's window lets it ask for.

use std::collections::BTreeMap;

use crate::id::{IdPrefix, LinkId};
use crate::limits::SECOND_SOURCES_MAX;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    asked: BTreeMap<IdPrefix, Ask>,
    owed: BTreeMap<LinkId, usize>,
    /// What to ask for on a link, beside what its pages are answered with.
    gets: BTreeMap<LinkId, Vec<IdPrefix>>,
}

#[derive(Debug)]
struct Ask {
    link: LinkId,
    /// Other links that offered it.
    others: Vec<LinkId>,
}

impl Wants {
    /// Whether to ask for a bundle on a link that offers it: not if that was done on another one, which is
    /// remembered as second source.
    pub(crate) fn ask(&mut self, prefix: IdPrefix, link: LinkId) -> bool {
        if let Some(ask) = self.asked.get_mut(&prefix) {
            if ask.link != link && !ask.others.contains(&link) && ask.others.len() < SECOND_SOURCES_MAX {
                ask.others.push(link);
            }
            return false;
        }
        self.asked.insert(prefix, Ask { link, others: Vec::new() });
        *self.owed.entry(link).or_default() += 1;
        true
    }

    /// Who was asked for it.
    pub(crate) fn asked_of(&self, prefix: &IdPrefix) -> Option<LinkId> {
        self.asked.get(prefix).map(|ask| ask.link)
    }

    /// How many bundles a link owes.
    pub(crate) fn owed(&self, link: LinkId) -> usize {
        self.owed.get(&link).copied().unwrap_or(0)
    }

    /// It came, or is not wanted any more.
    pub(crate) fn settle(&mut self, prefix: &IdPrefix) {
        if let Some(ask) = self.asked.remove(prefix) {
            self.release(ask.link);
        }
    }

    /// A link that was asked does not have it: asks the next one.
    pub(crate) fn lost(&mut self, prefix: &IdPrefix, link: LinkId) {
        if self.asked.get(prefix).is_some_and(|ask| ask.link == link) {
            let ask = self.asked.remove(prefix).expect("it was there just now");
            self.release(link);
            self.ask_another(*prefix, ask.others);
        }
    }

    /// A link is gone, or begins anew: asks others for what it owed.
    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.gets.remove(&link);
        self.owed.remove(&link);
        for ask in self.asked.values_mut() {
            ask.others.retain(|other| *other != link);
        }
        let orphans: Vec<IdPrefix> =
            self.asked.iter().filter(|(_, ask)| ask.link == link).map(|(prefix, _)| *prefix).collect();
        for prefix in orphans {
            let ask = self.asked.remove(&prefix).expect("it was there just now");
            self.ask_another(prefix, ask.others);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Asks for a bundle with a message of its own.
    pub(crate) fn get(&mut self, prefix: IdPrefix, link: LinkId) {
        self.gets.entry(link).or_default().push(prefix);
    }

    /// Whether there is something to ask for on a link.
    pub(crate) fn has_gets(&self, link: LinkId) -> bool {
        self.gets.contains_key(&link)
    }

    /// What to ask for on a link now, at most `limit`.
    pub(crate) fn take_gets(&mut self, link: LinkId, limit: usize) -> Vec<IdPrefix> {
        let Some(mut gets) = self.gets.remove(&link) else { return Vec::new() };
        let later = gets.split_off(limit.min(gets.len()));
        if !later.is_empty() {
            self.gets.insert(link, later);
        }
        gets
    }

    fn ask_another(&mut self, prefix: IdPrefix, mut others: Vec<LinkId>) {
        if others.is_empty() {
            return;
        }
        let link = others.remove(0);
        self.asked.insert(prefix, Ask { link, others });
        *self.owed.entry(link).or_default() += 1;
        self.get(prefix, link);
    }

    fn release(&mut self, link: LinkId) {
        if let Some(owed) = self.owed.get_mut(&link) {
            *owed -= 1;
            if *owed == 0 {
                self.owed.remove(&link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);
    const C: LinkId = LinkId(3);

    fn prefix(n: u8) -> IdPrefix {
        IdPrefix([n; IdPrefix::BYTES])
    }

    #[test]
    fn s07_a_bundle_is_asked_for_once_and_elsewhere_when_that_link_dies() {
        let mut wants = Wants::default();
        assert!(wants.ask(prefix(1), A));
        assert!(!wants.ask(prefix(1), B));
        assert!(!wants.ask(prefix(1), C));
        assert!(!wants.ask(prefix(1), B), "noted once");
        assert_eq!((wants.owed(A), wants.owed(B)), (1, 0));
        wants.link_down(A);
        assert_eq!((wants.owed(A), wants.owed(B)), (0, 1));
        assert_eq!(wants.take_gets(B, 10), [prefix(1)]);
        wants.lost(&prefix(1), B);
        assert_eq!(wants.take_gets(C, 10), [prefix(1)]);
        wants.link_down(C);
        assert_eq!(wants.asked_of(&prefix(1)), None);
        assert!(wants.ask(prefix(1), B));
    }

    #[test]
    fn what_came_is_owed_by_nobody() {
        let mut wants = Wants::default();
        wants.ask(prefix(1), A);
        wants.ask(prefix(2), A);
        wants.settle(&prefix(1));
        wants.settle(&prefix(1));
        assert_eq!(wants.owed(A), 1);
        wants.lost(&prefix(2), B);
        assert_eq!(wants.owed(A), 1, "only who was asked can lose it");
        wants.link_down(A);
        assert_eq!(wants.owed(A), 0);
        assert!(!wants.has_gets(A));
    }

    #[test]
    fn gets_are_taken_in_order_and_portions() {
        let mut wants = Wants::default();
        for n in 0..5 {
            wants.get(prefix(n), A);
        }
        assert_eq!(wants.take_gets(A, 3), [prefix(0), prefix(1), prefix(2)]);
        assert!(wants.has_gets(A));
        assert_eq!(wants.take_gets(A, 3), [prefix(3), prefix(4)]);
        assert!(!wants.has_gets(A));
    }
}
