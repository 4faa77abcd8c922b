//! The guide's examples, run as they stand: every block marked ```` ```sh tested ```` in docs/api.md.

use std::path::Path;
use std::process::Command;

use crate::server::{Server, TOKEN};

#[test]
fn the_guides_examples_work() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let guide = std::fs::read_to_string(path).expect("docs/api.md");
    let blocks: Vec<&str> = guide
        .split("```sh tested\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block ends").0)
        .collect();
    assert!(blocks.len() >= 8, "only {} tested blocks", blocks.len());
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    // One shell for all: later blocks use what earlier ones set.
    let script = format!("set -eu\n{}", blocks.join("\n"));
    let output = Command::new("sh")
        .arg("-c")
        .arg(&script)
        .current_dir(dir.path())
        .env("MESHLINK_URL", format!("http://{}", server.address))
        .env("MESHLINK_TOKEN", TOKEN)
        .env("MESHLINK_SOCKET", &server.socket)
        .output()
        .expect("sh runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    let texts: Vec<String> = server.client().get("/v1/messages?order=asc").ok()["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["text"].as_str().expect("text").to_owned())
        .collect();
    assert!(texts.contains(&"Hello, mesh".to_owned()), "{texts:?}\n{out}");
    assert!(!out.contains("urn:meshlink:problem:"), "{out}");
}
