//! The safety number: sixty digits that two people compare to know that nobody sits between them.
//!
//! Thirty digits for each node's identity keys, the smaller first, so that both read the same. Each half is the
//! end of 5200 rounds of hashing (as Signal's numeric fingerprint has, 2016): a second identity with the same
//! thirty digits takes about 2^112 hashes.

use crate::identity::PublicKeys;

const CONTEXT: &str = "MeshLink v1 safety number";
const ROUNDS: usize = 5200;

/// The number for two nodes, the same from both sides: twelve groups of five digits.
pub fn safety_number(one: &PublicKeys, other: &PublicKeys) -> String {
    let mut halves = [half(one), half(other)];
    halves.sort_unstable();
    halves
        .concat()
        .as_bytes()
        .chunks(5)
        .map(|five| String::from_utf8_lossy(five))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether what a person typed is that number, however it is grouped.
pub fn is_same_number(typed: &str, number: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_plain = typed.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || c == '-');
    is_plain && digits(typed) == digits(number)
}

fn half(keys: &PublicKeys) -> String {
    let bytes = keys.to_bytes();
    let mut hash = blake3::derive_key(CONTEXT, &bytes);
    for _ in 1..ROUNDS {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&hash);
        hasher.update(&bytes);
        hash = *hasher.finalize().as_bytes();
    }
    let five = |chunk: &[u8]| chunk.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)) % 100_000;
    hash[..30].chunks(5).map(|chunk| format!("{:05}", five(chunk))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: u8) -> PublicKeys {
        PublicKeys { ed: [n; 32], x: [n + 1; 32] }
    }

    #[test]
    fn both_sides_read_the_same_sixty_digits() {
        let number = safety_number(&keys(1), &keys(2));
        assert_eq!(number, safety_number(&keys(2), &keys(1)));
        assert_eq!(number.split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
        assert!(number.chars().all(|c| c.is_ascii_digit() || c == ' '));
    }

    #[test]
    fn c05_whoever_sits_between_two_changes_the_number() {
        let (alice, bob, mallory) = (keys(1), keys(2), keys(3));
        assert_ne!(safety_number(&alice, &mallory), safety_number(&alice, &bob));
        assert_ne!(safety_number(&alice, &mallory), safety_number(&mallory, &bob));
    }

    #[test]
    fn a_typed_number_may_be_grouped_as_one_likes() {
        let number = safety_number(&keys(1), &keys(2));
        assert!(is_same_number(&number.replace(' ', ""), &number));
        assert!(is_same_number(&format!(" {}\n", number.replace(' ', "-")), &number));
        assert!(!is_same_number(&number[1..], &number));
        assert!(!is_same_number(&format!("{number} x"), &number));
        assert!(!is_same_number("", &number));
    }
}
