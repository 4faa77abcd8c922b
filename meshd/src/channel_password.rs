//! From the password of a channel to its secret, and how easily it is guessed.
//!
//! Whoever carries a post can try passwords on it, at leisure and unseen: a try costs 64 MiB of memory and a fraction of a
//! second (`Argon2id`), and nothing else stands in the way. Everybody must come to the same secret, so the cost is
//! the protocol's and not this machine's: RFC 9106's second recommendation with one lane, which a Raspberry Pi with
//! 512 MB can spare (docs/benchmarks.md). It is paid once, when the channel is joined, on a thread that serves no link;
//! what comes out is kept sealed.

use meshlink_core::private::channel_key::{
    ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, ChannelSecret, channel_salt,
};

use crate::vault::{Cost, Passphrase, PassphraseError};

/// Characters of a password that is not short.
const CHARS_GOOD: usize = 20;
/// Characters of one that is made of letters, digits and others, without an order.
const CHARS_MIXED_GOOD: usize = 12;
/// Different characters in a password that is not monotonous.
const CHARS_DIFFERENT_MIN: usize = 8;

/// The secret of the channel with that name and password. Takes 64 MiB for a fraction of a second, on a Raspberry Pi for
/// more than one.
///
/// # Errors
/// There is no memory for it.
pub fn channel_secret(name: &str, password: &Passphrase) -> Result<ChannelSecret, PassphraseError> {
    let cost = Cost { memory_kib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES };
    Ok(ChannelSecret::from_bytes(*cost.key(password, &channel_salt(name))?))
}

/// Says what to know about a password that somebody with a few computers guesses. Silence is no praise: nobody can tell
/// a quotation from chance.
pub fn weakness(password: &str) -> Option<&'static str> {
    let chars = password.chars().count();
    let different = password.chars().collect::<std::collections::BTreeSet<char>>().len();
    let has = |class: fn(char) -> bool| usize::from(password.contains(class));
    let classes = has(char::is_lowercase)
        + has(char::is_uppercase)
        + has(|c| c.is_ascii_digit())
        + has(|c| !c.is_alphanumeric());
    let is_number = !password.contains(|c: char| !c.is_ascii_digit());
    let is_long = chars >= CHARS_GOOD && !is_number || chars >= CHARS_MIXED_GOOD && classes >= 3;
    (!is_long || different < CHARS_DIFFERENT_MIN).then_some(
        "this password may be guessed by whoever carries a post, unseen and at leisure; then everything ever said in the channel is readable. Four or more words chosen by chance are hard to guess",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_met() {
        let text = include_str!("../../docs/vectors/channels.json");
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let case = &file["cases"][0];
        let text = |name: &str| case[name].as_str().unwrap();
        let bytes = data_encoding::HEXLOWER.decode(text("secret").as_bytes()).unwrap();
        let password = Passphrase::parse(text("password")).unwrap();
        let cost = Cost { memory_kib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES };
        let key = cost.key(&password, &channel_salt(text("name"))).unwrap();
        assert_eq!(&key[..], bytes);
    }

    #[test]
    fn weak_passwords_are_told_from_others() {
        for weak in
            ["password", "12345678901234567890123", "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "Summer2026!", "mühlbach"]
        {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for other in ["correct horse battery staple", "x7!Kp-2qW9zLm", "vier alte Mühlen am Bach"] {
            assert_eq!(weakness(other), None, "{other}");
        }
    }
}
