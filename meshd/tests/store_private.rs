//! What is private in the store's files: nothing of it in the clear, nothing of it after it was destroyed, and what
//! an older version kept in the clear is sealed by the upgrade.

use std::path::{Path, PathBuf};

use meshd::sqlite::{MessageFilter, SqliteStore};
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::id::{BundleId, NodeId, Seq};
use meshlink_core::store::{MessageRecord, Shelf, Store, StoreError};

const HIDDEN: Shelf = Shelf::Contact;
const ORDERED: Shelf = Shelf::Prekey;

fn keys(n: u8) -> RecordKeys {
    MasterKey::from_bytes([n; 32]).record_keys()
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Some(keys(1))).expect("it opens")
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Whether the database or its log holds these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    [path.to_owned(), log_of(path)].iter().any(|file| {
        let content = std::fs::read(file).expect("readable");
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn k05_neither_key_nor_content_of_a_private_record_is_in_the_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    store.put_record(HIDDEN, b"canary-key", b"canary-content").expect("room");
    store.commit().expect("room");
    assert!(!holds(&path, b"canary-key") && !holds(&path, b"canary-content"), "in the log");
    store.close().expect("closes");
    assert!(!holds(&path, b"canary-key") && !holds(&path, b"canary-content"), "in the database");
}

#[test]
fn c10_a_destroyed_record_is_in_neither_file_not_even_sealed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    // Records of a page and more, some of them among others, some alone in their pages.
    for n in 0..40u8 {
        store.put_record(ORDERED, &[n], &vec![n; usize::from(n) * 200]).expect("room");
    }
    store.commit().expect("room");
    let sealed = |path: &Path| -> Vec<Vec<u8>> {
        let copy = dir.path().join("copy");
        std::fs::copy(path, &copy).expect("copied");
        std::fs::copy(log_of(path), log_of(&copy)).expect("copied");
        let sql = rusqlite::Connection::open(&copy).expect("opens");
        let mut query = sql.prepare("SELECT value FROM record ORDER BY key").expect("valid");
        let rows = query.query_map([], |row| row.get(0)).expect("valid");
        rows.map(|row| row.expect("a blob")).collect()
    };
    let before = sealed(&path);
    // Large values lie in pieces: what is looked for is the beginning and the end of each.
    let traces = |n: usize| [before[n][..24].to_vec(), before[n][before[n].len() - 24..].to_vec()];
    assert!((0..40).all(|n| traces(n).iter().all(|trace| holds(&path, trace))), "they can be seen at all");
    for n in (0..40u8).filter(|n| n % 2 == 0) {
        assert!(store.remove_record(ORDERED, &[n]).expect("room"));
    }
    store.put_record(ORDERED, &[39], b"replaced").expect("room");
    store.commit().expect("room");
    let left = |path: &Path| (0..40).filter(|n| traces(*n).iter().any(|trace| holds(path, trace))).count();
    assert_eq!(left(&path), 19, "of 40, 20 were destroyed and one was replaced");
    store.close().expect("closes");
    assert_eq!(left(&path), 19);
}

#[test]
fn with_other_keys_or_in_another_place_a_record_is_damage_and_no_guess() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    store.put_record(HIDDEN, b"one", b"first").expect("room");
    store.put_record(HIDDEN, b"two", b"second").expect("room");
    store.commit().expect("room");
    store.close().expect("closes");

    let other = SqliteStore::open(&path, Some(keys(2))).expect("it opens");
    assert_eq!(other.record(HIDDEN, b"one"), Ok(None), "another key's tag names nothing");
    assert!(matches!(other.records(HIDDEN, b"", 9), Err(StoreError::Corrupt { .. })));
    other.close().expect("closes");

    // Somebody with the disk swaps the contents of two records.
    let sql = rusqlite::Connection::open(&path).expect("opens");
    sql.execute_batch(
        "CREATE TEMP TABLE swap AS SELECT key, value FROM record;
         UPDATE record SET value = (SELECT value FROM swap WHERE swap.key <> record.key);",
    )
    .expect("swapped");
    drop(sql);
    let store = open(&path);
    assert!(matches!(store.record(HIDDEN, b"one"), Err(StoreError::Corrupt { .. })));
}

#[test]
fn where_a_message_stands_is_told_without_opening_its_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let mut message = meshlink_core::contract::message(1);
    store.insert_message(&mut message).expect("room");
    store.commit().expect("room");
    store.close().expect("closes");
    let sql = rusqlite::Connection::open(&path).expect("opens");
    sql.execute("UPDATE message SET words = zeroblob(40)", []).expect("damaged");
    drop(sql);
    let store = open(&path);
    assert!(matches!(store.message(&message.id), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.message_state(&message.id), Ok(Some(message.state())));
}

#[test]
fn a_locked_store_refuses_what_is_private_and_carries_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    store.put_record(HIDDEN, b"key", b"content").expect("room");
    store.commit().expect("room");
    store.close().expect("closes");

    let mut store = SqliteStore::open(&path, None).expect("it opens");
    assert!(store.is_locked());
    assert_eq!(store.record(HIDDEN, b"key"), Err(StoreError::Locked));
    assert_eq!(store.records(HIDDEN, b"", 1), Err(StoreError::Locked));
    assert_eq!(store.put_record(HIDDEN, b"key", b"other"), Err(StoreError::Locked));
    assert_eq!(store.remove_record(HIDDEN, b"key"), Err(StoreError::Locked));
    store.insert_bundle(&meshlink_core::contract::bundle(1)).expect("it carries");
    store.commit().expect("it carries");
    store.close().expect("closes");
    assert_eq!(open(&path).record(HIDDEN, b"key"), Ok(Some(b"content".to_vec())));
}

/// A store as the first release left it.
fn first_release(path: &Path) -> rusqlite::Connection {
    let sql = rusqlite::Connection::open(path).expect("opens");
    sql.execute_batch("PRAGMA page_size = 2048; PRAGMA application_id = 0x6d657368;").expect("set");
    sql.execute_batch(include_str!("../migrations/0001_store.sql")).expect("the first schema");
    sql.execute_batch(
        "INSERT INTO meta (one, store_id, bundle_cost_min, message_cost) VALUES (1, x'01020304', 512, 256);
         INSERT INTO node VALUES (1, x'0101010101010101010101010101010101010101', 3, 1, 600, 0, 0, 2),
                                 (2, x'0202020202020202020202020202020202020202', 1, 0, 0, 0, 0, 1);
         INSERT INTO conversation VALUES (4, '#canary-talk', 3, 3);
         INSERT INTO message VALUES
            (1, x'1111111111111111111111111111111111111111111111111111111111111111', 4, 1, NULL, 0, 0, 1, 1, 7, 8, 9,
             NULL, NULL, 'canary-text one'),
            (2, x'2222222222222222222222222222222222222222222222222222222222222222', 4, 1, NULL, 0, 0, 1, 1, 7, 8, 9,
             NULL, x'1111111111111111111111111111111111111111111111111111111111111111', 'canary-text two'),
            (3, x'3333333333333333333333333333333333333333333333333333333333333333', 4, 2, 'canary-alias', 0, 0, 1, 1,
             7, 8, 9, NULL, NULL, 'canary-text three');
         INSERT INTO message_words (rowid, text) SELECT seq, text FROM message;
         UPDATE meta SET last_event = 3, last_row = 1, received = 3, received_bytes = 815, unread = 3,
             stranger_bundles = 1, stranger_bytes = 600;
         INSERT INTO bundle VALUES (1, x'44', 1, 1, 2, 1, NULL, 600, 0, 0, 0, 0, 0, NULL);
         INSERT INTO channel VALUES ('#canary-channel', 5), ('#mesh', NULL);
         PRAGMA user_version = 1; PRAGMA journal_mode = WAL;",
    )
    .expect("filled");
    sql
}

#[test]
fn an_upgrade_seals_what_the_first_release_kept_in_the_clear() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    first_release(&path).close().expect("closes");
    std::fs::write(log_of(&path), "").expect("as a closed store leaves it");
    let canaries: [&[u8]; 5] =
        [b"canary-channel", b"canary-talk", b"canary-text", b"canary-alias", b"canary"];
    assert!(canaries.iter().all(|canary| holds(&path, canary)), "they can be seen at all");
    let store = open(&path);
    assert_eq!(store.opened().upgraded_from, Some(1));
    let seen = |store: &SqliteStore| {
        store.check().expect("pages and counts are right");
        let joined = vec![("#canary-channel".to_owned(), Some(5)), ("#mesh".to_owned(), None)];
        assert_eq!(store.joined(), Ok(joined));
        let messages = store.messages_after(Seq(0), 9).expect("readable");
        let words: Vec<_> = messages.iter().map(|m| (m.text.as_str(), m.conversation.as_str())).collect();
        assert_eq!(words[0], ("canary-text one", "#canary-talk"));
        assert_eq!(words[2], ("canary-text three", "#canary-talk"));
        assert_eq!(messages[1].reply_to, Some(BundleId([0x11; 32])));
        assert_eq!(messages[2].from_alias.as_deref(), Some("canary-alias"));
        assert_eq!(messages[0].from, Some(NodeId([1; 20])));
        assert_eq!(store.messages_of(&NodeId([1; 20])), Ok(2));
        let query = MessageFilter { query: Some("canary thre".to_owned()), ..MessageFilter::default() };
        assert_eq!(store.messages(&query).expect("readable").items.len(), 1);
    };
    seen(&store);
    let left = |path: &Path| canaries.iter().filter(|canary| holds(path, canary)).count();
    assert_eq!(left(&path), 0, "the old form is in the files");
    store.close().expect("closes");
    assert_eq!(left(&path), 0);
    seen(&open(&path));
}

#[test]
fn k05_what_messages_say_and_between_whom_is_not_in_the_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let sender = NodeId(*b"canary-sender-of-20b");
    let mut message = MessageRecord {
        conversation: "#canary-conversation".to_owned(),
        from: Some(sender),
        from_alias: Some("canary-alias".to_owned()),
        text: "canary-text".to_owned(),
        reply_to: Some(BundleId([0xca; 32])),
        ..meshlink_core::contract::message(1)
    };
    store.insert_message(&mut message).expect("room");
    store.commit().expect("room");
    assert!(!holds(&path, b"canary") && !holds(&path, &[0xca; 32]), "in the log");
    store.close().expect("closes");
    assert!(!holds(&path, b"canary") && !holds(&path, &[0xca; 32]), "in the database");

    assert_eq!(open(&path).message(&message.id), Ok(Some(message.clone())));
    let locked = SqliteStore::open(&path, None).expect("it opens");
    let seen = locked.message(&message.id).expect("readable").expect("kept");
    assert_eq!((seen.text.as_str(), seen.conversation.as_str(), seen.from), ("", "", None));
    assert_eq!(seen.status, message.status);
    let query = MessageFilter { query: Some("canary".to_owned()), ..MessageFilter::default() };
    assert_eq!(locked.messages(&query), Err(StoreError::Locked));
    assert_eq!(locked.conversations(None, 9), Err(StoreError::Locked));
    assert_eq!(locked.messages_of(&sender), Ok(0));
}
