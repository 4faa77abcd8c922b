"""Confirms the vectors beside this file with implementations that share no code with MeshLink's.

    python3 -m venv venv && venv/bin/pip install blake3 cryptography noiseprotocol cbor2 argon2-cffi pynacl
    venv/bin/python docs/vectors/check.py
"""

import base64
import hashlib
import hmac
import json
import math
import pathlib
import unicodedata
import warnings

import cbor2
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha_encrypt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from noise.connection import Keypair, NoiseConnection

HERE = pathlib.Path(__file__).parent
SIGNED, BRIDGED, RECEIPT = (1, 2, 7), 3, 6
SEALED = (4, 5)


def cases(name):
    return json.loads((HERE / name).read_text())["cases"]


def unhex(text):
    return bytes.fromhex(text)


def base32(data):
    return base64.b32encode(data).decode().lower().rstrip("=")


def bundle_id(header, payload):
    return blake3(header + blake3(payload).digest(), derive_key_context="MeshLink v1 bundle id").digest()


def check_signature(header, payload, auth):
    author = cbor2.loads(header)[5][:32]
    label = b"MeshLink v1 bundle signature"
    Ed25519PublicKey.from_public_bytes(author).verify(auth, label + bundle_id(header, payload))


def receipt_chain(value):
    return blake3(value, derive_key_context="MeshLink v1 receipt").digest()[:16]


def nodes():
    secrets = {}
    for case in cases("nodes.json"):
        secret = unhex(case["secret"])
        ed = Ed25519PrivateKey.from_private_bytes(secret[:32]).public_key().public_bytes_raw()
        x = X25519PrivateKey.from_private_bytes(secret[32:]).public_key().public_bytes_raw()
        assert (ed.hex(), x.hex()) == (case["ed25519_public"], case["x25519_public"])
        node_id = blake3(ed + x, derive_key_context="MeshLink v1 node id").digest()[:20]
        assert (node_id.hex(), base32(node_id)) == (case["node_id"], case["node_id_text"])
        secrets[case["name"]] = (secret, ed)
    return secrets


def bundles():
    for case in cases("bundles.json"):
        header, payload, auth = (unhex(case[part]) for part in ("header", "payload", "auth"))
        assert blake3(payload).hexdigest() == case["payload_hash"]
        assert bundle_id(header, payload).hex() == case["id"] and base32(unhex(case["id"])) == case["id_text"]
        fields = cbor2.loads(header)
        assert cbor2.dumps(fields, canonical=True) == header
        if 6 in fields:
            check_signature(header, payload, auth)
        else:
            assert auth == b""
        if fields[1] in SIGNED + (BRIDGED, RECEIPT):
            assert cbor2.dumps(cbor2.loads(payload), canonical=True) == payload
        if fields[1] in SEALED:
            assert sorted(fields) == [0, 1, 3, 4, 7]
            assert fields[7] == receipt_chain(receipt_chain(b"\5" * 16))
        if fields[1] == RECEIPT:
            stage, value = cbor2.loads(payload)
            commitment = receipt_chain(value) if stage == 0 else receipt_chain(receipt_chain(value))
            assert commitment == receipt_chain(receipt_chain(b"\5" * 16))


def invalid_bundles():
    for case in cases("invalid_bundles.json"):
        header, payload, auth = (unhex(case[part]) for part in ("header", "payload", "auth"))
        if "signature is wrong" in case["why"]:
            try:
                check_signature(header, payload, auth)
            except (InvalidSignature, ValueError):
                continue
            raise AssertionError(case["name"])


def link(secrets):
    handshake, *frames = cases("link.json")
    first = unhex(handshake["frame_1_alice"])
    versions = first[: 1 + first[0]]

    def side(name, is_initiator):
        noise = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_BLAKE2s")
        noise.set_as_initiator() if is_initiator else noise.set_as_responder()
        noise.set_prologue(b"MeshLink v1 link handshake" + versions)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, secrets[name][0][32:])
        noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, unhex(handshake[f"{name}_ephemeral_secret"]))
        noise.start_handshake()
        hello = {0: 1, 1: secrets[name][1], 2: 0, 3: 24576}
        return noise, cbor2.dumps(hello, canonical=True)

    (alice, alice_hello), (bob, bob_hello) = side("alice", True), side("bob", False)
    assert versions + alice.write_message() == first
    bob.read_message(first[len(versions) :])
    second = bytes(bob.write_message(bob_hello))
    assert second.hex() == handshake["frame_2_bob"]
    alice.read_message(second)
    third = bytes(alice.write_message(alice_hello))
    assert third.hex() == handshake["frame_3_alice"]
    bob.read_message(third)
    assert alice.get_handshake_hash().hex() == handshake["handshake_hash"]

    expected = {(case["from"], case["number"]): case["frame"] for case in frames}
    again, rekey_frames = b"\x81\x07", 1024
    for number in range(rekey_frames + 1):
        for name, noise in (("alice", alice), ("bob", bob)):
            frame = noise.encrypt(again)
            assert frame.hex() == expected.get((name, number), frame.hex())
            if (number + 1) % rekey_frames == 0:
                noise.noise_protocol.cipher_state_encrypt.rekey()


MASK = 2**64 - 1


def mix(x):
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def places(key, end):
    state, place = mix(key ^ 0x6D6573686C696E6B), 0
    is_wide = state & 0xFF < 36
    while place < end:
        yield place
        state = mix(state)
        u = ((state >> 11) + 1) / 2**53
        half = math.sqrt(u)
        eighth = math.sqrt(math.sqrt(half))
        shift, factor = (4.5, 1 / eighth) if is_wide else (1.3, 1 / (half * eighth))
        place = max(place + 1, math.ceil((place + shift) * factor - shift))


def described(ids, symbols):
    """The row's first symbols, the tugs and the whole sum of a set."""
    sums, checks, tugs, whole = [0] * symbols, [0] * symbols, [0] * 128, 0
    for bundle in ids:
        key = int.from_bytes(bundle[:8], "big")
        whole ^= int.from_bytes(bundle[8:24], "big")
        for place in places(key, symbols):
            sums[place] ^= key
            checks[place] ^= mix(key ^ 0x636865636B6D6521) >> 48
        bits = (mix(key), mix(mix(key)))
        for n in range(128):
            tugs[n] += 1 if bits[n // 64] >> n % 64 & 1 else -1
    row = [s.to_bytes(8, "big") + c.to_bytes(2, "big") for s, c in zip(sums, checks)]
    while row and not any(row[-1]):
        row.pop()
    packed = b"".join(
        ((a % 4096) << 12 | b % 4096).to_bytes(3, "big") for a, b in zip(tugs[::2], tugs[1::2])
    )
    return b"".join(row), packed, whole.to_bytes(16, "big")


def sets():
    for case in cases("sets.json"):
        first, count = case["first"], case["count"]
        ids = [blake3(n.to_bytes(8, "big")).digest() for n in range(first, first + count)]
        row, tugs, whole = described(ids, case["symbols"])
        assert (row.hex(), tugs.hex(), whole.hex()) == (case["row"], case["tugs"], case["whole_sum"])
        symbols = min(4096, max(64, 1 << max(0, 2 * count - 1).bit_length()))
        said = count.to_bytes(8, "big") + whole + described(ids, symbols)[0]
        fingerprint = blake3(said, derive_key_context="MeshLink v1 set fingerprint").digest()[:16]
        assert fingerprint.hex() == case["fingerprint"]


def reconcile():
    tags = {"open": 2, "same": 3, "symbols": 4, "more": 5, "want, and decline": 6, "want, the last": 6}
    tags |= {"missing": 7, "walk": 8, "page": 0, "answer": 1}
    for case in cases("reconcile.json"):
        body = cbor2.loads(unhex(case["body"]))
        assert body[0] == tags[case["name"]] and cbor2.dumps(body, canonical=True).hex() == case["body"]


def derive(context, *parts):
    return blake3(b"".join(parts), derive_key_context="MeshLink v1 " + context).digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


def group_entry(case):
    body, signature = unhex(case["entry"])[:-64], unhex(case["entry"])[-64:]
    digest = derive("group entry", body)
    assert digest.hex() == case["hash"]
    author = cbor2.loads(body)[1]
    assert blake3(author, derive_key_context="MeshLink v1 node id").digest()[:20].hex() == case["author"]
    Ed25519PublicKey.from_public_bytes(author[:32]).verify(
        signature, b"MeshLink v1 group entry signature" + digest
    )
    return digest, cbor2.loads(body)


def megolm_open(session_key, message):
    """Olm's megolm.md: session-sharing and message formats, for fewer than 256 messages."""
    assert session_key[0] == 1 and message[0] == 3
    first = int.from_bytes(session_key[1:5])
    ratchet, public = session_key[5:133], session_key[133:]
    body, mac, signature = message[:-72], message[-72:-64], message[-64:]
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message[:-64])
    assert body[1] == 0x08 and body[2] < 128 and body[3] == 0x12
    index, at, length, shift = body[2], 4, 0, 0
    while True:
        length |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if body[at - 1] < 128:
            break
    assert len(body) == at + length
    for _ in range(first, index):
        ratchet = ratchet[:96] + hmac.digest(ratchet[96:], b"\x03", "sha256")
    keys = HKDF(algorithm=SHA256(), length=80, salt=None, info=b"MEGOLM_KEYS").derive(ratchet)
    assert hmac.digest(keys[32:64], body, "sha256")[:8] == mac
    decryptor = Cipher(AES(keys[:32]), CBC(keys[64:])).decryptor()
    padded = decryptor.update(body[at:]) + decryptor.finalize()
    return index, padded[: -padded[-1]]


def groups():
    entries, group, head = 0, None, None
    for case in cases("groups.json"):
        if "entry" in case:
            digest, entry = group_entry(case)
            group = group or digest
            assert entry[0] == ([head] if head else [])
            entries, head = entries + 1, digest
        elif "megolm" in case:
            header, payload, nonce = unhex(case["header"]), unhex(case["payload"]), unhex(case["nonce"])
            marked = blake3(b"MeshLink v1 group cover" + nonce, key=unhex(case["cover_key"])).digest(length=36)
            assert payload[:20] == nonce + marked[:4]
            plain = ChaCha20Poly1305(marked[4:]).decrypt(
                bytes(12), payload[20:], b"MeshLink v1 group bundle" + header
            )
            megolm = unhex(case["megolm"])
            assert plain.startswith(cbor2.dumps(megolm)) and not any(plain[len(cbor2.dumps(megolm)) :])
            session_key = unhex(case["session_key"])
            index, words = megolm_open(session_key, megolm)
            assert (index, words.hex()) == (case["index"], case["words"])
            said = cbor2.loads(words)
            assert said[0] == group and said[2] == derive("group heads", head)[:8]
            assert bundle_id(header, payload).hex() == case["id"]
            message_id = derive("group message id", group, session_key[133:], index.to_bytes(4))
            assert message_id.hex() == case["message_id"]
        else:
            note = cbor2.loads(unhex(case["note"]))
            assert (note[0], note[1], len(note[2])) == (group, [head], entries)
    assert entries == 3


def private(secrets):
    *messages, code, number = cases("private.json")
    (alice, alice_ed), (bob, bob_ed) = secrets["alice"], secrets["bob"]
    x = {name: X25519PrivateKey.from_private_bytes(secret[32:]) for name, (secret, _) in secrets.items()}
    alice_x, bob_x = (x[name].public_key().public_bytes_raw() for name in ("alice", "bob"))
    alice_keys, bob_keys = alice_ed + alice_x, bob_ed + bob_x
    node_ids = [blake3(keys, derive_key_context="MeshLink v1 node id").digest()[:20] for keys in (alice_keys, bob_keys)]
    for case in messages:
        header, payload, psk = (unhex(case[part]) for part in ("header", "payload", "psk"))
        assert bundle_id(header, payload).hex() == case["id"]
        prekey = X25519PrivateKey.from_private_bytes(unhex(case["prekey_secret"])).public_key().public_bytes_raw()
        by_code, is_marked = case["name"] == "by a code", cbor2.loads(header)[1] == 4
        around = (1 if by_code else 8) if is_marked else 0
        letter, tags = ("K", 48) if is_marked and not by_code else ("X", 96)
        assert len(header) + around + tags <= 128
        assert case["pattern"] == f"Noise_{letter}psk0_25519_ChaChaPoly_BLAKE2s"
        noise = NoiseConnection.from_name(case["pattern"].encode())
        noise.set_as_initiator()
        noise.set_psks(psk)
        noise.set_prologue(b"MeshLink v1 sealed" + header + bob_keys + prekey)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, alice[32:])
        noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, unhex(case["ephemeral_secret"]))
        noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, prekey)
        noise.start_handshake()
        envelope = unhex(case["envelope"])
        assert cbor2.dumps(cbor2.loads(envelope), canonical=True) == envelope
        sealed = bytes(noise.write_message(envelope.ljust(len(payload) - around - tags, b"\0")))
        assert sealed == payload[around:]
        if by_code:
            assert payload[:1] == keyed(derive("code pair", psk, bob_keys), sealed[:32])[:1]
        elif is_marked:
            shared = x["alice"].exchange(x["bob"].public_key())
            mask = keyed(derive("pair", shared, psk, alice_keys, bob_keys), sealed[:32])[:8]
            prekey_id = derive("prekey id", prekey)[:4]
            assert payload[:8] == mask[:4] + bytes(a ^ b for a, b in zip(mask[4:], prekey_id))
        secret = cbor2.loads(envelope)[0]
        assert cbor2.loads(header)[7] == receipt_chain(receipt_chain(secret))
        assert derive("private message id", secret, *node_ids).hex() == case["message_id"]

    body = base64.b32decode(code["code"].removeprefix("MESHLINK:") + "=" * (-len(code["code"][9:]) % 8))
    content, secret = body[:-4], unhex(code["code_secret"])
    assert body[-4:] == derive("code check", content)[:4]
    assert content == b"\1" + bob_keys + secret + prekey + (1767225600).to_bytes(5, "big") + b"Bob"
    assert derive("code psk", secret).hex() == code["code_psk"]
    assert derive("code token", secret)[:16].hex() == code["code_token"]

    def half(keys):
        value = derive("safety number", keys)
        for _ in range(5199):
            value = derive("safety number", value, keys)
        return "".join(f"{int.from_bytes(value[n : n + 5], 'big') % 100000:05}" for n in range(0, 30, 5))

    digits = "".join(sorted([half(alice_keys), half(bob_keys)]))
    assert number["number"] == " ".join(digits[n : n + 5] for n in range(0, 60, 5))


def channels(secrets):
    channel, *posts = cases("channels.json")
    salt = derive("channel salt", channel["name"].encode())[:16]
    assert salt.hex() == channel["salt"]
    password = unicodedata.normalize("NFC", channel["password"]).encode()
    cost = {"time_cost": 3, "memory_cost": 65536, "parallelism": 1}
    secret = hash_secret_raw(password, salt, hash_len=32, type=Type.ID, version=0x13, **cost)
    assert secret.hex() == channel["secret"]
    check = base32(derive("channel check", secret)[:5])
    assert f"{check[:4]}-{check[4:]}" == channel["check"]
    for case in posts:
        author_secret, ed = secrets[case["author"]]
        x = X25519PrivateKey.from_private_bytes(author_secret[32:]).public_key().public_bytes_raw()
        header, payload, content = (unhex(case[part]) for part in ("header", "payload", "content"))
        nonce = unhex(case["nonce"])
        assert sorted(cbor2.loads(header)) == [0, 1, 3, 4] and cbor2.loads(header)[1] == 8
        assert bundle_id(header, payload).hex() == case["id"]
        assert cbor2.dumps(cbor2.loads(content), canonical=True) == content
        hashes = blake3(header).digest() + blake3(content).digest()
        signed = b"MeshLink v1 secret post signature" + derive("channel id", secret) + nonce + ed + x + hashes
        signature = Ed25519PrivateKey.from_private_bytes(author_secret[:32]).sign(signed)
        plain = (ed + x + signature + content).ljust(len(payload) - 44, b"\0")
        sealed = xchacha_encrypt(plain, header, nonce, derive("channel encryption", secret))
        assert payload == keyed(derive("channel hint", secret), nonce)[:4] + nonce + sealed
        assert len(payload) == 256 or len(payload) // 2 < 172 + len(content) <= len(payload)


def key_derivation():
    for case in cases("hkdf.json"):
        data = unhex(case["input"])
        if case["name"] == "BLAKE2s":
            assert hashlib.blake2s(data).hexdigest() == case["hash"]
            continue
        key, output = hmac.digest(unhex(case["key"]), data, "blake2s"), b""
        for n in (1, 2, 3):
            output = hmac.digest(key, output + bytes([n]), "blake2s")
            assert output.hex() == case[f"output_{n}"]


warnings.simplefilter("ignore")
secrets = nodes()
key_derivation()
bundles()
invalid_bundles()
link(secrets)
sets()
reconcile()
private(secrets)
channels(secrets)
groups()
print("confirmed")
