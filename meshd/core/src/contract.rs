//! What every [`Store`] has to do, as tests that any store can be put through.
//!
//! [`run_all`] checks each clause of the trait's text by itself; [`model::compare`] drives a store and
//! [`crate::mem::MemStore`] with the same random operations and compares everything they say. A new store
//! calls both from its own tests. Failures panic.

mod carried;
mod fixtures;
pub mod model;
mod people;

pub use fixtures::{bundle, message, peer};
use fixtures::{id, node, prefix};

use crate::clock::SavedClock;
use crate::id::Seq;
use crate::store::{Class, Known, Slot, Store, Usage};

/// Runs every check, each on a store of its own.
pub fn run_all<S: Store>(make: impl Fn() -> S) {
    a_rollback_undoes_everything(make());
    a_commit_closes_the_transaction(make());
    carried::run_all(&make);
    people::run_all(&make);
}

/// Unwraps what a working disk never refuses.
fn ok<T>(result: Result<T, crate::store::StoreError>) -> T {
    result.expect("the disk under test works")
}

fn a_rollback_undoes_everything<S: Store>(mut store: S) {
    ok(store.insert_bundle(&bundle(1)));
    ok(store.insert_message(&mut message(1)));
    ok(store.commit());
    ok(store.drop_bundle(&id(1), 200_000));
    ok(store.insert_bundle(&bundle(2)));
    ok(store.insert_message(&mut message(2)));
    ok(store.mark_read(&id(1)));
    ok(store.put_peer(&peer(9, 1)));
    ok(store.join("#other", None));
    ok(store.set_slot(Slot::Profile, b"new"));
    ok(store.save_clock(SavedClock { timeline_ms: 7, unix_ms: None }));
    assert!(store.is_dirty());
    store.rollback();
    assert!(!store.is_dirty());
    assert_eq!(ok(store.known(&prefix(1))), Known::Held(id(1)));
    assert_eq!(ok(store.known(&prefix(2))), Known::No);
    assert_eq!(ok(store.bundle(&id(1))), Some(bundle(1)));
    assert_eq!(ok(store.usage(Class::Stranger)), Usage { bundles: 1, bytes: 600 });
    assert_eq!(ok(store.message(&id(2))), None);
    assert!(!ok(store.message(&id(1))).expect("committed").read);
    assert_eq!(ok(store.event_bounds()), Some((Seq(1), Seq(1))));
    assert_eq!(ok(store.peer(&node(9))), None);
    assert!(!ok(store.is_joined("#other")));
    assert_eq!(ok(store.slot(Slot::Profile)), None);
    assert_eq!(ok(store.saved_clock()), SavedClock::default());
    let mut second = message(2);
    assert_eq!(ok(store.insert_message(&mut second)), Seq(2), "a position rolled back is given again");
}

fn a_commit_closes_the_transaction<S: Store>(mut store: S) {
    assert!(!store.is_dirty());
    ok(store.commit());
    ok(store.insert_bundle(&bundle(1)));
    assert!(store.is_dirty());
    ok(store.commit());
    assert!(!store.is_dirty());
    store.rollback();
    assert_eq!(ok(store.bundle(&id(1))), Some(bundle(1)));
    ok(store.probe());
    assert!(!store.is_dirty());
}
