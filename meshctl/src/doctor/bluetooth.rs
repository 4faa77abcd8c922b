//! Why Bluetooth does not work: bus, BlueZ, adapters, switches, settings, in the order in which each needs the one
//! before it.
//!
//! `busctl` (systemd) asks BlueZ, so that no D-Bus library is needed here. Where it is missing, what only BlueZ
//! knows is left out. BlueZ is not asked before the bus says that it is there: asking would start it.

use super::Finding;
use super::machine::Machine;
use serde_json::Value;
use std::io::ErrorKind;

/// Up to here a characteristic has one socket for all peers (see docs/ble.md).
const BLUEZ_SHARES_SOCKETS: (u32, u32) = (5, 68);
const ADAPTERS: &str = "/sys/class/bluetooth";
const SWITCHES: &str = "/sys/class/rfkill";
const SETTINGS: &str = "/etc/bluetooth/main.conf";
/// Where distributions keep BlueZ's daemon; it is on nobody's PATH.
const BLUETOOTHD: [&str; 3] =
    ["/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd", "/usr/sbin/bluetoothd"];

/// Everything about Bluetooth, until the first thing is missing that the rest needs.
pub(crate) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![bus(machine)];
    if findings[0].state == super::State::Ok {
        findings.push(bluez(machine));
    }
    let adapters = adapters(machine);
    if adapters.is_empty() {
        findings.push(Finding::fail(
            "bluetooth.adapter",
            "this machine has no Bluetooth adapter that its kernel knows",
            "plug one in; on a Raspberry Pi see that /boot/firmware/config.txt has no dtoverlay=disable-bt",
        ));
        return findings;
    }
    findings.extend(switches(machine));
    if findings
        .iter()
        .any(|finding| finding.check == "bluetooth.bluez" && finding.state != super::State::Fail)
    {
        findings.extend(objects(machine, &adapters));
    }
    findings.push(settings(machine));
    findings
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are many")]
fn bus(machine: &Machine) -> Finding {
    let (path, connected) = machine.bus();
    let Err(error) = connected else { return Finding::ok("dbus", "the system bus answers") };
    let detail = format!("no system bus at {}: {error}", path.display());
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "install and start dbus: `sudo apt install dbus && sudo systemctl start dbus`; in a container hand in the \
             host's socket"
        }
        ErrorKind::PermissionDenied => "run this as a user who may use the system bus",
        _ => "see `systemctl status dbus`",
    };
    Finding::fail("dbus", detail, hint)
}

fn bluez(machine: &Machine) -> Finding {
    let check = "bluetooth.bluez";
    let version = BLUETOOTHD.iter().find_map(|path| machine.ask(path, &["--version"]));
    let version = version.map(|text| text.trim().to_owned());
    let name = version.as_deref().map_or_else(|| "BlueZ".to_owned(), |version| format!("BlueZ {version}"));
    let owned = call(
        machine,
        ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner"],
        &["s", "org.bluez"],
    );
    match (owned.and_then(|answer| answer["data"][0].as_bool()), version.as_deref().and_then(numbers)) {
        (Some(false), Some(_)) => Finding::fail(
            check,
            format!("{name} is installed and does not run"),
            "start it: `sudo systemctl enable --now bluetooth`",
        ),
        (Some(false), None) => Finding::fail(
            check,
            "BlueZ, Linux' Bluetooth service, is not there",
            "install and start it: `sudo apt install bluez && sudo systemctl enable --now bluetooth`",
        ),
        (_, Some(version)) if version <= BLUEZ_SHARES_SOCKETS => Finding::ok(
            check,
            format!("{name}; from 5.69 on each peer has a socket of its own, which is faster with several"),
        ),
        (Some(true), _) => Finding::ok(check, format!("{name} runs")),
        (None, _) => Finding::warn(
            check,
            format!("{name}; whether it runs could not be asked"),
            "install systemd's busctl for this check",
        ),
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Controllers; connections (`hci0:64`) are in the same directory.
fn adapters(machine: &Machine) -> Vec<String> {
    let mut names = machine.names(ADAPTERS);
    names.retain(|name| !name.contains(':'));
    names
}

fn switches(machine: &Machine) -> Vec<Finding> {
    let check = "bluetooth.rfkill";
    let is_set = |switch: &str, what: &str| {
        machine.read(&format!("{SWITCHES}/{switch}/{what}")).is_some_and(|text| text.trim() == "1")
    };
    let switches = machine.names(SWITCHES);
    let bluetooth: Vec<&String> = switches
        .iter()
        .filter(|switch| {
            machine.read(&format!("{SWITCHES}/{switch}/type")).is_some_and(|kind| kind.trim() == "bluetooth")
        })
        .collect();
    let mut findings = Vec::new();
    for switch in &bluetooth {
        let name = machine.read(&format!("{SWITCHES}/{switch}/name")).unwrap_or_default();
        let name = name.trim();
        if is_set(switch, "hard") {
            findings.push(Finding::fail(
                check,
                format!("{name} is blocked by a switch of the machine"),
                "look for a switch or a key for radio on the case, or in the firmware's settings",
            ));
        } else if is_set(switch, "soft") {
            findings.push(Finding::fail(
                check,
                format!("{name} is blocked"),
                "unblock it: `sudo rfkill unblock bluetooth`",
            ));
        }
    }
    if findings.is_empty() && !bluetooth.is_empty() {
        findings.push(Finding::ok(check, "not blocked"));
    }
    findings
}

/// What BlueZ says of its adapters.
fn objects(machine: &Machine, adapters: &[String]) -> Vec<Finding> {
    let answer =
        call(machine, ["org.bluez", "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"], &[]);
    let Some(objects) = answer.as_ref().and_then(|answer| answer["data"][0].as_object()) else {
        return vec![Finding::fail(
            "bluetooth.bluez",
            "BlueZ does not answer",
            "restart it: `sudo systemctl restart bluetooth`",
        )];
    };
    adapters
        .iter()
        .map(|adapter| match objects.get(&format!("/org/bluez/{adapter}")) {
            Some(object) => adapter_finding(adapter, object),
            None => Finding::fail(
                "bluetooth.adapter",
                format!("{adapter} is there, but BlueZ does not know it"),
                "see `journalctl -u bluetooth`; unplugging and plugging it in, or `sudo systemctl restart bluetooth`, often helps",
            ),
        })
        .collect()
}

fn adapter_finding(adapter: &str, object: &Value) -> Finding {
    let check = "bluetooth.adapter";
    let property = |interface: &str, name: &str| &object[interface][name]["data"];
    if property("org.bluez.Adapter1", "Powered").as_bool() == Some(false) {
        return Finding::fail(
            check,
            format!("{adapter} is switched off"),
            format!("switch it on: `bluetoothctl power on`, or see whether {adapter} is blocked"),
        );
    }
    let roles: Vec<&str> = property("org.bluez.Adapter1", "Roles")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let number = |name| property("org.bluez.LEAdvertisingManager1", name).as_u64();
    let (Some(free), Some(used)) = (number("SupportedInstances"), number("ActiveInstances")) else {
        return Finding::fail(
            check,
            format!("{adapter} can't advertise: other nodes will not find this one"),
            "use an adapter with Bluetooth 4.0 or newer; see docs on hardware",
        );
    };
    let total = free + used;
    // That "central-peripheral" is missing says nothing of the adapter: BlueZ names it only with a kernel's
    // experimental feature.
    if !roles.is_empty() && !roles.contains(&"peripheral") {
        return Finding::warn(
            check,
            format!("{adapter} can call other nodes and can't be called (roles: {})", roles.join(", ")),
            "use another adapter if two such machines are to meet",
        );
    }
    if free == 0 {
        return Finding::warn(
            check,
            format!("{adapter} is on; all its {total} advertisements are in use"),
            "fine if meshd has one of them; otherwise end the program that takes them",
        );
    }
    Finding::ok(check, format!("{adapter} is on; {used} of {total} advertisements in use"))
}

fn settings(machine: &Machine) -> Finding {
    let text = machine.read(SETTINGS).unwrap_or_default();
    let value = |section: &str, key: &str| ini_value(&text, section, key);
    let eatt = match value("GATT", "Channels").as_deref() {
        None | Some("1") => "EATT off",
        Some(_) => "EATT on",
    };
    match value("General", "Privacy").as_deref() {
        Some(privacy) if privacy != "off" => {
            Finding::ok("bluetooth.settings", format!("Privacy = {privacy}, {eatt}"))
        }
        Some(_) | None => Finding::warn(
            "bluetooth.settings",
            format!(
                "the adapter's own address is on the air, by which this machine can be recognised; {eatt}"
            ),
            "set `Privacy = device` in the [General] part of /etc/bluetooth/main.conf and restart bluetooth, if it matters \
             here",
        ),
    }
}

/// A value of a file in the style of main.conf, without comments.
fn ini_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

/// A call through `busctl`, answered in JSON.
fn call(machine: &Machine, target: [&str; 4], arguments: &[&str]) -> Option<Value> {
    let mut words = vec!["--system", "--json=short", "--timeout=5", "call"];
    words.extend(target);
    words.extend(arguments);
    serde_json::from_str(&machine.ask("busctl", &words)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A machine that is as it should be, to be spoilt by a test.
    struct Bench {
        root: tempfile::TempDir,
        _bus: UnixListener,
        owned: Option<bool>,
        version: Option<&'static str>,
        objects: String,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let bus = UnixListener::bind(root.path().join("bus")).unwrap();
            let bench = Self {
                root,
                _bus: bus,
                owned: Some(true),
                version: Some("5.77\n"),
                objects: adapter(true, &["central", "peripheral", "central-peripheral"], Some((4, 1))),
            };
            bench.write("sys/class/bluetooth/hci0/x", "");
            bench.write("sys/class/bluetooth/hci0:64/x", "");
            bench.switch(0, 0);
            bench.write(
                "etc/bluetooth/main.conf",
                "[General]\n#Privacy = off\nPrivacy = device\n[GATT]\nChannels = 3\n",
            );
            bench
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn switch(&self, soft: u8, hard: u8) {
            for (name, text) in [("type", "bluetooth"), ("name", "hci0")] {
                self.write(&format!("sys/class/rfkill/rfkill1/{name}"), &format!("{text}\n"));
            }
            self.write("sys/class/rfkill/rfkill1/soft", &format!("{soft}\n"));
            self.write("sys/class/rfkill/rfkill1/hard", &format!("{hard}\n"));
            self.write("sys/class/rfkill/rfkill0/type", "wlan\n");
            self.write("sys/class/rfkill/rfkill0/soft", "1\n");
        }

        fn findings(self) -> Vec<Finding> {
            let (owned, version, objects) = (self.owned, self.version, self.objects.clone());
            let ask = move |program: &str, words: &[&str]| match program {
                "busctl" if words.contains(&"NameHasOwner") => {
                    owned.map(|owned| format!(r#"{{"type":"b","data":[{owned}]}}"#))
                }
                "busctl" => Some(objects.clone()).filter(|text| !text.is_empty()),
                _ => version.map(str::to_owned),
            };
            findings(&Machine::pretended(self.root.path(), Box::new(ask)))
        }

        /// The findings that are not ok: check, state, and the beginning of what to do.
        fn complaints(self) -> Vec<(&'static str, State, String)> {
            let bad = self.findings().into_iter().filter(|finding| finding.state != State::Ok);
            bad.map(|finding| (finding.check, finding.state, finding.hint.unwrap())).collect()
        }
    }

    fn adapter(powered: bool, roles: &[&str], advertising: Option<(u8, u8)>) -> String {
        let mut object = serde_json::json!({ "org.bluez.Adapter1": {
            "Powered": {"type": "b", "data": powered}, "Roles": {"type": "as", "data": roles},
        }});
        if let Some((free, used)) = advertising {
            object["org.bluez.LEAdvertisingManager1"] = serde_json::json!({
                "SupportedInstances": {"type": "y", "data": free}, "ActiveInstances": {"type": "y", "data": used},
            });
        }
        serde_json::json!({"type": "a{oa{sa{sv}}}", "data": [{"/org/bluez": {}, "/org/bluez/hci0": object}]})
            .to_string()
    }

    fn complaint(bench: Bench) -> (&'static str, State, String) {
        let complaints = bench.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        complaints.into_iter().next().unwrap()
    }

    #[test]
    fn a_machine_that_is_as_it_should_be_has_no_complaints() {
        let findings = Bench::new().findings();
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
        let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(
            checks,
            ["dbus", "bluetooth.bluez", "bluetooth.rfkill", "bluetooth.adapter", "bluetooth.settings"]
        );
    }

    #[test]
    fn a_bluez_that_does_not_run_is_told_from_one_that_is_not_there() {
        let (check, state, hint) = complaint(Bench { owned: Some(false), ..Bench::new() });
        assert_eq!((check, state), ("bluetooth.bluez", State::Fail));
        assert!(hint.contains("enable --now bluetooth") && !hint.contains("apt"), "{hint}");
        let (_, _, hint) = complaint(Bench { owned: Some(false), version: None, ..Bench::new() });
        assert!(hint.contains("apt install bluez"), "{hint}");
        let (_, _, hint) = complaint(Bench { objects: String::new(), ..Bench::new() });
        assert!(hint.contains("restart bluetooth"), "{hint}");
        let (_, state, _) = complaint(Bench { owned: None, ..Bench::new() });
        assert_eq!(state, State::Warn);
    }

    #[test]
    fn without_an_adapter_nothing_more_is_asked() {
        let bench = Bench::new();
        std::fs::remove_dir_all(bench.root.path().join("sys/class/bluetooth")).unwrap();
        let (check, _, hint) = complaint(bench);
        assert_eq!(check, "bluetooth.adapter");
        assert!(hint.contains("plug one in"), "{hint}");
    }

    #[test]
    fn a_block_names_the_command_that_ends_it() {
        let bench = Bench::new();
        bench.switch(1, 0);
        assert_eq!(complaint(bench).2, "unblock it: `sudo rfkill unblock bluetooth`");
        let bench = Bench::new();
        bench.switch(1, 1);
        assert!(complaint(bench).2.contains("on the case"));
    }

    #[test]
    fn what_an_adapter_lacks_is_said() {
        let with = |objects| complaint(Bench { objects, ..Bench::new() });
        let all = ["central", "peripheral"];
        assert!(with(adapter(false, &all, Some((4, 1)))).2.contains("power on"));
        assert_eq!(with(adapter(true, &["central"], Some((4, 1)))).1, State::Warn);
        assert_eq!(with(adapter(true, &all, Some((0, 5)))).1, State::Warn);
        assert_eq!(with(adapter(true, &all, None)).1, State::Fail);
        assert!(with(adapter(true, &all, Some((4, 1))).replace("hci0", "hci7")).2.contains("journalctl"));
    }

    #[test]
    fn an_address_on_the_air_is_told() {
        let bench = Bench::new();
        bench.write("etc/bluetooth/main.conf", "[General]\n# Privacy = device\n[Policy]\nPrivacy = device\n");
        let (check, state, hint) = complaint(bench);
        assert_eq!((check, state), ("bluetooth.settings", State::Warn));
        assert!(hint.contains("Privacy = device"), "{hint}");
    }

    #[test]
    fn no_bus_is_said_with_its_place() {
        let temp = tempfile::tempdir().unwrap();
        let found = bus(&Machine::pretended(temp.path(), Box::new(|_, _| None)));
        assert_eq!(found.state, State::Fail);
        assert!(found.detail.contains("/bus") && found.hint.unwrap().contains("apt install dbus"));
    }
}
