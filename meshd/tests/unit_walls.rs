//! How narrow the walls are that the units put around the services, by systemd's own count, and that it would see one missing.
//! Not among the tests of every machine, since it asks `systemd-analyze`: `.ci/run units`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

/// Whether `systemd-analyze` finds a unit at most so exposed, on its scale from 0 to 100.
fn is_at_most(exposed: u32, unit: &Path) -> bool {
    let threshold = format!("--threshold={exposed}");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", &threshold]).arg(unit);
    let output = command.output().expect("systemd-analyze, of the package systemd, is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Overall exposure level"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

#[test]
fn d02_the_units_expose_no_more_than_they_may_and_a_missing_wall_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, exposed) in [("meshd.service", 15), ("meshlink-relay.service", 12)] {
        assert!(is_at_most(exposed, &unit(name)), "{name}");
        let text = std::fs::read_to_string(unit(name)).expect("readable");
        let is_wall = |line: &&str| line.starts_with("SystemCallFilter=") || line.starts_with("Protect");
        let open: Vec<&str> = text.lines().filter(|line| !is_wall(line)).collect();
        std::fs::write(dir.path().join(name), open.join("\n")).expect("written");
        assert!(!is_at_most(exposed, &dir.path().join(name)), "{name} without its walls");
    }
}
