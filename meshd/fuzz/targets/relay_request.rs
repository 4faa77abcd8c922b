//! The head of an HTTP request to the relay, its bytes cut at arbitrary places: what is kept stays bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_relay::request::Head;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let mut head = Head::default();
    for part in bytes.chunks(usize::from(cut).max(1)) {
        let fed = head.feed(part);
        assert!(head.kept_bytes() <= 256 << 10, "kept {} bytes", head.kept_bytes());
        if !matches!(fed, Ok(None)) {
            return;
        }
    }
});
