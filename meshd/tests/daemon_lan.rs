//! Daemons that meet over TCP on this machine, without multicast: one names the other. What needs networks of
//! its own is in `lan_namespaces.rs`.

mod daemon_process;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use daemon_process::{Daemon, PATIENCE, wait_for};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A daemon that shows up on no network but takes connections at `port`, and dials `peers`.
fn start(dir: &Path, name: &str, port: u16, peers: &[u16]) -> Daemon {
    let config = dir.join(format!("{name}.toml"));
    let peers: Vec<String> = peers.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let text = format!("[lan]\nenabled = true\nport = {port}\ninterfaces = [\"none\"]\npeers = {peers:?}\n");
    std::fs::write(&config, text).expect("written");
    Daemon::start(dir, name, &["--lan", "--config", config.to_str().expect("plain path")])
}

fn wait_for_text(daemon: &Daemon, text: &str) {
    wait_for(text, PATIENCE, || daemon.texts().contains(&text.to_owned()).then_some(()));
}

fn wait_for_links(daemon: &Daemon, count: usize) {
    wait_for(&format!("{count} links"), PATIENCE, || (daemon.links().len() == count).then_some(()));
}

#[test]
fn a_named_node_is_met_and_a_message_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let a = start(dir.path(), "a", port, &[]);
    let id = a.post("over tcp");
    let b = start(dir.path(), "b", 0, &[port]);
    wait_for_text(&b, "over tcp");
    wait_for("synced", PATIENCE, || (a.status_of(&id) == "synced").then_some(()));
    let link = &b.links()[0];
    assert_eq!((&link["kind"], &link["address"]), (&"lan".into(), &format!("127.0.0.1:{port}").into()));
    assert_eq!(link["peer"], a.get("/v1/status")["node_id"]);
}

#[test]
fn both_dial_at_once_and_one_link_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (left, right) = (free_port(), free_port());
    let a = start(dir.path(), "a", left, &[right]);
    let b = start(dir.path(), "b", right, &[left]);
    a.post("from a");
    b.post("from b");
    wait_for_text(&a, "from b");
    wait_for_text(&b, "from a");
    wait_for_links(&a, 1);
    wait_for_links(&b, 1);
}

#[test]
fn a_list_with_this_node_in_it_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let (left, right) = (free_port(), free_port());
    let all = [left, right];
    let a = start(dir.path(), "a", left, &all);
    let b = start(dir.path(), "b", right, &all);
    a.post("hello");
    wait_for_text(&b, "hello");
    wait_for_links(&a, 1);
}

#[test]
fn a_node_that_was_killed_is_met_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut a = start(dir.path(), "a", port, &[]);
    let b = start(dir.path(), "b", 0, &[port]);
    wait_for_links(&b, 1);
    a.signal("KILL");
    b.post("meanwhile");
    a.restart();
    wait_for_text(&a, "meanwhile");
}

#[test]
fn it_is_off_when_switched_off_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = Daemon::start(dir.path(), "a", &["--no-lan"]);
    let status = a.transport("lan").unwrap();
    assert_eq!((&status["state"], &status["detail"]), (&"off".into(), &"switched off".into()));
    assert!(status["hint"].as_str().unwrap().contains("--no-lan"), "{status}");
}

#[test]
fn without_a_network_it_says_so_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let a = start(dir.path(), "a", 0, &[]);
    let status = wait_for("the status", PATIENCE, || a.transport("lan").filter(|s| s["state"] == "down"));
    assert_eq!(status["detail"], "no local network, no neighbour yet");
    assert!(status["hint"].as_str().unwrap().contains("cable"), "{status}");
}

#[test]
fn a_port_that_is_taken_is_replaced_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let a = start(dir.path(), "a", port, &[]);
    let detail = format!("TCP port {port} is taken");
    wait_for("the status", PATIENCE, || {
        a.transport("lan").filter(|status| status["detail"].as_str().unwrap().starts_with(&detail))
    });
}

/// Waits until the other side hangs up.
fn is_cut(mut stream: TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).expect("a time");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            // A read with a time limit is interrupted when the machine is stopped and goes on.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("it listens")
}

#[test]
fn s12_garbage_silence_and_floods_are_cut_while_an_honest_pair_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let a = start(dir.path(), "a", port, &[]);
    let b = start(dir.path(), "b", 0, &[port]);
    wait_for_links(&a, 1);
    let mut garbage = connect(port);
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: mesh\r\n\r\n").unwrap();
    assert!(is_cut(garbage, Duration::from_secs(3)), "garbage");
    // A good hello, then a frame that is longer than any may be.
    let mut long = connect(port);
    long.write_all(b"MeshLAN\x01aaaaaaaaaaaaaaaa\xFF\xFFxxxx").unwrap();
    assert!(is_cut(long, Duration::from_secs(3)), "a frame that is too long");
    let silent = connect(port);
    assert!(is_cut(silent, Duration::from_secs(8)), "silence");
    let flood: Vec<TcpStream> = (0..100).map(|_| connect(port)).collect();
    a.post("during the flood");
    wait_for_text(&b, "during the flood");
    let kept = flood.into_iter().filter(|stream| !refused(stream)).count();
    assert!(kept <= 3, "{kept} half-open connections of one machine");
    assert_eq!(a.links().len(), 1);
}

/// Whether the other side has hung up by now, or does so in a moment.
fn refused(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
    match stream.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => panic!("a node says nothing before its visitor does"),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}
