//! `--ui DIR`: a web UI's own files, served at `/` beside the API (threats ).
//!
//! Same origin as the API, so the pages need no CORS; and a strict policy, so that nothing but the directory's
//! own scripts runs in them, whatever a message's text contains. Files only: no listings, no hidden files, no way
//! out of the directory, also not through a symbolic link.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use hyper::Method;
use hyper::header::{self, HeaderName, HeaderValue};

use super::app::App;
use super::limits;
use super::problem::{Code, Failure};
use super::route;

const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What `/` says without a UI.
const NO_UI: &str = "This is the API of a MeshLink node. It begins at /v1, and /v1/openapi.json describes it.\n\
    There is no page here: start meshd with --ui DIR to serve a UI's files at this address.\n";

/// A directory whose files are served.
#[derive(Debug)]
pub(super) struct UiDir {
    /// With all symbolic links followed.
    root: PathBuf,
}

impl UiDir {
    /// Looks at the directory; in words why it can't be served.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let root = path.canonicalize().map_err(|e| e.to_string())?;
        if !root.is_dir() {
            return Err("it is not a directory".to_owned());
        }
        Ok(Self { root })
    }

    /// What is at a URL's path.
    fn read(&self, path: &str) -> Result<Found, Failure> {
        let not_found = || Code::NotFound.because("the UI has no such file");
        let mut file = self.root.clone();
        for segment in segments(path).ok_or_else(not_found)? {
            file.push(segment);
        }
        let is_folder = file.is_dir();
        if is_folder {
            file.push("index.html");
        }
        let file = file.canonicalize().map_err(|_| not_found())?;
        let metadata = file.metadata().map_err(|_| not_found())?;
        if !file.starts_with(&self.root) || !metadata.is_file() || metadata.len() > limits::UI_FILE_BYTES_MAX
        {
            return Err(not_found());
        }
        // A page's links are relative to the last slash of its address.
        if is_folder && !path.ends_with('/') {
            return Ok(Found::Folder);
        }
        let bytes = std::fs::read(&file).map_err(|_| not_found())?;
        Ok(Found::File { bytes, media_type: media_type(&file) })
    }
}

/// What a UI has at an address.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A file.
    File { bytes: Vec<u8>, media_type: &'static str },
    /// A folder with a page in it, which is at the same address with a slash at its end.
    Folder,
}

/// The decoded segments of a URL's path; `None` if one could mean anything but a visible file's name.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let visible = |name: &String| {
        !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\', ':'])
            && !name.chars().any(char::is_control)
    };
    path.split('/').map(|segment| decode(segment).filter(visible)).collect()
}

/// Undoes percent-encoding; `None` if it is not well-formed or not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

fn media_type(file: &Path) -> &'static str {
    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "webm" => "video/webm",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

/// Answers whatever no route answers: one of the UI's files, or a problem.
pub(super) async fn page_or_problem(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if route::is_reserved(&path) {
        return Code::NoRoute
            .because(format!("there is no route {path}"))
            .hint(match path.strip_suffix('/').filter(|path| *path != "/v1") {
                Some(path) => {
                    format!("leave out the slash at its end: {path}; /v1/openapi.json lists all routes")
                }
                None => "/v1/openapi.json lists them".to_owned(),
            })
            .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Code::MethodNotAllowed
            .because("pages are only read; the API begins at /v1")
            .header(header::ALLOW, HeaderValue::from_static("GET,HEAD"))
            .into_response();
    }
    if app.ui().is_none() {
        return match path.as_str() {
            "/" => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], NO_UI).into_response(),
            _ => Code::NoRoute
                .because(format!("there is no route {path}"))
                .hint("the API begins at /v1")
                .into_response(),
        };
    }
    let with_slash = format!("{path}/");
    let reading = tokio::task::spawn_blocking(move || app.ui().expect("looked at above").read(&path));
    match reading.await.expect("reading a file does not panic") {
        Ok(Found::File { bytes, media_type }) => page(bytes, media_type),
        Ok(Found::Folder) => Redirect::permanent(&with_slash).into_response(),
        Err(failure) => failure.into_response(),
    }
}

fn page(bytes: Vec<u8>, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui() -> (tempfile::TempDir, UiDir) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("ui");
        std::fs::create_dir_all(root.join("sub/.git")).unwrap();
        for (name, text) in [
            ("index.html", "top"),
            ("a b.js", "js"),
            ("sub/index.html", "sub"),
            (".env", "secret"),
            ("sub/.git/x", "x"),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
        std::os::unix::fs::symlink("/", root.join("all")).unwrap();
        std::os::unix::fs::symlink("index.html", root.join("in.html")).unwrap();
        let ui = UiDir::open(&root).unwrap();
        (dir, ui)
    }

    #[test]
    fn files_are_served_with_their_media_types() {
        let (_dir, ui) = ui();
        let read = |path: &str| ui.read(path).ok();
        let file = |text: &str, media_type| Some(Found::File { bytes: text.into(), media_type });
        assert_eq!(read("/"), file("top", "text/html; charset=utf-8"));
        assert_eq!(read("/index.html"), read("/"));
        assert_eq!(read("/in.html"), read("/"));
        assert_eq!(read("/a%20b.js"), file("js", "text/javascript; charset=utf-8"));
        assert_eq!(read("/sub/"), file("sub", "text/html; charset=utf-8"));
        assert_eq!(read("/sub"), Some(Found::Folder));
    }

    #[test]
    fn a11_nothing_outside_the_directory_is_served() {
        let (_dir, ui) = ui();
        let attacks = [
            "/../outside",
            "/sub/../../outside",
            "/%2e%2e/outside",
            "/..%2foutside",
            "/%2e%2e%2foutside",
            "/sub/..%5c..%5coutside",
            "/out",
            "/all/etc/passwd",
            "/index.html%00",
            "/%00",
            "//index.html",
            "/sub//index.html",
            "/./index.html",
            "/.env",
            "/sub/.git/x",
            "/%2eenv",
            "/index.html%",
            "/index.html%2",
            "/%zz",
            "/%ff",
            "/missing",
            "index.html",
            "/c:/x",
            "",
        ];
        for path in attacks {
            assert_eq!(ui.read(path).map_err(|f| f.code()), Err(Code::NotFound), "{path}");
        }
    }

    #[test]
    fn a_ui_must_be_a_directory() {
        let (dir, _ui) = ui();
        assert!(UiDir::open(&dir.path().join("outside")).is_err());
        assert!(UiDir::open(&dir.path().join("missing")).is_err());
    }
}
