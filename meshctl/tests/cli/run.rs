//! Running `meshctl` in a world of its own: no environment but what a test sets, a home in a temporary directory.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A temporary home.
pub(crate) struct Home(TempDir);

/// How a run ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where the fake listens unless a test wants otherwise.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("meshd.sock")
    }

    /// `meshctl` without any environment.
    pub(crate) fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
        command.args(args).env_clear().env("HOME", self.0.path()).env("TZ", "UTC");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
        command
    }

    /// `meshctl` that talks to [`Self::socket`].
    pub(crate) fn meshctl(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.env("MESHLINK_SOCKET", self.socket());
        command
    }

    /// Runs [`Self::meshctl`] to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(&mut self.meshctl(args), b"")
    }

    /// Runs a command to its end, with `input` on its standard input.
    pub(crate) fn finish(&self, command: &mut Command, input: &[u8]) -> Ran {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("meshctl starts");
        // One that does not want so much input closes it.
        drop(child.stdin.take().expect("piped").write_all(input));
        self.end(child)
    }

    /// Waits for the end of a running command.
    pub(crate) fn end(&self, mut child: Child) -> Ran {
        let out = read_all(child.stdout.take());
        let err = read_all(child.stderr.take());
        let code = exit_code(&mut child);
        let tidy = |bytes: std::thread::JoinHandle<Vec<u8>>| {
            let text = String::from_utf8(bytes.join().expect("no panic")).expect("output is UTF-8");
            text.replace(&self.0.path().display().to_string(), "~")
        };
        Ran { code, out: tidy(out), err: tidy(err) }
    }
}

/// Waits for the end of a process, for at most 30 s.
pub(crate) fn exit_code(child: &mut Child) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().expect("own child") {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("meshctl does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A signal to a process of this test.
pub(crate) fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

/// Writes an executable's or daemon's file.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory can be made");
    std::fs::write(path, text).expect("a file can be written");
}

fn read_all<T: Read + Send + 'static>(pipe: Option<T>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        bytes
    })
}
