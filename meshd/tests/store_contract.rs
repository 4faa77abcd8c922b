//! The SQLite store keeps the contract every store keeps, and lives as the reference model does.

use meshd::sqlite::SqliteStore;
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::contract;

/// The keys of the tests' stores.
fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

fn open(dir: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&dir.path().join("store.db"), Some(keys())).expect("a new store opens")
}

#[test]
fn it_keeps_every_clause_of_the_contract() {
    let dirs = std::cell::RefCell::new(Vec::new());
    contract::run_all(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(&dir);
        dirs.borrow_mut().push(dir);
        store
    });
}

#[test]
fn it_lives_as_the_model_does_and_its_counts_stay_true() {
    for seed in 0..24 {
        let dir = tempfile::tempdir().expect("a directory");
        contract::model::compare(open(&dir), seed, 600);
        // Opened again, so the counts are those in the file.
        open(&dir).check().expect("all pages and all counts are right");
    }
}
