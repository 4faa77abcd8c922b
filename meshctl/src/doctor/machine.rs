//! The machine as the doctor sees it: files, and the answers of a few programs of the system.
//!
//! Everything is reached through [`Machine`], so that tests show it machines of their own.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program of the system may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// Between two looks at whether it ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Most that is read of a file or an answer.
const BYTES_MAX: u64 = 1024 * 1024;
/// Where the system bus is, if nobody says otherwise (D-Bus specification, "Well-known Message Bus Instances").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Asks a program of the system: its name and arguments, and what it printed. `None` where it is not there, failed, or
/// did not end.
pub(crate) type Ask = Box<dyn Fn(&str, &[&str]) -> Option<String>>;

/// See the module's text.
pub(crate) struct Machine {
    root: PathBuf,
    bus: PathBuf,
    ask: Ask,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
        let named = address.split([';', ',']).find_map(|part| part.strip_prefix("unix:path="));
        let bus = named.unwrap_or(SYSTEM_BUS).into();
        Self { root: "/".into(), bus, ask: Box::new(ask) }
    }

    /// One whose files are below `root`, and whose programs answer with `ask`.
    #[cfg(test)]
    pub(crate) fn pretended(root: &Path, ask: Ask) -> Self {
        Self { root: root.to_owned(), bus: root.join("bus"), ask }
    }

    /// A file's text, if it can be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let file = std::fs::File::open(self.at(path)).ok()?;
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Names in a directory, sorted; none where it is not there.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What a program prints.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        (self.ask)(program, arguments)
    }

    /// The system bus: where it is, and whether it takes a connection.
    pub(crate) fn bus(&self) -> (&Path, std::io::Result<()>) {
        (&self.bus, UnixStream::connect(&self.bus).map(drop))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let out = child.stdout.take()?;
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        out.take(BYTES_MAX).read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Ok(None) | Err(_) => {
                // It may have ended by now; either way nobody waits for it any more.
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    let text = reading.join().ok()?.ok()?;
    ended.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_is_not_there_says_nothing() {
        assert_eq!(ask("echo", &["hello"]).as_deref(), Some("hello\n"));
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("no-such-program-of-any-system", &[]), None);
    }
}
