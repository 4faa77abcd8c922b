//! A copy of a store that is in use, and a store that is opened from one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use meshd::sqlite::{CopyError, OpenError, SqliteStore, remove_copy};
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::contract::{bundle, message};
use meshlink_core::store::{Shelf, Store};

fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

struct Place {
    dir: tempfile::TempDir,
    store: PathBuf,
    copy: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, copy) = (dir.path().join("store.db"), dir.path().join("elsewhere.db"));
    Place { dir, store, copy }
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Some(keys())).expect("it opens")
}

fn write(store: &mut SqliteStore, numbers: std::ops::Range<u8>) {
    for n in numbers {
        store.insert_bundle(&bundle(n)).expect("room");
        store.insert_message(&mut message(n)).expect("room");
    }
    store.commit().expect("room");
}

/// Some 2 MiB, in a transaction.
fn fill(store: &mut SqliteStore, round: u8) {
    for n in 0..64 {
        store.put_record(Shelf::Outbound, &[round, n], &[n; 32 * 1024]).expect("room");
    }
    store.commit().expect("room");
}

/// A store with rows and with what is deleted on schedule.
fn filled(place: &Place) -> SqliteStore {
    let mut store = open(&place.store);
    store.put_record(Shelf::Prekey, b"secret half", &[0x5e; 200]).expect("room");
    store.put_record(Shelf::Invite, b"code", &[0x5f; 200]).expect("room");
    store.put_record(Shelf::Contact, b"bea", b"a friend").expect("room");
    write(&mut store, 0..200);
    store
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.dir.path()).expect("readable");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}

#[test]
fn k01_a_copy_is_the_store_as_it_was_committed_when_it_was_asked_for_whatever_is_written_meanwhile() {
    let place = place();
    let mut store = filled(&place);
    // In the same transaction as what came before the request.
    store.insert_message(&mut message(200)).expect("room");
    let request = store.request_copy();
    assert!(request.take().is_err(), "not before the commit");
    store.commit().expect("room");
    let source = request.take().expect("a copy");
    let before = fs::read(&place.store).expect("readable");
    // Longer than a log is ever left alone otherwise.
    for round in 0..6 {
        fill(&mut store, round);
    }
    write(&mut store, 201..210);
    assert!(store.file_use().expect("readable").log_bytes > 8 * 1024 * 1024, "the log has it all");
    assert!(fs::read(&place.store).expect("readable") == before, "the file stands still");
    source.write_to(&place.copy).expect("a copy");
    assert_eq!(names(&place), ["elsewhere.db", "store.db", "store.db-wal"]);
    assert_eq!(fs::metadata(&place.copy).expect("there").permissions().mode() & 0o777, 0o600);

    write(&mut store, 210..211);
    assert!(fs::read(&place.store).expect("readable") != before, "the log is moved again");
    store.check().expect("whole");
    let copy = open(&place.copy);
    copy.check().expect("whole");
    assert_eq!(copy.counts().received, 201);
    assert_eq!(copy.message(&message(200).id).expect("readable").expect("kept").text, "text 200");
    assert_eq!(copy.message(&message(205).id), Ok(None));
}

#[test]
fn k02_no_key_that_is_deleted_on_schedule_is_in_a_copy_not_even_in_free_pages() {
    let place = place();
    let mut store = filled(&place);
    let sealed = |shelf: Shelf| {
        let sql = rusqlite::Connection::open(&place.copy).expect("opens");
        let rows = sql.query_row("SELECT count(*) FROM record WHERE shelf = ?1", [shelf.number()], |row| {
            row.get::<_, u32>(0)
        });
        rows.expect("readable")
    };
    store.request_copy().take().expect("a copy").write_to(&place.copy).expect("a copy");
    assert_eq!((sealed(Shelf::Prekey), sealed(Shelf::Invite), sealed(Shelf::Contact)), (0, 0, 1));
    // A copy of the file as it is would have the sealed bytes.
    let raw = {
        store.close().expect("closes");
        let sql = rusqlite::Connection::open(&place.store).expect("opens");
        let query = "SELECT value FROM record WHERE shelf IN (?1, ?2)";
        let mut query = sql.prepare(query).expect("a query");
        let shelves = [Shelf::Prekey.number(), Shelf::Invite.number()];
        let rows = query.query_map(shelves, |row| row.get::<_, Vec<u8>>(0)).expect("readable");
        rows.map(|row| row.expect("readable")).collect::<Vec<_>>()
    };
    assert_eq!(raw.len(), 2);
    let copy = fs::read(&place.copy).expect("readable");
    for value in raw {
        let part = &value[value.len() - 64..];
        assert!(!copy.windows(part.len()).any(|window| window == part));
    }
}

#[test]
fn k04_a_store_opened_from_a_copy_has_another_name_each_time_and_says_what_it_is_until_settled() {
    let place = place();
    let mut store = filled(&place);
    let original = store.store_id();
    assert_eq!(store.is_unsettled_copy(), Ok(false));
    store.request_copy().take().expect("a copy").write_to(&place.copy).expect("a copy");
    store.close().expect("closes");
    let put_back = || {
        fs::copy(&place.copy, &place.store).expect("copies");
        fs::remove_file(place.dir.path().join("store.db-wal")).expect("there");
        open(&place.store)
    };
    let first = put_back();
    assert!(!first.opened().log_missing, "a copy has no log to miss");
    assert_eq!(first.is_unsettled_copy(), Ok(true));
    let first_id = first.store_id();
    drop(first);
    let mut again = open(&place.store);
    assert_eq!((again.store_id(), again.is_unsettled_copy()), (first_id, Ok(true)));
    again.settle_copy().expect("room");
    again.commit().expect("room");
    drop(again);
    assert_eq!(open(&place.store).is_unsettled_copy(), Ok(false));
    let second_id = put_back().store_id();
    assert!(first_id != original && second_id != original && second_id != first_id);
}

#[test]
fn p05_a_copy_beside_the_log_of_another_database_is_refused_and_nothing_is_written_into_it() {
    let place = place();
    let mut store = filled(&place);
    store.request_copy().take().expect("a copy").write_to(&place.copy).expect("a copy");
    write(&mut store, 200..220);
    let log = fs::read(place.dir.path().join("store.db-wal")).expect("readable");
    assert!(!log.is_empty());
    drop(store);
    fs::copy(&place.copy, &place.store).expect("copies");
    fs::write(place.dir.path().join("store.db-wal"), &log).expect("writable");
    let before = fs::read(&place.store).expect("readable");
    let Err(error) = SqliteStore::open(&place.store, Some(keys())) else { panic!("it was opened") };
    assert!(
        matches!(&error, OpenError::Damaged { detail, .. } if detail.contains("store.db-wal")),
        "{error}"
    );
    assert!(fs::read(&place.store).expect("readable") == before);
    fs::remove_file(place.dir.path().join("store.db-wal")).expect("there");
    assert_eq!(open(&place.store).counts().received, 200);
}

#[test]
fn one_copy_at_a_time_is_read_and_none_while_the_file_is_made_smaller() {
    let place = place();
    let mut store = filled(&place);
    let source = store.request_copy().take().expect("a copy");
    assert_eq!(store.request_copy().take().err(), Some(CopyError::Busy));
    assert!(store.compact().is_err());
    drop(source);
    store.compact().expect("room");
    store.request_copy().take().expect("the one before was let go of");
}

#[test]
fn a_copy_that_is_read_when_the_store_closes_comes_to_nothing() {
    let place = place();
    let mut store = filled(&place);
    let source = store.request_copy().take().expect("a copy");
    write(&mut store, 200..210);
    store.close().expect("closes");
    assert_eq!(source.write_to(&place.copy), Err(CopyError::Overtaken));
    assert!(!place.copy.exists());
}

#[test]
fn a_commit_that_fails_makes_no_copy_and_a_later_one_neither() {
    let place = place();
    let mut store = filled(&place);
    store.insert_message(&mut message(210)).expect("room");
    let request = store.request_copy();
    store.rollback();
    write(&mut store, 211..212);
    assert!(request.take().is_err());
}

#[test]
fn a_damaged_store_gives_no_copy_and_says_why() {
    let place = place();
    let mut store = filled(&place);
    let source = store.request_copy().take().expect("a copy");
    let mut bytes = fs::read(&place.store).expect("readable");
    let middle = bytes.len() / 2 / 2048 * 2048;
    bytes[middle..middle + 4096].fill(0x5a);
    // In place, as a disk does it.
    fs::write(&place.store, &bytes).expect("writable");
    assert!(matches!(source.write_to(&place.copy), Err(CopyError::Store(_))));
    assert!(!place.copy.exists());
    remove_copy(&place.copy);
}
