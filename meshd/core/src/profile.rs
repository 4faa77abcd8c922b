//! The payload of a profile: what a node says about itself.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::spelling::is_deceptive;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest text about oneself, in bytes.
pub const ABOUT_BYTES_MAX: usize = 1024;
/// Longest picture, in bytes of its `data:` URL.
pub const AVATAR_BYTES_MAX: usize = 12 * 1024;

/// One revision of a profile. A node keeps the highest it has seen of each other node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Grows with every change. Up to 2^53 - 1, so that every program can count it.
    pub revision: u64,
    /// Its name.
    pub name: Option<String>,
    /// About itself.
    pub about: Option<String>,
    /// Its picture, as a `data:image/...` URL.
    pub avatar: Option<String>,
    /// What a later version added.
    pub extensions: Extensions,
}

/// Highest revision.
pub const REVISION_MAX: u64 = (1 << 53) - 1;

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a profile.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut revision = None;
        let mut profile = Self::default();
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            match key {
                0 => revision = Some(map.reader.uint()?),
                1 => profile.name = Some(map.reader.text()?.to_owned()),
                2 => profile.about = Some(map.reader.text()?.to_owned()),
                3 => profile.avatar = Some(map.reader.text()?.to_owned()),
                _ => return Err(Malformed("a profile's field of a later version")),
            }
        }
        profile.extensions = map.extensions();
        reader.end()?;
        profile.revision = revision.ok_or(Malformed("a profile without a revision"))?;
        if profile.revision > REVISION_MAX {
            return Err(Malformed("a profile's revision beyond 2^53"));
        }
        profile.check().map_err(|(_, problem)| Malformed(problem))?;
        Ok(profile)
    }

    /// Writes the profile.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [&self.name, &self.about, &self.avatar];
        let there = fields.iter().filter(|field| field.is_some()).count() as u64;
        let mut writer = Writer::with_capacity(64);
        writer.map(1 + there + self.extensions.count());
        writer.uint(0).uint(self.revision);
        for (key, field) in (1..).zip(fields) {
            if let Some(text) = field {
                writer.uint(key).text(text);
            }
        }
        writer.extensions(&self.extensions);
        writer.finish()
    }

    /// Says which field breaks the rules, and how.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if let Some(name) = &self.name {
            check_name(name).map_err(|problem| ("name", problem))?;
        }
        if let Some(about) = &self.about {
            check_about(about).map_err(|problem| ("about", problem))?;
        }
        if let Some(avatar) = &self.avatar {
            check_avatar(avatar).map_err(|problem| ("avatar", problem))?;
        }
        Ok(())
    }
}

/// A name is one line that shows what it holds.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err("has to have 1 to 64 bytes");
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err("must not begin or end with a space");
    }
    if name.contains(is_deceptive) {
        return Err("holds a control or invisible character");
    }
    Ok(())
}

fn check_about(about: &str) -> Result<(), &'static str> {
    if about.is_empty() || about.len() > ABOUT_BYTES_MAX {
        return Err("has to have 1 to 1024 bytes");
    }
    if about.chars().any(|c| c != '\n' && is_deceptive(c)) {
        return Err("holds a control or invisible character");
    }
    Ok(())
}

fn check_avatar(avatar: &str) -> Result<(), &'static str> {
    if avatar.len() > AVATAR_BYTES_MAX {
        return Err("has to have at most 12288 bytes");
    }
    let is_image = avatar.starts_with("data:image/") && avatar.contains(',');
    if !is_image || !avatar.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has to be a data:image/... URL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile() -> Profile {
        Profile {
            revision: 7,
            name: Some("Zoë 🚀".to_owned()),
            about: Some("two\nlines".to_owned()),
            avatar: Some("data:image/png;base64,AAAA".to_owned()),
            extensions: Extensions::default(),
        }
    }

    #[test]
    fn w03_a_profile_cut_at_any_byte_is_refused() {
        let bytes = profile().encode();
        for length in 0..bytes.len() {
            assert!(Profile::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Profile::decode(&bytes), Ok(profile()));
        let bare = Profile { revision: 0, ..Profile::default() };
        assert_eq!(bare.encode(), [0xa1, 0x00, 0x00]);
        assert_eq!(Profile::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn w11_names_that_deceive_are_refused() {
        for name in ["", " a", "a ", "a\u{202e}b", "a\u{200b}b", "\x1b[2J", "a\nb", &"x".repeat(65)] {
            let bad = Profile { name: Some(name.to_owned()), ..profile() };
            assert!(Profile::decode(&bad.encode()).is_err(), "{name:?}");
        }
        for avatar in ["http://x/y.png", "data:text/html,x", "data:image/png", "data:image/png,\u{e9}"] {
            let bad = Profile { avatar: Some(avatar.to_owned()), ..profile() };
            assert!(Profile::decode(&bad.encode()).is_err(), "{avatar:?}");
        }
    }

    proptest! {
        #[test]
        fn w07_a_profile_has_one_encoding(at: prop::sample::Index, to: u8) {
            let mut bytes = profile().encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(decoded) = Profile::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
