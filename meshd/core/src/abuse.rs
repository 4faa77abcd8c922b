//! What neighbours that do not keep to the protocol achieve: nothing but being cut.

use crate::bundle::{BundleBytes, NewBundle};
use crate::canonical::{Extensions, Writer};
use crate::clock::Now;
use crate::draft::{Draft, ProfileDraft};
use crate::event::{LinkKind, MessageStatus};
use crate::header::{Header, Kind};
use crate::id::Seq;
use crate::id::{IdPrefix, ShortId};
use crate::identity::Identity;
use crate::limits::{self, Limits, OFFENCES_MAX, PREFIXES_MAX, STALL_MS_MAX, WALK_MS_MIN};
use crate::node::{CloseReason, Input};
use crate::post::Post;
use crate::profile::{self, Profile};
use crate::receipt::{Commitment, Receipt, Stage};
use crate::reconcile::{Body, START_BYTES};
use crate::rogue::{NEW_YEAR_MS, Rogue};
use crate::store::{Priority, Store};
use crate::summary::Summary;
use crate::wire::{Carried, Message, Run, ShortIds, join};

fn post_of(identity: &Identity, text: &str, header: impl FnOnce(&mut Header)) -> NewBundle {
    let post = Post {
        channel: "#mesh".to_owned(),
        text: text.to_owned(),
        reply_to: None,
        extensions: Extensions::default(),
    };
    let mut head = Header { salt: Some([0; 8]), ..Header::bare(Kind::Post, 3_600, Priority::Normal) };
    header(&mut head);
    NewBundle::sign(head, post.encode(), identity)
}

pub(crate) fn post(text: &str) -> NewBundle {
    post_of(&Identity::from_bytes(&[5; 64]), text, |_| {})
}

pub(crate) fn carried(bundle: &NewBundle) -> Message<'_> {
    Message::Bundle(Carried { age_ms: 0, hops: 0, bytes: bundle.bytes() })
}

pub(crate) fn draft(text: &str) -> Draft {
    let channel = "#mesh".to_owned();
    Draft { channel, text: text.to_owned(), lifetime_s: None, priority: Priority::Normal, reply_to: None }
}

fn shown(rogue: &Rogue) -> usize {
    rogue.node.store().messages_after(Seq(0), 10_000).unwrap().len()
}

/// A page of a reconciliation as the protocol writes it.
fn page(number: u64, is_last: bool, prefixes: &[IdPrefix]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4).uint(0).uint(number).uint(u64::from(is_last)).bytes(&join(prefixes));
    writer.finish()
}

/// Begins a round as somebody who holds nothing.
fn open_round(rogue: &mut Rogue, number: u64) {
    let view = Summary::with_room(0, 0).view();
    rogue.say(&[Message::Reconcile(&Body::Open { number, view }.write())]);
}

fn prefixes(count: usize, tag: u8) -> Vec<IdPrefix> {
    (0..count).map(|n| IdPrefix([tag, n as u8, (n >> 8) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0])).collect()
}

#[test]
fn a_post_pushed_unasked_is_stored_then_acknowledged() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let bundle = post("hello");
    rogue.say(&[carried(&bundle)]);
    assert_eq!(rogue.hear_words(), ["stored 1"]);
    assert_eq!(shown(&rogue), 1);
    rogue.say(&[carried(&bundle), carried(&bundle)]);
    assert_eq!(rogue.hear_words(), ["stored 2"], "a second copy is stored once and acknowledged again");
    assert_eq!(shown(&rogue), 1);
}

#[test]
fn c01_s02_bad_signatures_are_refused_counted_and_end_the_link() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    for n in 1..=OFFENCES_MAX {
        let mut bundle = post(&format!("forged {n}"));
        bundle.auth[3] ^= 1;
        rogue.say(&[carried(&bundle)]);
        if n < OFFENCES_MAX {
            assert_eq!(rogue.hear_words(), ["refused Bad 1"], "{n}");
        }
    }
    assert_eq!(rogue.closed(), Some(CloseReason::InvalidBundles));
    assert_eq!(shown(&rogue), 0);
}

#[test]
fn c01_a_bad_copy_does_not_keep_the_good_one_out() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let good = post("hello");
    let mut bad = good.clone();
    bad.auth[0] ^= 1;
    rogue.say(&[carried(&bad)]);
    assert_eq!(rogue.hear_words(), ["refused Bad 1"]);
    rogue.say(&[carried(&good)]);
    assert_eq!(rogue.hear_words(), ["stored 1"]);
    assert_eq!(shown(&rogue), 1);
}

/// A sealed bundle that the node can't open; its secret is `secret` sixteen times.
fn sealed(secret: u8) -> NewBundle {
    let commitment = Some(Commitment::of(&[secret; 16]));
    let bare = Header { commitment, ..Header::bare(Kind::Sealed, 3_600, Priority::Normal) };
    NewBundle::unsigned(bare, vec![secret; 256])
}

#[test]
fn c19_a_carrier_drops_on_proof_only_and_takes_it_no_more() {
    let held = |rogue: &Rogue, bundle: &NewBundle| rogue.node.store().bundle(&bundle.id).unwrap().is_some();
    for stage in [Stage::Delivered, Stage::Read] {
        let mut rogue = Rogue::meet();
        rogue.hear();
        rogue.say(&[carried(&sealed(1)), carried(&sealed(2))]);
        assert_eq!(rogue.hear_words(), ["stored 2"]);
        // What is in the header proves nothing, nor does what was shown for another stage.
        let guess = Receipt { stage, value: Commitment::of(&[1; 16]).0 };
        let guess = NewBundle::receipt(&guess);
        rogue.say(&[carried(&guess)]);
        assert!(held(&rogue, &sealed(1)));
        let proof = NewBundle::receipt(&Receipt::of(&[1; 16], stage));
        rogue.say(&[carried(&proof)]);
        assert!(!held(&rogue, &sealed(1)));
        assert!(held(&rogue, &sealed(2)), "another one stays");
        rogue.hear();
        rogue.say(&[carried(&sealed(1))]);
        assert_eq!(rogue.hear_words(), ["refused Unwanted 1"]);
        // A receipt that was there first keeps the bundle out too.
        let early = NewBundle::receipt(&Receipt::of(&[3; 16], stage));
        rogue.say(&[carried(&early), carried(&sealed(3))]);
        assert!(!held(&rogue, &sealed(3)));
    }
}

#[test]
fn w06_w07_nonsense_in_a_session_ends_it() {
    for plain in
        [&[0xff][..], &[0x81, 0x09], &[0x82, 0x03, 0x40], &[0x98, 0x01, 0x07], &[0x81, 0x08, 0x81, 0x08]]
    {
        let mut rogue = Rogue::meet();
        rogue.hear();
        rogue.say_bytes(plain);
        assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))), "{plain:x?}");
    }
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.give(&vec![0; limits::FRAME_BYTES_MAX + 1]);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))));
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.give(&[1, 2, 3]);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))));
}

#[test]
fn w06_what_a_later_version_says_optionally_is_passed_over() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.say_bytes(&[0x82, 0x18, 0x20, 0x41, 0x00]);
    assert_eq!(rogue.closed(), None);
}

#[test]
fn s02_ids_offered_and_never_delivered_end_the_link_without_a_storm() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.say(&[Message::Reconcile(&page(1, true, &prefixes(100, 1)))]);
    let words = rogue.hear_words();
    assert_eq!(words, ["reconcile"], "one answer");
    // The rogue answers the node's own page, so that only its debt counts.
    rogue.pass(STALL_MS_MAX - 1);
    assert_eq!(rogue.closed(), None);
    assert_eq!(rogue.hear_words(), Vec::<String>::new(), "nothing is asked for twice");
    rogue.pass(1);
    assert_eq!(rogue.closed(), Some(CloseReason::Stalled));
}

#[test]
fn s02_another_bundle_than_asked_for_settles_no_debt() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.say(&[Message::Reconcile(&page(1, true, &prefixes(1, 1)))]);
    rogue.hear();
    rogue.pass(STALL_MS_MAX / 2);
    rogue.say(&[carried(&post("not what you asked for"))]);
    rogue.pass(STALL_MS_MAX / 2);
    assert_eq!(rogue.closed(), Some(CloseReason::Stalled));
}

#[test]
fn s02_large_bundles_nobody_asked_for_are_offences() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.say(&[Message::Reconcile(&page(1, true, &[]))]);
    rogue.hear();
    rogue.pass(STALL_MS_MAX + 1);
    let large = post(&"x".repeat(4_000));
    rogue.say(&[carried(&large)]);
    assert_eq!(rogue.hear_words(), ["refused Bad 1"]);
    for _ in 0..OFFENCES_MAX {
        rogue.say(&[carried(&large)]);
    }
    assert_eq!(rogue.closed(), Some(CloseReason::InvalidBundles));
    assert_eq!(shown(&rogue), 0);
}

#[test]
fn s01_a_page_that_is_too_long_ends_the_link() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.say(&[Message::Reconcile(&page(1, true, &prefixes(limits::PAGE_IDS_MAX + 1, 1)))]);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))));
}

#[test]
fn s01_pages_wait_while_much_is_owed() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    for n in 1..=2 {
        rogue.say(&[Message::Reconcile(&page(n, false, &prefixes(1_024, n as u8)))]);
        assert_eq!(rogue.hear_words(), ["reconcile"]);
    }
    rogue.say(&[Message::Reconcile(&page(3, true, &prefixes(1_024, 3)))]);
    assert_eq!(rogue.hear_words(), Vec::<String>::new(), "the next page is not answered yet");
    let gone: Vec<ShortId> = prefixes(600, 1).iter().map(IdPrefix::short).collect();
    rogue.say(&[Message::Gone(ShortIds::new(&join(&gone)).unwrap())]);
    assert_eq!(rogue.hear_words(), ["reconcile"]);
}

#[test]
fn s03_asking_for_what_was_not_offered_ends_the_link() {
    let mut rogue = Rogue::meet();
    let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
    rogue.hear();
    rogue.node.handle(Input::LinkDown { link: rogue.link }, rogue.now).unwrap();
    rogue.reconnect(LinkKind::Lan);
    open_round(&mut rogue, 1);
    assert_eq!(rogue.hear_words(), ["takeover", "reconcile"], "symbols that tell of one bundle");
    let bytes = join(&[id.short()]);
    rogue.say(&[Message::Get(ShortIds::new(&bytes).unwrap())]);
    assert_eq!(rogue.closed(), None, "it was offered once");
    rogue.say(&[Message::Get(ShortIds::new(&bytes).unwrap())]);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))), "not twice");
}

/// The reconciliation's bodies that the node says now, as their tags.
fn hear_tags(rogue: &mut Rogue) -> Vec<u8> {
    let frames = rogue.hear();
    let messages = frames.iter().flat_map(|plain| Message::read_all(plain).unwrap());
    messages
        .filter_map(|message| if let Message::Reconcile(body) = message { Some(body[1]) } else { None })
        .collect()
}

#[test]
fn s04_a_check_over_the_whole_ids_that_differs_leads_to_a_walk() {
    for (check, tags) in [(0, vec![]), (1, vec![8, 0])] {
        let mut rogue = Rogue::meet();
        let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
        open_round(&mut rogue, 1);
        assert_eq!(hear_tags(&mut rogue), [4], "symbols");
        let declined = &id.0[..START_BYTES];
        let want = Body::Want { number: 1, is_last: true, wanted: &[], declined, check: Some(check) };
        rogue.say(&[Message::Reconcile(&want.write())]);
        assert_eq!(hear_tags(&mut rogue), tags);
        let status = rogue.node.store().message(&id).unwrap().unwrap().status;
        assert_eq!(status, MessageStatus::Pending, "it was not claimed to be held");
    }
}

#[test]
fn s04_symbols_end_and_a_walk_begins_for_whoever_never_has_enough() {
    let mut rogue = Rogue::meet();
    rogue.node.submit(draft("mine"), rogue.now).unwrap();
    open_round(&mut rogue, 1);
    hear_tags(&mut rogue);
    let mut tags = Vec::new();
    for _ in 0..20 {
        rogue.say(&[Message::Reconcile(&Body::More { number: 1 }.write())]);
        tags.extend(hear_tags(&mut rogue));
    }
    let symbols = tags.iter().filter(|tag| **tag == 4).count();
    assert!(symbols <= 4 && tags.ends_with(&[8, 0]), "{tags:?}");
}

#[test]
fn s08_what_is_not_said_to_be_lacked_is_claimed_to_be_held() {
    let mut rogue = Rogue::meet();
    let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
    open_round(&mut rogue, 1);
    hear_tags(&mut rogue);
    let want = Body::Want { number: 1, is_last: true, wanted: &[], declined: &[], check: None };
    rogue.say(&[Message::Reconcile(&want.write())]);
    assert_eq!(rogue.node.store().message(&id).unwrap().unwrap().status, MessageStatus::Synced);
    assert!(rogue.node.store().bundle(&id).unwrap().is_some(), "nothing else follows from it");
}

#[test]
fn s03_a_new_round_is_begun_once_a_minute() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    for _ in 0..100 {
        rogue.say(&[Message::Again]);
    }
    assert_eq!(rogue.hear_words(), Vec::<String>::new());
    rogue.pass(WALK_MS_MIN);
    assert_eq!(rogue.hear_words(), ["reconcile"]);
}

/// How often somebody does something before it is cut.
fn until_cut(most: usize, what: impl Fn(&mut Rogue, u64)) -> usize {
    let mut rogue = Rogue::meet();
    rogue.node.submit(draft("mine"), rogue.now).unwrap();
    (1..=most)
        .find(|n| {
            what(&mut rogue, *n as u64);
            rogue.closed().is_some()
        })
        .expect("it goes on for ever")
}

#[test]
fn s03_whoever_reconciles_without_end_is_cut() {
    let most = limits::ROUNDS_PER_HOUR_MAX as usize;
    assert_eq!(until_cut(1_000, open_round), most + 1);
    let walk = |rogue: &mut Rogue, number| {
        rogue.say(&[Message::Reconcile(&Body::Walk { number }.write())]);
    };
    assert_eq!(until_cut(1_000, walk), most + 1);
    assert_eq!(
        until_cut(1_000, |rogue, _| rogue.say(&[Message::Takeover])),
        limits::TAKEOVERS_PER_HOUR_MAX as usize + 1
    );
    // An honest neighbour begins one a minute.
    let mut rogue = Rogue::meet();
    for number in 1..200 {
        open_round(&mut rogue, number);
        hear_tags(&mut rogue);
        rogue.pass(WALK_MS_MIN);
    }
    assert_eq!(rogue.closed(), None);
}

#[test]
fn s03_nobody_lacks_more_than_it_was_told_of() {
    let mut rogue = Rogue::meet();
    let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
    open_round(&mut rogue, 1);
    hear_tags(&mut rogue);
    let lacks = |rogue: &mut Rogue, times| {
        let declined = id.0[..START_BYTES].repeat(times);
        let want = Body::Want { number: 1, is_last: false, wanted: &[], declined: &declined, check: None };
        rogue.say(&[Message::Reconcile(&want.write())]);
        rogue.closed().is_some()
    };
    assert!(!lacks(&mut rogue, 2));
    assert!((0..1_000).any(|_| lacks(&mut rogue, 2)), "it may repeat itself for ever");
}

#[test]
fn s05_a_silent_neighbour_is_cut_when_it_owes_and_not_before() {
    let mut rogue = Rogue::meet();
    rogue.say(&[Message::Again]);
    rogue.pass(WALK_MS_MIN);
    assert_eq!(rogue.hear_words(), ["reconcile"], "a round that waits for an answer");
    rogue.pass(STALL_MS_MAX - 1);
    assert_eq!(rogue.closed(), None);
    rogue.pass(1);
    assert_eq!(rogue.closed(), Some(CloseReason::Stalled));
    let mut rogue = Rogue::meet();
    rogue.hear();
    rogue.pass(100 * STALL_MS_MAX);
    assert_eq!(rogue.closed(), None, "whoever owes nothing may be silent");
}

#[test]
fn s06_fields_that_change_on_the_way_are_clamped() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let bundle = post_of(&Identity::from_bytes(&[5; 64]), "clamped", |header| header.lifetime_s = u32::MAX);
    let message = Carried { age_ms: 0, hops: 3, bytes: bundle.bytes() };
    rogue.say(&[Message::Bundle(message)]);
    let stored = rogue.node.store().bundle(&bundle.id).unwrap().unwrap();
    assert_eq!(stored.hops, 4);
    let lifetime_ms = stored.expires_tl_ms - stored.received_tl_ms;
    assert_eq!(lifetime_ms, limits::LIFETIME_S_STRANGER_MAX * 1000);
    let far = post("too far");
    rogue.say(&[Message::Bundle(Carried {
        hops: u64::from(limits::HOPS_MAX),
        bytes: far.bytes(),
        ..message
    })]);
    let ancient = post("too old");
    rogue.say(&[Message::Bundle(Carried { age_ms: u64::MAX, bytes: ancient.bytes(), ..message })]);
    assert_eq!(rogue.hear_words(), ["stored 1", "refused Unwanted 2"]);
    assert_eq!(shown(&rogue), 1);
    // What a carrier claims is no reason to refuse the bundle from another one.
    rogue.say(&[carried(&far), carried(&ancient)]);
    assert_eq!(rogue.hear_words(), ["stored 2"]);
    assert_eq!(shown(&rogue), 3);
}

#[test]
fn s08_a_claim_to_hold_something_removes_nothing_and_counts_only_if_it_was_sent() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
    let claim = Message::Stored(Run::new(0, 1).unwrap());
    let status = |rogue: &Rogue| rogue.node.store().message(&id).unwrap().unwrap().status;
    assert_eq!(rogue.hear_words(), ["bundle 0 0"]);
    assert_eq!(status(&rogue), MessageStatus::Pending, "it is sent and not answered");
    rogue.say(&[claim]);
    assert_eq!(status(&rogue), MessageStatus::Synced);
    assert!(rogue.node.store().bundle(&id).unwrap().is_some());
}

#[test]
fn s11_own_messages_played_back_are_recognised() {
    let mut rogue = Rogue::meet();
    let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
    rogue.hear();
    let stored = rogue.node.store().bundle(&id).unwrap().unwrap();
    let bytes = BundleBytes { header: &stored.header, payload: &stored.payload, auth: &stored.auth };
    rogue.say(&[Message::Bundle(Carried { age_ms: 9, hops: 1, bytes })]);
    assert_eq!(rogue.hear_words(), ["stored 1"]);
    assert_eq!(shown(&rogue), 1);
    assert_eq!(rogue.node.store().bundle(&id).unwrap().unwrap(), stored);
    // Whoever holds it is another node.
    assert_eq!(rogue.node.store().message(&id).unwrap().unwrap().status, MessageStatus::Synced);
    rogue.node.forget(&id, rogue.now).unwrap();
    rogue.say(&[Message::Bundle(Carried { age_ms: 9, hops: 1, bytes })]);
    assert_eq!(shown(&rogue), 0, "what was forgotten stays so");
}

#[test]
fn r02_s11_an_older_profile_of_its_own_is_refused_and_sets_nothing_back() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let named = |name: &str| ProfileDraft { name: Some(name.to_owned()), ..ProfileDraft::default() };
    rogue.node.set_profile(named("now"), rogue.now).unwrap();
    rogue.hear();
    // Of another disk with the same keys: not one that this node has held and replaced.
    let profile = |revision| {
        let profile = Profile { revision, name: Some("then".to_owned()), ..Profile::default() };
        let header = Header { salt: Some([3; 8]), ..Header::bare(Kind::Profile, 3_600, Priority::Normal) };
        NewBundle::sign(header, profile.encode(), &Identity::from_bytes(&[1; 64]))
    };
    rogue.say(&[carried(&profile(1))]);
    assert_eq!(rogue.hear_words(), ["refused Unwanted 1"]);
    rogue.say(&[carried(&profile(profile::REVISION_MAX - 1))]);
    assert_eq!(rogue.hear_words(), ["stored 1"], "a newer one is outgrown by the next of this node's");
    assert_eq!(rogue.node.profile().unwrap(), named("now"));
}

#[test]
fn s12_few_handshakes_may_be_half_open_and_slow_ones_are_cut() {
    let mut rogue = Rogue::meet();
    let mut refused = 0;
    for n in 100..200 {
        let link = crate::id::LinkId(n);
        let up = Input::LinkUp { link, kind: LinkKind::Lan, address: "flood".to_owned(), dialled: false };
        rogue.node.handle(up, rogue.now).unwrap();
    }
    let mut outbox = rogue.node.commit(rogue.now).unwrap();
    while let Some(output) = outbox.next_output() {
        refused +=
            usize::from(matches!(output, crate::node::Output::Close { why: CloseReason::TooManyLinks, .. }));
    }
    assert_eq!(refused, 100 - limits::HALF_OPEN_MAX);
    rogue.pass(limits::HANDSHAKE_MS_MAX);
    assert_eq!(rogue.node.links().count(), 1, "only the one that said who it is");
}

#[test]
fn l08_strangers_make_the_node_write_only_so_much_an_hour() {
    let mut rogue = Rogue::meet_with(Limits { store_bytes_max: 64 * 1024 * 1024, ..Limits::default() });
    rogue.hear();
    let identity = Identity::from_bytes(&[5; 64]);
    let (mut stored, mut refused) = (0u64, 0u64);
    let text = "x".repeat(16_000);
    let most = limits::HOUR_BYTES_MIN / text.len() as u64;
    for n in 0..most + 20 {
        let bundle = post_of(&identity, &text, |header| header.salt = Some(n.to_be_bytes()));
        rogue.say(&[carried(&bundle)]);
        match rogue.hear_words().as_slice() {
            [one] if one == "stored 1" => stored += bundle.bytes().size_bytes(),
            [one] if one == "refused Busy 1" => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert!(stored <= limits::HOUR_BYTES_MIN, "{stored}");
    assert_eq!(rogue.closed(), None, "being eager is no offence");
    rogue.pass(WALK_MS_MIN);
    assert_eq!(rogue.hear_words(), ["again"], "and it is told when there is room");
}

#[test]
fn r05_clocks_years_off_neither_expire_nor_favour_a_message() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let year_ms = 365 * 24 * 3_600_000;
    let identity = Identity::from_bytes(&[5; 64]);
    for (created, left_s) in [
        (Some(NEW_YEAR_MS + 5 * year_ms), 3_600),
        (Some(0), 3_600),
        (None, 3_600),
        (Some(NEW_YEAR_MS - 1_000), 3_600),
        (Some(NEW_YEAR_MS - limits::SKEW_MS_MAX - 600_000), 3_000),
    ] {
        let bundle = post_of(&identity, "when", |header| {
            header.created_unix_ms = created;
            header.salt = Some(created.unwrap_or(7).to_be_bytes());
        });
        rogue.say(&[carried(&bundle)]);
        let stored = rogue.node.store().bundle(&bundle.id).unwrap().expect("it is accepted");
        assert_eq!((stored.expires_tl_ms - stored.received_tl_ms) / 1000, left_s, "created {created:?}");
    }
}

#[test]
fn r01_r04_age_decides_what_is_too_old_not_the_clock_alone() {
    let day_ms = 24 * 3_600_000;
    let identity = Identity::from_bytes(&[5; 64]);
    let six_days = post_of(&identity, "six days by foot", |header| {
        header.lifetime_s = 7 * 24 * 3_600;
        header.created_unix_ms = Some(NEW_YEAR_MS - 6 * day_ms);
    });
    let month = post_of(&identity, "a month old", |header| {
        header.lifetime_s = 7 * 24 * 3_600;
        header.created_unix_ms = Some(NEW_YEAR_MS - 30 * day_ms);
    });
    let mut rogue = Rogue::meet();
    rogue.hear();
    // The carrier says that it is fresh.
    rogue.say(&[carried(&six_days), carried(&month)]);
    assert_eq!(rogue.hear_words(), ["stored 1", "refused Unwanted 1"]);
    // Without a trusted clock the carrier's word is all there is.
    let mut rogue = Rogue::meet();
    rogue.now = Now { unix_ms: None, ..rogue.now };
    rogue.hear();
    rogue.say(&[carried(&month)]);
    assert_eq!(rogue.hear_words(), ["stored 1"]);
}

#[test]
fn prefixes_beyond_a_message_are_refused() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let mut plain = vec![0x82, 0x02, 0x59];
    let length = (PREFIXES_MAX + 1) * IdPrefix::BYTES;
    plain.extend_from_slice(&(length as u16).to_be_bytes());
    plain.resize(5 + length, 0);
    rogue.say_bytes(&plain);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))));
}
