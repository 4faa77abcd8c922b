//! What an administrator sees and changes while the daemon runs: settings with their origin, the log's filter,
//! reading the configuration again.
//!
//! A reload reads all sources anew, exactly as a start does. What [`RELOADS`] names takes effect at once; of
//! everything else it is said that it waits for a restart. A configuration with a mistake changes nothing.

use std::sync::{Arc, Mutex, MutexGuard};

use meshlink_api as api;
use meshlink_core::{Node, Now, ProfileDraft, Store};

use crate::args::Args;
use crate::config::{ConfigError, Configuration, Entry, Settings};
use crate::driver::Driver;
use crate::log::{LogFilter, LogHandle};
use crate::sqlite::SqliteStore;

/// Settings that take effect without a restart.
pub const RELOADS: [&str; 4] = ["api.allow_origins", "api.allowed_hosts", "log", "name"];
/// Where a value comes from that was changed through the API.
const BY_API: &str = "api";

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What to read the configuration with; `None` where there is none to read (tests).
    args: Option<Args>,
    log: LogHandle,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entries: Vec<Entry>,
    allowed_hosts: Arc<[String]>,
    allow_origins: Arc<[String]>,
}

/// What a reload came to.
#[derive(Debug)]
pub struct Reload {
    /// Which settings changed.
    pub reloaded: api::Reloaded,
    /// The settings as they are now, for what is not this module's to apply.
    pub settings: Settings,
}

impl Control {
    /// Over a configuration that is in force.
    pub fn new(args: &Args, configuration: &Configuration, log: LogHandle) -> Self {
        let state = State::of(&configuration.settings, configuration.entries.clone());
        Self(Arc::new(Inner { args: Some(args.clone()), log, state: Mutex::new(state) }))
    }

    /// With these hosts and origins and nothing to read again.
    pub fn fixed(settings: &Settings) -> Self {
        let state = State::of(settings, Vec::new());
        Self(Arc::new(Inner { args: None, log: LogHandle::default(), state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Host names that requests may name besides loopback ones.
    pub fn allowed_hosts(&self) -> Arc<[String]> {
        Arc::clone(&self.state().allowed_hosts)
    }

    /// Origins of pages that may call the API with a token.
    pub fn allow_origins(&self) -> Arc<[String]> {
        Arc::clone(&self.state().allow_origins)
    }

    /// Every setting in force.
    pub fn settings(&self) -> api::Settings {
        let shown = |entry: &Entry| api::Setting {
            key: entry.key.clone(),
            value: entry.value.clone(),
            origin: entry.origin.clone(),
            reloads: RELOADS.contains(&entry.key.as_str()),
        };
        api::Settings { items: self.state().entries.iter().map(shown).collect() }
    }

    /// What is logged.
    pub fn log_filter(&self) -> String {
        let state = self.state();
        let entry = state.entries.iter().find(|entry| entry.key == "log");
        entry.map_or_else(
            || LogFilter::default().as_str().to_owned(),
            |entry| entry.value.trim_matches('"').to_owned(),
        )
    }

    /// Changes what is logged, until the next reload or restart.
    pub fn set_log_filter(&self, filter: &LogFilter) {
        self.apply_log(filter);
        let mut state = self.state();
        state.entries.retain(|entry| entry.key != "log");
        let value = format!("{filter:?}");
        state.entries.push(Entry { key: "log".to_owned(), value, origin: BY_API.to_owned() });
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// There is a mistake in it; everything is as before.
    pub fn reload(&self) -> Result<Option<Reload>, ConfigError> {
        let Some(args) = &self.0.args else { return Ok(None) };
        let fresh = Configuration::load(args, &|name| std::env::var_os(name))?;
        let mut state = self.state();
        let changed = changed_keys(&state.entries, &fresh.entries);
        let (applied, needs_restart) = changed.into_iter().partition(|key| RELOADS.contains(&key.as_str()));
        self.apply_log(&fresh.settings.log);
        // What waits for a restart is not in force: it keeps the value that is.
        let kept = state.entries.iter().filter(|entry| !RELOADS.contains(&entry.key.as_str())).cloned();
        let new = fresh.entries.iter().filter(|entry| RELOADS.contains(&entry.key.as_str())).cloned();
        *state = State::of(&fresh.settings, new.chain(kept).collect());
        Ok(Some(Reload { reloaded: api::Reloaded { applied, needs_restart }, settings: fresh.settings }))
    }

    fn apply_log(&self, filter: &LogFilter) {
        if let Err(error) = self.0.log.set(filter) {
            tracing::warn!(%error, "the log's filter stays as it is");
        }
    }
}

/// Reads the configuration again and applies what can be applied; says in the log what came of it.
///
/// # Errors
/// There is a mistake in it; everything is as before.
pub async fn reload(control: &Control, driver: &Driver) -> Result<api::Reloaded, ConfigError> {
    let Some(Reload { reloaded, settings }) = control.reload()? else { return Ok(api::Reloaded::default()) };
    if let (true, Some(name)) = (reloaded.applied.iter().any(|key| key == "name"), settings.name) {
        let written = driver.write(move |node, now| adopt_name(node, Some(name), now)).await;
        match written.map_err(anyhow::Error::from).flatten() {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the node's name was not stored"),
        }
    }
    tracing::info!(applied = ?reloaded.applied, needs_restart = ?reloaded.needs_restart, "configuration read again");
    Ok(reloaded)
}

/// Takes the name that the settings ask for, if they ask for one.
pub(crate) fn adopt_name(node: &mut Node<SqliteStore>, name: Option<String>, now: Now) -> anyhow::Result<()> {
    let profile = node.profile()?;
    // A locked node signs nothing; it takes the name when it starts unlocked.
    if name.is_some() && profile.name != name && !node.store().is_locked() {
        node.set_profile(ProfileDraft { name, ..profile }, now)?;
    }
    Ok(())
}

impl State {
    fn of(settings: &Settings, entries: Vec<Entry>) -> Self {
        Self {
            entries,
            allowed_hosts: settings.allowed_hosts.clone().into(),
            allow_origins: settings.allow_origins.clone().into(),
        }
    }
}

/// Keys whose values are not the same in both, each once. Several entries of one key (relays) are one value.
fn changed_keys(old: &[Entry], new: &[Entry]) -> Vec<String> {
    let values = |entries: &[Entry], key: &str| -> Vec<String> {
        entries.iter().filter(|entry| entry.key == key).map(|entry| entry.value.clone()).collect()
    };
    let mut keys: Vec<&String> = old.iter().chain(new).map(|entry| &entry.key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|key| values(old, key) != values(new, key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn control(path: &std::path::Path) -> Control {
        let args = Args::parse_from(["meshd", "--config", path.to_str().unwrap()]);
        let configuration = Configuration::load(&args, &|_| None).unwrap();
        Control::new(&args, &configuration, LogHandle::default())
    }

    fn origin_of(control: &Control, key: &str) -> String {
        control.settings().items.into_iter().find(|item| item.key == key).unwrap().origin
    }

    #[test]
    fn a_reload_applies_what_it_can_and_names_the_rest() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("meshd.toml");
        std::fs::write(&path, "log = \"warn\"\n[store]\npeers_kept = 500\n").unwrap();
        let control = control(&path);
        assert_eq!(control.reload().unwrap().unwrap().reloaded, api::Reloaded::default());
        let text =
            "log = \"debug\"\n[api]\nallow_origins = [\"http://localhost:1\"]\n[store]\npeers_kept = 600\n";
        std::fs::write(&path, text).unwrap();
        let reloaded = control.reload().unwrap().unwrap().reloaded;
        assert_eq!(reloaded.applied, ["api.allow_origins", "log"]);
        assert_eq!(reloaded.needs_restart, ["store.peers_kept"]);
        assert_eq!(&*control.allow_origins(), ["http://localhost:1"]);
        assert_eq!(control.log_filter(), "debug");
        let items = control.settings().items;
        let peers = items.iter().find(|item| item.key == "store.peers_kept").unwrap();
        assert_eq!((peers.value.as_str(), peers.reloads), ("500", false), "what is in force is shown");
        assert_eq!(control.reload().unwrap().unwrap().reloaded.needs_restart, ["store.peers_kept"]);
    }

    #[test]
    fn a_mistake_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("meshd.toml");
        std::fs::write(&path, "log = \"warn\"\n").unwrap();
        let control = control(&path);
        std::fs::write(&path, "log = \"debug\"\n[api]\nport = 1\n").unwrap();
        assert!(control.reload().unwrap_err().to_string().contains(":3: "));
        assert_eq!(control.log_filter(), "warn");
    }

    #[test]
    fn what_the_api_changed_says_so_until_the_next_reload() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("meshd.toml");
        std::fs::write(&path, "log = \"warn\"\n").unwrap();
        let control = control(&path);
        assert_eq!(origin_of(&control, "log"), path.display().to_string());
        control.set_log_filter(&"trace".parse().unwrap());
        assert_eq!((control.log_filter().as_str(), origin_of(&control, "log").as_str()), ("trace", "api"));
        assert_eq!(control.reload().unwrap().unwrap().reloaded.applied, ["log"]);
        assert_eq!(control.log_filter(), "warn");
    }
}
