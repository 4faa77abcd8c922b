//! The code one person gives to another, as text or as a QR code: who it is, and a secret that works once.
//!
//! ```text
//! MESHLINK:<base32 of>  1 ‖ Ed25519 ‖ X25519 ‖ secret ‖ prekey ‖ expires (5) ‖ name ‖ check (4)
//! ```
//!
//! With it the other can write at once, without having heard of the node before, and under a key that only the
//! two of them have: whoever records the traffic today and breaks X25519 one day still lacks it. The secret works
//! once and for a while (threat C-06); its owner's node decides that, not the text. Upper-case base32 and `:` are
//! in the alphanumeric mode of QR codes (ISO/IEC 18004), half the size of bytes.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::identity::PublicKeys;
use crate::profile::check_name;

const PREFIX: &str = "MESHLINK:";
const VERSION: u8 = 1;
const FIXED_BYTES: usize = 1 + 64 + 32 + 32 + 5;
const CHECK_BYTES: usize = 4;
const CHECK_CONTEXT: &str = "MeshLink v1 code check";
const PSK_CONTEXT: &str = "MeshLink v1 code psk";
const TOKEN_CONTEXT: &str = "MeshLink v1 code token";

/// See the module's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Whose it is.
    pub keys: PublicKeys,
    /// What the two share once it was used.
    pub secret: Zeroizing<[u8; 32]>,
    /// What the first message is sealed to.
    pub prekey: [u8; 32],
    /// Until when it works, in seconds since 1970; 0 if its owner had no clock.
    pub expires_unix_s: u64,
    /// The name its owner gives itself.
    pub name: Option<String>,
}

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// It does not begin like one.
    #[error("a code begins with MESHLINK:")]
    NoPrefix,
    /// It was copied or scanned wrongly.
    #[error("the code is incomplete or has a mistake in it")]
    Damaged,
    /// It is of a later version.
    #[error("the code is of a later version of MeshLink")]
    Later,
}

impl Code {
    /// The key that both seal with from now on.
    pub(crate) fn psk(&self) -> [u8; 32] {
        blake3::derive_key(PSK_CONTEXT, &self.secret[..])
    }

    /// What shows the owner that somebody has the code.
    pub(crate) fn token(&self) -> [u8; 16] {
        let mut token = [0; 16];
        token.copy_from_slice(&blake3::derive_key(TOKEN_CONTEXT, &self.secret[..])[..16]);
        token
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Zeroizing::new(vec![VERSION]);
        bytes.extend_from_slice(&self.keys.to_bytes());
        bytes.extend_from_slice(&self.secret[..]);
        bytes.extend_from_slice(&self.prekey);
        bytes.extend_from_slice(&self.expires_unix_s.to_be_bytes()[3..]);
        bytes.extend_from_slice(self.name.as_deref().unwrap_or_default().as_bytes());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }
}

impl FromStr for Code {
    type Err = BadCode;

    /// Takes it as people paste it: in any case, with white space anywhere.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        let text: String =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        let body = text.strip_prefix(PREFIX).ok_or(BadCode::NoPrefix)?;
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| BadCode::Damaged)?);
        let length = bytes.len().checked_sub(CHECK_BYTES).ok_or(BadCode::Damaged)?;
        let (content, sum) = bytes.split_at(length);
        if sum != check(content) {
            return Err(BadCode::Damaged);
        }
        if content.first() != Some(&VERSION) {
            return Err(BadCode::Later);
        }
        let (fixed, name) = content.split_at_checked(FIXED_BYTES).ok_or(BadCode::Damaged)?;
        let array = |at: usize| <[u8; 32]>::try_from(&fixed[at..at + 32]).expect("32 bytes of 134");
        let mut expires = [0; 8];
        expires[3..].copy_from_slice(&fixed[129..]);
        let name = std::str::from_utf8(name).map_err(|_| BadCode::Damaged)?;
        if !name.is_empty() {
            check_name(name).map_err(|_| BadCode::Damaged)?;
        }
        Ok(Self {
            keys: PublicKeys { ed: array(1), x: array(33) },
            secret: Zeroizing::new(array(65)),
            prekey: array(97),
            expires_unix_s: u64::from_be_bytes(expires),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("keys", &self.keys).finish_non_exhaustive()
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::derive_key(CHECK_CONTEXT, bytes)[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::NAME_BYTES_MAX;

    fn code() -> Code {
        Code {
            keys: PublicKeys { ed: [1; 32], x: [2; 32] },
            secret: Zeroizing::new([3; 32]),
            prekey: [4; 32],
            expires_unix_s: 1_767_225_600,
            name: Some("Zoë".to_owned()),
        }
    }

    #[test]
    fn a_code_survives_being_pasted() {
        for code in [code(), Code { name: None, expires_unix_s: 0, ..code() }] {
            let text = code.to_string();
            assert_eq!(text.parse(), Ok(code.clone()));
            assert_eq!(text.to_lowercase().parse(), Ok(code.clone()));
            let (start, end) = text.split_at(50);
            assert_eq!(format!("  {start}\n   {end}\n").parse(), Ok(code));
        }
    }

    #[test]
    fn a_code_with_a_mistake_is_refused() {
        let text = code().to_string();
        for at in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(String::from_utf8(other).unwrap().parse::<Code>().is_err(), "{at}");
            assert!(text[..at].parse::<Code>().is_err(), "{at}");
        }
        assert_eq!("hello".parse::<Code>(), Err(BadCode::NoPrefix));
        let long = Code { name: Some("x".repeat(NAME_BYTES_MAX)), ..code() };
        assert_eq!(long.to_string().parse(), Ok(long));
        let too_long = Code { name: Some("x".repeat(NAME_BYTES_MAX + 1)), ..code() };
        assert_eq!(too_long.to_string().parse::<Code>(), Err(BadCode::Damaged));
    }

    #[test]
    fn c18_debug_shows_no_secret() {
        assert!(!format!("{:?}", code()).contains("3, 3"));
    }
}
