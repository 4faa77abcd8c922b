//! Headers and payloads: whatever decodes is what it encodes to (threat W-07), and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::bridged::Bridged;
use meshlink_core::header::Header;
use meshlink_core::post::Post;
use meshlink_core::profile::Profile;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let encoded = match kind % 4 {
        0 => Header::decode(bytes).map(|header| header.encode()),
        1 => Post::decode(bytes).map(|post| post.encode()),
        2 => Profile::decode(bytes).map(|profile| profile.encode()),
        _ => Bridged::decode(bytes).map(|bridged| bridged.encode()),
    };
    if let Ok(encoded) = encoded {
        assert_eq!(encoded, bytes);
    }
});
