//! A post of a client that knows nothing of MeshLink, as a bundle.
//!
//! Such a client speaks a relay's JSON dialect; every node on that relay hears it and takes it over. All of
//! them make the same bundle of it: nothing in it is chosen by the node that makes it. So it has no signature,
//! no salt, and a header that follows from the payload alone; a bundle that says otherwise is invalid, and
//! nobody can make a second version of a post, or an urgent one.
//!
//! Nobody vouches for what it says: it is shown as such.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::header::{Header, Kind};
use crate::limits::{CREATED_UNIX_MS_MAX, LIFETIME_S_DEFAULT};
use crate::post;
use crate::store::Priority;

/// Longest name a client gives itself, in bytes.
pub const SENDER_BYTES_MAX: usize = 128;

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridged {
    /// The channel.
    pub channel: String,
    /// The text, as in a post.
    pub text: String,
    /// The name its sender gives itself, 1 to [`SENDER_BYTES_MAX`] bytes, no NUL.
    pub sender: String,
    /// What its sender's clock said, in milliseconds since 1970, up to the year 9999; 0 if it said nothing.
    pub timestamp_ms: u64,
}

impl Bridged {
    /// Reads a bridged post.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a bridged post.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut channel, mut text, mut sender, mut timestamp) = (None, None, None, None);
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            match key {
                0 => channel = Some(map.reader.text()?),
                1 => text = Some(map.reader.text()?),
                2 => sender = Some(map.reader.text()?),
                3 => timestamp = Some(map.reader.uint()?),
                _ => return Err(FREE),
            }
        }
        if map.extensions().count() > 0 {
            return Err(FREE);
        }
        reader.end()?;
        let (Some(channel), Some(text), Some(sender), Some(timestamp_ms)) =
            (channel, text, sender, timestamp)
        else {
            return Err(Malformed("a field of a bridged post is missing"));
        };
        post::check(channel, text)?;
        check_sender(sender).map_err(Malformed)?;
        if timestamp_ms > CREATED_UNIX_MS_MAX {
            return Err(Malformed("a timestamp beyond the year 9999"));
        }
        Ok(Self {
            channel: channel.to_owned(),
            text: text.to_owned(),
            sender: sender.to_owned(),
            timestamp_ms,
        })
    }

    /// Writes the bridged post.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.channel.len() + self.text.len() + self.sender.len() + 24);
        writer.map(4);
        writer.uint(0).text(&self.channel);
        writer.uint(1).text(&self.text);
        writer.uint(2).text(&self.sender);
        writer.uint(3).uint(self.timestamp_ms);
        writer.finish()
    }

    /// The only header that goes with it.
    pub(crate) fn header(&self) -> Header {
        Header {
            kind: Kind::Bridged,
            created_unix_ms: Some(self.timestamp_ms),
            lifetime_s: LIFETIME_S_DEFAULT as u32,
            priority: Priority::Normal,
            origin: None,
            salt: None,
            commitment: None,
            extensions: Extensions::default(),
        }
    }
}

/// Anything that could be chosen would make two bundles of one post.
const FREE: Malformed = Malformed("a bridged post with a field of its own");

pub(crate) fn check_sender(sender: &str) -> Result<(), &'static str> {
    if sender.is_empty() || sender.len() > SENDER_BYTES_MAX {
        return Err("has to have 1 to 128 bytes");
    }
    if sender.contains('\0') {
        return Err("holds a NUL character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bridged() -> Bridged {
        Bridged {
            channel: "#mesh".to_owned(),
            text: "Hello World".to_owned(),
            sender: "test-1".to_owned(),
            timestamp_ms: 1_234_567_890,
        }
    }

    #[test]
    fn w03_a_bridged_post_cut_at_any_byte_is_refused() {
        let bytes = bridged().encode();
        for length in 0..bytes.len() {
            assert!(Bridged::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Bridged::decode(&bytes), Ok(bridged()));
    }

    #[test]
    fn nothing_can_be_added_to_a_bridged_post() {
        let mut bytes = bridged().encode();
        bytes[0] += 1;
        bytes.extend_from_slice(&[0x10, 0x00]);
        assert_eq!(Bridged::decode(&bytes), Err(FREE));
    }

    proptest! {
        #[test]
        fn w07_a_bridged_post_has_one_encoding(at: prop::sample::Index, to: u8) {
            let mut bytes = bridged().encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(decoded) = Bridged::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
