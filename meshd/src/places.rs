//! Where things are, when nobody says: the directories that systemd gives a service, else the XDG base
//! directories of a user.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Looks up an environment variable; a parameter, so that tests bring their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// There is no place to fall back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no home directory is known to keep the node's state in; name a directory with --state-dir")]
pub struct NoHome;

/// The state directory: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/meshlink`, else `~/.local/state/meshlink`; on Windows
/// `%LOCALAPPDATA%\meshlink`.
///
/// # Errors
/// [`NoHome`].
pub fn state_dir(env: Environment<'_>) -> Result<PathBuf, NoHome> {
    if let Some(dir) = service_dir(env, "STATE_DIRECTORY") {
        return Ok(dir);
    }
    if let Some(base) = absolute(env, "XDG_STATE_HOME") {
        return Ok(base.join("meshlink"));
    }
    if cfg!(windows) {
        return absolute(env, "LOCALAPPDATA").map(|base| base.join("meshlink")).ok_or(NoHome);
    }
    absolute(env, "HOME").map(|home| home.join(".local/state/meshlink")).ok_or(NoHome)
}

/// The API's Unix socket: in `$RUNTIME_DIRECTORY`, else `$XDG_RUNTIME_DIR/meshlink`, else in the state
/// directory.
pub fn socket(env: Environment<'_>, state_dir: &Path) -> PathBuf {
    if let Some(dir) = service_dir(env, "RUNTIME_DIRECTORY") {
        return dir.join(SOCKET_FILE);
    }
    match absolute(env, "XDG_RUNTIME_DIR") {
        Some(base) if base.is_dir() => base.join("meshlink/meshd.sock"),
        Some(_) | None => state_dir.join(SOCKET_FILE),
    }
}

/// The API's socket in whatever directory it lies.
pub const SOCKET_FILE: &str = "meshd.sock";
/// Where `meshd.socket` listens, and where `meshctl` looks.
pub const SYSTEM_SOCKET: &str = "/run/meshlink/meshd.sock";

/// Configuration files to look for, the first one there counts.
pub fn config_files(env: Environment<'_>) -> Vec<PathBuf> {
    let home = || match cfg!(windows) {
        true => absolute(env, "APPDATA"),
        false => absolute(env, "HOME").map(|home| home.join(".config")),
    };
    let service = service_dir(env, "CONFIGURATION_DIRECTORY").map(|dir| dir.join("meshd.toml"));
    let user = absolute(env, "XDG_CONFIG_HOME").or_else(home).map(|base| base.join("meshlink/meshd.toml"));
    service.into_iter().chain(user).collect()
}

/// systemd gives several directories separated by colons where a unit asks for several; the first is ours.
fn service_dir(env: Environment<'_>, variable: &str) -> Option<PathBuf> {
    let value = env(variable)?;
    let first = std::env::split_paths(&value).next()?;
    first.is_absolute().then_some(first)
}

/// The XDG specification says to ignore relative paths.
fn absolute(env: Environment<'_>, variable: &str) -> Option<PathBuf> {
    env(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_services_directories_come_first_then_the_users() {
        let user = [("HOME", "/home/ann")];
        assert_eq!(state_dir(&env(&user)), Ok("/home/ann/.local/state/meshlink".into()));
        let xdg = [("HOME", "/home/ann"), ("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "/c")];
        assert_eq!(state_dir(&env(&xdg)), Ok("/s/meshlink".into()));
        assert_eq!(config_files(&env(&xdg)), [PathBuf::from("/c/meshlink/meshd.toml")]);
        let service = [
            ("HOME", "/home/ann"),
            ("STATE_DIRECTORY", "/var/lib/meshlink:/var/lib/other"),
            ("RUNTIME_DIRECTORY", "/run/meshlink"),
            ("CONFIGURATION_DIRECTORY", "/etc/meshlink"),
        ];
        assert_eq!(state_dir(&env(&service)), Ok("/var/lib/meshlink".into()));
        assert_eq!(socket(&env(&service), Path::new("/x")), PathBuf::from("/run/meshlink/meshd.sock"));
        assert_eq!(config_files(&env(&service))[0], PathBuf::from("/etc/meshlink/meshd.toml"));
    }

    #[test]
    fn without_any_place_it_says_so() {
        assert_eq!(state_dir(&env(&[])), Err(NoHome));
        assert_eq!(state_dir(&env(&[("XDG_STATE_HOME", "relative")])), Err(NoHome));
        assert_eq!(socket(&env(&[]), Path::new("/state")), PathBuf::from("/state/meshd.sock"));
    }
}
