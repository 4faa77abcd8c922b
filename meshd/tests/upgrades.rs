//! State directories of every released schema, made by the programs of then: this program opens each and finds what was
//! there (threat P-06). `fixtures/make.py` made them; when a migration is added, it makes one of the schema before.

mod daemon_process;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use daemon_process::{Daemon, PATIENCE, wait_for};
use meshd::sqlite::SqliteStore;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Puts a fixture into a state directory; its schema as the file says.
fn unpack(fixture: &Path, state: &Path) -> u32 {
    std::fs::create_dir(state).expect("a new directory");
    std::fs::set_permissions(state, PermissionsExt::from_mode(0o700)).expect("own directory");
    let packed = std::fs::File::open(fixture.join("meshd.db.gz")).expect("a database");
    let mut database = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut database).expect("gzip");
    std::fs::write(state.join("meshd.db"), &database).expect("writable");
    for key in ["identity", "master-key"] {
        if fixture.join(key).exists() {
            std::fs::copy(fixture.join(key), state.join(key)).expect("copies");
        }
    }
    for file in std::fs::read_dir(state).expect("readable") {
        let file = file.expect("readable").path();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).expect("own file");
    }
    u32::from_be_bytes(database[60..64].try_into().expect("four bytes"))
}

fn expected(fixture: &Path) -> Value {
    let text = std::fs::read_to_string(fixture.join("expect.json")).expect("what it said");
    serde_json::from_str(&text).expect("JSON")
}

/// Items of a list with some of their fields.
fn items(daemon: &Daemon, path: &str, fields: &[&str]) -> Value {
    let page = daemon.get(path);
    let items = page["items"].as_array().expect("a list").iter();
    let part = |item: &Value| fields.iter().map(|&field| (field.to_owned(), item[field].clone())).collect();
    items.map(|item| Value::Object(part(item))).collect()
}

fn names(daemon: &Daemon, path: &str, field: &str) -> Value {
    let page = daemon.get(path);
    page["items"].as_array().expect("a list").iter().map(|item| item[field].clone()).collect()
}

fn messages(daemon: &Daemon) -> Value {
    let fields = ["id", "conversation", "text", "status", "read", "protection"];
    let mut messages = items(daemon, "/v1/messages?order=asc&limit=100", &fields);
    let mine = daemon.get("/v1/messages?order=asc&limit=100");
    for (message, whole) in
        messages.as_array_mut().expect("a list").iter_mut().zip(mine["items"].as_array().expect("a list"))
    {
        message["mine"] = whole["from"]["me"].clone();
    }
    messages
}

/// Ids of messages in the event log after a position, until `last` came.
fn events_after(daemon: &Daemon, cursor: &str, last: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(daemon.state.join("meshd.sock")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    write!(
        stream,
        "GET /v1/events?since={cursor}&types=message.new HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
    )
    .expect("it listens");
    let mut ids: Vec<String> = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("events");
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(id) = event["data"]["id"].as_str() {
            ids.push(id.to_owned());
        }
        if ids.last().is_some_and(|id| id == last) {
            return ids;
        }
    }
    panic!("the stream ended: {ids:?}");
}

/// The last schema whose bundles no neighbour would take now: what had not gone out by then has expired.
const SCHEMA_OF_OTHER_HEADERS: u32 = 8;

fn check(daemon: &Daemon, expect: &Value, schema: u32) {
    let status = daemon.get("/v1/status");
    assert_eq!(
        (&status["node_id"], &status["name"]),
        (&expect["node_id"], &expect["name"]),
        "schema {schema}"
    );
    let mut expected = expect["messages"].clone();
    for message in expected.as_array_mut().expect("a list") {
        if schema <= SCHEMA_OF_OTHER_HEADERS && message["status"] == "pending" {
            message["status"] = json!("expired");
        }
    }
    // It expires in the first sweep, which is after the daemon's first answer.
    let shown = wait_for("the messages of then", PATIENCE, || {
        let shown = messages(daemon);
        (shown == expected).then_some(shown)
    });
    let found = daemon.get("/v1/messages?q=cafe");
    assert_eq!(found["items"][0]["text"], "from a friend, café", "schema {schema}");
    let mut channels = names(daemon, "/v1/channels", "name");
    channels.as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    assert_eq!(channels, expect["channels"], "schema {schema}");
    assert_eq!(names(daemon, "/v1/tokens", "name"), expect["tokens"], "schema {schema}");
    assert_eq!(names(daemon, "/v1/peers", "id"), expect["peers"], "schema {schema}");
    assert_eq!(daemon.get("/v1/cursors/reader")["cursor"], expect["cursor"], "schema {schema}");
    if let Some(contacts) = expect.get("contacts") {
        assert_eq!(&items(daemon, "/v1/contacts", &["id", "name", "trust"]), contacts, "schema {schema}");
    }
    if let Some(groups) = expect.get("groups") {
        assert_eq!(&items(daemon, "/v1/groups", &["id", "name"]), groups, "schema {schema}");
    }
    // Positions that programs kept are still good.
    let list = shown.as_array().expect("a list");
    let ids: Vec<&str> = list.iter().map(|message| message["id"].as_str().expect("an id")).collect();
    let first = expect["first_cursor"].as_str().expect("a position");
    assert_eq!(events_after(daemon, first, ids[ids.len() - 1]), ids[1..], "schema {schema}");
    let (code, verified) = daemon.request("POST", "/v1/store/verify", "").expect("the daemon answers");
    let verified: Value = serde_json::from_str(&verified).expect("JSON");
    assert_eq!((code, &verified["ok"]), (200, &json!(true)), "schema {schema}: {verified}");
}

#[test]
fn p06_a_node_of_every_released_schema_is_opened_with_everything_it_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut found = Vec::new();
    let mut all: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_dir())
        .collect();
    all.sort();
    for fixture in all {
        let name = fixture.file_name().expect("a name").to_str().expect("a plain name").to_owned();
        let schema = unpack(&fixture, &dir.path().join(&name));
        assert_eq!(name, format!("schema-{schema}"));
        found.push(schema);
        let expect = expected(&fixture);
        // Fixtures age; their messages are not to expire here.
        let mut daemon = Daemon::start_with(dir.path(), &name, &[("MESHD_CLOCK", "distrust")], &[]);
        check(&daemon, &expect, schema);
        assert_eq!(daemon.get("/v1/store")["schema"], SqliteStore::schema_version());
        assert_eq!(daemon.signal("KILL").0, None);
        daemon.restart();
        check(&daemon, &expect, schema);
        daemon.post("and it goes on");
    }
    // 4 and 5 were released together.
    let released: Vec<u32> = (1..SqliteStore::schema_version()).filter(|schema| *schema != 4).collect();
    assert!(released.iter().all(|schema| found.contains(schema)), "{found:?}: a schema has no fixture");
}
