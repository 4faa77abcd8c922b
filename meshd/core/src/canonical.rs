//! CBOR with exactly one spelling for everything: the deterministic encoding of RFC 8949 section 4.2.1.
//!
//! Shortest integers and lengths, definite lengths, map keys that are unsigned integers in ascending order,
//! each once, nothing after the end. The reader refuses everything else, so `decode(x) = m` implies
//! `encode(m) = x` (threat W-07), and two nodes never disagree about what was signed.
//!
//! Only what the protocol needs is read: unsigned integers, byte strings, text, arrays, maps. Nothing nests
//! without the protocol saying so, no length is believed beyond the input (threats W-01, W-10), and nothing
//! is allocated while reading.
//!
//! Maps may hold keys a reader does not know. Those below [`EXTENSION_KEYS_FROM`] are reserved for later
//! versions that old readers must not guess at: they are refused. The others are [`Extensions`]: kept as they
//! are, not understood.

/// The first key of a map that a reader may not know and may pass over (threat W-06).
pub const EXTENSION_KEYS_FROM: u64 = 16;

/// Bytes that are not the one right encoding of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Map entries that are kept without being understood: pairs of a key from [`EXTENSION_KEYS_FROM`] on and an
/// unsigned integer, byte string or text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    count: u64,
    bytes: Vec<u8>,
}

/// Reads canonical CBOR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

/// A map being read.
pub(crate) struct Map<'r, 'b> {
    pub(crate) reader: &'r mut Reader<'b>,
    left: u64,
    last: Option<u64>,
    /// What was left of the input before the first extension.
    extensions: Option<&'b [u8]>,
    extension_count: u64,
}

/// Writes canonical CBOR; the caller writes map keys in order.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// Refuses trailing bytes.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.is_at_end() { Ok(()) } else { Err(Malformed("bytes after the end")) }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Malformed> {
        self.head(UINT)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.head(BYTES)?;
        self.take(length)
    }

    pub(crate) fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed("a byte string of the wrong length"))
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, Malformed> {
        let length = self.head(TEXT)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("text that is not UTF-8"))
    }

    /// The number of items of an array that begins here.
    pub(crate) fn array(&mut self) -> Result<u64, Malformed> {
        self.head(ARRAY)
    }

    pub(crate) fn map(&mut self) -> Result<Map<'_, 'b>, Malformed> {
        let left = self.head(MAP)?;
        Ok(Map { reader: self, left, last: None, extensions: None, extension_count: 0 })
    }

    /// Passes over one value that is not understood.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        match self.rest.first().map(|first| first >> 5) {
            Some(UINT) => self.uint().map(drop),
            Some(BYTES) => self.bytes().map(drop),
            Some(TEXT) => self.text().map(drop),
            Some(_) => Err(Malformed("an extension that is no integer, byte string or text")),
            None => Err(TRUNCATED),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| TRUNCATED)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An item's type and argument (RFC 8949 section 3), in the shortest form.
    fn head(&mut self, expected: u8) -> Result<u64, Malformed> {
        let first = self.take(1)?[0];
        if first >> 5 != expected {
            return Err(Malformed("an item of the wrong type"));
        }
        let (argument, least) = match first & 0x1f {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (self.big_endian(1)?, 24),
            25 => (self.big_endian(2)?, 1 << 8),
            26 => (self.big_endian(4)?, 1 << 16),
            27 => (self.big_endian(8)?, 1 << 32),
            _ => return Err(Malformed("an indefinite length")),
        };
        if argument < least {
            return Err(Malformed("an integer longer than needed"));
        }
        Ok(argument)
    }

    fn big_endian(&mut self, length: u64) -> Result<u64, Malformed> {
        Ok(self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

const TRUNCATED: Malformed = Malformed("it ends too early");

impl<'b> Map<'_, 'b> {
    /// The next key that the caller has to understand; extensions are passed over.
    pub(crate) fn key(&mut self) -> Result<Option<u64>, Malformed> {
        while self.left > 0 {
            let before = self.reader.rest;
            let key = self.reader.uint()?;
            if self.last.is_some_and(|last| key <= last) {
                return Err(Malformed("map keys out of order"));
            }
            self.left -= 1;
            self.last = Some(key);
            if key < EXTENSION_KEYS_FROM {
                return Ok(Some(key));
            }
            self.extensions.get_or_insert(before);
            self.extension_count += 1;
            self.reader.skip()?;
        }
        Ok(None)
    }

    /// What was passed over. To be asked after the last key.
    pub(crate) fn extensions(self) -> Extensions {
        let Some(from) = self.extensions else { return Extensions::default() };
        let length = from.len() - self.reader.rest.len();
        Extensions { count: self.extension_count, bytes: from[..length].to_vec() }
    }
}

impl Extensions {
    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One entry with a byte string.
    pub(crate) fn of_bytes(key: u64, value: &[u8]) -> Self {
        let mut writer = Writer::default();
        writer.uint(key).bytes(value);
        Self { count: 1, bytes: writer.finish() }
    }

    /// The byte string of an entry, if there is such a one.
    pub(crate) fn bytes_of(&self, key: u64) -> Option<&[u8]> {
        let mut reader = Reader::new(&self.bytes);
        while let Ok(found) = reader.uint() {
            if found == key {
                return reader.bytes().ok();
            }
            reader.skip().ok()?;
        }
        None
    }
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Goes on after what is there.
    pub(crate) fn append_to(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn array(&mut self, items: u64) -> &mut Self {
        self.head(ARRAY, items)
    }

    pub(crate) fn map(&mut self, entries: u64) -> &mut Self {
        self.head(MAP, entries)
    }

    /// The entries that were not understood; they come after all others.
    pub(crate) fn extensions(&mut self, extensions: &Extensions) -> &mut Self {
        self.bytes.extend_from_slice(&extensions.bytes);
        self
    }

    fn head(&mut self, kind: u8, argument: u64) -> &mut Self {
        let kind = kind << 5;
        let be = argument.to_be_bytes();
        match argument {
            0..=23 => self.bytes.push(kind | argument as u8),
            24..=0xff => self.bytes.extend_from_slice(&[kind | 24, be[7]]),
            0x100..=0xffff => self.bytes.extend_from_slice(&[kind | 25, be[6], be[7]]),
            0x1_0000..=0xffff_ffff => {
                self.bytes.push(kind | 26);
                self.bytes.extend_from_slice(&be[4..]);
            }
            _ => {
                self.bytes.push(kind | 27);
                self.bytes.extend_from_slice(&be);
            }
        }
        self
    }
}

/// How many bytes the head of an item with that argument takes.
pub(crate) const fn head_bytes(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_takes_as_many_bytes_as_is_said_beforehand() {
        for value in [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            let mut writer = Writer::default();
            writer.uint(value);
            assert_eq!(writer.finish().len(), head_bytes(value), "{value}");
        }
    }

    #[test]
    fn w07_only_the_shortest_spelling_of_an_integer_is_read() {
        for (bytes, value) in [
            (&[0x17][..], 23),
            (&[0x18, 24], 24),
            (&[0x19, 1, 0], 256),
            (&[0x1a, 0, 1, 0, 0], 65_536),
            (&[0x1b, 0, 0, 0, 1, 0, 0, 0, 0], 1 << 32),
        ] {
            assert_eq!(Reader::new(bytes).uint(), Ok(value));
        }
        for bytes in [
            &[0x18, 23][..],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
            &[0x1c],
            &[0x1f],
            &[0x20],
            &[],
        ] {
            assert!(Reader::new(bytes).uint().is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn w01_a_length_beyond_the_input_is_refused() {
        let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Reader::new(&huge).bytes(), Err(TRUNCATED));
        let long = [0x5a, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(Reader::new(&long).bytes(), Err(TRUNCATED));
        // A map may claim any number of entries; it is believed one at a time.
        let mut many = Reader::new(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10, 0x00]);
        let mut map = many.map().unwrap();
        assert_eq!(map.key(), Err(TRUNCATED));
    }

    #[test]
    fn w07_indefinite_lengths_and_unordered_keys_are_refused() {
        assert!(Reader::new(&[0x5f, 0x41, 0x00, 0xff]).bytes().is_err());
        assert!(Reader::new(&[0xbf, 0xff]).map().is_err());
        for keys in [[1u8, 0], [1, 1]] {
            let bytes = [0xa2, keys[0], 0x00, keys[1], 0x00];
            let mut reader = Reader::new(&bytes);
            let mut map = reader.map().unwrap();
            assert_eq!(map.key(), Ok(Some(u64::from(keys[0]))));
            map.reader.uint().unwrap();
            assert_eq!(map.key(), Err(Malformed("map keys out of order")));
        }
    }

    #[test]
    fn w06_extensions_are_kept_and_nested_ones_refused() {
        let bytes = [0xa3, 0x00, 0x05, 0x10, 0x41, 0xee, 0x18, 0x80, 0x61, b'x'];
        let mut reader = Reader::new(&bytes);
        let mut map = reader.map().unwrap();
        assert_eq!(map.key(), Ok(Some(0)));
        assert_eq!(map.reader.uint(), Ok(5));
        assert_eq!(map.key(), Ok(None));
        let extensions = map.extensions();
        assert_eq!(extensions.count(), 2);
        assert!(reader.end().is_ok());
        let mut writer = Writer::default();
        writer.map(1 + extensions.count()).uint(0).uint(5).extensions(&extensions);
        assert_eq!(writer.finish(), bytes);
        let mut nested = Reader::new(&[0xa1, 0x10, 0x80]);
        assert!(nested.map().unwrap().key().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64, bytes: Vec<u8>, text: String) {
            let mut writer = Writer::default();
            writer.uint(value).bytes(&bytes).text(&text).array(value).map(value);
            let written = writer.finish();
            prop_assert_eq!(
                written.len(),
                3 * head_bytes(value) + head_bytes(bytes.len() as u64) + bytes.len()
                    + head_bytes(text.len() as u64) + text.len()
            );
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.uint(), Ok(value));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.text(), Ok(&text[..]));
            prop_assert_eq!(reader.array(), Ok(value));
            prop_assert!(reader.map().is_ok());
            prop_assert!(reader.is_at_end());
        }
    }
}
