//! `--ui DIR`, and what a browser gets to see without it.

use crate::client::Client;
use crate::server::{Options, Server};

fn with_pages() -> (tempfile::TempDir, Server) {
    let ui = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(ui.path().join("index.html"), "<h1>hello</h1>").expect("a fresh directory");
    std::fs::write(ui.path().join("app.js"), "1").expect("a fresh directory");
    std::fs::create_dir(ui.path().join("map")).expect("a fresh directory");
    std::fs::write(ui.path().join("map/index.html"), "<h1>map</h1>").expect("a fresh directory");
    std::os::unix::fs::symlink("/etc", ui.path().join("etc")).expect("a fresh directory");
    std::os::unix::fs::symlink("/etc/passwd", ui.path().join("passwd")).expect("a fresh directory");
    let server = Server::with(Options { ui_dir: Some(ui.path().to_owned()), ..Options::default() });
    (ui, server)
}

#[test]
fn pages_are_served_beside_the_api_without_a_token() {
    let (_ui, server) = with_pages();
    let browser = Client::tcp(server.address).field("sec-fetch-site", "none");
    let page = browser.get("/");
    assert_eq!((page.status, page.text()), (200, "<h1>hello</h1>"));
    assert_eq!(page.field("content-type"), "text/html; charset=utf-8");
    assert!(page.field("content-security-policy").starts_with("default-src 'self';"));
    assert_eq!(page.field("x-content-type-options"), "nosniff");
    assert_eq!(browser.get("/app.js").field("content-type"), "text/javascript; charset=utf-8");
    let folder = browser.get("/map");
    assert_eq!((folder.status, folder.field("location")), (308, "/map/"), "links of its page are relative");
    assert_eq!(browser.get("/map/").text(), "<h1>map</h1>");
    let head = browser.open("HEAD", "/app.js", None).head().unwrap();
    assert_eq!((head.0, head.1["content-length"].as_str()), (200, "1"));
    assert_eq!(browser.get("/v1/status").problem(), "unauthorized");
    assert_eq!(browser.send("POST", "/app.js", None).status, 401);
    assert_eq!(server.client().send("POST", "/app.js", None).problem(), "method_not_allowed");
}

#[test]
fn a11_pages_do_not_lead_out_of_their_directory() {
    let (_ui, server) = with_pages();
    let browser = Client::tcp(server.address);
    for path in [
        "/passwd",
        "/etc",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/app.js%00.html",
        "/.git/config",
        "/missing",
    ] {
        let answer = browser.get(path);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{path}");
    }
}

#[test]
fn a06_another_site_may_open_a_page_and_nothing_more() {
    let (_ui, server) = with_pages();
    let other = Client::tcp(server.address).field("sec-fetch-site", "cross-site");
    assert_eq!(other.field("sec-fetch-dest", "document").get("/").status, 200);
    for dest in ["script", "iframe", "image", "empty", "style"] {
        assert_eq!(other.field("sec-fetch-dest", dest).get("/app.js").problem(), "cross_site", "{dest}");
    }
    assert_eq!(Client::tcp(server.address).field("host", "evil.example").get("/").problem(), "foreign_host");
}

#[test]
fn a_page_of_this_host_may_call_with_a_token() {
    let (_ui, server) = with_pages();
    let page = server
        .client()
        .field("origin", &format!("http://{}", server.address))
        .field("sec-fetch-site", "same-origin");
    let sent = page.post("/v1/messages", &serde_json::json!({"text": "from the page"}));
    assert_eq!(sent.created()["text"], "from the page");
    assert_eq!(sent.field("access-control-allow-origin"), "");
}

#[test]
fn an_allowed_page_elsewhere_may_call_with_a_token() {
    let server = Server::start();
    let page =
        server.client().field("origin", crate::server::ALLOWED_ORIGIN).field("sec-fetch-site", "cross-site");
    let sent = page.post("/v1/messages", &serde_json::json!({"text": "x"}));
    sent.created();
    assert_eq!(sent.field("access-control-allow-origin"), crate::server::ALLOWED_ORIGIN);
    assert!(sent.field("access-control-expose-headers").contains("location"));
}

#[test]
fn without_pages_the_front_door_says_where_the_api_is() {
    let server = Server::start();
    let answer = Client::tcp(server.address).get("/");
    assert_eq!((answer.status, answer.field("content-type")), (200, "text/plain; charset=utf-8"));
    assert!(answer.text().contains("/v1") && answer.text().contains("--ui"));
    assert_eq!(Client::tcp(server.address).get("/index.html").problem(), "unauthorized");
}
