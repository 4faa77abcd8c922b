//! What is left of keys once they are deleted, or the node is locked: nothing, neither on the disk nor in memory.
//!
//! A real store on a disk and the allocator of the daemon, under a clock of the test's own. The tests search the memory of their
//! own process, so one runs at a time.

mod process_memory;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use meshd::sqlite::SqliteStore;
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::mem::MemStore;
use meshlink_core::node::{ContactDraft, PrivateDraft};
use meshlink_core::store::{Shelf, Store};
use meshlink_core::{Identity, Input, Limits, LinkId, LinkKind, Node, Now, Output, Priority, Seq};
use process_memory::each_writable_part;
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static HEAP: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const NEW_YEAR_MS: u64 = 1_767_225_600_000;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// What needles are kept as, so that the search does not find the needles.
const MASK: u8 = 0xa5;
const SECRET_BYTES: usize = 32;
static MEMORY: Mutex<()> = Mutex::new(());

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, unix_ms: Some(NEW_YEAR_MS + mono_ms) }
}

fn store_in(dir: &Path) -> SqliteStore {
    let keys: RecordKeys = MasterKey::from_bytes([1; 32]).record_keys();
    SqliteStore::open(&dir.join("store.db"), Some(keys)).expect("it opens")
}

fn node_of<S: Store>(store: S, secret: u8, now: Now) -> Node<S> {
    let identity = Identity::from_bytes(&[secret; 64]);
    let mut node = Node::open(store, identity, [secret; 32], Limits::default(), now).expect("it opens");
    node.set_reachable();
    pass(&mut node, now.mono_ms, now.mono_ms + 1);
    node
}

/// Lets time go by at a node without neighbours.
fn pass<S: Store>(node: &mut Node<S>, from_ms: u64, to_ms: u64) {
    let mut now = from_ms;
    loop {
        node.handle(Input::Timeout, at(now)).expect("it works");
        let _ = node.commit(at(now)).expect("room");
        match node.poll_timeout().map(|deadline| deadline.mono_ms.max(now)) {
            Some(next) if next <= to_ms => now = next,
            Some(_) | None => break,
        }
    }
    node.handle(Input::Timeout, at(to_ms)).expect("it works");
    let _ = node.commit(at(to_ms)).expect("room");
}

/// What a node has to say on a link.
fn frames_of<S: Store>(node: &mut Node<S>, link: LinkId, now: Now) -> Vec<Vec<u8>> {
    let mut outbox = node.commit(now).expect("room");
    while let Some(output) = outbox.next_output() {
        assert!(!matches!(output, Output::Close { .. }), "{output:?}");
    }
    std::iter::from_fn(|| outbox.next_frame(link, now).expect("readable")).collect()
}

/// Two nodes meet, each with a clock of its own, say all they have to say, and part.
fn meet<A: Store, B: Store>(one: &mut Node<A>, one_now: Now, other: &mut Node<B>, other_now: Now) {
    let link = LinkId(one_now.mono_ms + other_now.mono_ms + 1);
    let up = |dialled| Input::LinkUp { link, kind: LinkKind::Lan, address: "there".to_owned(), dialled };
    one.handle(up(true), one_now).expect("it works");
    other.handle(up(false), other_now).expect("it works");
    loop {
        let there = frames_of(one, link, one_now);
        for bytes in &there {
            other.handle(Input::Frame { link, bytes }, other_now).expect("it works");
        }
        let back = frames_of(other, link, other_now);
        for bytes in &back {
            one.handle(Input::Frame { link, bytes }, one_now).expect("it works");
        }
        if there.is_empty() && back.is_empty() {
            break;
        }
    }
    one.handle(Input::LinkDown { link }, one_now).expect("it works");
    other.handle(Input::LinkDown { link }, other_now).expect("it works");
    let _ = one.commit(one_now).expect("room");
    let _ = other.commit(other_now).expect("room");
}

fn write<A: Store, B: Store>(from: &mut Node<A>, to: &Node<B>, text: &str, now: Now) {
    let text = text.to_owned();
    let draft =
        PrivateDraft { to: to.id(), text, lifetime_s: None, priority: Priority::Normal, reply_to: None };
    from.submit_private(draft, now).expect("they know each other");
}

fn received<S: Store>(node: &Node<S>) -> usize {
    let messages = node.store().messages_after(Seq(0), 1_000).expect("readable");
    messages.iter().filter(|message| !message.own).count()
}

/// The secret halves that a node has now, masked: the first key in the record of a prekey; the second in that of a code, whose
/// first stays with the contact and opens nothing alone.
fn masked_secrets(node: &Node<SqliteStore>) -> Vec<Vec<u8>> {
    // A key is a byte string of 32 (RFC 8949: 0x58 0x20) in an array.
    const FIRST: usize = 3;
    const SECOND: usize = FIRST + SECRET_BYTES + 2;
    let secrets = |shelf, at: usize| {
        let records = node.store().records(shelf, &[], 1_000).expect("readable").into_iter();
        records.map(move |(_, value)| value[at..at + SECRET_BYTES].iter().map(|byte| byte ^ MASK).collect())
    };
    secrets(Shelf::Prekey, FIRST).chain(secrets(Shelf::Invite, SECOND)).collect()
}

/// How many of the masked needles lie in what this process can write to, with a stack cleaned as a daemon's is within a minute.
fn left_in_memory(needles: &[Vec<u8>]) -> usize {
    meshd::vault::clean_stack();
    in_memory(needles)
}

/// How many of the masked needles lie in what this process can write to.
fn in_memory(needles: &[Vec<u8>]) -> usize {
    let mut found = vec![false; needles.len()];
    let mut begins_one = [false; 256];
    needles.iter().for_each(|needle| begins_one[usize::from(needle[0] ^ MASK)] = true);
    each_writable_part("self", |bytes| {
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| begins_one[usize::from(**byte)]) {
            let Some(window) = bytes.get(at..at + SECRET_BYTES) else { break };
            for (found, needle) in found.iter_mut().zip(needles) {
                *found = *found || window.iter().zip(needle).all(|(byte, masked)| byte ^ MASK == *masked);
            }
        }
    });
    found.into_iter().filter(|found| *found).count()
}

/// What the disk has for records of these shelves, as it lies there. Read from a copy: the store is held for one alone.
fn raw_records(dir: &Path) -> Vec<Vec<u8>> {
    let copy = copied(dir);
    let sql = rusqlite::Connection::open(copy.path().join("store.db")).expect("opens");
    let mut query = sql.prepare("SELECT value FROM record WHERE shelf IN (?1, ?2)").expect("a query");
    let rows = query.query_map([Shelf::Prekey.number(), Shelf::Invite.number()], |row| row.get(0));
    rows.expect("readable").map(|row| row.expect("readable")).collect()
}

/// How many of them are in any file, whole or in part.
fn on_disk(dir: &Path, records: &[Vec<u8>]) -> usize {
    let entries = fs::read_dir(dir).expect("readable");
    let files: Vec<Vec<u8>> =
        entries.map(|entry| fs::read(entry.expect("readable").path()).expect("readable")).collect();
    let holds = |part: &[u8]| files.iter().any(|file| file.windows(part.len()).any(|window| window == part));
    records.iter().filter(|record| record.chunks_exact(SECRET_BYTES).any(holds)).count()
}

fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(dir).expect("readable") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copies");
    }
    copy
}

/// How many messages whoever took a disk reads of what a recorder has: the program itself runs on a copy that remembers
/// nothing as opened.
fn read_by_a_thief(dir: &Path, now: Now, recorder: &MemStore, recorded: Now) -> usize {
    let disk = copied(dir);
    let mut store = store_in(disk.path());
    for (key, _) in store.records(Shelf::Opened, &[], 1_000).expect("readable") {
        store.remove_record(Shelf::Opened, &key).expect("room");
    }
    store.commit().expect("room");
    let mut thief = node_of(store, 2, now);
    let mut recorder = node_of(recorder.clone(), 3, recorded);
    let before = received(&thief);
    meet(&mut recorder, recorded, &mut thief, now);
    received(&thief) - before
}

/// Two who know each other by a code, the second with a store on a disk.
fn friends(dir: &Path) -> (Node<MemStore>, Node<SqliteStore>) {
    let mut ana = node_of(MemStore::new(), 1, at(0));
    let mut bob = node_of(store_in(dir), 2, at(0));
    let code = Some(bob.make_code(false, at(0)).expect("a code"));
    ana.add_contact(ContactDraft { code, ..ContactDraft::default() }, at(0)).expect("a contact");
    for minute in 1..4 {
        meet(&mut ana, at(minute * 60_000), &mut bob, at(minute * 60_000));
    }
    (ana, bob)
}

#[test]
fn c10_after_their_deadline_neither_the_disk_nor_the_memory_has_keys_that_open_what_was_recorded() {
    let _alone = MEMORY.lock().expect("the other test passed");
    let dir = tempfile::tempdir().expect("a directory");
    let (mut ana, mut bob) = friends(dir.path());
    let mut mule = node_of(MemStore::new(), 3, at(0));
    // Some of it arrives, and is answered, so that keys for one answer are about; the rest the mule alone has.
    let noon = at(DAY_MS / 2);
    for n in 0..5 {
        write(&mut ana, &bob, &format!("first {n}"), noon);
        write(&mut bob, &ana, &format!("back {n}"), noon);
    }
    meet(&mut ana, noon, &mut bob, noon);
    for n in 0..5 {
        write(&mut ana, &bob, &format!("second {n}"), noon);
    }
    meet(&mut ana, noon, &mut mule, noon);
    let recorder = mule.store().clone();

    let (secrets, records) = (masked_secrets(&bob), raw_records(dir.path()));
    assert!(secrets.len() >= 3, "{} keys", secrets.len());
    assert_eq!(on_disk(dir.path(), &records), records.len(), "this search finds what is there");
    assert!(in_memory(&secrets) > 0, "so does this one: published keys are held");
    let read = read_by_a_thief(dir.path(), at(DAY_MS), &recorder, noon);
    assert_eq!(read, 5, "until then a copy of the disk opens what is under way");

    pass(&mut bob, DAY_MS, 15 * DAY_MS);
    assert_eq!(left_in_memory(&secrets), 0, "keys in memory");
    assert_eq!(on_disk(dir.path(), &records), 0, "keys on the disk");
    assert_eq!(read_by_a_thief(dir.path(), at(15 * DAY_MS), &recorder, noon), 0);
}

#[test]
fn k05_a_locked_node_s_memory_has_no_key_of_prekeys_and_codes() {
    let _alone = MEMORY.lock().expect("the other test passed");
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut bob) = friends(dir.path());
    bob.make_code(false, at(DAY_MS)).expect("another code");
    let secrets = masked_secrets(&bob);
    assert!(in_memory(&secrets) >= 3, "published keys and codes are held");
    meshd::locking::lock(&mut bob).expect("a stand-in");
    assert_eq!(left_in_memory(&secrets), 0);
}
