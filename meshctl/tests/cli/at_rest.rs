//! `unlock`, `lock`, `passphrase`, `wipe`, `backup`.

use crate::fake::{Fake, Reply};
use crate::objects::{node_id, script, status};
use crate::run::{Home, Ran};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

fn at_rest() -> Value {
    json!({"state": "unlocked", "detail": "sealed with a passphrase; unlocked now", "hint": null})
}

fn daemon(home: &Home) -> Fake {
    let backup = json!({"node_id": node_id("me22"), "contacts": 1, "backup": "bWVzaGxpbms="});
    let restored = json!({
        "node_id": node_id("me22"), "name": "Bo", "contacts": 2, "made_at": "2020-01-02T10:00:00.000Z",
    });
    let mut open = status();
    open["at_rest"]["state"] = "open".into();
    let answers = vec![
        ("GET /v1/status", open),
        ("POST /v1/unlock", at_rest()),
        ("POST /v1/lock", at_rest()),
        ("PUT /v1/passphrase", at_rest()),
        ("POST /v1/backup", backup),
        ("POST /v1/restore", restored),
    ];
    Fake::on_socket(&home.socket(), script(answers))
}

/// Runs it with something on standard input; nobody is at a terminal.
fn run(home: &Home, args: &[&str], input: &str) -> Ran {
    home.finish(&mut home.meshctl(args), input.as_bytes())
}

/// The body of the only request with that line.
fn body(fake: &Fake, line: &str) -> Value {
    let asked: Vec<_> = fake.asked().into_iter().filter(|asked| asked.line() == line).collect();
    assert_eq!(asked.len(), 1, "{line}: {:?}", fake.lines());
    asked[0].json()
}

#[test]
fn a_passphrase_comes_from_a_file_or_standard_input_and_never_from_an_argument() {
    let home = Home::new();
    let fake = daemon(&home);
    crate::run::write(&home.path("words"), "correct horse\nbattery staple\n");
    let words = home.path("words").display().to_string();
    assert_eq!(run(&home, &["unlock", "--passphrase-file", &words], "").code, 0);
    assert_eq!(body(&fake, "POST /v1/unlock"), json!({"passphrase": "correct horse"}));
    let ran = run(&home, &["passphrase", "change", "--passphrase-file", "-"], "the old one\nthe new one\n");
    assert_eq!((ran.code, ran.out.as_str()), (0, "sealed with a passphrase; unlocked now\n"));
    assert_eq!(body(&fake, "PUT /v1/passphrase"), json!({"current": "the old one", "new": "the new one"}));
    for args in [&["unlock", "correct horse"][..], &["unlock", "--passphrase", "correct horse"]] {
        assert_eq!(run(&home, args, "").code, 2, "{args:?}");
    }
    assert_eq!(run(&home, &["unlock", "--passphrase-file", "-"], "").code, 2, "nothing was given");
    assert_eq!(fake.lines().len(), 2, "nothing else was asked");
}

#[test]
fn a_wipe_has_to_be_meant() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |_| Reply::text(202, "application/json", ""));
    assert_eq!(run(&home, &["wipe"], "").code, 2);
    assert_eq!(fake.lines(), Vec::<String>::new());
    let ran = run(&home, &["wipe", "--yes"], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(body(&fake, "POST /v1/wipe"), json!({"confirm": "wipe"}));
}

#[test]
fn a_backup_is_a_private_file_that_replaces_none_by_accident() {
    let home = Home::new();
    let fake = daemon(&home);
    let path = home.path("node.backup");
    let file = path.display().to_string();
    let ran = run(&home, &["backup", "create", &file, "--passphrase-file", "-"], "correct horse\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with(&format!("{} with 1 contact: ", node_id("me22"))), "{}", ran.out);
    assert_eq!(std::fs::read(&path).unwrap(), b"meshlink");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(body(&fake, "POST /v1/backup"), json!({"passphrase": "correct horse"}));
    std::fs::write(&path, "an older one").unwrap();
    let ran = run(&home, &["backup", "create", &file, "--passphrase-file", "-"], "correct horse\n");
    assert_eq!((ran.code, std::fs::read(&path).unwrap().as_slice()), (2, &b"an older one"[..]));
    let forced = ["--json", "backup", "create", &file, "--force", "--passphrase-file", "-"];
    let ran = run(&home, &forced, "correct horse\n");
    let shown: Value = serde_json::from_str(&ran.out).expect("JSON");
    let counts = json!({"file": "~/node.backup", "node_id": node_id("me22"), "contacts": "1", "groups": "0", "groups_left_out": "0"});
    assert_eq!(shown, counts);
    assert_eq!(std::fs::read(&path).unwrap(), b"meshlink");
}

#[test]
fn a_restore_sends_the_file_and_says_who_the_node_is() {
    let home = Home::new();
    let fake = daemon(&home);
    let path = home.path("node.backup");
    std::fs::write(&path, "meshlink").unwrap();
    let args = ["backup", "restore", &path.display().to_string(), "--passphrase-file", "-"];
    let ran = run(&home, &args, "correct horse\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("\"Bo\"") && ran.out.contains("2 contacts"), "{}", ran.out);
    let sent = json!({"backup": "bWVzaGxpbms=", "passphrase": "correct horse", "node_passphrase": null});
    assert_eq!(body(&fake, "POST /v1/restore"), sent);
    assert_eq!(run(&home, &["backup", "restore", "/nowhere"], "").code, 1);
}
