use super::*;
use clap::Parser;
use std::ffi::OsString;

fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
}

fn args(words: &[&str]) -> Args {
    Args::try_parse_from(std::iter::once(&"meshd").chain(words)).unwrap()
}

fn load(words: &[&str], pairs: &[(&str, &str)]) -> Configuration {
    Configuration::load(&args(words), &env(pairs)).unwrap()
}

fn written(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meshd.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    let layer = file::parse(DEFAULT_FILE).unwrap();
    assert_eq!(Settings::resolve(&[layer]).0, Settings::default());
}

#[test]
fn the_commented_lines_of_the_default_file_are_settings() {
    let commented =
        |line: &str| line.starts_with("#[[") || line.starts_with('#') && line.split(' ').nth(1) == Some("=");
    let text: String = DEFAULT_FILE
        .lines()
        .map(|line| if commented(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .collect();
    let settings = Settings::resolve(&[file::parse(&text).unwrap()]).0;
    assert_eq!(settings.relays.len(), 1);
    for set in [
        &settings.state_dir,
        &settings.socket,
        &settings.ui,
        &settings.relays[0].token_file,
        &settings.relays[0].ca_file,
    ] {
        assert!(set.is_some(), "{settings:?}");
    }
    assert!(settings.name.is_some());
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let (_dir, path) =
        written("name = \"file\"\nlog = \"debug\"\n[api]\nlisten = \"127.0.0.1:1\"\nsocket = \"/file\"\n");
    let pairs = [("MESHD_CONFIG", path.as_str()), ("MESHD_NAME", "env"), ("MESHD_SOCKET", "/env")];
    let loaded = load(&["--name", "flag"], &pairs);
    let report = loaded.report();
    let settings = loaded.settings;
    assert_eq!(settings.name.as_deref(), Some("flag"));
    assert_eq!(settings.socket, Some("/env".into()));
    assert_eq!(settings.log.as_str(), "debug");
    assert_eq!(settings.listen, Some("127.0.0.1:1".parse().unwrap()));
    let line = |key: &str| report.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert_eq!(line("name"), "name = \"flag\"  # flag");
    assert_eq!(line("api.socket"), "api.socket = \"/env\"  # environment");
    assert_eq!(line("log"), format!("log = \"debug\"  # {path}"));
    assert_eq!(line("clock"), "clock = \"auto\"  # default");
    for line in report.lines() {
        assert!(toml::from_str::<toml::Table>(line).is_ok(), "no line of a file: {line}");
    }
    assert_eq!(line("bluetooth.profile"), "bluetooth.profile = \"mains\"  # default");
}

#[test]
fn asking_for_an_address_asks_for_tcp() {
    let (_dir, path) = written("[api]\ntcp = false\n");
    let config = ["--config", path.as_str()];
    assert_eq!(load(&config, &[]).settings.listen, None);
    assert!(load(&[&config[..], &["--listen", "127.0.0.1:0"]].concat(), &[]).settings.listen.is_some());
    assert!(load(&config, &[("MESHD_LISTEN", "127.0.0.1:0")]).settings.listen.is_some());
    assert_eq!(load(&["--no-tcp"], &[("MESHD_LISTEN", "127.0.0.1:0")]).settings.listen, None);
    assert!(load(&["--listen", "127.0.0.1:0"], &[("MESHD_NO_TCP", "1")]).settings.listen.is_some());
}

#[test]
fn every_mistake_names_file_and_line() {
    for (text, line, words) in [
        ("nmae = \"x\"", 1, "unknown setting `nmae`"),
        ("log = \"info\"\n\n[api]\nlisten = \"localhost\"\n", 4, "127.0.0.1:6374"),
        ("[api]\nport = 1\n", 2, "unknown setting `port`"),
        ("[[relay]]\nurl = \"http://x\"\n", 2, "ws://"),
        ("[[relay]]\nurl = \"ws://x\"\nkey = 1\n", 3, "unknown setting `key`"),
        ("[store]\nbytes_max = 5\n", 2, "at least 1048576"),
        ("log = \"loud\"\n", 1, "info"),
        ("log = \n", 1, ""),
        ("clock = \"maybe\"\n", 1, "trust"),
        ("name = \"\"\n", 1, "1 to 64 bytes"),
        ("[bluetooth]\nadapters = [\"eth0\"]\n", 2, "hci0"),
        ("[bluetooth]\nprofile = \"turbo\"\n", 2, "mains"),
        ("[bluetooth]\nlinks = 1\n", 1, "from 2 to 20"),
        ("[bluetooth]\nlinks = 3\ncallers = 3\n", 1, "fewer than bluetooth.links"),
        ("[bluetooth]\nlnks = 3\n", 2, "unknown setting `lnks`"),
        ("[api]\nallow_origins = [\"*\"]\n", 2, "http://localhost:5173"),
    ] {
        let (_dir, path) = written(text);
        let error = Configuration::load(&args(&["--config", &path]), &env(&[])).expect_err(text).to_string();
        assert!(error.starts_with(&format!("{path}:{line}: ")), "{error}");
        assert!(error.contains(words) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_named() {
    for (name, value) in [
        ("MESHD_LISTEN", "x"),
        ("MESHD_RELAY", "ws://ok http://no"),
        ("MESHD_NO_TCP", "maybe"),
        ("MESHD_LOG", "loud"),
        ("MESHD_NO_BLE", "maybe"),
        ("MESHD_ADAPTER", "hci0 eth0"),
    ] {
        let error = Configuration::load(&args(&[]), &env(&[(name, value)])).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(load(&[], &[("MESHD_LISTEN", "")]).settings, Settings::default());
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = Configuration::load(&args(&["--config", "/nowhere/meshd.toml"]), &env(&[]))
        .expect_err("named")
        .to_string();
    assert!(error.contains("/nowhere/meshd.toml"), "{error}");
}

#[test]
fn asking_for_an_adapter_asks_for_bluetooth() {
    let (_dir, path) = written("[bluetooth]\nenabled = false\nadapters = [\"hci3\"]\nprofile = \"saver\"\n");
    let config = ["--config", path.as_str()];
    let ble =
        |words: &[&str], pairs: &[(&str, &str)]| load(&[&config[..], words].concat(), pairs).settings.ble;
    let from_file = ble(&[], &[]);
    assert!(!from_file.enabled);
    assert_eq!((from_file.adapters, from_file.profile), (vec!["hci3".to_owned()], ble::Profile::Saver));
    let flag = ble(&["--adapter", "hci0", "--adapter", "hci1"], &[("MESHD_NO_BLE", "1")]);
    assert!(flag.enabled);
    assert_eq!(flag.adapters, ["hci0", "hci1"]);
    assert_eq!(ble(&[], &[("MESHD_ADAPTER", "hci0,hci1")]).adapters, ["hci0", "hci1"]);
    assert!(!load(&["--no-ble"], &[("MESHD_ADAPTER", "hci0")]).settings.ble.enabled);
    assert!(load(&[], &[]).settings.ble.enabled);
}

#[test]
fn the_links_of_an_adapter_fit_each_other() {
    let slots = |text: &str| {
        let (_dir, path) = written(text);
        let slots = load(&["--config", &path], &[]).settings.ble.slots;
        (slots.links(), slots.callers())
    };
    assert_eq!(slots("[bluetooth]\n"), (7, 4));
    assert_eq!(slots("[bluetooth]\nlinks = 3\n"), (3, 2));
    assert_eq!(slots("[bluetooth]\ncallers = 6\n"), (7, 6));
}

#[test]
fn a_relay_named_by_flag_keeps_its_token_from_the_file() {
    let text =
        "[[relay]]\nurl = \"wss://a\"\ntopic = \"t\"\ntoken_file = \"/t\"\n[[relay]]\nurl = \"wss://b\"\n";
    let (_dir, path) = written(text);
    let relays = load(&["--config", &path, "--relay", "wss://a?topic=t", "--relay", "wss://a?topic=t"], &[])
        .settings
        .relays;
    assert_eq!(relays.len(), 1);
    assert_eq!(relays[0].token_file, Some("/t".into()));
    assert_eq!(load(&["--config", &path], &[]).settings.relays.len(), 2);
}

#[test]
fn a07_an_address_that_others_reach_is_warned_of() {
    assert!(load(&["--listen", "127.0.0.1:0"], &[]).warnings.is_empty());
    assert_eq!(load(&["--listen", "0.0.0.0:0"], &[]).warnings.len(), 1);
}

#[test]
fn a_misspelt_variable_is_warned_of() {
    let names = ["MESHD_RELAYS", "MESHD_RELAY", "PATH"].map(String::from);
    let warnings = unknown_variables(names.into_iter());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("MESHD_RELAYS"));
    // The list and the code that reads the environment know the same names.
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let ask = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    Configuration::load(&args(&[]), &ask).unwrap();
    let asked = asked.into_inner().into_iter().filter(|name| name.starts_with("MESHD_"));
    assert_eq!(asked.collect::<Vec<_>>(), VARIABLES);
}

#[test]
fn the_local_network_is_on_unless_somebody_says_no_and_the_highest_word_counts() {
    let (_dir, off) = written("[lan]\nenabled = false\npeers = [\"10.0.0.2:6375\"]\nport = 6375\n");
    let enabled = |words: &[&str], pairs: &[(&str, &str)]| load(words, pairs).settings.lan.enabled;
    assert!(enabled(&[], &[]));
    assert!(!enabled(&["--config", &off], &[]));
    assert!(enabled(&["--config", &off], &[("MESHD_LAN", "1")]));
    assert!(!enabled(&[], &[("MESHD_NO_LAN", "1")]));
    assert!(!enabled(&[], &[("MESHD_NO_LAN", "1"), ("MESHD_LAN", "1")]));
    assert!(!enabled(&[], &[("MESHD_LAN", "0")]));
    assert!(enabled(&["--lan"], &[("MESHD_NO_LAN", "1")]));
    assert!(!enabled(&["--no-lan"], &[("MESHD_LAN", "1")]));
    // Naming a node or a port asks for it.
    assert!(enabled(&["--lan-peer", "10.0.0.3:1"], &[("MESHD_NO_LAN", "1")]));
    let lan = load(&["--config", &off, "--lan-peer", "10.0.0.3:1"], &[]).settings.lan;
    assert_eq!((lan.port, lan.peers), (6375, vec!["10.0.0.3:1".parse().unwrap()]));
    assert!(Configuration::load(&args(&[]), &env(&[("MESHD_LAN_PORT", "x")])).is_err());
}
