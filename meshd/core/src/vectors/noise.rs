//! Published vectors of Noise, met over the primitives that replace snow's own.

use data_encoding::HEXLOWER;
use snow::Builder;

use crate::noise::Primitives;

/// A handshake with the keys of a published vector, over the primitives that replace snow's own.
fn keys<'a>(
    pattern: &str,
    prologue: &'a [u8],
    secret: &'a Option<Vec<u8>>,
    ephemeral: &'a Option<Vec<u8>>,
    remote: &'a Option<Vec<u8>>,
) -> Builder<'a> {
    let resolver = Box::new(Primitives::new([0; 32]));
    let mut builder = Builder::with_resolver(pattern.parse().unwrap(), resolver);
    builder = builder.prologue(prologue).unwrap().local_private_key(secret.as_ref().unwrap()).unwrap();
    if let Some(ephemeral) = ephemeral {
        builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
    }
    match remote {
        Some(key) => builder.remote_public_key(key).unwrap(),
        None => builder,
    }
}

#[test]
fn published_noise_vectors_are_met() {
    let text = include_str!("../../../../docs/vectors/noise.json");
    // The file's cases are flat objects of strings; this reads just that.
    let cases = text.split("\"name\": \"").skip(1).map(|case| {
        let (name, rest) = case.split_once('"').unwrap();
        let value = |field: &str| -> Option<Vec<u8>> {
            let (_, rest) = rest.split_once(&format!("\"{field}\": \""))?;
            Some(HEXLOWER.decode(rest.split('"').next()?.as_bytes()).unwrap())
        };
        (
            name.to_owned(),
            [
                "init_prologue",
                "init_static",
                "init_ephemeral",
                "init_remote_static",
                "resp_static",
                "resp_ephemeral",
                "handshake_hash",
            ]
            .map(value),
            (1..=6)
                .map_while(|n| Some((value(&format!("payload_{n}"))?, value(&format!("ciphertext_{n}"))?)))
                .collect::<Vec<_>>(),
        )
    });
    let mut met = 0;
    for (name, [prologue, is, ie, irs, rs, re, hash], messages) in cases {
        let prologue = prologue.unwrap();
        let one = keys(&name, &prologue, &is, &ie, &irs).build_initiator();
        let other = keys(&name, &prologue, &rs, &re, &None).build_responder();
        let (mut one, mut other) = (one.unwrap(), other.unwrap());
        let mut n = 0;
        while !one.is_handshake_finished() {
            let (payload, expected) = &messages[n];
            let (mut frame, mut plain) = ([0; 512], [0; 512]);
            let (from, to) = if n % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
            let length = from.write_message(payload, &mut frame).unwrap();
            assert_eq!(&frame[..length], expected, "{name}, message {n}");
            let length = to.read_message(&frame[..length], &mut plain).unwrap();
            assert_eq!(&plain[..length], payload);
            n += 1;
        }
        assert_eq!(Some(one.get_handshake_hash().to_vec()), hash, "{name}");
        met += 1;
    }
    assert_eq!(met, 2);
}
