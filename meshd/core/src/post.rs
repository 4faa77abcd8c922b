//! The payload of a public post.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::channel::is_channel;
use crate::id::BundleId;
use crate::limits::TEXT_BYTES_MAX;

/// A text for everybody in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The channel.
    pub channel: String,
    /// The text: 1 to [`TEXT_BYTES_MAX`] bytes, no NUL.
    pub text: String,
    /// The post it answers.
    pub reply_to: Option<BundleId>,
    /// What a later version added.
    pub extensions: Extensions,
}

impl Post {
    /// Reads a post.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a post.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut channel, mut text, mut reply_to) = (None, None, None);
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            match key {
                0 => channel = Some(map.reader.text()?),
                1 => text = Some(map.reader.text()?),
                2 => reply_to = Some(BundleId(map.reader.byte_array()?)),
                _ => return Err(Malformed("a post's field of a later version")),
            }
        }
        let extensions = map.extensions();
        reader.end()?;
        let (Some(channel), Some(text)) = (channel, text) else {
            return Err(Malformed("a post without channel or text"));
        };
        check(channel, text)?;
        Ok(Self { channel: channel.to_owned(), text: text.to_owned(), reply_to, extensions })
    }

    /// Writes the post.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.channel.len() + self.text.len() + 48);
        writer.map(2 + u64::from(self.reply_to.is_some()) + self.extensions.count());
        writer.uint(0).text(&self.channel);
        writer.uint(1).text(&self.text);
        if let Some(reply_to) = &self.reply_to {
            writer.uint(2).bytes(&reply_to.0);
        }
        writer.extensions(&self.extensions);
        writer.finish()
    }
}

/// What holds for the words of every post, signed or bridged.
pub(crate) fn check(channel: &str, text: &str) -> Result<(), Malformed> {
    if !is_channel(channel) {
        return Err(Malformed("a post to what is no channel"));
    }
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(Malformed("a post whose text is empty, too long or holds a NUL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn post(text: &str) -> Post {
        Post {
            channel: "#mesh".to_owned(),
            text: text.to_owned(),
            reply_to: Some(BundleId([9; 32])),
            extensions: Extensions::default(),
        }
    }

    #[test]
    fn w03_a_post_cut_at_any_byte_is_refused() {
        let bytes = post("hello").encode();
        for length in 0..bytes.len() {
            assert!(Post::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Post::decode(&bytes), Ok(post("hello")));
    }

    #[test]
    fn w11_words_that_break_the_rules_are_refused() {
        for text in ["", "a\0b", &"x".repeat(TEXT_BYTES_MAX + 1)] {
            assert!(Post::decode(&post(text).encode()).is_err());
        }
        let elsewhere = Post { channel: "mesh".to_owned(), ..post("hi") };
        assert!(Post::decode(&elsewhere.encode()).is_err());
        // Text may hold anything else; who shows it escapes it.
        assert!(Post::decode(&post("\u{202e}\x1b[2J\r\n").encode()).is_ok());
        let invalid = [0xa2, 0x00, 0x65, b'#', b'm', b'e', b's', b'h', 0x01, 0x61, 0xff];
        assert_eq!(Post::decode(&invalid), Err(Malformed("text that is not UTF-8")));
    }

    proptest! {
        #[test]
        fn w07_a_post_has_one_encoding(text in "[^\0]{1,200}", at: prop::sample::Index, to: u8) {
            let mut bytes = post(&text).encode();
            prop_assert_eq!(Post::decode(&bytes), Ok(post(&text)));
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(decoded) = Post::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
