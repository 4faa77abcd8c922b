//! How much strangers make a node write, to the last byte.

use super::*;
use crate::contract;
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::mem::MemStore;

const NOW: Now = Now { mono_ms: 0, unix_ms: None };

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
        let (identity, entropy) = (Identity::from_bytes(&[1; 64]), Entropy::new(&[1; 32]));
        let mut custody =
            Custody::open(MemStore::new(), identity, entropy, Limits::default(), NOW).expect("opens");
        custody.strangers = Bucket::new(from_all, NOW);
        custody.intros = Bucket::new(intros, NOW);
        let mut link = Bucket::new(from_link, NOW);
        let written = (0..50).take_while(|_| custody.may_write(bundle, &mut link, NOW)).count();
        assert_eq!(written, writes, "{from_all} from all, {from_link} from a link, {intros} intros");
    }
}
