//! What the daemon does with a BlueZ that refuses it something, and what it says on the bus at all.
//!
//! Against a bus of the test's own. The same with a real bluetoothd is `faults.sh` in the test bed.
#![cfg(target_os = "linux")]

mod daemon_process;

use std::collections::BTreeSet;

use daemon_process::fake_bluez::FakeBluez;
use daemon_process::{Daemon, PATIENCE, wait_for};

/// A daemon on a bus, and what its status says of Bluetooth.
fn on(bus: &FakeBluez, dir: &std::path::Path) -> Daemon {
    Daemon::start_with(dir, "state", &[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)], &["--adapter", "hci0"])
}

fn wait_until_it_says(daemon: &Daemon, words: &str) {
    wait_for(words, PATIENCE, || daemon.get("/v1/status").to_string().contains(words).then_some(()));
}

/// Waits for so many calls of that name; the paths in them, each of which must be new.
fn fresh_paths(bus: &FakeBluez, member: &str, count: usize) {
    let paths = wait_for(member, PATIENCE, || {
        let paths = bus.paths_in(member);
        (paths.len() >= count).then_some(paths)
    });
    let different: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(different.len(), paths.len(), "{member}: a path is used again: {paths:?}");
}

#[test]
fn p09_a_refused_advertisement_is_tried_again_under_a_new_path_and_others_are_listened_for_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let bus = FakeBluez::refusing(dir.path(), &["RegisterAdvertisement"]);
    let daemon = on(&bus, dir.path());
    wait_until_it_says(&daemon, "listening, but not heard by others");
    wait_until_it_says(&daemon, "the Bluetooth service refuses the advertisement");
    fresh_paths(&bus, "RegisterAdvertisement", 3);
    wait_for("listening", PATIENCE, || {
        bus.calls().iter().any(|call| call.member == "StartDiscovery").then_some(())
    });
    bus.relent();
    wait_until_it_says(&daemon, "advertising and listening");
    fresh_paths(&bus, "RegisterAdvertisement", 4);
}

#[test]
fn p09_refused_services_are_offered_again_under_a_new_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let bus = FakeBluez::refusing(dir.path(), &["RegisterApplication"]);
    let daemon = on(&bus, dir.path());
    wait_until_it_says(&daemon, "the Bluetooth service refuses the GATT services");
    fresh_paths(&bus, "RegisterApplication", 3);
    assert!(bus.paths_in("RegisterAdvertisement").is_empty(), "nobody is called who could not be answered");
    bus.relent();
    wait_until_it_says(&daemon, "advertising and listening");
}

#[test]
fn p09_an_adapter_that_comes_while_bluez_answers_is_not_missed() {
    let dir = tempfile::tempdir().expect("a directory");
    let bus = FakeBluez::with_a_late_adapter(dir.path());
    let daemon = on(&bus, dir.path());
    wait_until_it_says(&daemon, "advertising and listening");
}

#[test]
fn d05_the_daemon_owns_no_name_on_the_bus_and_calls_nobody_but_bluez() {
    let dir = tempfile::tempdir().expect("a directory");
    let bus = FakeBluez::refusing(dir.path(), &[]);
    let mut daemon = on(&bus, dir.path());
    wait_until_it_says(&daemon, "advertising and listening");
    wait_for("listening", PATIENCE, || {
        bus.calls().iter().any(|call| call.member == "StartDiscovery").then_some(())
    });
    daemon.signal("TERM");
    let calls: BTreeSet<(String, String)> =
        bus.calls().into_iter().map(|call| (call.to, call.member)).collect();
    // RequestName is none of them: whoever would call the daemon has to guess a number, and the bus's own policy denies it.
    let of_bus = ["Hello", "AddMatch", "RemoveMatch", "GetNameOwner"];
    for (to, member) in &calls {
        let is_right =
            to == "org.bluez" || (to == "org.freedesktop.DBus" && of_bus.contains(&member.as_str()));
        assert!(is_right, "{member} of {to}");
    }
    assert!(calls.contains(&("org.bluez".to_owned(), "RegisterApplication".to_owned())), "{calls:?}");
}
