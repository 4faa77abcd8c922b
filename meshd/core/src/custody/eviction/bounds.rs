//! Who gives way and who does not, on both sides of each limit.

use super::*;
use crate::contract;
use crate::entropy::Entropy;
use crate::id::BundleId;
use crate::identity::Identity;
use crate::limits::{COPIES_MAX, COPIES_PUBLIC_MAX, DROPPED_MS, HOARD_LOOK_MS, Limits, UNTRIED_MS};
use crate::mem::MemStore;
use crate::store::{Dropped, Known};

/// The least that a bundle counts, and a hundredth of what a keeper has for bundles.
const PART: u64 = limits::BUNDLE_COST_BYTES_MIN;
/// More bundles than have room by their bytes.
const MANY: u64 = 1_000;
const ANA: NodeId = NodeId([0xa; NodeId::BYTES]);
const BOB: NodeId = NodeId([0xb; NodeId::BYTES]);
const CAROL: NodeId = NodeId([0xc; NodeId::BYTES]);

/// Limits by which so many bundles have room, and a hundred parts.
fn room(bundles: u64) -> Limits {
    let store_bytes_max = (100 * PART * 100).div_ceil(limits::BUNDLES_PERCENT);
    let limits = Limits { store_bytes_max, store_bundles_max: bundles, ..Limits::default() };
    assert_eq!(limits.bundle_bytes_max(), 100 * PART);
    limits
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, unix_ms: None }
}

/// A stranger's letter of one part that Ana brought and that met nobody yet.
fn letter() -> StoredBundle {
    StoredBundle {
        kind: Kind::Sealed.number(),
        origin: None,
        header: Vec::new(),
        payload: vec![0; PART as usize],
        auth: Vec::new(),
        received_tl_ms: 0,
        copies: COPIES_MAX,
        ingress: Some(ANA),
        ..contract::bundle(0xff)
    }
}

fn letter_by(peer: NodeId) -> StoredBundle {
    StoredBundle { ingress: Some(peer), ..letter() }
}

fn of_class(class: Class) -> StoredBundle {
    StoredBundle { class, ..letter() }
}

fn post() -> StoredBundle {
    StoredBundle { kind: Kind::Post.number(), copies: COPIES_PUBLIC_MAX, ..letter() }
}

fn sized(bundle: &StoredBundle, bytes: u64) -> StoredBundle {
    StoredBundle { payload: vec![0; bytes as usize], ..bundle.clone() }
}

struct Keeper(Custody<MemStore>, u16);

impl Keeper {
    /// One that has room for so many bundles, and a hundred parts.
    fn new(bundles: u64) -> Self {
        let (identity, entropy) = (Identity::from_bytes(&[1; 64]), Entropy::new(&[1; 32]));
        let custody = Custody::open(MemStore::new(), identity, entropy, room(bundles), at(0));
        Self(custody.expect("opens"), 0)
    }

    /// Lets it hold so many like that; says which.
    fn hold(&mut self, count: u64, like: &StoredBundle) -> Vec<BundleId> {
        (0..count).map(|_| self.hold_one(like)).collect()
    }

    fn hold_one(&mut self, like: &StoredBundle) -> BundleId {
        let mut id = BundleId([0; BundleId::BYTES]);
        id.0[..2].copy_from_slice(&self.1.to_be_bytes());
        self.1 += 1;
        self.0.insert(&StoredBundle { id, ..like.clone() }).expect("stored");
        id
    }

    /// Why that one may not come in, after what goes for it went.
    fn refuses(&mut self, newcomer: &StoredBundle) -> Option<Loss> {
        self.0.make_room(newcomer).expect("stored")
    }

    fn has(&self, id: &BundleId) -> bool {
        self.0.store.bundle(id).expect("readable").is_some()
    }

    /// How many of those went; the first ones did.
    fn gone(&self, ids: &[BundleId]) -> u64 {
        let gone = ids.iter().take_while(|id| !self.has(id)).count();
        assert!(ids[gone..].iter().all(|id| self.has(id)), "what was held longest goes first");
        gone as u64
    }

    fn is_in_the_way(&self, mail: &StoredBundle) -> bool {
        self.0.would_push_out_untried(mail).expect("readable")
    }

    fn spares(&mut self, mail: &StoredBundle) -> bool {
        self.0.spare_untried(mail, at(0)).expect("stored")
    }

    fn hoarder(&mut self, beside: &StoredBundle, mono_ms: u64) -> Option<NodeId> {
        self.0.hoarder_beside(beside, at(mono_ms)).expect("readable")
    }

    fn has_room_again(&self, bundles: u64, bytes: u64) -> bool {
        self.0.has_room_again(bundles, bytes).expect("readable")
    }
}

#[test]
fn l01_l02_a_share_is_used_to_its_last_byte_and_beyond_it_the_least_urgent_of_it_goes() {
    let authored = StoredBundle { origin: Some(CAROL), ..letter() };
    for (like, share, gave_way, refused) in [
        (of_class(Class::Receipt), limits::RECEIPT_PERCENT, Loss::GaveWay, Loss::NoRoom),
        (letter(), limits::INGRESS_PERCENT, Loss::LinkShare, Loss::LinkShare),
        (authored, limits::ORIGIN_PERCENT, Loss::OriginShare, Loss::OriginShare),
    ] {
        for (bytes, priority, answer, goes) in [
            (PART, Priority::Bulk, None, 0),
            (PART + 1, Priority::Bulk, Some(refused), 0),
            (PART + 1, Priority::Normal, None, 1),
            (PART + 1, Priority::Sos, None, 1),
        ] {
            let mut keeper = Keeper::new(MANY);
            let held = keeper.hold(share - 1, &like);
            let newcomer = StoredBundle { priority, ..sized(&like, bytes) };
            assert_eq!(keeper.refuses(&newcomer), answer, "{refused:?}, {bytes} bytes, {priority:?}");
            assert_eq!(keeper.gone(&held), goes, "{refused:?}, {bytes} bytes, {priority:?}");
            assert_eq!(keeper.0.tally.dropped(gave_way), goes);
        }
    }
}

#[test]
fn l02_what_is_larger_than_a_whole_share_pushes_nothing_out_of_it() {
    let authored = StoredBundle { origin: Some(CAROL), ..letter() };
    for (like, share) in [
        (of_class(Class::Receipt), limits::RECEIPT_PERCENT),
        (letter(), limits::INGRESS_PERCENT),
        (authored, limits::ORIGIN_PERCENT),
    ] {
        for (bytes, goes) in [(share * PART, 1), (share * PART + 1, 0)] {
            let mut keeper = Keeper::new(MANY);
            let held = keeper.hold(1, &like);
            assert_eq!(keeper.refuses(&sized(&like, bytes)).is_none(), goes == 1, "{bytes} bytes");
            assert_eq!(keeper.gone(&held), goes, "{bytes} bytes");
        }
    }
}

#[test]
fn l02_the_shares_of_neighbours_and_authors_are_strangers_and_that_of_receipts_is_theirs() {
    let mut keeper = Keeper::new(MANY);
    let receipts = keeper.hold(limits::RECEIPT_PERCENT, &of_class(Class::Receipt));
    let contacts = StoredBundle { origin: Some(CAROL), ..of_class(Class::Contact) };
    let held = keeper.hold(20, &contacts);
    assert_eq!(keeper.refuses(&contacts), None);
    assert_eq!(keeper.refuses(&letter()), None);
    assert_eq!((keeper.gone(&held), keeper.gone(&receipts)), (0, 0));
}

fn newcomer(class: Class, cost_bytes: u64) -> Newcomer {
    Newcomer { class, priority: Priority::Normal, cost_bytes, ingress: None, is_public: false }
}

/// What is held of own bundles, contacts', strangers' and receipts.
fn usages(each: [Usage; 4]) -> Usages {
    let [own, contact, stranger, receipt] = each;
    Usages { own, contact, stranger, receipt }
}

#[test]
fn l05_all_bundles_count_in_bytes_and_all_but_receipts_in_bundles() {
    for (bundles, parts, newcomer, scarce) in [
        ([10, 20, 30, 500], [10, 20, 30, 39], newcomer(Class::Stranger, PART), None),
        ([10, 20, 30, 500], [10, 20, 30, 39], newcomer(Class::Stranger, PART + 1), Some(Scarce::Bytes)),
        ([10, 20, 30, 500], [10, 20, 30, 40], newcomer(Class::Receipt, PART), Some(Scarce::Bytes)),
        ([10, 20, 69, 500], [1, 1, 1, 1], newcomer(Class::Contact, PART), None),
        ([10, 20, 70, 500], [1, 1, 1, 1], newcomer(Class::Contact, PART), Some(Scarce::Bundles)),
        ([10, 20, 90, 500], [1, 1, 1, 1], newcomer(Class::Own, PART), Some(Scarce::Bundles)),
        ([10, 20, 70, 500], [1, 1, 1, 1], newcomer(Class::Receipt, PART), None),
    ] {
        let held = std::array::from_fn(|n| Usage { bundles: bundles[n], bytes: parts[n] * PART });
        assert_eq!(usages(held).scarce(newcomer, &room(100)), scarce, "{bundles:?} {parts:?} {newcomer:?}");
    }
}

#[test]
fn l03_who_has_borrowed_gives_way_to_the_nearer_and_to_who_takes_back_its_own() {
    use Class::{Contact, Own, Receipt, Stranger};
    for (class, hundredths, loser) in [
        (Own, [90, 50, 15, 0], None),
        (Own, [90, 51, 15, 0], Some(Contact)),
        (Own, [90, 51, 16, 0], Some(Stranger)),
        (Contact, [0, 80, 15, 0], Some(Contact)),
        (Contact, [0, 80, 16, 0], Some(Stranger)),
        (Contact, [0, 10, 15, 0], Some(Contact)),
        (Contact, [0, 10, 16, 0], Some(Stranger)),
        (Stranger, [0, 50, 14, 0], Some(Stranger)),
        (Stranger, [0, 51, 14, 0], Some(Contact)),
        (Stranger, [0, 51, 15, 0], Some(Stranger)),
        (Receipt, [0, 51, 15, 4], Some(Contact)),
        (Receipt, [0, 51, 16, 4], Some(Stranger)),
        (Receipt, [0, 51, 16, 5], Some(Receipt)),
        (Receipt, [0, 50, 15, 4], Some(Receipt)),
    ] {
        let in_bytes = usages(hundredths.map(|parts| Usage { bundles: 0, bytes: parts * PART }));
        let in_bundles = usages(hundredths.map(|bundles| Usage { bundles, bytes: 0 }));
        for (held, scarce, cost_bytes) in
            [(in_bytes, Scarce::Bytes, PART), (in_bundles, Scarce::Bundles, 100 * PART)]
        {
            let gives_way = held.gives_way(newcomer(class, cost_bytes), scarce, &room(100));
            assert_eq!(gives_way, loser, "{class:?} {hundredths:?} {scarce:?}");
        }
    }
}

#[test]
fn l03_a_borrower_gives_as_much_as_is_needed_however_urgent_and_ones_own_class_only_what_is_not_more_so() {
    let late = StoredBundle { priority: Priority::Bulk, ..sized(&of_class(Class::Contact), 3 * PART) };
    for (urgency, newcomer, answer, goes) in [
        (Priority::Sos, late, None, 3),
        (Priority::Sos, letter_by(BOB), Some(Loss::NoRoom), 0),
        (Priority::Normal, letter_by(BOB), None, 1),
        (Priority::Bulk, letter_by(BOB), None, 1),
    ] {
        let mut keeper = Keeper::new(MANY);
        let held = keeper.hold(100, &StoredBundle { priority: urgency, ..letter() });
        assert_eq!(keeper.refuses(&newcomer), answer, "{urgency:?} {:?}", newcomer.class);
        assert_eq!(keeper.gone(&held), goes, "{urgency:?} {:?}", newcomer.class);
        assert_eq!(keeper.0.tally.dropped(Loss::GaveWay), goes);
    }
}

#[test]
fn l02_who_brought_eight_times_as_much_as_another_pushes_out_its_own() {
    for (brought, is_own_loss) in [(limits::HOARD_TIMES - 1, false), (limits::HOARD_TIMES, true)] {
        let mut keeper = Keeper::new(brought + 1);
        let others = keeper.hold_one(&letter_by(BOB));
        let own = keeper.hold(brought, &letter_by(ANA));
        assert_eq!(keeper.refuses(&letter_by(ANA)), None);
        assert_eq!((keeper.gone(&own), keeper.has(&others)), (u64::from(is_own_loss), is_own_loss));
    }
    // What a contact has borrowed is taken back from the contact, whoever brought it.
    let mut keeper = Keeper::new(20);
    let contacts = keeper.hold(18, &StoredBundle { ingress: Some(BOB), ..of_class(Class::Contact) });
    let own = keeper.hold(2, &letter_by(ANA));
    assert_eq!(keeper.refuses(&letter_by(ANA)), None);
    assert_eq!((keeper.gone(&contacts), keeper.gone(&own)), (1, 0));
}

#[test]
fn l02_posts_keep_a_quarter_of_what_strangers_have() {
    for (posts, newcomer, loses_post) in
        [(2, letter_by(BOB), false), (3, letter_by(BOB), true), (1, post(), false), (2, post(), true)]
    {
        let mut keeper = Keeper::new(8);
        let letters = keeper.hold(8 - posts, &letter());
        let posts = keeper.hold(posts, &post());
        assert_eq!(keeper.refuses(&newcomer), None);
        let goes = (keeper.gone(&letters), keeper.gone(&posts));
        let expected = if loses_post { (0, 1) } else { (1, 0) };
        assert_eq!(goes, expected, "{} posts, then kind {}", posts.len(), newcomer.kind);
    }
    // Where a neighbour has brought nothing else, one of its posts goes all the same.
    let mut keeper = Keeper::new(MANY);
    let letters = keeper.hold(34, &letter_by(BOB));
    let posts = keeper.hold(limits::INGRESS_PERCENT, &post());
    assert_eq!(keeper.refuses(&post()), None);
    assert_eq!((keeper.gone(&letters), keeper.gone(&posts)), (0, 1));
}

#[test]
fn mail_that_met_nobody_is_in_the_way_of_equally_urgent_mail_for_a_day() {
    for (copies, priority, waited_ms, is_in_the_way) in [
        (COPIES_MAX, Priority::Normal, 0, true),
        (COPIES_MAX, Priority::Normal, UNTRIED_MS - 1, true),
        (COPIES_MAX, Priority::Normal, UNTRIED_MS, false),
        (COPIES_MAX - 1, Priority::Normal, 0, false),
        (COPIES_MAX, Priority::Bulk, 0, false),
        (COPIES_MAX, Priority::Sos, 0, false),
    ] {
        let mut keeper = Keeper::new(4);
        let held = keeper.hold(4, &StoredBundle { copies, priority, ..letter() });
        let mail = StoredBundle { received_tl_ms: waited_ms, ..letter() };
        let case = format!("{copies} copies, {priority:?}, after {waited_ms} ms");
        assert_eq!(keeper.is_in_the_way(&mail), is_in_the_way, "{case}");
        assert_eq!(keeper.spares(&mail), !is_in_the_way, "{case}");
        assert_eq!(keeper.gone(&held), 0, "{case}");
    }
}

#[test]
fn mail_that_met_nobody_is_in_no_way_where_there_is_room_or_a_borrower_gives_it() {
    let mut keeper = Keeper::new(4);
    keeper.hold(3, &letter());
    assert!(!keeper.is_in_the_way(&letter()));
    let mut keeper = Keeper::new(20);
    keeper.hold(2, &letter());
    keeper.hold(18, &of_class(Class::Contact));
    assert!(!keeper.is_in_the_way(&letter()), "strangers are within their share");
    keeper.hold(1, &letter());
    assert!(keeper.is_in_the_way(&letter()), "and now they are not");
}

#[test]
fn l02_a_hoarder_gives_way_even_with_mail_that_met_nobody() {
    for (hoarded, gives) in [(limits::HOARD_TIMES - 1, false), (limits::HOARD_TIMES, true)] {
        let mut keeper = Keeper::new(hoarded);
        let held = keeper.hold(hoarded, &letter_by(ANA));
        assert_eq!(keeper.spares(&letter_by(BOB)), gives, "{hoarded}");
        assert_eq!(keeper.gone(&held), u64::from(gives), "{hoarded}");
        assert_eq!(keeper.0.tally.dropped(Loss::LinkShare), u64::from(gives), "{hoarded}");
    }
    let mut keeper = Keeper::new(2 * limits::HOARD_TIMES);
    keeper.hold(1, &letter_by(BOB));
    keeper.hold(2 * limits::HOARD_TIMES - 1, &letter_by(ANA));
    assert!(!keeper.spares(&letter_by(BOB)), "what the other one has brought before counts");
}

#[test]
fn who_hoards_is_looked_up_anew_after_a_time_and_when_it_has_enough_no_longer() {
    let enough = limits::HOARD_TIMES;
    let mut keeper = Keeper::new(MANY);
    keeper.hold(enough - 1, &letter_by(ANA));
    assert_eq!(keeper.hoarder(&letter_by(BOB), 0), None);
    let carols = keeper.hold(enough, &letter_by(CAROL));
    assert_eq!(keeper.hoarder(&letter_by(BOB), HOARD_LOOK_MS - 1), None, "it was looked at just now");
    assert_eq!(keeper.hoarder(&letter_by(BOB), HOARD_LOOK_MS), Some(CAROL));
    keeper.hold(2, &letter_by(ANA));
    assert_eq!(keeper.hoarder(&letter_by(BOB), HOARD_LOOK_MS), Some(CAROL), "it still has enough");
    keeper.0.store.drop_bundle(&carols[0], 0).expect("stored");
    assert_eq!(keeper.hoarder(&letter_by(BOB), HOARD_LOOK_MS), Some(ANA), "it no longer has");
}

#[test]
fn l07_only_others_mail_that_gave_way_may_come_again_and_all_are_remembered_past_their_end() {
    for (like, why) in [
        (letter(), Dropped::ForRoom),
        (post(), Dropped::ForGood),
        (of_class(Class::Contact), Dropped::ForGood),
        (StoredBundle { kind: Kind::Receipt.number(), ..of_class(Class::Receipt) }, Dropped::ForGood),
    ] {
        let mut keeper = Keeper::new(MANY);
        let id = keeper.hold_one(&like);
        let victim = keeper.0.store.victim(like.class, 0).expect("readable").expect("it is held");
        keeper.0.evict(&victim, Loss::GaveWay).expect("stored");
        let known = keeper.0.store.known(&id.prefix()).expect("readable");
        assert_eq!(known, Known::Dropped(why), "{:?} of kind {}", like.class, like.kind);
        let until_tl_ms = like.expires_tl_ms + DROPPED_MS;
        assert_eq!(keeper.0.store.forget_dropped(until_tl_ms - 1, 9), Ok(0));
        assert_eq!(keeper.0.store.forget_dropped(until_tl_ms, 9), Ok(1));
    }
}

#[test]
fn what_had_no_room_comes_again_while_a_tenth_stays_free() {
    let mut keeper = Keeper::new(20);
    keeper.hold(3, &of_class(Class::Receipt));
    keeper.hold(16, &letter());
    for (bundles, parts, has_room) in [(2, 0, true), (3, 0, false), (2, 71, true), (2, 72, false)] {
        assert_eq!(
            keeper.has_room_again(bundles, parts * PART),
            has_room,
            "{bundles} bundles, {parts} parts"
        );
    }
    assert!(!keeper.has_room_again(2, 71 * PART + 1));
    keeper.0.store.set_locked(true);
    assert!(!keeper.has_room_again(1, PART), "a locked node opens nothing, so it knows nobody's mail");
}

#[test]
fn l02_what_had_no_room_comes_again_within_its_neighbours_share_and_where_there_is_room() {
    let brought = limits::INGRESS_PERCENT - 1;
    for (bundles, bytes, may_return) in [(MANY, PART, true), (MANY, PART + 1, false), (brought, PART, false)]
    {
        let mut keeper = Keeper::new(bundles);
        keeper.hold(brought, &letter());
        let again = keeper.0.may_return(&sized(&letter(), bytes)).expect("readable");
        assert_eq!(again, may_return, "room for {bundles}, {bytes} bytes");
    }
}
