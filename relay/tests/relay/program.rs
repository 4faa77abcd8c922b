//! The program: what it says, and how it ends.

use crate::client::{Client, Frame, get};
use crate::server::Program;
use rustix::process::Signal;
use std::process::Command;

/// Runs it with arguments that it does not start with: exit status and stderr.
fn refused(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_meshlink-relay")).args(args).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn signals_end_it_with_status_0_and_clients_are_told() {
    for signal in [Signal::TERM, Signal::INT] {
        let relay = Program::start(&[]);
        let mut client = Client::json(relay.address);
        relay.signal(signal);
        assert!(matches!(client.receive(), Frame::Close(1001, _)));
        let (status, stderr) = relay.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn a_port_in_use_ends_it_with_status_1_and_says_what_to_do() {
    let relay = Program::start(&[]);
    let (status, stderr) = refused(&["--listen", &relay.address.to_string()]);
    assert_eq!(status, 1);
    assert!(stderr.contains("is in use") && stderr.contains("--listen"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn an_address_of_another_machine_ends_it_with_status_1() {
    let (status, stderr) = refused(&["--listen", "192.0.2.1:0"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("192.0.2.1:0") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn settings_that_can_not_be_used_end_it_with_status_2() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (args, expected) in [
        (&["--listen", "8080"][..], "127.0.0.1:8080"),
        (&["--max-rate", "fast"], "--max-rate"),
        (&["--tls-cert", empty], "--tls-key"),
        (&["--bogus"], "--bogus"),
        (&["--allow-origin", "mesh.example"], "scheme://host"),
        (&["--token-file", "/nonexistent/file"], "/nonexistent/file"),
        (&["--token-file", empty], "holds no token"),
        (&["--tls-cert", empty, "--tls-key", empty], "holds no certificate"),
    ] {
        let (status, stderr) = refused(args);
        assert_eq!(status, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
}

#[test]
fn open_to_the_network_it_says_so() {
    // On a wildcard address the port is reachable from elsewhere only for as long as this test runs.
    let mut child = Command::new(env!("CARGO_BIN_EXE_meshlink-relay"))
        .args(["--listen", "0.0.0.0:0"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("read along") {
        assert!(std::io::BufRead::read_line(&mut stderr, &mut said).unwrap() > 0, "{said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("open to the local network") && said.contains("--token-file"), "{said}");
}

#[test]
fn y13_it_writes_down_neither_who_comes_nor_what_is_said_nor_tokens() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret-token-0123456789\n").unwrap();
    let relay = Program::start(&["--token-file", file.path().to_str().unwrap()]);
    let bearer = "Authorization: Bearer secret-token-0123456789\r\nX-Device-Id: somebody\r\n";
    let mut client = Client::join(relay.address, "/?topic=hideout", bearer);
    client.send_text(r#"{"type":"TEXT","payload":"canary"}"#);
    client.send_text("broken canary");
    client.receive();
    for _ in 0..3 {
        Client::try_join(relay.address, "/", "Authorization: Bearer wrong-canary\r\n");
    }
    client.send(0xff, b"canary");
    client.receive();
    let metrics = get(relay.address, "/healthz");
    assert!(metrics.starts_with("HTTP/1.1 200"));
    relay.signal(Signal::TERM);
    let (_, stderr) = relay.wait();
    for trace in ["127.0.0.1", "secret", "canary", "hideout", "somebody"] {
        assert!(!stderr.contains(trace), "{trace} in {stderr}");
    }
}
