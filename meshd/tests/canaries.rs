//! What somebody who carries for others, or stands on the way, could find: nothing, with canaries planted in everything private.
//!
//! Real daemons over a relay, each through a tap that records what the relay hands it. The relay has no disk; the carrier's
//! whole state directory is searched, and each bundle it carries for others.

mod daemon_process;

use std::collections::BTreeSet;
use std::path::Path;

use daemon_process::relay::Relay;
use daemon_process::tap::Tap;
use daemon_process::{Daemon, PATIENCE, wait_for};
use data_encoding::BASE32_NOPAD;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

/// Bytes of the smallest padding class; everybody got a greeting and an invitation or their answers.
const SMALLEST_CLASS: usize = 256;
const SEALED: u16 = 4;
const INTRO: u16 = 5;
const SECRET_POST: u16 = 8;
const GROUP: u16 = 9;

fn node_id(daemon: &Daemon) -> String {
    daemon.get("/v1/status")["node_id"].as_str().expect("an id").to_owned()
}

fn send_to(daemon: &Daemon, to: &str, text: &str) -> String {
    let message = daemon.done("POST", "/v1/messages", &json!({ "to": to, "text": text }));
    message["id"].as_str().expect("an id").to_owned()
}

fn wait_for_status(daemon: &Daemon, id: &str, status: &str) {
    wait_for(status, PATIENCE, || (daemon.status_of(id) == status).then_some(()));
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A bundle as it lies at a carrier.
struct Carried {
    kind: u16,
    header: Vec<u8>,
    payload: Vec<u8>,
    auth: Vec<u8>,
}

fn carried_by(state: &Path) -> Vec<Carried> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(state.join("meshd.db"), flags).expect("a database");
    let mut query = database
        .prepare("SELECT kind, header, payload, auth FROM bundle JOIN body ON body.row = bundle.row")
        .expect("the schema has these");
    let rows = query.query_map([], |row| {
        Ok(Carried { kind: row.get(0)?, header: row.get(1)?, payload: row.get(2)?, auth: row.get(3)? })
    });
    rows.expect("it runs").map(|row| row.expect("a row")).collect()
}

fn files_of(state: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(state).expect("readable");
    entries.filter_map(|entry| std::fs::read(entry.expect("readable").path()).ok()).flatten().collect()
}

/// Three people in a group, two of them in a password channel, and a carrier that is none of theirs.
struct Village {
    relay_taps: Vec<Tap>,
    people: Vec<Daemon>,
    mule: Daemon,
    /// What nobody else may find anywhere.
    secrets: Vec<Vec<u8>>,
    /// Ids and keys of the people, which are known, but not to be in what is sealed.
    names: Vec<Vec<u8>>,
}

fn village(dir: &Path, relay: &Relay) -> Village {
    let relay_taps: Vec<Tap> = (0..4).map(|_| Tap::before(relay)).collect();
    let start = |name: &str, tap: &Tap| Daemon::start(dir, name, &["--relay", &tap.url(), "--log", "trace"]);
    let mut people: Vec<Daemon> =
        ["ana", "bob", "carla"].iter().zip(&relay_taps).map(|(name, tap)| start(name, tap)).collect();
    let mule = start("mule", &relay_taps[3]);
    let ids: Vec<String> = people.iter().map(node_id).collect();
    let mut secrets: Vec<Vec<u8>> = ["CANARY", "canary-ops"].map(|word| word.into()).to_vec();
    for other in [1, 2] {
        let hello = send_to(&people[0], &ids[other], "CANARY hello");
        wait_for_status(&people[0], &hello, "delivered");
        let contact = json!({ "id": ids[0], "name": "CANARY-ana" });
        people[other].done("POST", "/v1/contacts", &contact);
        let back = send_to(&people[other], &ids[0], "CANARY hello to you");
        wait_for_status(&people[other], &back, "delivered");
    }
    let group = json!({ "name": "CANARY-group", "members": [ids[1], ids[2]] });
    let group = people[0].done("POST", "/v1/groups", &group);
    let group = group["id"].as_str().expect("an id").to_owned();
    for other in [1, 2] {
        let invited = || people[other].request("POST", &format!("/v1/groups/{group}/join"), "").ok();
        wait_for("the invitation", PATIENCE, || invited().filter(|(status, _)| *status == 200));
    }
    let path = format!("/v1/groups/{group}");
    let joined = |daemon: &Daemon| {
        let members = daemon.get(&path)["members"].as_array().cloned().unwrap_or_default();
        members.iter().filter(|member| member["membership"] == "joined").count()
    };
    for person in &people {
        wait_for("all to join", PATIENCE, || (joined(person) == 3).then_some(()));
    }
    for person in &people[..2] {
        let channel = json!({ "name": "#canary-ops", "password": "CANARY four words by chance" });
        person.done("POST", "/v1/channels", &channel);
    }
    // From now on the others are away: what Ana sends, only the mule can have, and nobody confirms it.
    for other in &mut people[1..] {
        other.signal("KILL");
    }
    let to_group = format!("group:{group}");
    let sent = [
        send_to(&people[0], &to_group, "CANARY to the group"),
        send_to(&people[0], &to_group, &format!("CANARY {}", "and a longer one ".repeat(40))),
        send_to(&people[0], "#canary-ops", "CANARY to the channel"),
        send_to(&people[0], &ids[2], "CANARY for somebody who is away"),
    ];
    for id in &sent {
        wait_for_status(&people[0], id, "synced");
    }
    secrets.push(group.clone().into_bytes());
    secrets.push(BASE32_NOPAD.decode(group.to_ascii_uppercase().as_bytes()).expect("base32"));
    // Messages to groups have ids that members alone can compute.
    secrets.extend(sent[..2].iter().map(|id| id.clone().into_bytes()));
    let mut names = Vec::new();
    for id in &ids {
        names.push(id.clone().into_bytes());
        names.push(BASE32_NOPAD.decode(id.to_ascii_uppercase().as_bytes()).expect("base32"));
    }
    Village { relay_taps, people, mule, secrets, names }
}

#[test]
fn b08_c15_c16_c18_a_carrier_s_disk_and_what_a_relay_hands_on_hold_nothing_of_groups_channels_and_mail() {
    let dir = tempfile::tempdir().expect("a directory");
    let relay = Relay::start();
    let Village { relay_taps, people, mut mule, secrets, mut names } = village(dir.path(), &relay);
    assert!(mule.texts().is_empty());
    mule.signal("TERM");

    let carried = carried_by(&mule.state);
    let kinds: BTreeSet<u16> = carried.iter().map(|bundle| bundle.kind).collect();
    assert!([SEALED, SECRET_POST, GROUP].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    // What signs itself has its author's keys; those are the people's.
    let keys: Vec<Vec<u8>> = carried.iter().filter_map(|bundle| author_of(&bundle.header)).collect();
    assert!(keys.len() >= 3, "prekeys and profiles of all have come by");
    names.extend(keys.iter().flat_map(|keys| [keys[..32].to_vec(), keys[32..].to_vec()]));
    let hidden = |bundle: &&Carried| [SEALED, INTRO, SECRET_POST, GROUP].contains(&bundle.kind);
    for Carried { kind, header, payload, .. } in carried.iter().filter(hidden) {
        let is_class = payload.len() == 20_480
            || (payload.len() % SMALLEST_CLASS == 0 && (payload.len() / SMALLEST_CLASS).is_power_of_two());
        assert!(is_class, "kind {kind} of {} bytes", payload.len());
        for name in &names {
            assert!(!holds(header, name) && !holds(payload, name), "kind {kind} names somebody");
        }
    }
    let disk = files_of(&mule.state);
    assert!(keys.iter().all(|keys| holds(&disk, keys)), "this search finds what is there");
    for secret in &secrets {
        assert!(!holds(&disk, secret), "{:?} is on the carrier's disk", String::from_utf8_lossy(secret));
    }
    let brought: usize =
        carried.iter().filter(hidden).map(|bundle| bundle.header.len() + bundle.payload.len()).sum();
    assert!(relay_taps[3].heard().len() > brought, "all that the mule has of others came through its tap");
    for tap in &relay_taps {
        let heard = tap.heard();
        assert!(holds(&heard, b"HTTP/1.1 101") && heard.len() > 2 * SMALLEST_CLASS, "the tap was on the way");
        for needle in secrets.iter().chain(&names) {
            assert!(!holds(&heard, needle), "{:?} went over the relay", String::from_utf8_lossy(needle));
        }
    }
    for daemon in people.iter().chain([&mule]) {
        let log = daemon.log();
        assert!(!log.contains("CANARY") && !log.contains("canary-ops"), "a log holds what was written");
    }
}

/// All windows of so many bytes of what a carrier has.
fn pieces(carried: &[Carried], length: usize) -> BTreeSet<Vec<u8>> {
    let parts = carried.iter().flat_map(|bundle| [&bundle.header, &bundle.payload, &bundle.auth]);
    parts.flat_map(|part| part.windows(length).map(<[u8]>::to_vec)).collect()
}

/// What a node tells everybody, as a carrier has it that is met for it.
fn told(daemon: &Daemon, mut mule: Daemon, texts: &[&str]) -> Vec<Carried> {
    for text in texts {
        let id = daemon.post(text);
        wait_for_status(daemon, &id, "synced");
    }
    // Beside the posts: prekeys, of each of the two.
    let count = texts.len() as u64 + 2;
    wait_for("prekeys", PATIENCE, || {
        (mule.get("/v1/status")["store"]["bundles"].as_u64() >= Some(count)).then_some(())
    });
    mule.signal("TERM");
    carried_by(&mule.state)
}

#[test]
fn k06_nothing_that_a_wiped_node_gave_to_carriers_is_in_what_the_next_one_on_that_machine_gives() {
    // Less than any key; what headers have in common by their form is 14 bytes at most.
    const PIECE_BYTES: usize = 20;
    let dir = tempfile::tempdir().expect("a directory");
    let relay = Relay::start();
    let start = |name: &str| Daemon::start(dir.path(), name, &["--relay", &relay.url()]);
    let mut daemon = start("state");
    let before = told(&daemon, start("first-mule"), &["a first word", "another one"]);
    daemon.done("POST", "/v1/wipe", &json!({ "confirm": "wipe" }));
    daemon.wait_until_it_ends();

    daemon.restart();
    let after = told(&daemon, start("second-mule"), &["quite something else"]);
    let (before, after) = (pieces(&before, PIECE_BYTES), pieces(&after, PIECE_BYTES));
    let both: Vec<&Vec<u8>> = before.intersection(&after).collect();
    assert!(both.is_empty(), "{both:02x?}");
}

#[test]
fn a_log_as_it_usually_is_names_neither_this_node_nor_whom_it_met() {
    let dir = tempfile::tempdir().expect("a directory");
    let relay = Relay::start();
    let mut pair = ["ana", "bob"]
        .map(|name| Daemon::start(dir.path(), name, &["--name", name, "--relay", &relay.url()]));
    let ids = [node_id(&pair[0]), node_id(&pair[1])];
    let hello = send_to(&pair[0], &ids[1], "hello");
    wait_for_status(&pair[0], &hello, "delivered");
    pair[1].signal("TERM");
    wait_for("the neighbour to be gone", PATIENCE, || {
        pair[0].get("/v1/links")["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    pair[0].signal("TERM");
    for daemon in &pair {
        // Before it is what a person at a terminal is told at the first start; a journal is not.
        let log = daemon.log();
        let (_, log) = log.split_once("meshd is up").expect("it says so");
        assert!(log.contains("stopped"), "{log}");
        assert!(ids.iter().all(|id| !log.contains(&id[..8])), "{log}");
    }
}

/// The keys that a header names its author by: after map key 6, 64 bytes.
fn author_of(header: &[u8]) -> Option<Vec<u8>> {
    let at = header.windows(3).position(|window| window == [5, 0x58, 64])?;
    Some(header[at + 3..at + 67].to_vec())
}
