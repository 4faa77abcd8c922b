//! The name a node goes by on a local network: random, and no longer the same after a while.

use std::fmt;

use data_encoding::BASE32_NOPAD;

/// Characters of a name. 80 random bits: nobody has to check whether a name is taken.
pub(super) const NAME_BYTES: usize = 16;

/// A name on the network: base32 in lower case. It says nothing about the node and is new with every start, and with every network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name([u8; NAME_BYTES]);

impl Name {
    /// A new name. Without randomness two nodes may share one, and then do not meet.
    pub(super) fn random() -> Self {
        let mut bytes = [0; NAME_BYTES * 5 / 8];
        let _ = getrandom::fill(&mut bytes);
        Self::from_random(bytes)
    }

    fn from_random(bytes: [u8; NAME_BYTES * 5 / 8]) -> Self {
        let mut name = [0; NAME_BYTES];
        BASE32_NOPAD.encode_mut(&bytes, &mut name);
        name.make_ascii_lowercase();
        Self(name)
    }

    /// Reads a name from the wire, in either case.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut name: [u8; NAME_BYTES] = bytes.try_into().ok()?;
        name.make_ascii_lowercase();
        name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')).then_some(Self(name))
    }

    pub(super) fn as_bytes(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("letters and digits"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sixteen_letters_and_digits_and_differ() {
        let (one, other) = (Name::random(), Name::random());
        assert_ne!(one, other);
        assert_eq!(Name::parse(one.to_string().as_bytes()), Some(one));
        assert_eq!(Name::parse(one.to_string().to_uppercase().as_bytes()), Some(one));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in
            [&b""[..], b"aaaaaaaaaaaaaaa", b"aaaaaaaaaaaaaaaaa", b"aaaaaaaa aaaaaaa", b"aaaaaaaaaaaaaaa1"]
        {
            assert_eq!(Name::parse(bad), None, "{bad:?}");
        }
    }
}
