//! What a member who does not play by the rules can't do to the others.

use super::super::Custody;
use super::super::due::Task;
use super::super::mail::Posted;
use super::super::receive::{Arrival, Verdict};
use super::*;
use crate::bucket::Bucket;
use crate::bundle::{BundleBytes, NewBundle};
use crate::draft::GroupMessageDraft;
use crate::entropy::Entropy;
use crate::event::LinkKind;
use crate::group::cover::{CoverKey, Covered};
use crate::group::note::{Handed, Note};
use crate::header::Header;
use crate::id::BundleId;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::mem::MemStore;
use crate::store::{Class, Priority, StoredBundle};

pub(super) const NOW: Now = Now { mono_ms: 0, unix_ms: Some(1_767_225_600_000) };

pub(super) struct Person(pub(super) Custody<MemStore>);

impl Person {
    pub(super) fn new(n: u8) -> Self {
        let identity = Identity::from_bytes(&[n; 64]);
        let entropy = Entropy::new(&[n; 32]);
        let mut custody =
            Custody::open(MemStore::new(), identity, entropy, Limits::default(), NOW).expect("opens");
        custody.settle(NOW).expect("settles");
        Self(custody)
    }

    pub(super) fn id(&self) -> NodeId {
        self.0.id()
    }

    pub(super) fn knows(&mut self, other: &Self) {
        let mut contact = Contact::new(Standing::Added, 0, None);
        contact.set_keys(&other.0.identity.public());
        self.0.save_contact(&other.id(), contact).expect("saved");
    }

    /// Takes in all entries that another has.
    pub(super) fn hears(&mut self, other: &Self, group: &GroupId) -> bool {
        let roster = &other.0.groups.all[group].roster;
        let note = Note { entries: roster.entries().cloned().collect(), ..Note::new(*group, roster.heads()) };
        self.0.welcome(&other.id(), &note, NOW).expect("stored")
    }

    pub(super) fn says(&mut self, group: &GroupId, text: &str) -> (BundleId, StoredBundle) {
        self.says_at(group, text, NOW)
    }

    pub(super) fn says_at(&mut self, group: &GroupId, text: &str, now: Now) -> (BundleId, StoredBundle) {
        let draft = GroupMessageDraft {
            group: *group,
            text: text.to_owned(),
            lifetime_s: None,
            priority: Priority::Normal,
            reply_to: None,
        };
        let id = self.0.submit_to_group(draft, now).expect("sent");
        let carrier = self.0.carrier_to_group(&id).expect("stored").expect("there");
        (id, self.0.store.bundle(&carrier).expect("stored").expect("there"))
    }

    pub(super) fn own_session(&self) -> Handed {
        let own = self.id();
        let held = self.0.groups.sessions.values().find(|held| held.from == own).expect("one was made");
        Handed { cover: held.cover.0, key: held.key.clone() }
    }

    pub(super) fn receives(&mut self, bytes: BundleBytes<'_>) -> Verdict {
        let arrival = Arrival {
            bundle: bytes.name().expect("it fits"),
            age_ms: 0,
            hops: 1,
            from: NodeId([9; 20]),
            via: LinkKind::Pipe,
        };
        let mut link: Bucket = self.0.link_bucket(NOW);
        self.0.receive(arrival, &mut link, NOW).expect("stored")
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let all = self.0.store.messages_after(crate::id::Seq(0), 100).expect("stored");
        all.into_iter().map(|message| message.text).collect()
    }

    /// Takes away the notes for somebody that wait for its keys, with how often each may still be sent anew.
    pub(super) fn take_notes(&mut self, who: &NodeId) -> Vec<(Note, u8)> {
        let mut taken = Vec::new();
        for (key, bytes) in self.0.store.records(Shelf::Outbound, &[], 1_000).expect("readable") {
            let outgoing: Outgoing = decoded(&bytes).expect("well-formed");
            if let Some(posted) = outgoing.note.filter(|_| outgoing.to == *who) {
                self.0.store.remove_record(Shelf::Outbound, &key).expect("removed");
                taken.push((Note::decode(&posted.note).expect("well-formed"), posted.attempts));
            }
        }
        taken
    }

    /// When something of that kind is to be done, on the timeline.
    pub(super) fn due(&self, task: Task) -> Vec<u64> {
        let all = self.0.store.records(Shelf::Due, &[], 10_000).expect("readable");
        let times = all.iter().filter(|(key, _)| key[8] == task as u8);
        times.map(|(key, _)| u64::from_be_bytes(*key.first_chunk().expect("it begins with a time"))).collect()
    }
}

/// What of an own private message these tests are about.
#[derive(Decode)]
struct Outgoing {
    #[n(0)]
    to: NodeId,
    #[n(3)]
    note: Option<Posted>,
}

pub(super) fn later(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, unix_ms: NOW.unix_ms.map(|unix| unix + ms) }
}

/// A group of three, with the founder's session handed to both others.
pub(super) fn group_of_three() -> ([Person; 3], GroupId, StoredBundle) {
    let mut people = [Person::new(1), Person::new(2), Person::new(3)];
    for (one, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let known = Person::new(other as u8 + 1);
        people[one].knows(&known);
    }
    let members = vec![people[1].id(), people[2].id()];
    let draft = GroupDraft { name: "Hikers".to_owned(), history: false, members };
    let group = people[0].0.found_group(draft, NOW).expect("founded");
    let [founder, one, other] = &mut people;
    for person in [&mut *one, &mut *other] {
        assert!(person.hears(founder, &group));
        person.0.join_group(&group, NOW).expect("joined");
        assert!(founder.hears(person, &group));
    }
    assert!(one.hears(founder, &group) && other.hears(founder, &group));
    let (_, stored) = founder.says(&group, "hello");
    let from = founder.id();
    for person in [one, other] {
        person.0.take_sessions(&group, &from, vec![founder.own_session()], NOW).expect("stored");
    }
    (people, group, stored)
}

/// The same Megolm message in another bundle.
pub(super) fn wrapped_again(
    stored: &StoredBundle,
    session: &Handed,
    change: impl Fn(Header) -> Header,
) -> NewBundle {
    let parsed = stored.bytes().parse().expect("well-formed");
    let covered = Covered::decode(&parsed.header, parsed.bytes.payload).expect("well-formed");
    let key = CoverKey(&session.cover);
    let message = key.uncover(&parsed.header, &covered).expect("a member can");
    key.cover(change(parsed.header.clone()), &message, [7; 16]).expect("fits")
}

#[test]
fn c14_an_index_that_was_seen_is_refused_in_whatever_bundle() {
    let ([founder, mut one, _], _, stored) = group_of_three();
    let again = wrapped_again(&stored, &founder.own_session(), |header| header);
    assert_eq!(one.receives(stored.bytes()), Verdict::Stored);
    assert_eq!(one.texts(), ["hello"]);
    assert_ne!(again.id, stored.id);
    assert_eq!(one.receives(again.bytes()), Verdict::Stored);
    assert_eq!(one.texts(), ["hello"]);
    // Not even after its reader forgot it, and started again.
    let id = one.0.store.messages_after(crate::id::Seq(0), 1).expect("stored")[0].id;
    assert!(one.0.forget(&id).expect("stored"));
    one.0.reload().expect("stored");
    let third =
        wrapped_again(&stored, &founder.own_session(), |header| Header { lifetime_s: 3_600, ..header });
    assert_eq!(one.receives(third.bytes()), Verdict::Stored);
    assert!(one.texts().is_empty());
}

#[test]
fn c14_a_member_makes_anothers_message_neither_urgent_nor_its_own() {
    let ([mut founder, mut one, mut other], group, stored) = group_of_three();
    let urgent =
        wrapped_again(&stored, &founder.own_session(), |header| Header { priority: Priority::Sos, ..header });
    assert_eq!(one.receives(urgent.bytes()), Verdict::Stored);
    assert!(one.texts().is_empty());
    // The other passes the founder's session off as its own, before and after the founder hands it over.
    let (session, thief) = (founder.own_session(), other.id());
    one.0.take_sessions(&group, &thief, vec![session], NOW).expect("stored");
    assert_eq!(one.receives(stored.bytes()), Verdict::Stored);
    let shown = one.0.store.messages_after(crate::id::Seq(0), 10).expect("stored");
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].from, Some(founder.id()));
    // And who has only the thief's word of the session shows nothing.
    let (_, second) = founder.says(&group, "second");
    other.0.groups.sessions.clear();
    other.0.take_sessions(&group, &one.id(), vec![founder.own_session()], NOW).expect("stored");
    assert_eq!(other.receives(second.bytes()), Verdict::Stored);
    assert!(other.texts().is_empty());
}

#[test]
fn c14_keys_that_a_removed_member_kept_open_nothing_sent_after_its_removal() {
    let ([mut founder, _, other], group, before) = group_of_three();
    let out = other.id();
    let hears = |person: &Person, stored: &StoredBundle| {
        person.0.hear(&stored.bytes().parse().expect("well-formed")).is_some()
    };
    assert!(hears(&other, &before));
    founder.0.remove_member(&group, &out, NOW).expect("removed");
    let (_, after) = founder.says(&group, "without it");
    // It knows nothing of its removal yet, and deletes nothing.
    assert!(other.0.groups.sessions.len() == 1 && hears(&other, &before));
    assert!(!hears(&other, &after));
    assert_eq!(founder.0.groups.sessions.len(), 2, "a new one began");
}

#[test]
fn c14_who_is_no_member_hands_over_and_says_nothing() {
    let ([mut founder, mut one, mut other], group, _) = group_of_three();
    let (out, _) = (other.id(), one.hears(&other, &group));
    let (_, late) = other.says(&group, "sent before, read after");
    let session = other.own_session();
    founder.0.remove_member(&group, &out, NOW).expect("removed");
    assert!(one.hears(&founder, &group));
    assert!(!one.hears(&other, &group), "its notes are no longer taken");
    let note = Note { sessions: vec![session], ..Note::new(group, Vec::new()) };
    one.0.take_note(&out, note, NOW).expect("stored");
    assert_eq!(one.receives(late.bytes()), Verdict::Stored);
    assert!(one.texts().is_empty());
    // What it says to itself about the group helps it no more.
    assert!(other.hears(&founder, &group));
    assert!(other.0.groups.all[&group].part_of(&out) == Part::Out);
    assert!(other.0.groups.sessions.is_empty(), "the keys are gone");
}

#[test]
fn l02_a_bundle_of_a_group_counts_as_a_fellows_only_if_it_opens() {
    let ([_, mut one, _], _, stored) = group_of_three();
    let mut stranger = Person::new(8);
    for (person, class) in [(&mut one, Class::Contact), (&mut stranger, Class::Stranger)] {
        assert_eq!(person.receives(stored.bytes()), Verdict::Stored);
        assert_eq!(person.0.store.bundle(&stored.id).expect("stored").expect("there").class, class);
    }
    // A hint copied from a real one is not enough.
    let mut payload = stored.payload.clone();
    *payload.last_mut().expect("not empty") ^= 1;
    let forged = NewBundle::unsigned(stored.bytes().parse().expect("well-formed").header, payload);
    assert_eq!(one.receives(forged.bytes()), Verdict::Stored);
    assert_eq!(one.0.store.bundle(&forged.id).expect("stored").expect("there").class, Class::Stranger);
}

#[test]
fn l02_c14_a_message_covered_anew_by_whoever_had_the_key_is_a_strangers_and_not_shown_again() {
    let ([founder, mut one, _], _, stored) = group_of_three();
    assert_eq!(one.receives(stored.bytes()), Verdict::Stored);
    assert_eq!(one.texts(), ["hello"]);
    let session = founder.own_session();
    let cover = CoverKey(&session.cover);
    let bundle = stored.bytes().parse().expect("well-formed");
    let covered = Covered::decode(&bundle.header, bundle.bytes.payload).expect("well-formed");
    let message = cover.uncover(&bundle.header, &covered).expect("the key is right");
    for n in 0..3 {
        let again = cover.cover(bundle.header.clone(), &message, [n; 16]).expect("fits");
        assert_eq!(one.receives(again.bytes()), Verdict::Stored);
        assert_eq!(one.0.store.bundle(&again.id).expect("stored").expect("there").class, Class::Stranger);
    }
    assert_eq!(one.texts(), ["hello"]);
}
