//! Daemons on networks of their own: namespaces joined by a bridge, real multicast DNS, real netlink.
//!
//! Needs root and `ip` (iproute2), so it is no part of `cargo test`: `.ci/run lan` runs it.

mod daemon_process;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use daemon_process::{Daemon, PATIENCE, wait_for};

/// What "within a few seconds" means on a machine with other things to do.
const SOON: Duration = Duration::from_secs(10);

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Networks and hosts of one test; gone with it.
struct Lab {
    prefix: String,
    namespaces: Vec<String>,
}

impl Lab {
    /// With a bridge as its switch.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("ml{}-{number}-", std::process::id());
        let mut lab = Self { prefix, namespaces: Vec::new() };
        lab.namespace("switch");
        lab.switch("br0");
        lab
    }

    fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn namespace(&mut self, host: &str) {
        let name = self.name(host);
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        self.namespaces.push(name);
    }

    fn switch(&self, bridge: &str) {
        let switch = self.name("switch");
        ip(&format!("-n {switch} link add {bridge} type bridge mcast_snooping 0"));
        ip(&format!("-n {switch} link set {bridge} up"));
    }

    /// A machine without a cable.
    fn host(&mut self, host: &str) {
        self.namespace(host);
    }

    /// Puts a cable in: interface `device` of `host` to a bridge of the switch.
    fn plug(&self, host: &str, device: &str, bridge: &str, address: Option<Ipv4Addr>) {
        let (switch, name) = (self.name("switch"), self.name(host));
        let port = format!("{host}-{device}");
        ip(&format!("-n {name} link add {device} type veth peer name {port} netns {switch}"));
        ip(&format!("-n {switch} link set {port} master {bridge}"));
        ip(&format!("-n {switch} link set {port} up"));
        if let Some(address) = address {
            ip(&format!("-n {name} addr add {address}/24 dev {device}"));
        }
        ip(&format!("-n {name} link set {device} up"));
    }

    fn on(&self, host: &str, args: &str) {
        ip(&format!("-n {} {args}", self.name(host)));
    }

    /// A machine on the bridge `br0`.
    fn plugged(&mut self, host: &str, last: u8) {
        self.host(host);
        self.plug(host, "eth0", "br0", Some(Ipv4Addr::new(10, 77, 0, last)));
    }

    fn start(&self, dir: &Path, host: &str) -> Daemon {
        Daemon::start_in(dir, host, &self.name(host), &[])
    }

    /// Runs a program on a host.
    fn run(&self, host: &str, program: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).args(program.split(' '));
        assert!(command.stdout(Stdio::null()).status().expect("ip runs").success(), "{program}");
    }

    /// Plays a part of this file on a host: the test of that name, which does nothing elsewhere.
    fn play(&self, host: &str, part: &str, variables: &[(&str, &str)]) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).arg(std::env::current_exe().expect("this test"));
        command.args([part, "--exact"]).env("LAB_PART", part).envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("ip runs")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.namespaces {
            // What can't be removed is left to whoever looks.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn wait_for_text(daemon: &Daemon, text: &str, patience: Duration) -> Duration {
    let start = Instant::now();
    wait_for(text, patience, || daemon.texts().contains(&text.to_owned()).then_some(()));
    start.elapsed()
}

fn lan_links(daemon: &Daemon) -> usize {
    daemon.links().iter().filter(|link| link["kind"] == "lan" && !link["peer"].is_null()).count()
}

#[test]
fn two_nodes_meet_and_swap_with_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    let a = lab.start(dir.path(), "a");
    a.post("from a");
    let b = lab.start(dir.path(), "b");
    let took = wait_for_text(&b, "from a", SOON);
    b.post("from b");
    wait_for_text(&a, "from b", SOON);
    println!("start to first bundle: {took:?} after the API answered");
    wait_for("one link", PATIENCE, || (lan_links(&a) == 1 && lan_links(&b) == 1).then_some(()));
    let status = wait_for("the status", PATIENCE, || a.transport("lan").filter(|s| s["state"] == "up"));
    assert!(status["detail"].as_str().unwrap().contains("eth0"), "{status}");
}

#[test]
fn link_local_ipv6_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    for host in ["a", "b"] {
        lab.host(host);
        lab.plug(host, "eth0", "br0", None);
    }
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("over fe80");
    wait_for_text(&b, "over fe80", PATIENCE);
    let address = b.links()[0]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("[fe80::") && address.contains("%eth0]"), "{address}");
}

#[test]
fn a_third_joins() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    lab.plugged("c", 3);
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("early");
    wait_for_text(&b, "early", SOON);
    let c = lab.start(dir.path(), "c");
    wait_for_text(&c, "early", SOON);
    c.post("late");
    wait_for_text(&a, "late", SOON);
    wait_for_text(&b, "late", SOON);
    wait_for("everybody linked with everybody", PATIENCE, || {
        [&a, &b, &c].iter().all(|node| lan_links(node) == 2).then_some(())
    });
}

#[test]
fn a_cable_that_is_pulled_and_put_back_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("before");
    wait_for_text(&b, "before", SOON);
    for round in 0..3 {
        lab.on("a", "link set eth0 down");
        wait_for("the end of the link", PATIENCE, || (lan_links(&a) == 0).then_some(()));
        let status = a.transport("lan").unwrap();
        assert_eq!((&status["state"], status["hint"].is_string()), (&"down".into(), true), "{status}");
        let text = format!("meanwhile {round}");
        b.post(&text);
        lab.on("a", "link set eth0 up");
        let took = wait_for_text(&a, &text, SOON);
        println!("healed in {took:?}");
    }
    wait_for("one link", PATIENCE, || (lan_links(&a) == 1 && lan_links(&b) == 1).then_some(()));
}

#[test]
fn an_interface_that_appears_later_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.host("b");
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("waiting for b");
    wait_for("the status", PATIENCE, || b.transport("lan").filter(|s| s["state"] == "down"));
    lab.plug("b", "wlan0", "br0", Some(Ipv4Addr::new(10, 77, 0, 2)));
    let took = wait_for_text(&b, "waiting for b", SOON);
    println!("met in {took:?} after the interface appeared");
}

/// The other side may not notice that the first network is gone: its kernel's probes find out after 22 s, and the
/// session's own limit, 30 s, settles what was said in between.
#[test]
fn of_two_networks_one_is_enough() {
    const NOTICED: Duration = Duration::from_secs(75);
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.switch("br1");
    for (host, last) in [("a", 1), ("b", 2)] {
        lab.plugged(host, last);
        lab.plug(host, "eth1", "br1", Some(Ipv4Addr::new(10, 77, 1, last)));
    }
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("over both");
    wait_for_text(&b, "over both", SOON);
    let address = a.links()[0]["address"].as_str().unwrap().to_owned();
    let used = if address.contains("%eth1") || address.starts_with("10.77.1.") { "eth1" } else { "eth0" };
    lab.on("a", &format!("link set {used} down"));
    a.post("over the other");
    let took = wait_for_text(&b, "over the other", NOTICED);
    println!("over the other network after {took:?}");
}

#[test]
fn a_machine_that_vanishes_without_a_word_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("hello");
    wait_for_text(&b, "hello", SOON);
    // The switch eats everything; both interfaces stay up.
    lab.on("switch", "link set a-eth0 nomaster");
    wait_for("both to notice", Duration::from_secs(60), || {
        (lan_links(&a) == 0 && lan_links(&b) == 0).then_some(())
    });
}

/// What a part was told, if it is being played.
fn told(part: &str, variable: &str) -> Option<String> {
    (std::env::var("LAB_PART").ok()? == part).then(|| std::env::var(variable).expect("told"))
}

const MDNS: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// The part of a machine that announces nodes which do not exist, asks without end, and floods a node's port.
#[test]
fn attacker() {
    let Some(target) = told("attacker", "TARGET") else { return };
    let target: SocketAddr = target.parse().unwrap();
    let socket = UdpSocket::bind(MDNS).or_else(|_| UdpSocket::bind(("0.0.0.0", 5353))).unwrap();
    let end = Instant::now() + Duration::from_secs(6);
    let mut kept: Vec<TcpStream> = Vec::new();
    let mut number = 0_u64;
    while Instant::now() < end {
        for _ in 0..50 {
            number += 1;
            // A full queue of our own is no reason to stop.
            let _ = socket.send_to(&announcement(number, target.port()), MDNS);
            let _ = socket.send_to(&question(), MDNS);
        }
        if let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
            let words: &[u8] = match number / 50 % 4 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\n\r\n",
                2 => b"MeshLAN\x01aaaaaaaaaaaaaaaa\x00\x21\x01",
                _ => b"MeshLAN\x01bbbbbbbbbbbbbbbb\xff\xff",
            };
            let _ = stream.write_all(words);
            kept.push(stream);
        }
    }
}

fn dns_name(labels: &[&[u8]]) -> Vec<u8> {
    let mut name: Vec<u8> = Vec::new();
    for label in labels {
        name.push(label.len() as u8);
        name.extend_from_slice(label);
    }
    name.push(0);
    name
}

const SERVICE: [&[u8]; 3] = [b"_meshlink", b"_tcp", b"local"];

fn question() -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(&dns_name(&SERVICE));
    packet.extend_from_slice(&[0, 12, 0, 1]);
    packet
}

fn announcement(number: u64, port: u16) -> Vec<u8> {
    let label: Vec<u8> = (0..16).map(|n| b'a' + (number >> (4 * n) & 15) as u8).collect();
    let instance = dns_name(&[&label, SERVICE[0], SERVICE[1], SERVICE[2]]);
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    packet.extend_from_slice(&dns_name(&SERVICE));
    packet.extend_from_slice(&[0, 12, 0, 1, 0, 0, 0x11, 0x94]);
    packet.extend_from_slice(&(instance.len() as u16).to_be_bytes());
    packet.extend_from_slice(&instance);
    packet.extend_from_slice(&instance);
    packet.extend_from_slice(&[0, 33, 0, 1, 0, 0, 0, 120, 0, 7, 0, 0, 0, 0]);
    packet.extend_from_slice(&port.to_be_bytes());
    packet.push(0);
    packet
}

/// `VmRSS` of a process, in KiB, and its open descriptors.
fn vitals(daemon: &Daemon) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("always there");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    (kib, std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count())
}

fn port_of(daemon: &Daemon) -> u16 {
    wait_for("the port", PATIENCE, || {
        let detail = daemon.transport("lan")?["detail"].as_str()?.to_owned();
        detail.split("TCP port ").nth(1)?.split(':').next()?.parse().ok()
    })
}

#[test]
fn s12_b05_a_hostile_machine_does_not_disturb_an_honest_pair() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    lab.plugged("evil", 66);
    lab.on("evil", "route add 224.0.0.0/4 dev eth0");
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("before");
    wait_for_text(&b, "before", SOON);
    let (before_kib, before_fds) = vitals(&a);
    let target = format!("10.77.0.1:{}", port_of(&a));
    let mut attacker = lab.play("evil", "attacker", &[("TARGET", &target)]);
    let mut round = 0;
    while attacker.try_wait().unwrap().is_none() {
        round += 1;
        let text = format!("during {round}");
        a.post(&text);
        wait_for_text(&b, &text, SOON);
        let (_, fds) = vitals(&a);
        assert!(fds < before_fds + 20, "{fds} descriptors");
    }
    assert!(round >= 3, "only {round} messages during the attack");
    let (kib, _) = vitals(&a);
    assert!(kib < before_kib + 4096, "{before_kib} KiB grew to {kib}");
    // Somebody new is found all the same.
    lab.plugged("c", 3);
    let c = lab.start(dir.path(), "c");
    wait_for_text(&c, "before", SOON);
}

#[test]
fn a_node_behind_a_router_is_met_if_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.switch("br1");
    lab.plugged("a", 1);
    lab.host("b");
    lab.plug("b", "eth0", "br1", Some(Ipv4Addr::new(10, 77, 1, 2)));
    lab.plugged("router", 254);
    lab.plug("router", "eth1", "br1", Some(Ipv4Addr::new(10, 77, 1, 254)));
    lab.run("router", "sysctl -w net.ipv4.ip_forward=1");
    lab.on("a", "route add default via 10.77.0.254");
    lab.on("b", "route add default via 10.77.1.254");
    let a = lab.start(dir.path(), "a");
    a.post("beyond the router");
    let target = format!("10.77.0.1:{}", port_of(&a));
    let b = Daemon::start_in(dir.path(), "b", &lab.name("b"), &["--lan-peer", &target]);
    wait_for_text(&b, "beyond the router", SOON);
}

/// The part of a machine that writes down all it hears.
#[test]
fn ear() {
    let Some(file) = told("ear", "FILE") else { return };
    let socket = UdpSocket::bind(("0.0.0.0", 5353)).unwrap();
    socket.join_multicast_v4(&MDNS.0, &Ipv4Addr::UNSPECIFIED).unwrap();
    let mut file = std::fs::File::create(file).unwrap();
    let mut buffer = [0; 2048];
    while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
        let SocketAddr::V4(from) = from else { continue };
        // The last byte of the address says who it was.
        let head = [from.ip().octets()[3], (bytes >> 8) as u8, bytes as u8];
        file.write_all(&head).unwrap();
        file.write_all(&buffer[..bytes]).unwrap();
    }
}

/// What one machine said, as the set of all strings of eight bytes in it.
fn said_by(file: &Path, last: u8) -> BTreeSet<[u8; 8]> {
    let mut bytes = Vec::new();
    std::fs::File::open(file).expect("the ear's").read_to_end(&mut bytes).expect("readable");
    let (mut rest, mut strings) = (bytes.as_slice(), BTreeSet::new());
    while let [from, high, low, after @ ..] = rest {
        let Some((packet, next)) = after.split_at_checked(usize::from(*high) << 8 | usize::from(*low)) else {
            break;
        };
        if *from == last {
            strings.extend(
                packet
                    .windows(8)
                    .skip(DNS_HEADER_BYTES)
                    .map(|window| <[u8; 8]>::try_from(window).expect("eight")),
            );
        }
        rest = next;
    }
    strings
}

/// Flags and counts (RFC 1035 section 4.1.1): what kind of packet it is, never who sent it.
const DNS_HEADER_BYTES: usize = 12;

/// Whatever a node says on two networks and no other node says would tell that it is the same one.
#[test]
fn b02_a_node_that_moves_to_another_network_is_not_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    lab.plugged("spy", 9);
    lab.on("spy", "route add 224.0.0.0/4 dev eth0");
    let file: PathBuf = dir.path().join("heard");
    let mut spy = lab.play("spy", "ear", &[("FILE", file.to_str().unwrap())]);
    let a = lab.start(dir.path(), "a");
    let _b = lab.start(dir.path(), "b");
    let port = port_of(&a);
    wait_for("both to be heard", PATIENCE, || {
        (file.exists() && !said_by(&file, 1).is_empty() && !said_by(&file, 2).is_empty()).then_some(())
    });
    // Another network: other addresses, other hardware address.
    lab.on("a", "link set eth0 down");
    lab.on("a", "addr flush dev eth0");
    wait_for("the link to end", PATIENCE, || (lan_links(&a) == 0).then_some(()));
    lab.on("a", "link set eth0 address 02:00:00:00:00:77");
    lab.on("a", "addr add 10.77.0.101/24 dev eth0");
    lab.on("a", "link set eth0 up");
    wait_for("it to be heard there", PATIENCE, || (!said_by(&file, 101).is_empty()).then_some(()));
    // Its own links: the other one may not have noticed yet that the link of before is gone.
    wait_for("it to meet there", PATIENCE, || (lan_links(&a) == 1).then_some(()));
    // The status says so within a second of the change, not at once.
    wait_for("another port", PATIENCE, || (port_of(&a) != port).then_some(()));
    let (here, there, other) = (said_by(&file, 1), said_by(&file, 101), said_by(&file, 2));
    // Names that others know by now are in their questions, so what the other says is no measure then.
    let common: Vec<_> = here.intersection(&there).filter(|string| !other.contains(*string)).collect();
    assert!(common.is_empty(), "{common:?}");
    spy.kill().expect("own child");
    spy.wait().expect("own child");
}

/// The part of a machine that records every packet, as a switch can.
#[test]
fn sniffer() {
    let Some(file) = told("sniffer", "FILE") else { return };
    let every = socket2::Protocol::from(i32::from(3_u16.to_be()));
    let mut socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(every)).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    let mut file = std::fs::File::create(file).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(bytes) = socket.read(&mut buffer) {
        file.write_all(&buffer[..bytes]).unwrap();
    }
}

fn deliver(from: &Daemon, to: &str, text: &str) {
    let message = from.done("POST", "/v1/messages", &serde_json::json!({ "to": to, "text": text }));
    let id = message["id"].as_str().expect("an id");
    wait_for("it to arrive", PATIENCE, || (from.status_of(id) == "delivered").then_some(()));
}

/// Public posts and private mail, in both directions; who wrote what to whom is for the two alone.
#[test]
fn b08_c15_whoever_records_every_packet_finds_no_words_and_no_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.plugged("a", 1);
    lab.plugged("b", 2);
    let file = dir.path().join("recorded");
    let mut sniffer = lab.play("switch", "sniffer", &[("FILE", file.to_str().unwrap())]);
    wait_for("the sniffer", PATIENCE, || file.exists().then_some(()));
    let (a, b) = (lab.start(dir.path(), "a"), lab.start(dir.path(), "b"));
    let id_of = |daemon: &Daemon| daemon.get("/v1/status")["node_id"].as_str().unwrap().to_owned();
    let ids = [id_of(&a), id_of(&b)];
    a.post("CANARY to everybody");
    wait_for_text(&b, "CANARY to everybody", SOON);
    deliver(&a, &ids[1], "CANARY hello");
    b.done("POST", "/v1/contacts", &serde_json::json!({ "id": ids[0], "name": "CANARY-ana" }));
    deliver(&b, &ids[0], "CANARY hello to you");
    deliver(&a, &ids[1], &format!("CANARY {}", "at length ".repeat(400)));
    sniffer.kill().expect("own child");
    sniffer.wait().expect("own child");

    let recorded = std::fs::read(&file).unwrap();
    let holds = |part: &[u8]| recorded.windows(part.len()).any(|window| window == part);
    assert!(holds(b"_meshlink") && recorded.len() > 10_000, "it was on the way: {} bytes", recorded.len());
    assert!(!holds(b"CANARY"), "words");
    for id in &ids {
        let bytes = data_encoding::BASE32_NOPAD.decode(id.to_ascii_uppercase().as_bytes()).unwrap();
        for part in id.as_bytes().chunks_exact(8).chain(bytes.chunks_exact(5)) {
            assert!(!holds(part), "a part of {id}");
        }
    }
}
