//! What this node has asked neighbours for and not got yet.
//!
//! A bundle is asked for on one link at a time, however many neighbours offer it (threat S-07). When that link
//! goes down, or has lost the bundle, the next one that offered it is asked: this is how an interrupted
//! transfer goes on with another carrier. Bounded by what each link's window lets it ask for.

use std::collections::BTreeMap;

use crate::id::{LinkId, ShortId};
use crate::limits::SECOND_SOURCES_MAX;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    asked: BTreeMap<ShortId, Ask>,
    owed: BTreeMap<LinkId, usize>,
    /// What to ask for on a link, beside what its pages are answered with.
    gets: BTreeMap<LinkId, Vec<ShortId>>,
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
    pub(crate) fn ask(&mut self, id: ShortId, link: LinkId) -> bool {
        if let Some(ask) = self.asked.get_mut(&id) {
            if ask.link != link && !ask.others.contains(&link) && ask.others.len() < SECOND_SOURCES_MAX {
                ask.others.push(link);
            }
            return false;
        }
        self.asked.insert(id, Ask { link, others: Vec::new() });
        *self.owed.entry(link).or_default() += 1;
        true
    }

    /// Who was asked for it.
    pub(crate) fn asked_of(&self, id: &ShortId) -> Option<LinkId> {
        self.asked.get(id).map(|ask| ask.link)
    }

    /// How many bundles a link owes.
    pub(crate) fn owed(&self, link: LinkId) -> usize {
        self.owed.get(&link).copied().unwrap_or(0)
    }

    /// It came, or is not wanted any more.
    pub(crate) fn settle(&mut self, id: &ShortId) {
        if let Some(ask) = self.asked.remove(id) {
            self.release(ask.link);
        }
    }

    /// A link that was asked does not have it: asks the next one.
    pub(crate) fn lost(&mut self, id: &ShortId, link: LinkId) {
        if self.asked.get(id).is_some_and(|ask| ask.link == link) {
            let ask = self.asked.remove(id).expect("it was there just now");
            self.release(link);
            self.ask_another(*id, ask.others);
        }
    }

    /// A link that was asked does not have what starts like this: asks the next one.
    pub(crate) fn lost_like(&mut self, start: &[u8], link: LinkId) {
        let mut first = [0; ShortId::BYTES];
        first[..start.len()].copy_from_slice(start);
        let alike = self.asked.range(ShortId(first)..).take_while(|(id, _)| id.0.starts_with(start));
        let lost: Vec<ShortId> = alike.map(|(id, _)| *id).collect();
        lost.iter().for_each(|id| self.lost(id, link));
    }

    /// A link is gone, or begins anew: asks others for what it owed.
    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.gets.remove(&link);
        self.owed.remove(&link);
        for ask in self.asked.values_mut() {
            ask.others.retain(|other| *other != link);
        }
        let orphans: Vec<ShortId> =
            self.asked.iter().filter(|(_, ask)| ask.link == link).map(|(id, _)| *id).collect();
        for id in orphans {
            let ask = self.asked.remove(&id).expect("it was there just now");
            self.ask_another(id, ask.others);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Asks for a bundle with a message of its own.
    pub(crate) fn get(&mut self, id: ShortId, link: LinkId) {
        self.gets.entry(link).or_default().push(id);
    }

    /// Whether there is something to ask for on a link.
    pub(crate) fn has_gets(&self, link: LinkId) -> bool {
        self.gets.contains_key(&link)
    }

    /// What to ask for on a link now, at most `limit`.
    pub(crate) fn take_gets(&mut self, link: LinkId, limit: usize) -> Vec<ShortId> {
        let Some(mut gets) = self.gets.remove(&link) else { return Vec::new() };
        let later = gets.split_off(limit.min(gets.len()));
        if !later.is_empty() {
            self.gets.insert(link, later);
        }
        gets
    }

    fn ask_another(&mut self, id: ShortId, mut others: Vec<LinkId>) {
        if others.is_empty() {
            return;
        }
        let link = others.remove(0);
        self.asked.insert(id, Ask { link, others });
        *self.owed.entry(link).or_default() += 1;
        self.get(id, link);
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

    fn id(n: u8) -> ShortId {
        ShortId([n; ShortId::BYTES])
    }

    #[test]
    fn s07_a_bundle_is_asked_for_once_and_elsewhere_when_that_link_dies() {
        let mut wants = Wants::default();
        assert!(wants.ask(id(1), A));
        assert!(!wants.ask(id(1), B));
        assert!(!wants.ask(id(1), C));
        assert!(!wants.ask(id(1), B), "noted once");
        assert_eq!((wants.owed(A), wants.owed(B)), (1, 0));
        wants.link_down(A);
        assert_eq!((wants.owed(A), wants.owed(B)), (0, 1));
        assert_eq!(wants.take_gets(B, 10), [id(1)]);
        wants.lost(&id(1), B);
        assert_eq!(wants.take_gets(C, 10), [id(1)]);
        wants.link_down(C);
        assert_eq!(wants.asked_of(&id(1)), None);
        assert!(wants.ask(id(1), B));
    }

    #[test]
    fn what_came_is_owed_by_nobody() {
        let mut wants = Wants::default();
        wants.ask(id(1), A);
        wants.ask(id(2), A);
        wants.settle(&id(1));
        wants.settle(&id(1));
        assert_eq!(wants.owed(A), 1);
        wants.lost(&id(2), B);
        assert_eq!(wants.owed(A), 1, "only who was asked can lose it");
        wants.link_down(A);
        assert_eq!(wants.owed(A), 0);
        assert!(!wants.has_gets(A));
    }

    #[test]
    fn what_is_lost_may_be_named_by_its_beginning() {
        let mut wants = Wants::default();
        let (mut near, far) = (id(1), id(2));
        near.0[6] = 9;
        for one in [id(1), near, far] {
            wants.ask(one, A);
        }
        wants.lost_like(&id(1).0[..5], B);
        assert_eq!(wants.owed(A), 3, "only who was asked can lose it");
        wants.lost_like(&id(1).0[..5], A);
        assert_eq!((wants.owed(A), wants.asked_of(&far)), (1, Some(A)));
    }

    #[test]
    fn gets_are_taken_in_order_and_portions() {
        let mut wants = Wants::default();
        for n in 0..5 {
            wants.get(id(n), A);
        }
        assert_eq!(wants.take_gets(A, 3), [id(0), id(1), id(2)]);
        assert!(wants.has_gets(A));
        assert_eq!(wants.take_gets(A, 3), [id(3), id(4)]);
        assert!(!wants.has_gets(A));
    }
}
