use super::*;
use proptest::prelude::*;

/// A client's frame, with its mask.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    TooLarge(u64),
}

fn feed(decoder: &mut Decoder, bytes: &[u8], heard: &mut Vec<Heard>) -> Result<(), Violation> {
    decoder.feed(&mut bytes.to_vec(), |incoming| {
        heard.push(match incoming {
            Incoming::Text(text) => Heard::Text(text.to_owned()),
            Incoming::Binary(bytes) => Heard::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Heard::Ping(bytes.to_vec()),
            Incoming::Pong => Heard::Pong,
            Incoming::Close(code) => Heard::Close(code),
            Incoming::TooLarge(bytes) => Heard::TooLarge(bytes),
        });
        ControlFlow::Continue(())
    })
}

fn heard(bytes: &[u8]) -> Result<Vec<Heard>, Violation> {
    let mut heard = Vec::new();
    feed(&mut Decoder::default(), bytes, &mut heard).map(|()| heard)
}

fn violation(bytes: &[u8]) -> u16 {
    heard(bytes).unwrap_err().code
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[test]
fn the_frames_of_the_rfcs_examples_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(heard(&hello), Ok(vec![Heard::Text("Hello".to_owned())]));
    let mut out = Vec::new();
    put(Outgoing::Text, b"Hello", &mut out);
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(close(1001, "x"), [0x88, 0x03, 0x03, 0xe9, b'x']);
}

#[test]
fn headers_of_every_length_class_are_written_in_the_shortest_form() {
    for (bytes, header) in [(125, 2), (126, 4), (0xffff, 4), (0x1_0000, 10)] {
        let mut out = Vec::new();
        put_header(Outgoing::Binary, bytes, &mut out);
        assert_eq!((out.len(), header_bytes(bytes)), (header, header));
    }
}

#[test]
fn what_the_protocol_forbids_is_a_violation() {
    assert_eq!(violation(&[0x81, 0x01, b'x']), CLOSE_PROTOCOL, "no mask");
    assert_eq!(violation(&frame(0xc1, b"x", MASK)), CLOSE_PROTOCOL, "RSV1: a compressed frame");
    assert_eq!(violation(&frame(0x83, b"x", MASK)), CLOSE_PROTOCOL, "unknown opcode");
    assert_eq!(violation(&frame(0x80, b"x", MASK)), CLOSE_PROTOCOL, "continuation of nothing");
    assert_eq!(violation(&frame(0x09, b"x", MASK)), CLOSE_PROTOCOL, "fragmented ping");
    assert_eq!(violation(&frame(0x89, &[0; 126], MASK)), CLOSE_PROTOCOL, "long ping");
    assert_eq!(violation(&frame(0x88, &[3], MASK)), CLOSE_PROTOCOL, "half a close code");
    assert_eq!(violation(&frame(0x88, &1005_u16.to_be_bytes(), MASK)), CLOSE_PROTOCOL, "reserved close code");
    assert_eq!(violation(&frame(0x88, &[3, 0xe8, 0xff], MASK)), CLOSE_NOT_UTF8, "close reason");
    assert_eq!(violation(&[0x81, 0xfe, 0, 5, 0, 0, 0, 0]), CLOSE_PROTOCOL, "overlong 16-bit length");
    assert_eq!(violation(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]), CLOSE_PROTOCOL);
    assert_eq!(violation(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), CLOSE_PROTOCOL);
    let interrupted = [frame(0x01, b"a", MASK), frame(0x81, b"b", MASK)].concat();
    assert_eq!(violation(&interrupted), CLOSE_PROTOCOL, "message within a message");
    assert_eq!(violation(&frame(0x81, &[0xc3, 0x28], MASK)), CLOSE_NOT_UTF8);
}

#[test]
fn y03_a_message_over_the_limit_is_read_past_and_nothing_of_it_is_kept() {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    let big = frame(0x82, &vec![7; MESSAGE_BYTES_MAX + 1], MASK);
    for chunk in big.chunks(1_000) {
        feed(&mut decoder, chunk, &mut said).unwrap();
        assert!(decoder.kept_bytes() <= 2 * MESSAGE_BYTES_MAX);
    }
    feed(&mut decoder, &frame(0x81, b"next", MASK), &mut said).unwrap();
    assert_eq!(said, [Heard::TooLarge(MESSAGE_BYTES_MAX as u64 + 1), Heard::Text("next".to_owned())]);
    assert_eq!(decoder.kept_bytes(), 0);
    let largest = vec![b'x'; MESSAGE_BYTES_MAX];
    assert_eq!(heard(&frame(0x82, &largest, MASK)), Ok(vec![Heard::Binary(largest)]));
}

#[test]
fn y03_a_message_is_read_past_however_large_it_is_and_the_next_one_is_heard() {
    let (mut decoder, mut said) = (Decoder::default(), Vec::new());
    let chunk = vec![7; 100_000];
    let in_one = frame(0x81, &vec![7; 3_000_000], MASK);
    let in_many =
        [frame(0x01, &chunk, MASK), frame(0x00, &chunk, MASK).repeat(28), frame(0x80, &chunk, MASK)];
    for part in in_one.chunks(65_536).chain(in_many.concat().chunks(65_536)) {
        feed(&mut decoder, part, &mut said).unwrap();
        assert!(decoder.kept_bytes() <= 2 * MESSAGE_BYTES_MAX);
    }
    feed(&mut decoder, &frame(0x81, b"next", MASK), &mut said).unwrap();
    assert_eq!(
        said,
        [Heard::TooLarge(3_000_000), Heard::TooLarge(3_000_000), Heard::Text("next".to_owned())]
    );

    // Whoever only claims such a size is held to the time that a message may take.
    let mut endless = vec![0x81, 0xff];
    endless.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
    endless.extend_from_slice(&MASK);
    feed(&mut decoder, &endless, &mut said).unwrap();
    assert!(decoder.is_amid_message());
}

#[test]
fn y03_a_million_fragments_of_one_byte_end_after_1024() {
    let mut decoder = Decoder::default();
    feed(&mut decoder, &frame(0x01, b"x", MASK), &mut Vec::new()).unwrap();
    let fragment = frame(0x00, b"x", MASK);
    let refused =
        (2..1_000_000).find_map(|n| Some((n, feed(&mut decoder, &fragment, &mut Vec::new()).err()?)));
    assert_eq!(refused.map(|(n, violation)| (n, violation.code)), Some((FRAGMENTS_MAX + 1, CLOSE_TOO_BIG)));
}

#[test]
fn a_message_is_read_wherever_it_is_cut_in_three() {
    let bytes = [frame(0x81, b"hello", MASK), frame(0x8a, b"?", MASK), frame(0x82, &[7; 130], MASK)].concat();
    let expected = [Heard::Text("hello".to_owned()), Heard::Pong, Heard::Binary(vec![7; 130])];
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let (mut decoder, mut said) = (Decoder::default(), Vec::new());
            for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                feed(&mut decoder, part, &mut said).unwrap();
            }
            assert_eq!(said, expected, "cut at {first} and {second}");
            assert!(!decoder.is_amid_message());
        }
    }
}

#[test]
fn when_each_breaks_the_rest_is_ignored() {
    let mut bytes = [frame(0x81, b"a", MASK), frame(0x81, b"b", MASK)].concat();
    let mut count = 0;
    let fed = Decoder::default().feed(&mut bytes, |_| {
        count += 1;
        ControlFlow::Break(())
    });
    assert_eq!((fed, count), (Ok(()), 1));
}

fn said() -> impl Strategy<Value = (Heard, Vec<usize>)> {
    let bytes = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..300),
        1 => prop::collection::vec(any::<u8>(), 0..70_000),
    ];
    let small = prop::collection::vec(any::<u8>(), 0..=125);
    let cuts = prop::collection::vec(0..400_usize, 0..4);
    let heard = prop_oneof![
        4 => "\\PC{0,200}".prop_map(Heard::Text),
        2 => bytes.prop_map(Heard::Binary),
        1 => small.prop_map(Heard::Ping),
        1 => Just(Heard::Pong),
    ];
    (heard, cuts)
}

/// The frames of a message, cut into fragments with a ping between each two.
fn frames((heard, cuts): &(Heard, Vec<usize>), mask: [u8; 4]) -> Vec<u8> {
    let (opcode, payload): (u8, &[u8]) = match heard {
        Heard::Text(text) => (1, text.as_bytes()),
        Heard::Binary(bytes) => (2, bytes),
        Heard::Ping(bytes) => return frame(0x89, bytes, mask),
        Heard::Pong => return frame(0x8a, b"?", mask),
        Heard::Close(_) | Heard::TooLarge(_) => unreachable!("not made"),
    };
    let mut ends: Vec<_> = cuts.iter().map(|cut| (*cut).min(payload.len())).collect();
    ends.sort_unstable();
    ends.push(payload.len());
    let mut out = Vec::new();
    let mut start = 0;
    for (i, end) in ends.iter().enumerate() {
        let fin = if i + 1 == ends.len() { 0x80 } else { 0 };
        out.extend(frame(fin | if i == 0 { opcode } else { 0 }, &payload[start..*end], mask));
        if fin == 0 {
            out.extend(frame(0x8a, b"", mask));
        }
        start = *end;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_read_however_they_are_fragmented_and_cut(
        messages in prop::collection::vec(said(), 1..6),
        mask in any::<[u8; 4]>(),
        chunks in prop::collection::vec(1..2_000_usize, 1..50),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| frames(message, mask)).collect();
        let mut decoder = Decoder::default();
        let mut said = Vec::new();
        let mut rest = &bytes[..];
        for chunk in chunks.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*chunk));
            feed(&mut decoder, now, &mut said).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = messages
            .into_iter()
            .map(|(message, _)| message)
            .filter(|message| *message != Heard::Pong)
            .map(|message| {
                if let Heard::Binary(bytes) = &message
                    && bytes.len() > MESSAGE_BYTES_MAX
                {
                    return Heard::TooLarge(bytes.len() as u64);
                }
                message
            })
            .collect();
        said.retain(|heard| *heard != Heard::Pong);
        prop_assert_eq!(said, expected);
        prop_assert!(!decoder.is_amid_message());
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_the_same_however_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cut in 0..400_usize,
    ) {
        let mut whole = Vec::new();
        let all = feed(&mut Decoder::default(), &bytes, &mut whole);
        let mut parts = Vec::new();
        let mut decoder = Decoder::default();
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let both = feed(&mut decoder, first, &mut parts).and_then(|()| feed(&mut decoder, second, &mut parts));
        prop_assert_eq!(all, both);
        prop_assert_eq!(whole, parts);
    }
}
