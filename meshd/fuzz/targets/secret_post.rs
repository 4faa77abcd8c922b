//! What is inside of a post to a password channel: any member can write it, so it is a stranger's (threats W-07, C-01).
//! Whatever decodes is what it encodes to, up to the zeros after it, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::bundle::{BundleBytes, Content};
use meshlink_core::secret_post::SecretWords;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((words, length)) = SecretWords::decode(bytes) {
        assert_eq!(words.encode(), bytes[..length]);
        assert!(bytes[length..].iter().all(|byte| *byte == 0));
    }
    // As a carrier sees it: version 1, kind 8, lifetime, priority.
    let header = [0xa4, 0, 1, 1, 8, 3, 0x19, 0x0e, 0x10, 4, 1];
    let parts = BundleBytes { header: &header, payload: bytes, auth: &[] };
    let proven = parts.parse().and_then(|bundle| bundle.prove());
    let is_class = bytes.len() == 20_480 || (256..=16_384).contains(&bytes.len()) && bytes.len().is_power_of_two();
    match proven {
        Ok(Content::SecretPost(post)) => assert!(is_class && post.sealed.len() == bytes.len() - 28),
        Ok(_) => panic!("another kind"),
        Err(_) => assert!(!is_class),
    }
});
