//! A whole bundle, header and payload cut at the first byte: parsed, and proven where its kind needs no key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::bundle::BundleBytes;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let (header, payload) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let bundle = BundleBytes { header, payload, auth: &[] };
    if let Ok(parsed) = bundle.parse() {
        let _ = parsed.prove();
    }
});
