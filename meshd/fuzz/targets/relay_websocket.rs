//! A WebSocket client of the relay, its bytes cut at arbitrary places: what is kept of them stays bounded, and
//! the cuts change nothing.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use meshlink_relay::frame::Decoder;

fn read(bytes: &[u8], chunk: usize) -> (Vec<String>, bool) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for part in bytes.chunks(chunk) {
        let mut part = part.to_vec();
        let fed = decoder.feed(&mut part, |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        assert!(decoder.kept_bytes() <= 2 << 20, "kept {} bytes", decoder.kept_bytes());
        if fed.is_err() {
            return (seen, false);
        }
    }
    (seen, true)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    assert_eq!(read(bytes, bytes.len().max(1)), read(bytes, usize::from(cut).max(1)));
});
