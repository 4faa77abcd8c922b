//! The rules of ARCHITECTURE.md that a compiler does not hold, as tests over the repository's own files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("meshd lies in the repository").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Names under `[dependencies]` (not dev-dependencies) of a crate's manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let table: toml::Table = read(manifest).parse().unwrap_or_else(|e| panic!("{manifest}: {e}"));
    let mut names = BTreeSet::new();
    let mut collect = |table: &toml::Table| {
        if let Some(found) = table.get("dependencies").and_then(|d| d.as_table()) {
            names.extend(found.keys().cloned());
        }
    };
    collect(&table);
    for target in table.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values()) {
        collect(target.as_table().expect("a target is a table"));
    }
    names
}

/// Every Rust source of the workspace, tests included, as (path below the root, text).
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("readable").map(|e| e.expect("readable").path()) {
            let name = entry.file_name().expect("named").to_string_lossy().into_owned();
            if entry.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                open.push(entry);
            } else if name.ends_with(".rs") {
                let path = entry.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
                found.push((path, std::fs::read_to_string(&entry).expect("UTF-8")));
            }
        }
    }
    found
}

#[test]
fn crates_import_only_along_the_arrows() {
    let arrows: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("api/Cargo.toml", &[][..]),
        ("meshd/core/Cargo.toml", &[]),
        ("meshctl/Cargo.toml", &["meshlink-api"]),
        ("relay/Cargo.toml", &["meshlink-api"]),
        ("meshd/sim/Cargo.toml", &["meshlink-core"]),
        // The relay's hub for `--demo`.
        ("meshd/Cargo.toml", &["meshlink-api", "meshlink-core", "meshlink-relay"]),
    ]);
    for (manifest, allowed) in arrows {
        for name in dependencies(manifest) {
            let ours = name.starts_with("meshlink") || name.starts_with("mesh");
            assert!(!ours || allowed.contains(&name.as_str()), "{manifest} must not import {name}");
        }
    }
}

#[test]
fn the_core_does_no_io() {
    let banned = [
        "tokio",
        "rusqlite",
        "mio",
        "hyper",
        "axum",
        "getrandom",
        "rand",
        "tracing",
        "log",
        "chrono",
        "jiff",
        "uuid",
    ];
    let names = dependencies("meshd/core/Cargo.toml");
    for name in banned {
        assert!(!names.contains(name), "meshd/core must not depend on {name}");
    }
    let lints = read("meshd/core/clippy.toml");
    for word in ["std::time::Instant::now", "std::time::SystemTime::now", "std::collections::HashMap"] {
        assert!(lints.contains(word), "meshd/core/clippy.toml no longer bans {word}");
    }
}

/// What can be small on the air and huge in memory is best not understood at all.
#[test]
fn w02_nothing_that_comes_from_others_is_decompressed() {
    let compressors = ["brotli", "flate2", "lz4_flex", "miniz_oxide", "ruzstd", "snap", "zstd"];
    for manifest in ["meshd/core/Cargo.toml", "meshd/Cargo.toml", "relay/Cargo.toml", "meshctl/Cargo.toml"] {
        let names = dependencies(manifest);
        for name in compressors {
            assert!(!names.contains(name), "{manifest} must not depend on {name}");
        }
    }
}

#[test]
fn the_api_is_data_only() {
    let allowed = BTreeSet::from(["serde", "serde_json", "utoipa"].map(String::from));
    assert_eq!(dependencies("api/Cargo.toml"), allowed);
}

#[test]
fn no_file_outgrows_one_owner() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 650, "{path} has {lines} lines: split it by noun");
    }
}

#[test]
fn file_names_are_nouns_of_the_vocabulary() {
    for (path, _) in sources() {
        let stem = Path::new(&path).file_stem().expect("named").to_string_lossy().into_owned();
        let vague = ["utils", "util", "common", "helpers", "helper", "misc", "types", "manager"];
        assert!(!vague.contains(&stem.as_str()), "{path}: name it by what it owns");
    }
}

#[test]
fn no_test_skips_and_nothing_is_left_to_do() {
    // Split, so that this file does not find itself.
    let banned = [["#[ig", "nore"], ["TO", "DO"], ["FIX", "ME"], ["unimple", "mented!("], ["to", "do!("]];
    for (path, text) in sources() {
        for word in banned.map(|w| w.concat()) {
            assert!(!text.contains(&word), "{path} contains {word}");
        }
    }
}

/// How many attacks of each kind docs/security.md counts.
const ATTACKS: [(char, u32); 12] = [
    ('a', 14),
    ('b', 8),
    ('c', 20),
    ('d', 5),
    ('e', 6),
    ('k', 6),
    ('l', 8),
    ('p', 11),
    ('r', 8),
    ('s', 12),
    ('w', 13),
    ('y', 14),
];

#[test]
fn every_attack_is_in_the_name_of_a_test() {
    let sources = sources();
    let lines = sources.iter().flat_map(|(_, text)| text.lines().map(str::trim_start));
    let names = lines.filter_map(|line| line.strip_prefix("async fn ").or(line.strip_prefix("fn ")));
    let parts: BTreeSet<&str> =
        names.filter_map(|name| name.split('(').next()).flat_map(|name| name.split('_')).collect();
    let attacks = ATTACKS.iter().flat_map(|(kind, count)| (1..=*count).map(move |n| format!("{kind}{n:02}")));
    let missing: Vec<String> = attacks.filter(|attack| !parts.contains(attack.as_str())).collect();
    assert!(missing.is_empty(), "no test is named by {missing:?}");
    let count: u32 = ATTACKS.iter().map(|(_, count)| count).sum();
    assert!(read("docs/security.md").contains(&format!("{count} attacks are listed")));
}

#[test]
fn every_crate_forbids_unsafe_code() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for manifest in ["api", "meshd", "meshd/core", "meshd/sim", "meshctl", "relay"] {
        let text = read(&format!("{manifest}/Cargo.toml"));
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{manifest}/Cargo.toml does not take the workspace's lints"
        );
    }
}

#[test]
fn the_configuration_reference_is_the_file_compiled_in() {
    let reference = read("docs/configuration.md");
    let block = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(read("meshd/src/default.toml").as_str()), "copy meshd/src/default.toml into it");
}
