//! Tests of the roster: its rules one by one, and that any order of any entries leads to the same.

use proptest::prelude::*;

use super::entry::{Act, Entry, EntryHash, SignedEntry};
use super::roster::{Absorbed, Roster, View};
use crate::id::NodeId;
use crate::identity::Identity;
use crate::limits::GROUP_ENTRIES_MAX;

fn person(n: u8) -> Identity {
    Identity::from_bytes(&[n + 1; 64])
}

fn id(n: u8) -> NodeId {
    person(n).node_id()
}

/// Person `n` does something, having seen what is in `roster`.
fn act(roster: &Roster, n: u8, act: Act) -> SignedEntry {
    act_after(roster.heads(), n, act)
}

fn act_after(parents: Vec<EntryHash>, n: u8, act: Act) -> SignedEntry {
    let identity = person(n);
    Entry { parents, author: identity.public(), act }.sign(&identity)
}

fn add(n: u8, is_admin: bool) -> Act {
    Act::Add { who: person(n).public(), is_admin }
}

fn remove(n: u8) -> Act {
    Act::Remove { who: id(n) }
}

fn rename(name: &str) -> Act {
    Act::Rename { name: name.to_owned() }
}

fn founded() -> Roster {
    let create = Act::Create { name: "Hikers".to_owned(), history: false, salt: [7; 16] };
    Roster::new(act_after(Vec::new(), 0, create)).expect("a first entry")
}

fn take(roster: &mut Roster, entry: SignedEntry) -> EntryHash {
    let hash = entry.hash;
    assert_eq!(roster.absorb(entry), Absorbed::New);
    roster.settle();
    hash
}

/// Founded by 0; 1 is an administrator, 2 and 3 are members, all have joined.
fn of_four() -> Roster {
    let mut roster = founded();
    for (n, is_admin) in [(1, true), (2, false), (3, false)] {
        let entry = act(&roster, 0, add(n, is_admin));
        take(&mut roster, entry);
        let entry = act(&roster, n, Act::Join);
        take(&mut roster, entry);
    }
    roster
}

fn members(view: &View) -> Vec<u8> {
    (0..9).filter(|n| view.members.contains_key(&id(*n))).collect()
}

#[test]
fn an_invited_person_is_a_member_once_it_accepts() {
    let mut roster = founded();
    let entry = act(&roster, 0, add(1, false));
    take(&mut roster, entry);
    assert!(!roster.view().members[&id(1)].is_joined);
    let entry = act(&roster, 1, Act::Join);
    take(&mut roster, entry);
    assert!(roster.view().members[&id(1)].is_joined);
    assert!(roster.view().members[&id(0)].is_admin);
    let entry = act(&roster, 1, Act::Leave);
    take(&mut roster, entry);
    assert_eq!(members(roster.view()), [0]);
    // Invited again, it is asked again.
    let entry = act(&roster, 0, add(1, false));
    take(&mut roster, entry);
    assert!(!roster.view().members[&id(1)].is_joined);
}

#[test]
fn c14_only_an_administrator_changes_the_group() {
    let roster = of_four();
    let before = roster.view().clone();
    for (who, what) in [
        (2, add(4, false)),
        (2, remove(3)),
        (2, rename("Mine")),
        (2, Act::Policy { history: true }),
        (2, add(2, true)),
        (5, add(5, true)),
        (5, Act::Join),
        (1, remove(0)),
    ] {
        let mut roster = roster.clone();
        let entry = act(&roster, who, what);
        take(&mut roster, entry.clone());
        assert_eq!(*roster.view(), before, "{entry:?}");
    }
}

#[test]
fn c14_a_removal_wins_over_an_invitation_that_did_not_know_of_it() {
    let roster = of_four();
    let removal = act(&roster, 0, remove(2));
    let again = act(&roster, 1, add(2, false));
    for order in [[&removal, &again], [&again, &removal]] {
        let mut roster = roster.clone();
        for entry in order {
            take(&mut roster, entry.clone());
        }
        assert_eq!(members(roster.view()), [0, 1, 3]);
        // Whoever knows of the removal can invite again.
        let entry = act(&roster, 1, add(2, false));
        take(&mut roster, entry);
        assert_eq!(members(roster.view()), [0, 1, 2, 3]);
    }
}

#[test]
fn c14_who_was_removed_undoes_nothing_with_an_entry_dated_back() {
    let mut roster = of_four();
    let old = vec![roster.heads()[0]];
    let entry = act(&roster, 0, remove(1));
    take(&mut roster, entry);
    assert_eq!(members(roster.view()), [0, 2, 3]);
    let before = roster.view().clone();
    for what in [add(4, false), remove(2), remove(0), rename("Mine"), add(1, true)] {
        let entry = act_after(old.clone(), 1, what);
        take(&mut roster, entry);
        assert_eq!(*roster.view(), before);
    }
}

#[test]
fn c14_a_leave_dated_back_takes_nothing_back() {
    let mut roster = of_four();
    let old = roster.heads();
    let entry = act(&roster, 1, add(4, false));
    take(&mut roster, entry);
    let entry = act(&roster, 4, Act::Join);
    take(&mut roster, entry);
    let entry = act_after(old, 1, Act::Leave);
    take(&mut roster, entry);
    assert_eq!(members(roster.view()), [0, 2, 3, 4]);
    // What it does after that does not count.
    let entry = act(&roster, 1, add(5, false));
    take(&mut roster, entry);
    assert_eq!(members(roster.view()), [0, 2, 3, 4]);
}

#[test]
fn what_an_administrator_did_before_the_removal_stays() {
    let mut roster = of_four();
    for entry in [add(4, false), rename("Climbers")] {
        let entry = act(&roster, 1, entry);
        take(&mut roster, entry);
    }
    let entry = act(&roster, 0, remove(1));
    take(&mut roster, entry);
    assert_eq!(members(roster.view()), [0, 2, 3, 4]);
    assert_eq!(roster.view().name, "Climbers");
}

#[test]
fn of_two_administrators_that_remove_each_other_the_senior_one_stays() {
    let mut roster = of_four();
    let entry = act(&roster, 1, add(2, true));
    take(&mut roster, entry);
    let (down, up) = (act(&roster, 1, remove(2)), act(&roster, 2, remove(1)));
    for order in [[&down, &up], [&up, &down]] {
        let mut roster = roster.clone();
        for entry in order {
            take(&mut roster, entry.clone());
        }
        assert!(roster.view().members[&id(1)].is_admin);
        // 2 was a member by the founder's word too, and an administrator's removal ends that as well.
        assert_eq!(members(roster.view()), [0, 1, 3]);
    }
}

#[test]
fn of_two_names_one_is_the_groups_everywhere() {
    let roster = of_four();
    let entries = [act(&roster, 0, rename("Founder's")), act(&roster, 1, rename("Administrator's"))];
    for order in [[0, 1], [1, 0]] {
        let mut roster = roster.clone();
        for n in order {
            take(&mut roster, entries[n].clone());
        }
        assert_eq!(roster.view().name, "Founder's");
        let entry = act(&roster, 1, rename("Last"));
        take(&mut roster, entry);
        assert_eq!(roster.view().name, "Last");
    }
}

#[test]
fn the_roster_says_what_somebody_with_older_heads_lacks() {
    let mut roster = of_four();
    let heads = roster.heads();
    let entry = act(&roster, 0, rename("New"));
    let hash = take(&mut roster, entry);
    assert_eq!(roster.beyond(&heads).map(|signed| signed.hash).collect::<Vec<_>>(), [hash]);
    assert_eq!(roster.beyond(&[]).count(), roster.entries().count());
    assert_eq!(roster.beyond(&roster.heads()).count(), 0);
}

#[test]
fn l08_a_roster_is_bounded() {
    let mut roster = founded();
    let parents = roster.heads();
    for n in 0..crate::limits::GROUP_ENTRIES_MAX + 5 {
        let _ = roster.absorb(act_after(parents.clone(), 0, rename(&n.to_string())));
    }
    assert_eq!(roster.entries().count(), crate::limits::GROUP_ENTRIES_MAX);
    assert!(roster.heads().len() <= crate::limits::GROUP_PARENTS_MAX);
}

/// A history of a group in several places at once: each step is by somebody, after some of what there is.
fn history(from: &Roster, steps: &[(u8, u8, u8, Vec<prop::sample::Index>)]) -> Vec<SignedEntry> {
    let mut entries: Vec<SignedEntry> = from.entries().cloned().collect();
    for (who, what, whom, after) in steps {
        let mut parents: Vec<EntryHash> =
            after.iter().map(|at| entries[at.index(entries.len())].hash).collect();
        parents.sort();
        parents.dedup();
        let what = match what % 8 {
            0 | 1 => add(*whom, false),
            2 => add(*whom, true),
            3 => Act::Join,
            4 => Act::Leave,
            5 | 6 => remove(*whom),
            _ => rename(&format!("by {who}")),
        };
        let entry = act_after(parents, *who, what);
        if entries.iter().all(|known| known.hash != entry.hash) {
            entries.push(entry);
        }
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn c14_any_order_of_the_same_entries_gives_the_same_roster(
        steps in prop::collection::vec((0u8..5, any::<u8>(), 0u8..5, prop::collection::vec(any::<prop::sample::Index>(), 1..4)), 1..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 64),
        cut in any::<prop::sample::Index>(),
    ) {
        let entries = history(&founded(), &steps);
        let mut one = Roster::new(entries[0].clone()).expect("a first entry");
        for entry in &entries[1..] {
            one.absorb(entry.clone());
        }
        one.settle();
        // Shuffled, some of them twice, with a look at the result on the way.
        let mut rest: Vec<&SignedEntry> = entries[1..].iter().collect();
        let mut other = Roster::new(entries[0].clone()).expect("a first entry");
        let stop = cut.index(rest.len() + 1);
        for (n, at) in order.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            let entry = rest.remove(at.index(rest.len()));
            other.absorb(entry.clone());
            other.absorb(entry.clone());
            if n == stop {
                other.settle();
            }
        }
        other.settle();
        prop_assert_eq!(one.view(), other.view());
        prop_assert_eq!(one.heads(), other.heads());
        prop_assert_eq!(one.entries().count(), entries.len());
    }

    #[test]
    fn c14_nobody_puts_the_founder_out_and_who_the_founder_removes_is_out(
        steps in prop::collection::vec((1u8..5, any::<u8>(), 0u8..5, prop::collection::vec(any::<prop::sample::Index>(), 1..4)), 1..30),
        late in prop::collection::vec((1u8..5, any::<u8>(), 0u8..5, prop::collection::vec(any::<prop::sample::Index>(), 1..4)), 1..10),
    ) {
        let entries = history(&of_four(), &steps);
        let mut roster = Roster::new(entries[0].clone()).expect("a first entry");
        for entry in &entries[1..] {
            roster.absorb(entry.clone());
        }
        roster.settle();
        prop_assert!(roster.view().members[&id(0)].is_admin);
        // The founder ends it for all others; what they write after that, dated back or not, changes nothing.
        for n in 1..5 {
            let removal = act(&roster, 0, remove(n));
            roster.absorb(removal);
        }
        roster.settle();
        let before = roster.view().clone();
        prop_assert_eq!(members(&before), vec![0]);
        for entry in history(&roster, &late) {
            roster.absorb(entry);
        }
        roster.settle();
        prop_assert_eq!(roster.view(), &before);
    }
}

#[test]
fn c14_equals_do_not_put_each_other_out() {
    let mut roster = of_four();
    let entry = act(&roster, 0, add(2, true));
    take(&mut roster, entry);
    let before = roster.view().clone();
    assert!(before.members[&id(1)].is_admin && before.members[&id(2)].is_admin);
    for (who, whom) in [(1, 2), (2, 1)] {
        let mut roster = roster.clone();
        let entry = act(&roster, who, remove(whom));
        take(&mut roster, entry);
        assert_eq!(*roster.view(), before, "{who} and {whom} are both the founder's");
    }
}

#[test]
fn c14_who_was_removed_is_asked_again_even_as_an_administrator() {
    for is_leave in [false, true] {
        let mut roster = of_four();
        let (who, gone) = if is_leave { (2, Act::Leave) } else { (1, remove(2)) };
        for (who, what) in [(who, gone), (0, add(2, true))] {
            let entry = act(&roster, who, what);
            take(&mut roster, entry);
        }
        assert!(roster.view().members[&id(2)].is_admin && !roster.view().members[&id(2)].is_joined);
        let entry = act(&roster, 2, Act::Join);
        take(&mut roster, entry);
        assert!(roster.view().members[&id(2)].is_joined);
    }
}

#[test]
fn c14_what_somebody_did_before_becoming_an_administrator_does_not_count() {
    let mut roster = of_four();
    assert_eq!(roster.view().name, "Hikers");
    let old = roster.heads();
    let entry = act(&roster, 0, add(2, true));
    take(&mut roster, entry);
    let before = roster.view().clone();
    for what in [rename("Mine"), add(4, false), remove(3), Act::Policy { history: true }] {
        let mut roster = roster.clone();
        take(&mut roster, act_after(old.clone(), 2, what));
        assert_eq!(*roster.view(), before, "it had not seen that it is one");
    }
    let entry = act(&roster, 2, rename("Ours"));
    take(&mut roster, entry);
    assert_eq!(roster.view().name, "Ours");
}

#[test]
fn who_was_removed_and_is_an_administrator_again_acts_again() {
    let mut roster = of_four();
    for (who, what) in
        [(0, remove(1)), (0, add(1, true)), (1, Act::Join), (1, rename("Back")), (1, add(4, false))]
    {
        let entry = act(&roster, who, what);
        take(&mut roster, entry);
    }
    assert_eq!((roster.view().name.as_str(), members(roster.view())), ("Back", vec![0, 1, 2, 3, 4]));
}

#[test]
fn what_is_before_an_entry_is_known_however_far_apart_its_parents_are() {
    let mut roster = of_four();
    let early = roster.heads();
    // Heads that nothing names, at the beginning of the roster, and then many entries after one of them.
    let heads: Vec<EntryHash> = (0..12)
        .map(|n| take(&mut roster, act_after(early.clone(), 0, rename(&format!("early {n}")))))
        .collect();
    let mut last = heads[0];
    for n in 0..150 {
        last = take(&mut roster, act_after(vec![last], 0, rename(&format!("late {n}"))));
    }
    let entry = act(&roster, 0, rename("all"));
    assert!(entry.entry.parents.len() == 12 && entry.entry.parents.contains(&last));
    let all = take(&mut roster, entry);
    assert_eq!(roster.view().name, "all");
    assert_eq!(roster.beyond(&[all]).count(), 0, "everything is before it");
    let before_last = roster.beyond(&[last]).count();
    assert_eq!(before_last, 12, "the other eleven, and the one after all");
}

#[test]
fn a_roster_says_whether_anything_is_another_now_and_who_was_ever_named() {
    let mut roster = of_four();
    let entry = act(&roster, 1, add(4, false));
    assert!(!roster.has(&entry.hash) && !roster.ever_named(&id(4)));
    assert_eq!(roster.absorb(entry.clone()), Absorbed::New);
    assert!(roster.settle(), "somebody more");
    assert!(!roster.settle(), "nothing since");
    let removal = act(&roster, 0, remove(4));
    take(&mut roster, removal);
    assert!(roster.has(&entry.hash) && roster.ever_named(&id(4)), "though it is out");
    assert!(roster.ever_named(&id(0)) && !roster.ever_named(&id(5)));
}

/// A group in which each administrator makes the next one, as many as entries fit: as many ranks as there can be.
#[test]
fn w13_a_thousand_administrators_each_made_by_the_one_before_are_decided() {
    let somebody = |n: usize| {
        let mut seed = [1; 64];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        seed[32..40].copy_from_slice(&(n as u64).to_be_bytes());
        Identity::from_bytes(&seed)
    };
    let create = Act::Create { name: "Ladder".to_owned(), history: false, salt: [7; 16] };
    let first = Entry { parents: Vec::new(), author: somebody(0).public(), act: create }.sign(&somebody(0));
    let mut roster = Roster::new(first).expect("a first entry");
    let mut last = roster.heads();
    for n in 1..GROUP_ENTRIES_MAX {
        let act = Act::Add { who: somebody(n).public(), is_admin: true };
        let entry = Entry { parents: last, author: somebody(n - 1).public(), act }.sign(&somebody(n - 1));
        last = vec![entry.hash];
        assert_eq!(roster.absorb(entry), Absorbed::New);
    }
    roster.settle();
    assert_eq!(roster.view().members.len(), GROUP_ENTRIES_MAX);
    assert!(roster.view().members.values().all(|member| member.is_admin));
}

#[test]
fn l08_an_entry_waits_for_what_it_names_and_those_that_wait_count_too() {
    let mut roster = founded();
    let parent = act(&roster, 0, rename("one"));
    let child = act_after(vec![parent.hash], 0, rename("two"));
    assert_eq!(roster.absorb(child.clone()), Absorbed::Waits);
    assert!(!roster.has(&child.hash));
    assert_eq!(roster.absorb(parent), Absorbed::New);
    assert!(roster.has(&child.hash), "it came with what it waited for");
    let orphan = |n: usize| {
        let mut unknown = [0xee; 32];
        unknown[..8].copy_from_slice(&(n as u64).to_be_bytes());
        act_after(vec![EntryHash(unknown)], 1, rename("nobody's"))
    };
    for n in 3..GROUP_ENTRIES_MAX {
        assert_eq!(roster.absorb(orphan(n)), Absorbed::Waits, "{n}");
    }
    assert_eq!(roster.absorb(orphan(GROUP_ENTRIES_MAX)), Absorbed::Refused);
}
