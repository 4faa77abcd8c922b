//! A contact trace: who could hear whom, in steps of 20 seconds.
//!
//! The files are lines `t i j` (space or tab): `i` and `j` were face to face in the 20 seconds before `t`. They are
//! read plain, as `.gz`, or as the first file of a `.zip`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use flate2::read::{DeflateDecoder, GzDecoder};

/// How long a step is, in seconds.
pub const STEP_S: u64 = 20;
/// Longest text of a trace, in bytes.
const TEXT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A trace, with people numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacts {
    /// How many people.
    pub people: usize,
    /// The end of each step in seconds, and who was with whom.
    pub steps: Vec<(u64, Vec<(usize, usize)>)>,
}

/// A time without a break in which two people could hear each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encounter {
    /// When it began, in seconds.
    pub from_s: u64,
    /// When it ended, in seconds.
    pub to_s: u64,
    /// Who, the smaller number first.
    pub a: usize,
    /// With whom.
    pub b: usize,
}

impl Contacts {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is no trace.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        let text = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => unpack(GzDecoder::new(&bytes[..])),
            Some("zip") => first_of_zip(&bytes),
            _ => Ok(String::from_utf8(bytes)?),
        };
        Self::parse(&text.with_context(|| format!("can't unpack {}", path.display()))?)
    }

    /// Reads a trace's text.
    ///
    /// # Errors
    /// A line is not `t i j`, or there is none.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut numbers = BTreeMap::new();
        let mut steps: BTreeMap<u64, Vec<(usize, usize)>> = BTreeMap::new();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut fields = line.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(t)), Some(Ok(i)), Some(Ok(j))) = (fields.next(), fields.next(), fields.next())
            else {
                bail!("line {} is not `t i j`: {line:?}", n + 1);
            };
            ensure!(i != j, "line {}: {i} is with itself", n + 1);
            let mut number = |name| {
                let next = numbers.len();
                *numbers.entry(name).or_insert(next)
            };
            let (i, j) = (number(i), number(j));
            steps.entry(t).or_default().push((i.min(j), i.max(j)));
        }
        ensure!(!steps.is_empty(), "the trace is empty");
        Ok(Self { people: numbers.len(), steps: steps.into_iter().collect() })
    }

    /// First and last second.
    pub fn span_s(&self) -> (u64, u64) {
        let first = self.steps.first().map_or(0, |(t, _)| *t);
        (first.saturating_sub(STEP_S), self.steps.last().map_or(0, |(t, _)| *t))
    }

    /// Who met when: steps of a pair that follow each other are one encounter.
    pub fn encounters(&self) -> Vec<Encounter> {
        let mut open: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
        let mut met = Vec::new();
        for (t, pairs) in &self.steps {
            for &(a, b) in pairs {
                let from = t.saturating_sub(STEP_S);
                match open.get_mut(&(a, b)) {
                    Some((_, to_s)) if *to_s >= from => *to_s = *t,
                    _ => {
                        if let Some((from_s, to_s)) = open.insert((a, b), (from, *t)) {
                            met.push(Encounter { from_s, to_s, a, b });
                        }
                    }
                }
            }
        }
        met.extend(open.into_iter().map(|((a, b), (from_s, to_s))| Encounter { from_s, to_s, a, b }));
        met.sort();
        met
    }
}

fn unpack(reader: impl std::io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    reader.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The first file of a ZIP archive (PKWARE's APPNOTE, sections 4.3.7, 4.3.12, 4.3.16 and 4.4.5).
fn first_of_zip(bytes: &[u8]) -> anyhow::Result<String> {
    let word = |at: usize| -> anyhow::Result<usize> {
        let four = bytes.get(at..at + 4).context("the archive is cut short")?;
        Ok(u32::from_le_bytes(four.try_into()?) as usize)
    };
    let half = |at: usize| -> anyhow::Result<usize> {
        let two = bytes.get(at..at + 2).context("the archive is cut short")?;
        Ok(usize::from(u16::from_le_bytes(two.try_into()?)))
    };
    let end = bytes.windows(4).rposition(|four| four == b"PK\x05\x06").context("it is no ZIP archive")?;
    let entry = word(end + 16)?;
    let method = half(entry + 10)?;
    let (packed_bytes, local) = (word(entry + 20)?, word(entry + 42)?);
    let start = local + 30 + half(local + 26)? + half(local + 28)?;
    let packed = bytes.get(start..start + packed_bytes).context("the archive is cut short")?;
    match method {
        0 => unpack(packed),
        8 => unpack(DeflateDecoder::new(packed)),
        other => bail!("its first file is packed by method {other}; only deflated and stored ones are read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_follow_each_other_are_one_encounter() {
        let trace = Contacts::parse("40 7 3\n60\t3 7\n60 9 3\n120 7 3\n").expect("a trace");
        assert_eq!((trace.people, trace.span_s()), (3, (20, 120)));
        let encounter = |from_s, to_s, a, b| Encounter { from_s, to_s, a, b };
        assert_eq!(
            trace.encounters(),
            [encounter(20, 60, 0, 1), encounter(40, 60, 1, 2), encounter(100, 120, 0, 1)]
        );
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        assert!(Contacts::parse("").is_err());
        for text in ["20 1 2\n20 1\n", "20 1 2\nt i j\n", "20 1 2\n20 4 4\n"] {
            let error = Contacts::parse(text).expect_err("refused").to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn a_zip_archive_gives_its_first_file() {
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut deflated, b"20 1 2\n").expect("in memory");
        let deflated = zip(8, &deflated.finish().expect("in memory"));
        assert_eq!(first_of_zip(&deflated).expect("an archive"), "20 1 2\n");
        assert_eq!(first_of_zip(&zip(0, b"20 1 2\n")).expect("an archive"), "20 1 2\n");
        assert!(first_of_zip(&zip(14, b"20 1 2\n")).is_err());
        assert!(first_of_zip(&deflated[..40]).is_err());
    }

    /// An archive with one file "a", as Python's zipfile lays it out.
    fn zip(method: u8, packed: &[u8]) -> Vec<u8> {
        let mut zip = vec![0; 30];
        zip[26] = 1;
        zip.push(b'a');
        zip.extend_from_slice(packed);
        let entry = zip.len();
        zip.extend_from_slice(&[0; 47]);
        zip[entry + 10] = method;
        zip[entry + 20] = packed.len() as u8;
        zip.extend_from_slice(b"PK\x05\x06");
        zip.extend_from_slice(&[0; 12]);
        zip.extend_from_slice(&(entry as u32).to_le_bytes());
        zip
    }
}
