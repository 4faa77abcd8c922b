//! What strangers make a node write and what they push out, on both sides of each limit.

use super::*;
use crate::contract;
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::mem::MemStore;

const NOW: Now = Now { mono_ms: 1_000_000, unix_ms: Some(1_767_225_600_000) };

fn custody(secret: u8, limits: Limits) -> Custody<MemStore> {
    let (identity, entropy) = (Identity::from_bytes(&[secret; 64]), Entropy::new(&[secret; 32]));
    Custody::open(MemStore::new(), identity, entropy, limits, NOW).expect("opens")
}

#[test]
fn l08_an_intro_counts_eight_times_and_what_is_used_up_of_anything_ends_it() {
    let intro = StoredBundle { kind: Kind::Intro.number(), ..contract::bundle(1) };
    let post = StoredBundle { kind: Kind::Post.number(), ..contract::bundle(2) };
    let bytes = intro.cost_bytes();
    assert_eq!(post.cost_bytes(), bytes);
    for (bundle, from_all, from_link, intros, writes) in [
        (&post, 3 * bytes, 9 * bytes, 0, 3),
        (&post, 9 * bytes, 3 * bytes, 0, 3),
        (&intro, 2 * INTRO_COST * bytes, 99 * bytes, 9, 2),
        (&intro, 99 * bytes, 2 * INTRO_COST * bytes, 9, 2),
        (&intro, 99 * bytes, 99 * bytes, 2, 2),
    ] {
        let mut custody = custody(1, Limits::default());
        custody.strangers = Bucket::new(from_all, NOW);
        custody.intros = Bucket::new(intros, NOW);
        let mut link = Bucket::new(from_link, NOW);
        let written = (0..50).take_while(|_| custody.may_write(bundle, &mut link, NOW)).count();
        assert_eq!(written, writes, "{from_all} from all, {from_link} from a link, {intros} intros");
    }
}

#[test]
fn l02_a_strangers_keys_push_out_no_mail_that_met_nobody_and_come_again_when_there_is_room() {
    let mut author = custody(2, Limits::default());
    author.set_reachable();
    author.settle(NOW).expect("settles");
    let keys = author.store.newest_of_kind(&author.id(), Kind::Prekeys.number()).expect("readable");
    let keys = author.store.bundle(&keys.expect("published")).expect("readable").expect("held");
    let mut carrier = custody(1, Limits { store_bundles_max: 4, ..Limits::default() });
    let letter = StoredBundle { kind: Kind::Sealed.number(), copies: COPIES_MAX, ..contract::bundle(0) };
    for n in 1..=4 {
        carrier
            .insert(&StoredBundle { id: BundleId([n; BundleId::BYTES]), ..letter.clone() })
            .expect("stored");
    }
    let offer = |carrier: &mut Custody<MemStore>| {
        let bundle = keys.bytes().name().expect("it fits");
        let from = NodeId([9; NodeId::BYTES]);
        let arrival = Arrival { bundle, age_ms: 0, hops: 1, from, via: LinkKind::Pipe };
        let verdict = carrier.receive(arrival, &mut carrier.link_bucket(NOW), NOW).expect("stored");
        (verdict, carrier.store.bundles_held())
    };
    assert_eq!(offer(&mut carrier), (Verdict::Refused(Refusal::Full), 4));
    assert_eq!(offer(&mut carrier), (Verdict::Refused(Refusal::Unwanted), 4), "it was dropped here before");
    for n in 1..=2 {
        carrier.store.drop_bundle(&BundleId([n; BundleId::BYTES]), 0).expect("stored");
    }
    assert_eq!(offer(&mut carrier), (Verdict::Stored, 3));
}
