//! What a user is promised, with the real programs: daemons, a relay and `meshctl` on one machine.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod machine;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use machine::{Events, Node, PATIENCE, Relay, free_port, wait_for};
use serde_json::{Value, json};

fn status_of(node: &Node, id: &str) -> String {
    node.get(&format!("/v1/messages/{id}"))["status"].as_str().expect("a status").to_owned()
}

fn relay_detail(node: &Node) -> String {
    let status = node.get("/v1/status");
    let transports = status["transports"].as_array().expect("a list");
    let relay = transports.iter().find(|t| t["kind"] == "relay").expect("a relay is configured");
    format!("{} {} {}", relay["state"], relay["detail"], relay["hint"])
}

fn wait_until_linked(node: &Node) {
    wait_for("a link", PATIENCE, || (node.get("/v1/status")["links"].as_u64()? > 0).then_some(()));
}

#[test]
fn a_message_sent_on_one_node_is_watched_on_the_other() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let a = Node::start(dir.path(), "a", &["--relay", &Relay::url(port)]);
    let b = Node::start(dir.path(), "b", &["--relay", &Relay::url(port)]);
    wait_until_linked(&b);
    // What a says about itself is a bundle like any other and may come after what it says.
    wait_for("the name of a", PATIENCE, || {
        let peers = b.get("/v1/peers");
        peers["items"].as_array()?.iter().any(|peer| peer["name"] == "a").then_some(())
    });

    let mut watch = b
        .meshctl(&["watch", "-n", "1", "--timeout", "30s", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("meshctl");
    let mut line = String::new();
    // The watcher may subscribe after the message came in, so it is sent until seen.
    let sent = a.run(&["send", "hi", "--wait", "synced", "--json"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let mut sends = 1;
    while watch.try_wait().expect("own child").is_none() && sends < 30 {
        sends += 1;
        a.run(&["send", "hi", "--wait", "synced"]);
    }
    BufReader::new(watch.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(watch.wait().expect("own child").success());
    let message: Value = serde_json::from_str(&line).expect("a JSON line");
    assert_eq!(message["text"], "hi");
    assert_eq!(message["status"], "synced");
    assert_eq!(message["from"]["name"], "a");
    assert_eq!(message["from"]["id"], a.get("/v1/status")["node_id"]);
    assert_eq!(message["from"]["authenticated"], true);
    assert_eq!(message["protection"], "public");
}

#[test]
fn without_its_relay_a_node_keeps_messages_and_hands_them_over_when_it_is_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let mut relay = Relay::start(dir.path(), port);
    let a = Node::start(dir.path(), "a", &["--relay", &Relay::url(port)]);
    let b = Node::start(dir.path(), "b", &["--relay", &Relay::url(port)]);
    wait_until_linked(&a);
    wait_until_linked(&b);

    assert_eq!(relay.process.stop(), Some(0));
    wait_for("the status to say why, in words", PATIENCE, || {
        let detail = relay_detail(&a);
        (detail.contains("\"down\"") && detail.contains("refused")).then_some(())
    });
    let ids: Vec<String> =
        ["one", "two", "three"].iter().map(|t| a.post(t)["id"].as_str().expect("id").to_owned()).collect();
    for id in &ids {
        assert_eq!(status_of(&a, id), "pending");
    }
    let trace = a.get(&format!("/v1/messages/{}/trace", ids[0]));
    assert!(trace["waiting"].as_str().is_some_and(|w| !w.is_empty()), "{trace}");

    let _relay = Relay::start(dir.path(), port);
    let back = Instant::now();
    wait_for("all three on the other node", PATIENCE, || (b.texts().len() >= 3).then_some(()));
    assert!(back.elapsed() < Duration::from_secs(5), "took {:?}", back.elapsed());
    assert_eq!(b.texts(), ["one", "two", "three"], "in order, once each");
    for id in &ids {
        wait_for("synced", PATIENCE, || (status_of(&a, id) == "synced").then_some(()));
    }
}

#[test]
fn a_message_reaches_a_node_that_was_not_there_when_it_was_sent() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let a = Node::start(dir.path(), "a", &["--relay", &Relay::url(port)]);
    a.post("before you were born");
    let mut b = Node::start(dir.path(), "b", &["--relay", &Relay::url(port)]);
    wait_for("the message", PATIENCE, || (b.texts() == ["before you were born"]).then_some(()));

    b.process.kill();
    a.post("while you slept");
    b.restart();
    wait_for("both", PATIENCE, || (b.texts().len() == 2).then_some(()));
    assert_eq!(b.texts(), ["before you were born", "while you slept"]);
}

#[test]
fn events_resume_after_a_kill_without_loss_or_repetition() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut node = Node::start(dir.path(), "a", &[]);
    let mut events = Events::open(&node, None);
    assert_eq!(events.next().expect("an event")["type"], "status");
    for n in 0..10 {
        node.post(&format!("m{n}"));
    }
    let mut seen = Vec::new();
    let mut last = String::new();
    while seen.len() < 4 {
        let event = events.next().expect("an event");
        if event["type"] == "message.new" {
            seen.push(event["data"]["text"].as_str().expect("text").to_owned());
            last = event["id"].as_str().expect("id").to_owned();
        }
    }
    node.process.kill();
    node.restart();
    for n in 10..15 {
        node.post(&format!("m{n}"));
    }
    let mut events = Events::open(&node, Some(&last));
    while seen.len() < 15 {
        let event = events.next().expect("an event");
        assert_ne!(event["type"], "status", "a resumed stream starts where it was");
        if event["type"] == "message.new" {
            seen.push(event["data"]["text"].as_str().expect("text").to_owned());
        }
    }
    let expected: Vec<String> = (0..15).map(|n| format!("m{n}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn watch_goes_on_over_a_restart_of_the_daemon() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut node = Node::start(dir.path(), "a", &[]);
    let cursor = node.get("/v1/status")["cursor"].as_str().expect("cursor").to_owned();
    let mut watch = node
        .meshctl(&["watch", "-n", "2", "--timeout", "30s", "--json", "--own", "--since", &cursor])
        .stdout(Stdio::piped())
        .spawn()
        .expect("meshctl");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    node.post("before");
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    node.process.kill();
    node.restart();
    node.post("after");
    let second: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!((&first["text"], &second["text"]), (&Value::from("before"), &Value::from("after")));
    assert!(watch.wait().expect("own child").success());
}

#[test]
fn a_websocket_client_and_the_mesh_hear_each_other() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let a = Node::start(dir.path(), "a", &["--relay", &Relay::url(port)]);
    let b = Node::start(dir.path(), "b", &["--relay", &Relay::url(port)]);
    wait_until_linked(&a);
    wait_until_linked(&b);
    let (mut client, _) = tungstenite::connect(Relay::url(port)).expect("the relay accepts");
    let text = r#"{"type":"TEXT","payload":"Hello World","senderId":"test-1","timestamp":1234567890}"#;
    client.send(tungstenite::Message::text(text)).expect("sent");
    for node in [&a, &b] {
        let message = wait_for("the post", PATIENCE, || {
            node.get("/v1/messages")["items"].as_array()?.iter().find(|m| m["text"] == "Hello World").cloned()
        });
        assert_eq!(message["protection"], "public");
        assert_eq!(message["from"]["authenticated"], false);
    }
    a.post("from the mesh");
    let heard: Value = loop {
        let frame = client.read().expect("a frame");
        if frame.is_text() {
            break serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
        }
    };
    assert_eq!(heard["type"], "TEXT");
    assert_eq!(heard["payload"], "from the mesh");
    // Once each: neither the bridge's own echo nor the second node doubles anything.
    for node in [&a, &b] {
        wait_for("both posts", PATIENCE, || (node.texts().len() >= 2).then_some(()));
        assert_eq!(node.texts().len(), 2, "{:?}", node.texts());
    }
}

#[test]
fn two_people_who_never_met_write_in_private_by_a_code_alone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let ana = Node::start(dir.path(), "ana", &["--relay", &Relay::url(port)]);
    let bob = Node::start(dir.path(), "bob", &["--relay", &Relay::url(port)]);
    // The README's lines.
    let code = stdout_of(&ana, &["contact", "code"]);
    let added: Value = json_of(&bob, &["contact", "add", code.trim(), "--json"]);
    assert_eq!((&added["name"], &added["trust"]), (&Value::from("ana"), &Value::from("unverified")));
    let sent = bob.run(&["send", "--to", "ana", "--wait", "delivered", "CANARY under the old oak", "--json"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    assert_eq!((&sent["status"], &sent["protection"]), (&"delivered".into(), &"sealed".into()));
    let trace: Value = json_of(&bob, &["trace", sent["id"].as_str().expect("an id"), "--json"]);
    let arrived = trace["steps"].as_array().expect("steps").last().expect("a step").clone();
    assert_eq!((&arrived["step"], &arrived["peer_name"]), (&"delivered".into(), &"ana".into()), "{trace}");
    assert_eq!((&trace["carried"], &trace["size_bytes"]), (&false.into(), &Value::Null), "{trace}");

    let received = wait_for("the message", PATIENCE, || {
        ana.get("/v1/messages")["items"].as_array()?.iter().find(|m| m["from"]["me"] == false).cloned()
    });
    assert_eq!(received["text"], "CANARY under the old oak");
    assert_eq!(received["id"], sent["id"], "the same id on both sides");
    assert_eq!(received["from"]["name"], "bob");
    let here: Value = json_of(&ana, &["trace", received["id"].as_str().expect("an id"), "--json"]);
    assert_eq!(
        (&here["carried"], &here["waiting"]),
        (&false.into(), &Value::Null),
        "it is where it was to go: {here}"
    );
    assert_eq!(received["protection"], "sealed");

    // Both see the same number; once compared, messages say so.
    let number = |node: &Node, who: &str| {
        json_of(node, &["contact", "show", who, "--json"])["safety_number"]
            .as_str()
            .expect("known")
            .to_owned()
    };
    assert_eq!(number(&ana, "bob"), number(&bob, "ana"));
    let wrong = ana.run(&["contact", "verify", "bob", "--number", &"1".repeat(60)]);
    assert_eq!(wrong.status.code(), Some(1), "{}", String::from_utf8_lossy(&wrong.stderr));
    let verified = json_of(&ana, &["contact", "verify", "bob", "--number", &number(&bob, "ana"), "--json"]);
    assert_eq!(verified["trust"], "verified");
    let back = ana.run(&["send", "--to", "@Bob", "--wait", "delivered", "I will be there", "--json"]);
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    let back: Value = serde_json::from_slice(&back.stdout).expect("JSON");
    assert_eq!(back["protection"], "sealed_verified");

    let unknown = ana.run(&["send", "--to", "carol", "hello?"]);
    assert_eq!(unknown.status.code(), Some(5), "{}", String::from_utf8_lossy(&unknown.stderr));
}

#[test]
fn a_group_is_founded_joined_written_to_changed_and_left() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let url = Relay::url(port);
    let [ana, bob, carla] =
        ["ana", "bob", "carla"].map(|name| Node::start(dir.path(), name, &["--relay", &url]));
    for node in [&bob, &carla] {
        let code = stdout_of(&ana, &["contact", "code"]);
        json_of(node, &["contact", "add", code.trim(), "--json"]);
        let hello = node.run(&["send", "--to", "ana", "--wait", "delivered", "it is me"]);
        assert!(hello.status.success(), "{}", String::from_utf8_lossy(&hello.stderr));
    }
    // The README's lines.
    let group = json_of(&ana, &["group", "create", "Hikers", "bob", "carla", "--json"]);
    assert_eq!(group["members"].as_array().map(Vec::len), Some(3));
    let early = bob.run(&["group", "join", "Hikers"]);
    assert!(early.status.success() || early.status.code() == Some(5), "not heard of yet, or invited");
    let in_group = |node: &Node, joined: usize| {
        wait_for("all to join", PATIENCE, || {
            let groups = node.get("/v1/groups");
            let members = groups["items"][0]["members"].as_array()?.clone();
            (members.iter().filter(|m| m["membership"] == "joined").count() == joined).then_some(())
        });
    };
    for node in [&bob, &carla] {
        wait_for("the invitation", PATIENCE, || {
            (node.get("/v1/groups")["items"][0]["name"] == "Hikers").then_some(())
        });
        if node.get("/v1/groups")["items"][0]["membership"] == "invited" {
            json_of(node, &["group", "join", "hikers", "--json"]);
        }
    }
    for node in [&ana, &bob, &carla] {
        in_group(node, 3);
    }
    // Bob and Carla are no contacts of each other.
    let sent =
        bob.run(&["send", "--to", "group:Hikers", "--wait", "delivered", "Who has the map?", "--json"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    assert_eq!((&sent["protection"], &sent["conversation"]), (&"sealed".into(), &group["conversation"]));
    let id = sent["id"].as_str().expect("an id");
    let shown = json_of(&bob, &["show", id, "--json"]);
    let recipients = shown["recipients"].as_array().expect("recipients");
    assert!(recipients.len() == 2 && recipients.iter().all(|r| r["status"] == "delivered"), "{shown}");
    for node in [&ana, &carla] {
        let message = node.get(&format!("/v1/messages/{id}"));
        assert_eq!((&message["text"], &message["from"]["name"]), (&"Who has the map?".into(), &"bob".into()));
    }
    // Who may do what, and says so if not.
    let refused = bob.run(&["group", "rename", "Hikers", "Mine"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("administrator"));
    json_of(&ana, &["group", "remove", "Hikers", "carla", "--json"]);
    json_of(&ana, &["group", "rename", "Hikers", "Climbers", "--json"]);
    wait_for("the change", PATIENCE, || {
        (bob.get("/v1/groups")["items"][0]["name"] == "Climbers").then_some(())
    });
    wait_for("the removal", PATIENCE, || {
        carla.get("/v1/groups")["items"].as_array()?.is_empty().then_some(())
    });
    in_group(&bob, 2);
    let after = bob.run(&["send", "--to", "group:climbers", "--wait", "delivered", "without carla"]);
    assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
    assert!(!carla.texts().contains(&"without carla".to_owned()), "{:?}", carla.texts());
    let out =
        carla.run(&["send", "--to", &format!("group:{}", group["id"].as_str().expect("an id")), "hello?"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    stdout_of(&bob, &["group", "leave", "Climbers"]);
    in_group(&ana, 1);
}

#[test]
fn c18_a_carrier_and_the_logs_hold_nothing_of_a_private_message() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let loud = ["--log", "trace"];
    let url = Relay::url(port);
    let args: Vec<&str> = ["--relay", &url].into_iter().chain(loud).collect();
    let ana = Node::start(dir.path(), "ana", &args);
    let mut mule = Node::start(dir.path(), "mule", &args);
    let mut bob = Node::start(dir.path(), "bob", &args);
    let code = stdout_of(&ana, &["contact", "code"]);
    json_of(&bob, &["contact", "add", code.trim(), "--json"]);
    bob.run(&["send", "--to", "ana", "--wait", "delivered", "first"]);
    let id_of = |node: &Node| node.get("/v1/status")["node_id"].as_str().expect("an id").to_owned();
    let mule_id = id_of(&mule);
    // Bob is away while Ana writes, so that only the mule has it.
    bob.process.kill();
    let sent = ana.run(&["send", "--to", "bob", "--wait", "synced", "CANARY-51e7 at noon", "--json"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    let trace = ana.get(&format!("/v1/messages/{}/trace", sent["id"].as_str().expect("an id")));
    assert!(trace["steps"].as_array().expect("steps").iter().any(|s| s["peer"] == *mule_id), "{trace}");
    assert_eq!(mule.process.stop(), Some(0));
    for needle in ["CANARY-51e7", sent["id"].as_str().expect("an id")] {
        assert!(!holds(&mule.state, needle.as_bytes()), "{needle} is on the mule's disk");
    }
    for node in [&ana, &mule, &bob] {
        let log = node.process.log();
        assert!(!log.contains("CANARY"), "a log holds what was written");
        assert!(!log.contains(code.trim()), "a log holds a code");
    }
}

/// Joins a password channel, with the password on standard input.
fn join_with_password(node: &Node, channel: &str, password: &str) -> std::process::Output {
    use std::io::Write as _;
    let mut command = node.meshctl(&["channel", "join", channel, "--password-file", "-", "--json"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("meshctl runs");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{password}").expect("meshctl reads");
    drop(stdin);
    child.wait_with_output().expect("meshctl ends")
}

#[test]
fn c16_c18_a_carrier_s_disk_and_all_logs_hold_nothing_of_a_password_channel() {
    const PASSWORD: &str = "CANARY-pw four words by chance";
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let url = Relay::url(port);
    let args = ["--relay", &url, "--log", "trace"];
    let ana = Node::start(dir.path(), "ana", &args);
    let mut mule = Node::start(dir.path(), "mule", &args);
    let mut bob = Node::start(dir.path(), "bob", &args);
    let id_of = |node: &Node| node.get("/v1/status")["node_id"].as_str().expect("an id").to_owned();
    let (ana_id, mule_id) = (id_of(&ana), id_of(&mule));
    let checks = [&ana, &bob].map(|node| {
        let joined = join_with_password(node, "#canary-ops", PASSWORD);
        assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
        let joined: Value = serde_json::from_slice(&joined.stdout).expect("JSON");
        joined["check"].as_str().expect("a check").to_owned()
    });
    assert_eq!(checks[0], checks[1], "members see the same");
    // Bob is away while Ana writes, so that only the mule has it.
    bob.process.kill();
    let sent = ana.run(&["send", "--to", "#canary-ops", "--wait", "synced", "CANARY-51e7 at noon", "--json"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    assert_eq!((&sent["protection"], &sent["to"]), (&json!("channel"), &json!("#canary-ops")));
    let trace = ana.get(&format!("/v1/messages/{}/trace", sent["id"].as_str().expect("an id")));
    assert!(trace["steps"].as_array().expect("steps").iter().any(|s| s["peer"] == *mule_id), "{trace}");
    assert!(mule.texts().is_empty(), "{:?}", mule.texts());
    assert_eq!(mule.get("/v1/status")["messages"]["unread"], 0);
    // The mule joins under the name with another password: nothing appears, nothing says why.
    assert!(join_with_password(&mule, "#canary-ops", "another password altogether").status.success());
    assert!(mule.texts().is_empty(), "{:?}", mule.texts());
    assert_eq!(mule.run(&["channel", "leave", "canary-ops"]).status.code(), Some(0));
    // Ana leaves the stage: what Bob gets, he gets from the mule.
    drop(ana);
    bob.restart();
    let listed = wait_for("the post to come by the mule", PATIENCE, || {
        let page = bob.get("/v1/messages?conversation=%23canary-ops");
        page["items"].as_array().expect("a list").first().cloned()
    });
    assert_eq!((&listed["text"], &listed["from"]["id"]), (&json!("CANARY-51e7 at noon"), &json!(ana_id)));
    assert_eq!((&listed["protection"], &listed["read"]), (&json!("channel"), &json!(false)));
    let found = json_of(&bob, &["search", "noon", "--json"]);
    assert_eq!(found.as_array().expect("a list").len(), 1);
    let channels = json_of(&bob, &["channel", "--json"]);
    let channel = &channels.as_array().expect("a list")[0];
    assert_eq!((&channel["unread"], &channel["members_heard"]), (&json!(1), &json!(1)), "{channel}");
    assert_eq!(mule.process.stop(), Some(0));
    for node in [&mule, &bob] {
        for needle in ["CANARY", "canary-ops"] {
            assert!(!holds(&node.state, needle.as_bytes()), "{needle} lies in {}", node.state.display());
        }
        let log = node.process.log();
        assert!(!log.contains("CANARY"), "a log holds what was written, or a password");
        assert!(!log.contains("canary-ops"), "a log holds the name of a channel");
    }
}

fn stdout_of(node: &Node, args: &[&str]) -> String {
    let output = node.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json_of(node: &Node, args: &[&str]) -> Value {
    serde_json::from_str(&stdout_of(node, args)).expect("JSON")
}

/// Whether any file below a directory holds these bytes.
fn holds(directory: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).expect("readable").any(|entry| {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}
