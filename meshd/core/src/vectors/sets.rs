//! What sets look like from afar, and how two nodes find out what each lacks.

use super::File;
use super::Value::{Hex, Number, Text};
use crate::contract::bundle;
use crate::id::BundleId;
use crate::mem::MemStore;
use crate::reconcile::walk::Walker;
use crate::reconcile::{Body, START_BYTES};
use crate::store::Store;
use crate::summary::Summary;

/// Ids as bundles' are, of which nobody has the bundles.
fn ids(count: u64) -> Vec<BundleId> {
    (0..count).map(|n| BundleId(*blake3::hash(&n.to_be_bytes()).as_bytes())).collect()
}

#[test]
fn sets() {
    let mut file = File::new(
        "What sets look like from afar. Their ids are the BLAKE3 hashes of the numbers from `first` on, each as 8 \
         bytes, the most significant first. `symbols` is how many of the row are given.",
    );
    for (name, first, last, symbols) in
        [("nothing", 0, 0, 4), ("one", 0, 1, 64), ("three hundred", 7, 307, 700)]
    {
        let mut summary = Summary::with_room(last - first, 0);
        ids(last)[first as usize..].iter().for_each(|id| summary.add(id));
        let view = summary.view();
        file.case(&[
            ("name", Text(name)),
            ("first", Number(first)),
            ("count", Number(view.count)),
            ("symbols", Number(symbols)),
            ("row", Hex(&summary.row().to_bytes(0..symbols as usize))),
            ("tugs", Hex(&view.tugs)),
            ("whole_sum", Hex(&summary.whole().to_be_bytes())),
            ("fingerprint", Hex(&view.fingerprint)),
        ]);
    }
    file.check("sets.json");
}

#[test]
fn reconciliation() {
    let mut file = File::new(
        "Bodies of reconcile messages: those of a round, and of a walk a first and last page of three ids, and the \
         answer that wants the first and the third.",
    );
    let mut summary = Summary::with_room(3, 0);
    ids(3).iter().for_each(|id| summary.add(id));
    let starts: Vec<u8> = ids(2).iter().flat_map(|id| id.0[..START_BYTES].to_vec()).collect();
    let (one, other) = starts.split_at(START_BYTES);
    let row = summary.row().to_bytes(0..6);
    for (name, body) in [
        ("open", Body::Open { number: 1, view: summary.view() }),
        ("same", Body::Same { number: 1 }),
        ("symbols", Body::Symbols { number: 1, total: 18, count: 6, bytes: &row }),
        ("more", Body::More { number: 1 }),
        (
            "want, and decline",
            Body::Want { number: 1, is_last: false, wanted: one, declined: other, check: None },
        ),
        (
            "want, the last",
            Body::Want {
                number: 1,
                is_last: true,
                wanted: &starts,
                declined: &[],
                check: Some(summary.whole()),
            },
        ),
        ("missing", Body::Missing { number: 1, starts: other }),
        ("walk", Body::Walk { number: 1 }),
    ] {
        file.case(&[("name", Text(name)), ("body", Hex(&body.write()))]);
    }
    let mut store = MemStore::new();
    for n in 1..=3 {
        store.insert_bundle(&bundle(n)).unwrap();
    }
    let mut walker = Walker::new(0);
    walker.begin(3);
    let page = walker.next(&store, true).unwrap().unwrap();
    file.case(&[("name", Text("page")), ("body", Hex(&page))]);
    let mut other = Walker::new(0);
    let Ok(Body::Walking { tag, items, reader }) = Body::read(&page) else { panic!("a page") };
    other.receive(tag, items, reader).unwrap();
    other.answer(&[true, false, true]);
    let answer = other.next(&store, false).unwrap().unwrap();
    file.case(&[("name", Text("answer")), ("body", Hex(&answer))]);
    file.check("reconcile.json");
}
