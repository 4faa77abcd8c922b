//! Where a passphrase, or a channel's password, is read from: the terminal, without showing it, or a file. Never an
//! argument or the environment, which other users and children can see (threat E-05).

use crate::failure::{Failure, cause};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 4096;

/// A place passphrases are read from, line by line.
pub(crate) struct Source {
    lines: Lines,
    /// What is read there, in words and in the name of the option.
    what: &'static str,
}

enum Lines {
    /// The terminal, asked by name, so that it works in a pipe too.
    Terminal,
    /// A file, opened when it is first read.
    File { path: PathBuf, open: Option<BufReader<Box<dyn Read>>> },
}

/// The terminal of this process.
pub(crate) fn terminal() -> Source {
    Source { lines: Lines::Terminal, what: "passphrase" }
}

impl Source {
    /// A file, or standard input for `-`.
    pub(crate) fn file(path: &Path) -> Self {
        Self { lines: Lines::File { path: path.to_owned(), open: None }, what: "passphrase" }
    }

    /// The same for what is called otherwise.
    pub(crate) fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// The next passphrase.
    ///
    /// # Errors
    /// There is none, or no terminal to ask.
    pub(crate) fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let what = self.what;
        let line = match &mut self.lines {
            Lines::Terminal => ask_terminal(prompt).map_err(|error| {
                Failure::usage(
                    format!("there is no terminal to ask for the {what} ({})", cause(&error)),
                    format!("give it in a file: --{what}-file FILE, or - for standard input"),
                )
            })?,
            Lines::File { path, open } => {
                let failed = |error: io::Error| Failure::file("read", path, &error);
                let reader = match open {
                    Some(reader) => reader,
                    None => open.insert(open_file(path).map_err(failed)?),
                };
                let mut line = Zeroizing::new(String::new());
                reader.take(LINE_BYTES_MAX).read_line(&mut line).map_err(failed)?;
                Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned())
            }
        };
        if line.is_empty() {
            return Err(Failure::usage(format!("no {what} was given"), "it has at least 8 characters"));
        }
        Ok(line)
    }

    /// A new passphrase: a terminal is asked twice.
    ///
    /// # Errors
    /// The same, and that the two differ.
    pub(crate) fn ask_new(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let first = self.ask(prompt)?;
        if matches!(self.lines, Lines::Terminal) && self.ask("Once more: ")? != first {
            return Err(Failure::usage(format!("the two {}s differ", self.what), "try again"));
        }
        Ok(first)
    }
}

fn open_file(path: &Path) -> io::Result<BufReader<Box<dyn Read>>> {
    let reader: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    Ok(BufReader::new(reader))
}

/// Asks with the echo off, and puts the terminal back however that ends.
fn ask_terminal(prompt: &str) -> io::Result<Zeroizing<String>> {
    struct EchoOff<'a>(&'a File, rustix::termios::Termios);
    impl Drop for EchoOff<'_> {
        fn drop(&mut self) {
            let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
        }
    }
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    quiet.local_modes.insert(LocalModes::ECHONL);
    let _echo = EchoOff(&terminal, before);
    tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
    (&terminal).write_all(prompt.as_bytes())?;
    let mut line = Zeroizing::new(String::new());
    BufReader::new(&terminal).take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        std::fs::write(&path, text).unwrap();
        (dir, Source::file(&path))
    }

    #[test]
    fn a_file_gives_its_lines_one_after_the_other() {
        let (_dir, mut source) = file("first one\r\nsecond one\n");
        assert_eq!(source.ask("").unwrap().as_str(), "first one");
        assert_eq!(source.ask_new("").unwrap().as_str(), "second one");
        assert!(source.ask("").is_err(), "there is no third");
    }

    #[test]
    fn spaces_belong_to_a_passphrase_and_an_empty_one_is_none() {
        let (_dir, mut source) = file("  with spaces  \n\n");
        assert_eq!(source.ask("").unwrap().as_str(), "  with spaces  ");
        assert!(source.ask("").is_err());
        assert!(Source::file(Path::new("/no/such/file")).ask("").is_err());
    }
}
