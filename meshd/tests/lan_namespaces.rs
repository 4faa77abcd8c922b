//! Daemons on networks of their own: namespaces joined by a bridge, real multicast DNS, real netlink.
//!
//! Needs root and `ip` (iproute2), so it is no part of `cargo test`: `.ci/run lan` runs it.

mod daemon_process;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
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

#[test]
fn over_two_networks_one_link_works_and_the_other_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.switch("br1");
    for (host, last) in [("a", 1), ("b", 2)] {
        lab.plugged(host, last);
        lab.plug(host, "eth1", "br1", Some(Ipv4Addr::new(10, 77, 1, last)));
    }
    let a = lab.start(dir.path(), "a");
    let b = lab.start(dir.path(), "b");
    a.post("one");
    wait_for_text(&b, "one", SOON);
    for device in ["eth0", "eth1"] {
        lab.on("a", &format!("link set {device} down"));
        a.post(device);
        wait_for_text(&b, device, PATIENCE);
        lab.on("a", &format!("link set {device} up"));
        wait_for("a link", PATIENCE, || (lan_links(&a) > 0).then_some(()));
    }
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
