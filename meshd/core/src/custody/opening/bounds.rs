//! Who gets in and who does not, on both sides of each limit.

use super::*;
use crate::draft::{ContactDraft, PrivateDraft, ProfileDraft};
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::limits::{CODE_MS, Limits};
use crate::mem::MemStore;
use crate::store::{OfferKey, Priority};

use super::super::receive::{Arrival, Verdict};

const NOW: Now = Now { mono_ms: 1_000_000, unix_ms: Some(1_767_225_600_000) };

fn later(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, unix_ms: NOW.unix_ms.map(|unix| unix + ms) }
}

struct Person(Custody<MemStore>);

impl Person {
    fn new(n: u8) -> Self {
        let (identity, entropy) = (Identity::from_bytes(&[n; 64]), Entropy::new(&[n; 32]));
        let start = Now { mono_ms: 0, ..NOW };
        let mut custody =
            Custody::open(MemStore::new(), identity, entropy, Limits::default(), start).expect("opens");
        custody.set_reachable();
        custody.settle(NOW).expect("settles");
        Self(custody)
    }

    fn id(&self) -> NodeId {
        self.0.id()
    }

    /// What it holds of those kinds, oldest first.
    fn held(&self, kinds: &[Kind]) -> Vec<StoredBundle> {
        let offers = self.0.store.offers(OfferKey::START, 10_000).expect("readable");
        let bundles = offers.iter().filter_map(|offer| self.0.store.bundle(&offer.id).expect("readable"));
        bundles.filter(|bundle| kinds.iter().any(|kind| kind.number() == bundle.kind)).collect()
    }

    fn takes(&mut self, bundle: &StoredBundle, now: Now) {
        let arrival = Arrival {
            bundle: bundle.bytes().name().expect("it fits"),
            age_ms: 0,
            hops: 1,
            from: NodeId([9; NodeId::BYTES]),
            via: LinkKind::Pipe,
        };
        let mut link = self.0.link_bucket(now);
        let verdict = self.0.receive(arrival, &mut link, now).expect("stored");
        assert!(matches!(verdict, Verdict::Stored | Verdict::Known(_)), "{verdict:?}");
    }

    fn hears_of(&mut self, other: &Self) {
        other.held(&[Kind::Prekeys]).iter().for_each(|keys| self.takes(keys, NOW));
    }

    fn takes_mail_of(&mut self, other: &Self, now: Now) {
        other.held(&[Kind::Sealed, Kind::Intro]).iter().for_each(|mail| self.takes(mail, now));
    }

    fn adds(&mut self, other: &Self) {
        let draft = ContactDraft { id: Some(other.id()), ..ContactDraft::default() };
        self.0.add_contact(draft, NOW).expect("added");
    }

    fn writes(&mut self, to: &Self, text: &str) -> BundleId {
        let (to, text) = (to.id(), text.to_owned());
        let draft = PrivateDraft { to, text, lifetime_s: None, priority: Priority::Normal, reply_to: None };
        self.0.submit_private(draft, NOW).expect("sent")
    }

    /// Somebody nobody here knows writes to this one by its id.
    fn is_asked_by(&mut self, n: u8) -> Self {
        let mut stranger = Self::new(n);
        stranger.hears_of(self);
        stranger.writes(self, &format!("stranger {n}"));
        self.takes_mail_of(&stranger, NOW);
        stranger
    }

    fn verifies(&mut self, other: &Self) {
        self.hears_of(other);
        self.adds(other);
        let number = self.0.safety_number(&other.id()).expect("its keys are known");
        self.0.verify_contact(&other.id(), &number, NOW).expect("the same number");
    }

    /// Gives it so many contacts without keys, who were heard of one after the other.
    fn fill(&mut self, standing: Standing, count: usize) {
        for n in 0..count {
            let contact = Contact::new(standing, n as u64, None);
            self.0.save_contact(&filler(n), contact).expect("saved");
        }
    }

    fn knows(&self, id: &NodeId) -> bool {
        let is_kept = self.0.store.record(Shelf::Contact, &id.0).expect("readable").is_some();
        assert_eq!(is_kept, self.0.contacts.contains_key(id), "the disk and the memory say the same");
        is_kept
    }

    fn contact(&self, of: &Self) -> &Contact {
        &self.0.contacts[&of.id()]
    }

    fn texts(&self) -> Vec<String> {
        let all = self.0.store.messages_after(Seq(0), 100).expect("readable");
        all.into_iter().filter(|message| !message.own).map(|message| message.text).collect()
    }

    /// How often it was said since the last call that a contact has changed.
    fn changes(&mut self) -> usize {
        let events = std::mem::take(&mut self.0.events);
        events.iter().filter(|event| matches!(event.event, Event::ContactChanged { .. })).count()
    }
}

fn filler(n: usize) -> NodeId {
    let mut id = [0xee; NodeId::BYTES];
    id[..2].copy_from_slice(&(n as u16).to_be_bytes());
    NodeId(id)
}

#[test]
fn l02_when_a_hundred_ask_the_next_takes_the_place_of_who_asked_longest_ago() {
    let mut bob = Person::new(2);
    bob.fill(Standing::Asking, ASKING_MAX - 1);
    let ana = bob.is_asked_by(3);
    assert!(bob.knows(&ana.id()) && bob.knows(&filler(0)), "the hundredth takes nobody's place");
    let carol = bob.is_asked_by(4);
    assert!(bob.knows(&carol.id()) && bob.knows(&ana.id()) && bob.knows(&filler(1)));
    assert!(!bob.knows(&filler(0)));
    assert_eq!(bob.0.contacts.len(), ASKING_MAX);
    assert_eq!(bob.texts(), ["stranger 3", "stranger 4"]);
}

#[test]
fn l02_where_there_is_no_room_for_contacts_strangers_take_each_others_place_and_no_contacts() {
    let mut bob = Person::new(2);
    bob.fill(Standing::Added, CONTACTS_MAX - 1);
    let ana = bob.is_asked_by(3);
    assert!(bob.knows(&ana.id()), "there was room for one");
    let carol = bob.is_asked_by(4);
    assert!(bob.knows(&carol.id()) && !bob.knows(&ana.id()));
    bob.0.accept_contact(&carol.id(), NOW).expect("it asks");
    let dora = bob.is_asked_by(5);
    assert!(!bob.knows(&dora.id()));
    assert_eq!(bob.0.contacts.len(), CONTACTS_MAX);
    assert_eq!(bob.texts(), ["stranger 3", "stranger 4"], "nor is shown what it wrote");
}

#[test]
fn c06_a_code_opens_up_to_its_last_moment_and_where_there_is_room_for_a_contact() {
    for (late_ms, contacts, opens) in [
        (0, 0, true),
        (0, CONTACTS_MAX - 1, true),
        (0, CONTACTS_MAX, false),
        (1, 0, false),
        (1, CONTACTS_MAX - 1, false),
    ] {
        let (mut ana, mut bob) = (Person::new(1), Person::new(2));
        bob.fill(Standing::Added, contacts);
        let code = bob.0.make_code(false, NOW).expect("made");
        ana.0.add_contact(ContactDraft { code: Some(code), ..ContactDraft::default() }, NOW).expect("taken");
        bob.takes_mail_of(&ana, later(CODE_MS + late_ms));
        assert_eq!(bob.knows(&ana.id()), opens, "{late_ms} ms late, {contacts} contacts");
    }
}

#[test]
fn c06_who_is_a_contact_takes_no_more_room_by_a_code() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    bob.fill(Standing::Added, CONTACTS_MAX - 1);
    bob.adds(&ana);
    let code = bob.0.make_code(false, NOW).expect("made");
    ana.0.add_contact(ContactDraft { code: Some(code), ..ContactDraft::default() }, NOW).expect("taken");
    bob.takes_mail_of(&ana, NOW);
    assert_eq!(bob.0.invites[0].2.used_by, Some(ana.id()));
    assert_eq!(bob.0.contacts.len(), CONTACTS_MAX);
}

#[test]
fn c02_an_introduction_is_of_somebody_else_who_is_not_blocked_and_for_whom_there_is_room() {
    for (others, is_known, is_blocked, trust) in [
        (0, false, false, Some(Trust::Introduced)),
        (CONTACTS_MAX - 2, false, false, Some(Trust::Introduced)),
        (CONTACTS_MAX - 1, false, false, None),
        (CONTACTS_MAX - 2, true, false, Some(Trust::Introduced)),
        (0, false, true, None),
        (0, true, true, Some(Trust::Unverified)),
    ] {
        let (mut ana, mut bob, carol) = (Person::new(1), Person::new(2), Person::new(3));
        ana.verifies(&bob);
        ana.verifies(&carol);
        bob.verifies(&ana);
        bob.fill(Standing::Added, others);
        if is_known {
            bob.adds(&carol);
        }
        if is_blocked {
            bob.0.block(&carol.id(), NOW).expect("stored");
        }
        ana.0.introduce(&carol.id(), &bob.id(), NOW).expect("sent");
        bob.takes_mail_of(&ana, NOW);
        let case = (others, is_known, is_blocked);
        assert_eq!(bob.knows(&carol.id()).then(|| bob.contact(&carol).trust), trust, "{case:?}");
    }
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.verifies(&bob);
    bob.verifies(&ana);
    ana.0.introduce(&bob.id(), &bob.id(), NOW).expect("sent");
    bob.takes_mail_of(&ana, NOW);
    assert!(!bob.knows(&bob.id()), "nobody is a contact of its own");
}

#[test]
fn a_contact_is_said_to_have_changed_when_it_has_and_only_then() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.hears_of(&bob);
    bob.adds(&ana);
    bob.changes();
    for (text, changes) in [("its keys are known by this", 1), ("nothing new", 0), ("nor now", 0)] {
        ana.writes(&bob, text);
        bob.takes_mail_of(&ana, NOW);
        assert_eq!(bob.changes(), changes, "{text}");
    }
    let mut stranger = bob.is_asked_by(3);
    assert_eq!(bob.changes(), 1, "somebody asks");
    stranger.writes(&bob, "and again");
    bob.takes_mail_of(&stranger, NOW);
    assert_eq!(bob.changes(), 0);
}

#[test]
fn c02_who_asks_is_not_called_as_it_calls_itself_before_the_user_chose_it() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.hears_of(&bob);
    let name = Some("Ana".to_owned());
    ana.0.set_profile(ProfileDraft { name: name.clone(), ..ProfileDraft::default() }, NOW).expect("stored");
    ana.writes(&bob, "may I?");
    bob.takes_mail_of(&ana, NOW);
    assert_eq!((&bob.contact(&ana).name, &bob.contact(&ana).own_name), (&None, &name));
    bob.0.accept_contact(&ana.id(), NOW).expect("it asks");
    bob.changes();
    ana.writes(&bob, "thank you");
    bob.takes_mail_of(&ana, NOW);
    assert_eq!(bob.contact(&ana).name, name);
    assert_eq!(bob.changes(), 1);
}

#[test]
fn l07_of_the_keys_that_a_contact_gave_for_one_answer_each_the_newest_eight_are_kept() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.hears_of(&bob);
    let keys = |bob: &Person, ana: &Person| -> Vec<[u8; 32]> {
        bob.contact(ana).one_time.iter().map(|prekey| prekey.key.0).collect()
    };
    for n in 1..=ONE_TIME_MAX {
        ana.writes(&bob, &format!("{n}"));
        bob.takes_mail_of(&ana, NOW);
        assert_eq!(keys(&bob, &ana).len(), n);
    }
    let before = keys(&bob, &ana);
    // It has lost its store, and begins to give anew.
    ana.0.clear_shelf(Shelf::Prekey).expect("stored");
    ana.writes(&bob, "one more");
    bob.takes_mail_of(&ana, NOW);
    let after = keys(&bob, &ana);
    assert_eq!((after.len(), &after[..ONE_TIME_MAX - 1]), (ONE_TIME_MAX, &before[1..]));
}

#[test]
fn what_carried_a_message_is_known_at_both_ends() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.hears_of(&bob);
    let message = ana.writes(&bob, "hello");
    bob.takes_mail_of(&ana, NOW);
    let carrier = ana.held(&[Kind::Intro])[0].id;
    assert_eq!(ana.0.carrier_of(&message), Ok(Some(carrier)));
    assert_eq!(bob.0.carrier_of_opened(&message), Ok(Some(carrier)));
    assert_eq!(bob.0.carrier_of_opened(&carrier), Ok(None));
}

#[test]
fn r01_what_was_opened_is_remembered_as_long_as_a_key_could_open_it_and_no_longer() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.hears_of(&bob);
    let message = ana.writes(&bob, "hello");
    bob.takes_mail_of(&ana, NOW);
    let kept_ms = PREKEY_MS + PRIVATE_LIFETIME_MS_MAX;
    for (ms, is_kept) in [(kept_ms - 1, true), (kept_ms, false)] {
        bob.0.do_what_is_due(later(ms)).expect("done");
        assert_eq!(bob.0.opened(&message).expect("readable").is_some(), is_kept, "after {ms} ms");
    }
}
