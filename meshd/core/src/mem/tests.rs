use super::*;
use crate::contract::{self, bundle};

#[test]
fn the_reference_model_keeps_the_contract() {
    contract::run_all(MemStore::new);
}

#[test]
fn the_reference_model_equals_itself() {
    // Shows that the comparison itself runs; it bites when another store is compared.
    for seed in 0..4 {
        contract::model::compare(MemStore::new(), seed, 2_000);
    }
}

#[test]
fn p03_a_disk_that_fails_loses_the_transaction_and_says_so() {
    let mut store = MemStore::new();
    store.insert_bundle(&bundle(1)).unwrap();
    store.fail_writes(Some(StoreError::Full));
    assert_eq!(store.insert_bundle(&bundle(2)), Err(StoreError::Full));
    store.fail_writes(None);
    assert_eq!(store.commit(), Err(StoreError::Full), "a failed write fails the commit");
    assert_eq!(store.bundle(&bundle(1).id), Ok(None));
    store.insert_bundle(&bundle(1)).unwrap();
    assert_eq!(store.commit(), Ok(()));
}
