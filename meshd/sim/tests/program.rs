//! The program as scripts use it: the names it prints and what it refuses.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn meshsim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshsim")).args(args).output().expect("it runs")
}

fn object(args: &[&str]) -> Value {
    let output = meshsim(args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Three people, of whom two meet at a time.
fn trace(name: &str) -> String {
    let lines = (1..200).map(|step| format!("{} {} {}\n", step * 20, step % 3, (step + 1) % 3));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines.collect::<String>()).expect("written");
    path.to_str().expect("plain").to_owned()
}

#[test]
fn reports_have_the_names_of_the_contract() {
    let file = trace("names.txt");
    let names = [
        "delivered",
        "oracle",
        "ratio",
        "latency_p50_s",
        "latency_p90_s",
        "copies_per_delivered",
        "bytes_per_delivered",
    ];
    for policy in ["meshlink", "epidemic", "spray", "direct"] {
        let outcome = object(&["trace", &file, "--messages", "5", "--policy", policy, "--json"]);
        for name in names {
            assert!(outcome.get(name).is_some(), "{policy}: {name} in {outcome}");
        }
    }
    let all = object(&["trace", &file, "--messages", "5", "--json"]);
    assert_eq!(all["policy"], "meshlink");
    for name in names {
        assert!(all.get(name).is_some(), "{name} in {all}");
    }
    let beside = all["beside"].as_array().expect("the others");
    let policies: Vec<_> = beside.iter().map(|outcome| outcome["policy"].as_str()).collect();
    assert_eq!(policies, [Some("epidemic"), Some("spray"), Some("direct")]);
    let output = meshsim(&[
        "trace",
        &file,
        "--messages",
        "5",
        "--policy",
        "direct",
        "--seeds",
        "3",
        "--seed",
        "4",
        "--json",
    ]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [runs @ .., all] = &objects[..] else { panic!("{text}") };
    assert_eq!(runs.iter().map(|run| &run["seed"]).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!((&all["seeds"], &all["policy"]), (&Value::from(3), &Value::from("direct")));
    let ratio = |run: &Value| run["ratio"].as_f64().expect("a number");
    let least = runs.iter().map(ratio).reduce(f64::min);
    assert_eq!(all["ratio"]["min"].as_f64(), least);
    for shape in ["spread", "newest", "none"] {
        let cost = object(&["reconcile", "--n", "100", "--d", "10", "--shape", shape, "--json"]);
        for name in ["bytes", "bytes_per_diff", "limit_bytes_per_diff", "round_trips"] {
            assert!(cost[name].is_number(), "{shape}: {name} in {cost}");
        }
        assert_eq!(cost["cpu_ms"].as_array().map(Vec::len), Some(2), "for each side");
    }
}

#[test]
fn what_can_not_be_measured_is_refused_and_not_made_into_something_else() {
    let file = trace("refusals.txt");
    for args in [
        &["trace", &file, "--messages", "0"][..],
        &["trace", &file, "--buffer", "0"],
        &["trace", &file, "--bandwidth", "0"],
        &["trace", &file, "--setup=-1"],
        &["trace", &file, "--seeds", "0"],
        &["trace", "/nowhere"],
        &["reconcile", "--n", "10", "--d", "20"],
        &["reconcile", "--n", "10", "--d", "1", "--bandwidth", "0"],
        &["world", "/nowhere"],
    ] {
        let output = meshsim(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}
