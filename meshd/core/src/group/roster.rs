//! A group's roster: who is in, decided by a set of entries and by nothing else.
//!
//! Entries come in any order, from anybody. What they mean together is a function of the set, so two nodes with the
//! same entries have the same members, whatever came first (threat C-14). The rules, with "before" for "named by, or
//! by one named by":
//!
//! - A **grant** makes somebody a member: the first entry its author, an `Add` whom it names. A grant of an
//!   administrator has a **rank**: 0 for the founder, else one more than that of who gave it.
//! - An entry **counts** if its author holds a grant that is before it and that no counted removal has **voided**
//!   unless that removal came after the entry, its author having seen it. Invitations, removals, names and policies need an
//!   administrator's grant.
//! - A removal voids all grants of the one it names that are not after it, except those of its author's rank or a lower one: nobody
//!   puts out who stands above them. Somebody's own `Leave` voids all of theirs, but nothing that they did.
//!
//! So of a removal and an invitation that did not know of each other the removal wins, and whoever is removed can't
//! undo that with an entry dated back: it is not among those that the removal names. Ranks make this well-founded:
//! whether an entry of rank n counts depends only on removals of ranks below n, so it is decided rank by rank.
//!
//! Of several names, or policies, that nobody replaced, that of the lowest rank is the group's, then that of the lowest hash.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Act, EntryHash, GroupId, SignedEntry};
use crate::id::NodeId;
use crate::identity::PublicKeys;
use crate::limits::{GROUP_ENTRIES_MAX, GROUP_PARENTS_MAX};

/// A member, or somebody invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its keys.
    pub keys: PublicKeys,
    /// Whether it has accepted.
    pub is_joined: bool,
    /// Whether it may change the group.
    pub is_admin: bool,
}

/// What the entries amount to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The group's name.
    pub name: String,
    /// Whether new members get what was sent before.
    pub history: bool,
    /// Who is in or invited.
    pub members: BTreeMap<NodeId, Member>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absorbed {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// It names an entry that is not there yet; it waits for it.
    Waits,
    /// It is another group's first entry, or there are as many as there can be.
    Refused,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Roster {
    /// In an order in which everything comes after what is before it.
    entries: Vec<Placed>,
    places: BTreeMap<EntryHash, usize>,
    waiting: BTreeMap<EntryHash, SignedEntry>,
    view: View,
}

#[derive(Debug, Clone)]
struct Placed {
    signed: SignedEntry,
    author: NodeId,
    before: Places,
}

/// A set of places.
#[derive(Debug, Clone, Default)]
struct Places(Vec<u64>);

impl Places {
    fn add(&mut self, place: usize) {
        let word = place / 64;
        self.make_room(word + 1);
        self.0[word] |= 1 << (place % 64);
    }

    fn add_all(&mut self, other: &Self) {
        self.make_room(other.0.len());
        for (own, others) in self.0.iter_mut().zip(&other.0) {
            *own |= others;
        }
    }

    fn make_room(&mut self, words: usize) {
        self.0.resize(words.max(self.0.len()), 0);
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
}

impl Roster {
    /// A roster of a group's first entry.
    pub fn new(first: SignedEntry) -> Option<Self> {
        first.founds()?;
        let mut roster = Self {
            entries: Vec::new(),
            places: BTreeMap::new(),
            waiting: BTreeMap::new(),
            view: View::default(),
        };
        roster.place(first);
        roster.view = roster.resolve();
        Some(roster)
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        GroupId(self.entries[0].signed.hash.0)
    }

    /// What the entries amount to.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether an entry is there.
    pub fn has(&self, hash: &EntryHash) -> bool {
        self.places.contains_key(hash)
    }

    /// The entries, what is before another first.
    pub fn entries(&self) -> impl Iterator<Item = &SignedEntry> {
        self.entries.iter().map(|placed| &placed.signed)
    }

    /// Takes in an entry, and those that waited for it. The view is as before until [`Roster::settle`].
    pub fn absorb(&mut self, signed: SignedEntry) -> Absorbed {
        if self.places.contains_key(&signed.hash) {
            return Absorbed::Known;
        }
        let is_full = self.entries.len() + self.waiting.len() >= GROUP_ENTRIES_MAX;
        if signed.founds().is_some() || (is_full && !self.waiting.contains_key(&signed.hash)) {
            return Absorbed::Refused;
        }
        if !self.is_rooted(&signed) {
            self.waiting.insert(signed.hash, signed);
            return Absorbed::Waits;
        }
        self.waiting.remove(&signed.hash);
        self.place(signed);
        while let Some(hash) = self.waiting.values().find(|entry| self.is_rooted(entry)).map(|e| e.hash) {
            let next = self.waiting.remove(&hash).expect("found just now");
            self.place(next);
        }
        Absorbed::New
    }

    /// Works out what the entries amount to; says whether that is something else now.
    pub fn settle(&mut self) -> bool {
        let view = self.resolve();
        let is_changed = view != self.view;
        self.view = view;
        is_changed
    }

    /// The entries that no other names, in order: what the next one names. At most as many as one can.
    pub fn heads(&self) -> Vec<EntryHash> {
        let named: BTreeSet<EntryHash> =
            self.entries().flat_map(|signed| signed.entry.parents.iter().copied()).collect();
        self.places.keys().filter(|hash| !named.contains(hash)).copied().take(GROUP_PARENTS_MAX).collect()
    }

    /// The entries that are neither among `heads` nor before them, what is before another first.
    pub fn beyond<'a>(&'a self, heads: &[EntryHash]) -> impl Iterator<Item = &'a SignedEntry> {
        let mut known = Places::default();
        for place in heads.iter().filter_map(|head| self.places.get(head)) {
            known.add(*place);
            known.add_all(&self.entries[*place].before);
        }
        let beyond = self.entries.iter().enumerate().filter(move |(place, _)| !known.has(*place));
        beyond.map(|(_, placed)| &placed.signed)
    }

    /// Whether somebody was ever invited, whatever became of it.
    pub fn ever_named(&self, id: &NodeId) -> bool {
        self.entries().any(|signed| match &signed.entry.act {
            Act::Create { .. } => signed.author() == *id,
            Act::Add { who, .. } => who.node_id() == *id,
            Act::Join | Act::Leave | Act::Remove { .. } | Act::Rename { .. } | Act::Policy { .. } => false,
        })
    }

    fn is_rooted(&self, signed: &SignedEntry) -> bool {
        signed.entry.parents.iter().all(|parent| self.places.contains_key(parent))
    }

    fn place(&mut self, signed: SignedEntry) {
        let mut before = Places::default();
        for parent in &signed.entry.parents {
            let place = self.places[parent];
            before.add(place);
            before.add_all(&self.entries[place].before);
        }
        self.places.insert(signed.hash, self.entries.len());
        self.entries.push(Placed { author: signed.author(), signed, before });
    }

    fn resolve(&self) -> View {
        Decision::of(&self.entries).view()
    }
}

/// Makes somebody a member.
struct Grant {
    place: usize,
    who: NodeId,
    keys: PublicKeys,
    /// An administrator's; none for others, who stand below all of them.
    rank: Option<u32>,
}

/// Voids grants of somebody.
struct Removal {
    place: usize,
    /// Grants of a higher rank than this are voided; all for a `Leave`.
    above: Option<u32>,
}

impl Removal {
    fn reaches(&self, grant: &Grant) -> bool {
        match (self.above, grant.rank) {
            (None, _) | (Some(_), None) => true,
            (Some(above), Some(rank)) => rank > above,
        }
    }
}

/// The rules, applied.
///
/// Entries and removals lie by whom they are of, so that somebody who makes a thousand administrators of each other costs no
/// more than the thousand entries: a rank looks at those only who have it (threat W-13).
struct Decision<'r> {
    entries: &'r [Placed],
    by_author: BTreeMap<NodeId, Vec<usize>>,
    grants: Vec<Grant>,
    removals: BTreeMap<NodeId, Vec<Removal>>,
    /// Places of entries that count as an administrator's, with the rank they count by.
    counted: BTreeMap<usize, u32>,
}

impl<'r> Decision<'r> {
    fn of(entries: &'r [Placed]) -> Self {
        let mut decision = Self {
            entries,
            by_author: BTreeMap::new(),
            grants: Vec::new(),
            removals: BTreeMap::new(),
            counted: BTreeMap::new(),
        };
        for (place, placed) in entries.iter().enumerate() {
            decision.by_author.entry(placed.author).or_default().push(place);
            match placed.signed.entry.act {
                Act::Create { .. } => decision.grants.push(Grant {
                    place,
                    who: placed.author,
                    keys: placed.signed.entry.author,
                    rank: Some(0),
                }),
                // Only they can have signed it, so it always counts.
                Act::Leave => decision.remove(placed.author, Removal { place, above: None }),
                Act::Add { .. }
                | Act::Join
                | Act::Remove { .. }
                | Act::Rename { .. }
                | Act::Policy { .. } => {}
            }
        }
        let mut rank = 0;
        while decision.grants.iter().any(|grant| grant.rank == Some(rank)) {
            decision.count(rank);
            rank += 1;
        }
        decision
    }

    /// Finds what counts as the deed of an administrator of that rank. All removals of lower ranks are known.
    fn count(&mut self, rank: u32) {
        let mut found = BTreeSet::new();
        for grant in self.grants.iter().filter(|grant| grant.rank == Some(rank)) {
            let deeds = self.by_author.get(&grant.who).into_iter().flatten().copied();
            let new = deeds.filter(|place| !self.counted.contains_key(place));
            found.extend(new.filter(|place| self.was_held(grant, *place)));
        }
        for place in found {
            self.counted.insert(place, rank);
            match &self.entries[place].signed.entry.act {
                Act::Add { who, is_admin } => self.grants.push(Grant {
                    place,
                    who: who.node_id(),
                    keys: *who,
                    rank: is_admin.then_some(rank + 1),
                }),
                Act::Remove { who } => self.remove(*who, Removal { place, above: Some(rank) }),
                Act::Create { .. } | Act::Join | Act::Leave | Act::Rename { .. } | Act::Policy { .. } => {}
            }
        }
    }

    fn remove(&mut self, who: NodeId, removal: Removal) {
        self.removals.entry(who).or_default().push(removal);
    }

    /// The removals that reach a grant.
    fn reaching<'d>(&'d self, grant: &'d Grant) -> impl Iterator<Item = &'d Removal> {
        let of_holder = self.removals.get(&grant.who).into_iter().flatten();
        of_holder.filter(|removal| removal.reaches(grant))
    }

    /// Whether a grant was good for an entry: it is before it, and every removal that voids the grant came after the
    /// entry, its author having seen it; a leave need only not be before it.
    fn was_held(&self, grant: &Grant, place: usize) -> bool {
        let is_before = grant.place == place || self.is_before(grant.place, place);
        is_before
            && self.reaching(grant).all(|removal| {
                // Whoever leaves can't take back what it did, not even with a leave dated back.
                let spares = if removal.above.is_none() {
                    !self.is_before(removal.place, place)
                } else {
                    self.is_before(place, removal.place)
                };
                spares || removal.place == place || self.is_before(removal.place, grant.place)
            })
    }

    /// Whether nothing has voided a grant.
    fn is_live(&self, grant: &Grant) -> bool {
        self.reaching(grant).all(|removal| self.is_before(removal.place, grant.place))
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        self.entries[other].before.has(one)
    }

    fn view(&self) -> View {
        let mut view = View::default();
        for grant in self.grants.iter().filter(|grant| self.is_live(grant)) {
            let member = view.members.entry(grant.who).or_insert(Member {
                keys: grant.keys,
                is_joined: false,
                is_admin: false,
            });
            member.is_admin |= grant.rank.is_some();
            member.is_joined |= self.has_joined(grant);
        }
        let named = self.newest(|act| matches!(act, Act::Create { .. } | Act::Rename { .. }));
        if let Some(Act::Create { name, .. } | Act::Rename { name }) = named {
            view.name.clone_from(name);
        }
        let policy = self.newest(|act| matches!(act, Act::Create { .. } | Act::Policy { .. }));
        if let Some(Act::Create { history, .. } | Act::Policy { history }) = policy {
            view.history = *history;
        }
        view
    }

    /// Whether the holder of a live grant has accepted it, or an earlier one that nobody had taken away when this one came.
    /// Otherwise an equal or a junior could have somebody asked again who was made an administrator: by removing the
    /// membership of before, which has no rank.
    fn has_joined(&self, live: &Grant) -> bool {
        let own = self.by_author.get(&live.who).into_iter().flatten().map(|place| &self.entries[*place]);
        let joins: Vec<&Placed> = own.filter(|placed| matches!(placed.signed.entry.act, Act::Join)).collect();
        let is_kept = |earlier: &Grant| {
            self.reaching(earlier).all(|removal| {
                self.is_before(removal.place, earlier.place) || !self.is_before(removal.place, live.place)
            })
        };
        let mut accepted = self.grants.iter().filter(|grant| {
            grant.who == live.who && joins.iter().any(|placed| placed.before.has(grant.place))
        });
        live.place == 0 || accepted.any(is_kept)
    }

    /// Of the counted entries of a sort those that none of them comes after: the one that decides.
    fn newest(&self, is_of_sort: impl Fn(&Act) -> bool) -> Option<&Act> {
        let act = |place: &usize| &self.entries[*place].signed.entry.act;
        let of_sort: Vec<usize> =
            self.counted.keys().copied().filter(|place| is_of_sort(act(place))).collect();
        let is_replaced = |place: &usize| of_sort.iter().any(|other| self.is_before(*place, *other));
        let best = of_sort
            .iter()
            .filter(|place| !is_replaced(place))
            .min_by_key(|place| (self.counted[*place], self.entries[**place].signed.hash));
        best.map(act)
    }
}
