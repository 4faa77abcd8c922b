//! Published vectors of Noise, met over the primitives that replace snow's own.

use data_encoding::HEXLOWER;
use snow::Builder;
use snow::params::HashChoice;
use snow::resolvers::CryptoResolver as _;

use crate::noise::Primitives;

/// A handshake with the keys of a published vector, over the primitives that replace snow's own.
fn keys<'a>(
    pattern: &str,
    prologue: &'a [u8],
    secret: &'a Option<Vec<u8>>,
    ephemeral: &'a Option<Vec<u8>>,
    remote: &'a Option<Vec<u8>>,
    psk: &'a Option<[u8; 32]>,
) -> Builder<'a> {
    let resolver = Box::new(Primitives::new([0; 32]));
    let mut builder = Builder::with_resolver(pattern.parse().unwrap(), resolver);
    builder = builder.prologue(prologue).unwrap().local_private_key(secret.as_ref().unwrap()).unwrap();
    if let Some(ephemeral) = ephemeral {
        builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
    }
    if let Some(psk) = psk {
        builder = builder.psk(0, psk).unwrap();
    }
    match remote {
        Some(key) => builder.remote_public_key(key).unwrap(),
        None => builder,
    }
}

/// The cases of a file whose cases are flat objects of strings, `name` first: each with what follows its name.
fn cases(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\"name\": \"").skip(1).map(|case| case.split_once('"').unwrap())
}

/// One value of a case.
fn bytes_of(case: &str, field: &str) -> Option<Vec<u8>> {
    let (_, rest) = case.split_once(&format!("\"{field}\": \""))?;
    Some(HEXLOWER.decode(rest.split('"').next()?.as_bytes()).unwrap())
}

#[test]
fn published_vectors_of_what_noise_derives_keys_with_are_met() {
    let mut met = [0, 0];
    for (name, case) in cases(include_str!("../../../../docs/vectors/hkdf.json")) {
        let mut hash = Primitives::new([0; 32]).resolve_hash(&HashChoice::Blake2s).unwrap();
        let input = bytes_of(case, "input").unwrap();
        if name == "BLAKE2s" {
            let mut digest = [0; 32];
            hash.reset();
            hash.input(&input);
            hash.result(&mut digest);
            assert_eq!(Some(digest.to_vec()), bytes_of(case, "hash"));
            met[0] += 1;
            continue;
        }
        let (key, mut outputs) = (bytes_of(case, "key").unwrap(), [[0; 32]; 3]);
        let [one, two, three] = &mut outputs;
        hash.hkdf(&key, &input, 3, one, two, three);
        let expected = [1, 2, 3].map(|n| bytes_of(case, &format!("output_{n}")).unwrap());
        assert_eq!(outputs.map(|output| output.to_vec()), expected);
        // With fewer outputs the first ones are the same.
        let (mut one, mut two, mut none) = ([0; 32], [0; 32], [0; 32]);
        hash.hkdf(&key, &input, 2, &mut one, &mut two, &mut none);
        assert_eq!([one, two, none], [outputs[0], outputs[1], [0; 32]]);
        met[1] += 1;
    }
    assert_eq!(met, [2, 3]);
}

#[test]
fn published_noise_vectors_are_met() {
    let cases = cases(include_str!("../../../../docs/vectors/noise.json")).map(|(name, case)| {
        let value = |field: &str| bytes_of(case, field);
        (
            name,
            [
                "init_prologue",
                "init_static",
                "init_ephemeral",
                "init_remote_static",
                "resp_static",
                "resp_ephemeral",
                "resp_remote_static",
                "psk",
                "handshake_hash",
            ]
            .map(value),
            (1..=6)
                .map_while(|n| Some((value(&format!("payload_{n}"))?, value(&format!("ciphertext_{n}"))?)))
                .collect::<Vec<_>>(),
        )
    });
    let mut met = 0;
    for (name, [prologue, is, ie, irs, rs, re, rrs, psk, hash], messages) in cases {
        let prologue = prologue.unwrap();
        let psk = psk.map(|psk| psk.try_into().unwrap());
        let one = keys(name, &prologue, &is, &ie, &irs, &psk).build_initiator();
        let other = keys(name, &prologue, &rs, &re, &rrs, &psk).build_responder();
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
    assert_eq!(met, 4);
}
