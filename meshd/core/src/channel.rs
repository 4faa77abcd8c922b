//! The name of a channel: `#` and 1 to 63 bytes.
//!
//! Everybody may post to a public channel and read it. The rule is the protocol's: a post to a name that breaks it
//! is invalid everywhere. A channel with a password may have the same name as a public one and has nothing to do with
//! it.

use crate::spelling::is_channel_character;

/// The channel every node shows, always.
pub const MESH: &str = "#mesh";
/// Where a post to a password channel belongs that none of the keys here opens. No channel's name.
pub const UNOPENED: &str = "#";
/// Longest name, in bytes, with its `#`.
pub const CHANNEL_BYTES_MAX: usize = 64;

/// Whether `name` is one of a channel.
pub fn is_channel(name: &str) -> bool {
    name.len() <= CHANNEL_BYTES_MAX
        && name
            .strip_prefix('#')
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_channel_character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w11_a_channel_is_a_hash_and_plain_characters() {
        for name in ["#mesh", "#a", "#новости", "#co-op_2.0", &format!("#{}", "x".repeat(63))] {
            assert!(is_channel(name), "{name}");
        }
        for name in [
            "",
            UNOPENED,
            "mesh",
            "#Mesh",
            "# a",
            "#a b",
            "##a",
            "#a\u{200d}",
            &format!("#{}", "x".repeat(64)),
        ] {
            assert!(!is_channel(name), "{name}");
        }
    }
}
