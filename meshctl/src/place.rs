//! Where a daemon may be.
//!
//! A [`Search`] knows from flags, environment and home directory which [`Place`]s to try, in the order of the
//! contract: what a flag names, what the environment names, the user's daemon, the system's, the loopback port.
//! Whatever is named is the only thing tried: a command for one node must never land on another because the
//! first was down. `api.json` is read anew at every search, since a restarted daemon may have a new port.
//!
//! A token from a state directory goes to this machine only. For another host it must be named with
//! `--token-file`.

use crate::args::Global;
use crate::failure::{Attempt, Failure, cause};
use crate::limits::{API_JSON_BYTES_MAX, TOKEN_BYTES_MAX};
use hyper::Uri;
use meshlink_api::ApiAddress;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The system daemon's socket.
const SYSTEM_SOCKET: &str = "/run/meshlink/meshd.sock";
/// The port of a daemon that was not told another one.
const PORT_DEFAULT: u16 = 6374;

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// A host, as it stands in a URL but without brackets, and a port.
    Tcp {
        /// Name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl Address {
    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Socket(_) => "localhost".into(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    /// Whether it can only be on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost"
                    || host.ends_with(".localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    fn from_url(url: &str) -> Result<Self, BadUrl> {
        let uri: Uri = url.parse().map_err(|_| BadUrl::Malformed)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(BadUrl::Tls),
            Some(_) | None => return Err(BadUrl::Scheme),
        }
        let authority = uri.authority().ok_or(BadUrl::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(BadUrl::Credentials);
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(BadUrl::Path);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Tcp { host, port: authority.port_u16().unwrap_or(80) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp { .. } => write!(f, "http://{}", self.host_header()),
        }
    }
}

/// Why a URL can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadUrl {
    /// Not a URL at all.
    #[error("it is no URL")]
    Malformed,
    /// Neither `http` nor `https`.
    #[error("it does not begin with http://")]
    Scheme,
    /// `https`.
    #[error("meshctl speaks no TLS")]
    Tls,
    /// `user:password@`.
    #[error("a URL must not hold a user or password")]
    Credentials,
    /// Something behind host and port.
    #[error("it does not end after the host and port")]
    Path,
}

impl BadUrl {
    fn hint(self) -> &'static str {
        match self {
            Self::Tls => {
                "forward the daemon's port with `ssh -L 6374:127.0.0.1:6374 HOST` and use http://127.0.0.1:6374"
            }
            Self::Credentials => "put the token into a file and name it with --token-file",
            Self::Malformed | Self::Scheme | Self::Path => "give a URL such as http://127.0.0.1:6374",
        }
    }
}

/// Whose daemon it is. After the first answer a command stays with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The one that was named.
    Named,
    /// The one this user runs.
    User,
    /// The one this machine runs.
    System,
    /// Whatever has the usual port.
    Port,
}

/// A place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What to connect to.
    pub(crate) address: Address,
    /// Whose daemon should be there.
    pub(crate) whose: Whose,
    /// The file with the token to show, if one goes there.
    pub(crate) token: Option<TokenFile>,
}

impl Place {
    fn socket(path: impl Into<PathBuf>, whose: Whose, token: Option<TokenFile>) -> Self {
        Self { address: Address::Socket(path.into()), whose, token }
    }
}

/// A file with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFile {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Whether the user named it; then it has to be there.
    pub(crate) named: bool,
}

impl TokenFile {
    /// The token, or `None` where an unnamed file can't be read: the daemon then says what it thinks of that.
    ///
    /// # Errors
    /// A named file that can't be read, or one that holds no token.
    pub(crate) fn read(&self) -> Result<Option<String>, Failure> {
        let text = match read_capped(&self.path, TOKEN_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if self.named => return Err(Failure::file("read the token file", &self.path, &error)),
            Err(_) => return Ok(None),
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Failed {
                what: format!("the token file {} holds no token", self.path.display()),
                hint: Some("it must hold one line, as in the daemon's api-token".into()),
            });
        }
        Ok(Some(token.to_owned()))
    }
}

/// What the process was started in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `MESHLINK_URL`.
    pub(crate) url: Option<String>,
    /// `MESHLINK_SOCKET`.
    pub(crate) socket: Option<PathBuf>,
    /// `MESHLINK_STATE_DIR`.
    pub(crate) state_dir: Option<PathBuf>,
    /// `MESHLINK_TOKEN_FILE`.
    pub(crate) token_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub(crate) state_home: Option<PathBuf>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment; an empty variable is no variable.
    ///
    /// # Errors
    /// `MESHLINK_URL` is not UTF-8.
    pub(crate) fn from_env() -> Result<Self, Failure> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(PathBuf::from);
        let url = var("MESHLINK_URL").map(|url| {
            url.into_string().map_err(|_| {
                Failure::usage("MESHLINK_URL is not UTF-8", "give a URL such as http://127.0.0.1:6374")
            })
        });
        Ok(Self {
            url: url.transpose()?,
            socket: path("MESHLINK_SOCKET"),
            state_dir: path("MESHLINK_STATE_DIR"),
            token_file: path("MESHLINK_TOKEN_FILE"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            state_home: path("XDG_STATE_HOME"),
            home: path("HOME"),
        })
    }
}

/// How to find the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    aim: Aim,
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Aim {
    Address(Address),
    StateDir(PathBuf),
    Anywhere,
}

impl Search {
    /// Resolves flags and surroundings.
    ///
    /// # Errors
    /// A URL that can't be used.
    pub(crate) fn new(global: &Global, around: &Surroundings) -> Result<Self, Failure> {
        let from_flags =
            aim(global.socket.as_ref(), ("--url", global.url.as_deref()), global.state_dir.as_ref())?;
        let aim = match from_flags {
            Some(aim) => aim,
            None => aim(
                around.socket.as_ref(),
                ("MESHLINK_URL", around.url.as_deref()),
                around.state_dir.as_ref(),
            )?
            .unwrap_or(Aim::Anywhere),
        };
        let home = around.home.as_ref().map(|home| home.join(".local/state"));
        let state_dir = global
            .state_dir
            .clone()
            .or_else(|| around.state_dir.clone())
            .or_else(|| around.state_home.clone().or(home).map(|base| base.join("meshlink")));
        let token_file = global.token_file.clone().or_else(|| around.token_file.clone());
        Ok(Self { aim, state_dir, runtime_dir: around.runtime_dir.clone(), token_file })
    }

    /// The places to try, in order, and what there was to read but could not be.
    pub(crate) fn places(&self) -> (Vec<Place>, Vec<Attempt>) {
        match &self.aim {
            Aim::Address(address) => {
                let place =
                    Place { address: address.clone(), whose: Whose::Named, token: self.token_for(address) };
                (vec![place], Vec::new())
            }
            Aim::StateDir(dir) => self.in_state_dir(dir, Whose::Named, None),
            Aim::Anywhere => self.anywhere(),
        }
    }

    /// The address that was named, if it may be on another machine.
    pub(crate) fn remote(&self) -> Option<&Address> {
        match &self.aim {
            Aim::Address(address) if !address.is_local() => Some(address),
            Aim::Address(_) | Aim::StateDir(_) | Aim::Anywhere => None,
        }
    }

    /// Environment variables that lead a child process to the same daemon.
    pub(crate) fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let aim = match &self.aim {
            Aim::Address(Address::Socket(path)) => Some(("MESHLINK_SOCKET", path.clone())),
            Aim::Address(address @ Address::Tcp { .. }) => Some(("MESHLINK_URL", address.to_string().into())),
            Aim::StateDir(dir) => Some(("MESHLINK_STATE_DIR", dir.clone())),
            Aim::Anywhere => None,
        };
        aim.into_iter().chain(self.token_file.clone().map(|path| ("MESHLINK_TOKEN_FILE", path))).collect()
    }

    fn anywhere(&self) -> (Vec<Place>, Vec<Attempt>) {
        let in_runtime_dir = self.runtime_dir.as_ref().map(|dir| dir.join("meshlink/meshd.sock"));
        let first = in_runtime_dir.map(|path| Place::socket(path, Whose::User, self.named_token()));
        let mut places = match &self.state_dir {
            Some(dir) => self.in_state_dir(dir, Whose::User, first).0,
            None => first.into_iter().collect(),
        };
        places.push(Place::socket(SYSTEM_SOCKET, Whose::System, self.named_token()));
        let port = Address::Tcp { host: "127.0.0.1".into(), port: PORT_DEFAULT };
        if places.iter().all(|place| place.address != port) {
            let token = self.token_for(&port);
            places.push(Place { address: port, whose: Whose::Port, token });
        }
        (places, Vec::new())
    }

    fn in_state_dir(&self, dir: &Path, whose: Whose, first: Option<Place>) -> (Vec<Place>, Vec<Attempt>) {
        let mut places: Vec<Place> = first.into_iter().collect();
        let mut unread = Vec::new();
        let usual = Place::socket(dir.join("meshd.sock"), whose, self.named_token());
        let mut named = Vec::new();
        match read_api_json(&dir.join("api.json")) {
            Ok(api) => {
                named.extend(api.socket.map(|path| Place::socket(path, whose, self.named_token())));
                named.push(usual);
                let url = api.url.as_deref().and_then(|url| Address::from_url(url).ok());
                named.extend(url.map(|address| {
                    let token = self.named_token().or_else(|| Some(token_in(dir)));
                    Place { address, whose, token }
                }));
            }
            Err(attempt) => {
                unread.push(attempt);
                named.push(usual);
            }
        }
        for place in named {
            if places.iter().all(|known| known.address != place.address) {
                places.push(place);
            }
        }
        (places, unread)
    }

    fn named_token(&self) -> Option<TokenFile> {
        self.token_file.clone().map(|path| TokenFile { path, named: true })
    }

    fn token_for(&self, address: &Address) -> Option<TokenFile> {
        let own = || match address {
            Address::Tcp { .. } if address.is_local() => self.state_dir.as_deref().map(token_in),
            Address::Tcp { .. } | Address::Socket(_) => None,
        };
        self.named_token().or_else(own)
    }
}

fn aim(
    socket: Option<&PathBuf>,
    (name, url): (&str, Option<&str>),
    state_dir: Option<&PathBuf>,
) -> Result<Option<Aim>, Failure> {
    if let Some(path) = socket {
        return Ok(Some(Aim::Address(Address::Socket(path.clone()))));
    }
    if let Some(url) = url {
        let address = Address::from_url(url)
            .map_err(|why| Failure::usage(format!("{name} {url}: {why}"), why.hint()))?;
        return Ok(Some(Aim::Address(address)));
    }
    Ok(state_dir.map(|dir| Aim::StateDir(dir.clone())))
}

fn token_in(dir: &Path) -> TokenFile {
    TokenFile { path: dir.join("api-token"), named: false }
}

fn read_api_json(path: &Path) -> Result<ApiAddress, Attempt> {
    let attempt = |why, denied| Attempt { place: path.display().to_string(), why, denied };
    let text = read_capped(path, API_JSON_BYTES_MAX)
        .map_err(|error| attempt(cause(&error), error.kind() == io::ErrorKind::PermissionDenied))?;
    serde_json::from_str(&text).map_err(|_| attempt("not the addresses of a daemon".into(), false))
}

fn read_capped(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn home() -> (tempfile::TempDir, Surroundings) {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings {
            home: Some(dir.path().join("home")),
            runtime_dir: Some(dir.path().join("run")),
            ..Surroundings::default()
        };
        fs::create_dir_all(dir.path().join("home/.local/state/meshlink")).unwrap();
        (dir, around)
    }

    fn addresses(global: &Global, around: &Surroundings, dir: &Path) -> Vec<String> {
        let search = Search::new(global, around).unwrap();
        let base = dir.display().to_string();
        search.places().0.iter().map(|place| place.address.to_string().replace(&base, "~")).collect()
    }

    #[test]
    fn the_user_comes_before_the_system_and_the_port_last() {
        let (dir, around) = home();
        assert_eq!(
            addresses(&Global::default(), &around, dir.path()),
            [
                "~/run/meshlink/meshd.sock",
                "~/home/.local/state/meshlink/meshd.sock",
                "/run/meshlink/meshd.sock",
                "http://127.0.0.1:6374"
            ]
        );
    }

    #[test]
    fn api_json_names_where_the_users_daemon_listens() {
        let (dir, around) = home();
        let api = dir.path().join("home/.local/state/meshlink/api.json");
        fs::write(&api, r#"{"url":"http://127.0.0.1:7000","socket":"/elsewhere.sock","pid":1}"#).unwrap();
        assert_eq!(
            addresses(&Global::default(), &around, dir.path())[1..4],
            ["/elsewhere.sock", "~/home/.local/state/meshlink/meshd.sock", "http://127.0.0.1:7000"]
        );
        fs::write(&api, "{").unwrap();
        assert_eq!(
            addresses(&Global::default(), &around, dir.path()).len(),
            4,
            "a broken file is passed over"
        );
    }

    #[test]
    fn what_is_named_is_the_only_thing_tried() {
        let (dir, mut around) = home();
        around.url = Some("http://[::1]:9".into());
        around.state_dir = Some("/env-state".into());
        let flag = |change: fn(&mut Global)| {
            let mut global = Global::default();
            change(&mut global);
            addresses(&global, &around, dir.path())
        };
        assert_eq!(flag(|_| {}), ["http://[::1]:9"]);
        assert_eq!(flag(|global| global.state_dir = Some("/s".into())), ["/s/meshd.sock"]);
        assert_eq!(flag(|global| global.socket = Some("/x.sock".into())), ["/x.sock"]);
        assert_eq!(flag(|global| global.url = Some("http://localhost".into())), ["http://localhost:80"]);
        around.url = None;
        assert_eq!(addresses(&Global::default(), &around, dir.path()), ["/env-state/meshd.sock"]);
    }

    #[test]
    fn urls_that_would_mislead_are_refused() {
        for (url, why) in [
            ("https://127.0.0.1", BadUrl::Tls),
            ("127.0.0.1:6374", BadUrl::Scheme),
            ("ftp://a", BadUrl::Scheme),
            ("http://a:b@c", BadUrl::Credentials),
            ("http://c/v1", BadUrl::Path),
            ("http://c/?x=1", BadUrl::Path),
            ("", BadUrl::Malformed),
        ] {
            assert_eq!(Address::from_url(url), Err(why), "{url}");
        }
    }

    #[test]
    fn e05_a_token_from_the_state_directory_stays_on_this_machine() {
        let (_dir, around) = home();
        let token = |url: &str, file: Option<&str>| {
            let global =
                Global { url: Some(url.into()), token_file: file.map(Into::into), ..Global::default() };
            let token = Search::new(&global, &around).unwrap().places().0.remove(0).token;
            token.map(|token| token.path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(token("http://127.0.0.1:6374", None).as_deref(), Some("api-token"));
        assert_eq!(token("http://localhost:6374", None).as_deref(), Some("api-token"));
        assert_eq!(token("http://192.168.1.5:6374", None), None);
        assert_eq!(token("http://127.0.0.1.evil.example", None), None);
        assert_eq!(token("http://192.168.1.5:6374", Some("/my")).as_deref(), Some("my"));
    }

    #[test]
    fn a_token_is_one_visible_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = TokenFile { path: path.clone(), named: true };
        fs::write(&path, "abc\n").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some("abc"));
        for bad in ["", "\n", "a b", "a\r\nX-Evil: 1", "ä"] {
            fs::write(&path, bad).unwrap();
            assert!(file.read().is_err(), "{bad:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(file.read().is_err());
        assert_eq!(TokenFile { path, named: false }.read().unwrap(), None);
    }
}
