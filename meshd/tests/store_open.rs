//! What a store's file may look like when it is opened, and what is said about it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use meshd::sqlite::{Checked, OpenError, SqliteStore};
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::contract::{bundle, message};
use meshlink_core::store::Store;

/// The keys of the tests' stores.
fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

struct Place {
    dir: tempfile::TempDir,
    store: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store.db");
    Place { dir, store }
}

/// A closed store with some rows in it.
fn filled() -> Place {
    let place = place();
    let mut store = open(&place.store);
    for n in 0..200 {
        store.insert_bundle(&bundle(n)).expect("room");
        store.insert_message(&mut message(n)).expect("room");
    }
    store.commit().expect("room");
    store.close().expect("closes");
    place
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Some(keys())).expect("it opens")
}

fn refused(path: &Path) -> OpenError {
    match SqliteStore::open(path, Some(keys())) {
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains('\n'), "one line: {words}");
            assert!(words.contains(path.to_str().expect("a plain path")), "names the file: {words}");
            error
        }
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

/// Every file of a directory with its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("readable");
    entries
        .map(|entry| entry.expect("readable").path())
        .map(|p| (p.clone(), fs::read(p).expect("readable")))
        .collect()
}

fn patch(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = fs::read(path).expect("readable");
    content[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).expect("writable");
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn a_new_store_is_private_and_has_its_log() {
    let place = place();
    let store = open(&place.store);
    assert!(store.opened().created);
    assert_eq!(store.opened().checked, Checked::Whole);
    let files = snapshot(place.dir.path());
    let names: Vec<_> =
        files.keys().map(|path| path.file_name().expect("a name").to_str().expect("plain")).collect();
    assert_eq!(names, ["store.db", "store.db-wal"]);
    for file in files.keys() {
        let mode = fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn a_store_keeps_its_name_and_its_content_when_closed_and_opened() {
    let place = filled();
    let store = open(&place.store);
    let id = store.store_id();
    assert!(!store.opened().created && !store.opened().log_missing);
    assert_eq!(store.counts().received, 200);
    assert_eq!(store.message(&message(7).id).expect("readable").expect("kept").text, "text 7");
    assert_eq!(store.file_use().expect("readable").log_bytes, 0, "closing moved the log");
    drop(store);
    assert_eq!(open(&place.store).store_id(), id);
    let other = filled();
    assert_ne!(open(&other.store).store_id(), id);
}

#[test]
fn a_file_that_others_may_read_is_made_private() {
    let place = filled();
    fs::set_permissions(&place.store, fs::Permissions::from_mode(0o644)).expect("own file");
    drop(open(&place.store));
    assert_eq!(fs::metadata(&place.store).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_drop_without_a_commit_leaves_what_was_committed() {
    let place = filled();
    let mut store = open(&place.store);
    store.insert_bundle(&bundle(250)).expect("room");
    store.save_clock(meshlink_core::clock::SavedClock { timeline_ms: 5, unix_ms: None }).expect("room");
    drop(store);
    let store = open(&place.store);
    assert_eq!(store.bundle(&bundle(250).id), Ok(None));
    assert_eq!(store.saved_clock().expect("readable").timeline_ms, 0);
    store.check().expect("whole");
}

#[test]
fn p06_a_newer_store_is_refused_untouched() {
    let place = filled();
    patch(&place.store, 60, &99u32.to_be_bytes());
    let before = snapshot(place.dir.path());
    let error = refused(&place.store);
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(snapshot(place.dir.path()), before);
    // Without a log beside it, none is made.
    fs::remove_file(with(&place.store, "-wal")).expect("there");
    let before = snapshot(place.dir.path());
    refused(&place.store);
    assert_eq!(snapshot(place.dir.path()), before);
}

#[test]
fn p06_a_newer_version_that_only_the_log_knows_of_is_refused_untouched() {
    let place = filled();
    // A killed newer program: its upgrade is in the log, the database does not say so yet.
    let killed = tempfile::tempdir().expect("a directory");
    {
        let sql = rusqlite::Connection::open(&place.store).expect("opens");
        sql.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99").expect("writes");
        for name in ["store.db", "store.db-wal"] {
            fs::copy(place.dir.path().join(name), killed.path().join(name)).expect("copies");
        }
    }
    let path = killed.path().join("store.db");
    let before = snapshot(killed.path());
    let error = refused(&path);
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(snapshot(killed.path()), before);
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let place = place();
    rusqlite::Connection::open(&place.store)
        .expect("opens")
        .execute_batch("CREATE TABLE t (x)")
        .expect("writes");
    let before = snapshot(place.dir.path());
    assert!(matches!(refused(&place.store), OpenError::Foreign { .. }));
    assert_eq!(snapshot(place.dir.path()), before);
}

#[test]
fn p05_an_empty_file_is_damage_not_a_fresh_start() {
    let place = place();
    fs::write(&place.store, "").expect("writable");
    assert!(matches!(refused(&place.store), OpenError::Damaged { .. }));
    fs::write(&place.store, "something else, of more than a hundred bytes".repeat(5)).expect("writable");
    assert!(matches!(refused(&place.store), OpenError::Damaged { .. }));
    assert_eq!(snapshot(place.dir.path()).len(), 1, "no log was made");
}

#[test]
fn p05_a_store_cut_at_any_length_is_refused_untouched() {
    let place = filled();
    let whole = fs::read(&place.store).expect("readable");
    let step = 1000;
    for length in (0..whole.len()).step_by(step).chain([99, 100, 101, 4095, 4096, whole.len() - 1]) {
        fs::write(&place.store, &whole[..length]).expect("writable");
        let before = snapshot(place.dir.path());
        let error = refused(&place.store);
        assert!(matches!(error, OpenError::Damaged { .. }), "{length}: {error:?}");
        assert_eq!(snapshot(place.dir.path()), before, "{length}");
    }
}

#[test]
fn p05_a_page_of_rubbish_is_found_and_says_what_to_do() {
    let place = filled();
    let whole = fs::read(&place.store).expect("readable");
    let mut found = 0;
    let pages = whole.len() / 4096;
    for page in 1..pages {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(&place.store, &damaged).expect("writable");
        match SqliteStore::open(&place.store, Some(keys())) {
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
                assert!(error.to_string().contains("salvage"), "{error}");
                found += 1;
            }
            // The pages of an index are compared with their table by a full check, on demand.
            Ok(store) => assert!(store.check().is_err(), "page {page}"),
        }
    }
    assert!(found * 10 >= pages * 9, "{found} of {pages}");
}

#[test]
fn p05_a_log_without_its_store_is_damage_and_is_kept() {
    let place = place();
    fs::write(with(&place.store, "-wal"), "acknowledged messages").expect("writable");
    let error = refused(&place.store);
    assert!(matches!(&error, OpenError::Damaged { detail, .. } if detail.contains("-wal")), "{error:?}");
    assert_eq!(snapshot(place.dir.path()).len(), 1);
}

#[test]
fn p05_a_store_without_its_log_says_so_and_works() {
    let place = filled();
    fs::remove_file(with(&place.store, "-wal")).expect("there");
    let mut store = open(&place.store);
    assert!(store.opened().log_missing);
    store.insert_bundle(&bundle(250)).expect("room");
    store.commit().expect("room");
    drop(store);
    assert!(!open(&place.store).opened().log_missing);
}

#[test]
fn a_store_half_made_is_made_anew() {
    let place = place();
    for suffix in ["-new", "-new-journal", "-new-wal"] {
        fs::write(with(&place.store, suffix), "half a database").expect("writable");
    }
    let store = open(&place.store);
    assert!(store.opened().created);
    store.check().expect("whole");
    assert_eq!(snapshot(place.dir.path()).len(), 2);
}

#[test]
fn a_store_in_use_is_refused() {
    let place = filled();
    let store = open(&place.store);
    assert!(matches!(refused(&place.store), OpenError::Locked { .. }));
    drop(store);
    open(&place.store);
}

#[test]
fn what_can_not_be_written_is_refused_with_a_hint() {
    let place = place();
    let nowhere = place.dir.path().join("missing").join("store.db");
    assert!(matches!(refused(&nowhere), OpenError::Unwritable { .. }));
    assert!(matches!(refused(place.dir.path()), OpenError::Unwritable { .. }));
    fs::write(place.dir.path().join("file"), "").expect("writable");
    assert!(matches!(refused(&place.dir.path().join("file").join("store.db")), OpenError::Unwritable { .. }));
}

/// A read-only file system, which root can't write either. Where mounts are not allowed, a directory without
/// write permission, which ordinary users can't write.
#[test]
fn p05_a_store_on_a_read_only_disk_is_refused_with_a_hint() {
    let place = filled();
    let disk = place.dir.path();
    let mount =
        |args: &[&str]| Command::new("mount").args(args).arg(disk).output().is_ok_and(|o| o.status.success());
    let bound = mount(&["--bind", disk.to_str().expect("a plain path")]);
    if bound {
        assert!(mount(&["-o", "remount,bind,ro"]));
    } else {
        fs::set_permissions(&place.store, fs::Permissions::from_mode(0o400)).expect("own file");
    }
    let refusal = std::panic::catch_unwind(|| refused(&place.store));
    if bound {
        assert!(Command::new("umount").arg(disk).status().is_ok_and(|status| status.success()));
    }
    assert!(matches!(refusal, Ok(OpenError::Unwritable { .. })), "{refusal:?}");
}
