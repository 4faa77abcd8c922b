//! Receipts: proof that a sealed bundle arrived, or was read.
//!
//! The sender draws a **secret** of 16 bytes and puts it inside the seal; the bundle's header has the end of a
//! chain of hashes over it:
//!
//! ```text
//!   secret ──H──▶ arrival ──H──▶ commitment (in the header, for everybody)
//!   "read"        "delivered"
//! ```
//!
//! Only who opened the bundle can show the arrival's value, and only who shows the secret claims that it was
//! read. Carriers compare the hash with the headers they hold, and drop what has arrived; nobody else can make
//! them (threat C-19). A receipt names no bundle, no sender and no recipient, and everybody makes the same
//! bundle of it, so it can't be multiplied. It proves one message only: two in one bundle would tell that
//! they had the same recipient.

use crate::canonical::{Malformed, Reader, Writer};
use crate::header::{Header, Kind};
use crate::limits::LIFETIME_S_STRANGER_MAX;
use crate::store::Priority;

const CONTEXT: &str = "MeshLink v1 receipt";

/// What a receipt has to open. In the header of what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment(pub [u8; Commitment::BYTES]);

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its recipient has opened it.
    Delivered,
    /// A person has read it.
    Read,
}

/// The payload of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What it says.
    pub stage: Stage,
    /// The value of the chain that proves it.
    pub value: [u8; Commitment::BYTES],
}

impl Commitment {
    /// Length in bytes. 128 bits: a second value with a given hash is out of reach.
    pub const BYTES: usize = 16;

    /// What goes into the header of a bundle whose secret this is.
    pub fn of(secret: &[u8; Self::BYTES]) -> Self {
        Self(next(&next(secret)))
    }
}

impl Receipt {
    /// The receipt for a bundle whose secret this is.
    pub fn of(secret: &[u8; Commitment::BYTES], stage: Stage) -> Self {
        let value = match stage {
            Stage::Delivered => next(secret),
            Stage::Read => *secret,
        };
        Self { stage, value }
    }

    /// The bundles it is for have this in their header.
    pub fn commitment(&self) -> Commitment {
        match self.stage {
            Stage::Delivered => Commitment(next(&self.value)),
            Stage::Read => Commitment::of(&self.value),
        }
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != 2 {
            return Err(Malformed("a receipt that is no pair"));
        }
        let stage = match reader.uint()? {
            0 => Stage::Delivered,
            1 => Stage::Read,
            _ => return Err(Malformed("a receipt for what is nothing")),
        };
        let value = reader.byte_array()?;
        reader.end()?;
        Ok(Self { stage, value })
    }

    /// Writes the receipt.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(20);
        writer.array(2).uint(self.stage as u64).bytes(&self.value);
        writer.finish()
    }

    /// The only header that goes with it.
    pub(crate) fn header() -> Header {
        Header::bare(Kind::Receipt, LIFETIME_S_STRANGER_MAX as u32, Priority::Normal)
    }
}

fn next(value: &[u8; Commitment::BYTES]) -> [u8; Commitment::BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(value);
    let mut next = [0; Commitment::BYTES];
    next.copy_from_slice(&hasher.finalize().as_bytes()[..Commitment::BYTES]);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c19_each_stage_proves_itself_and_not_the_next() {
        let secret = [7; 16];
        let commitment = Commitment::of(&secret);
        let (delivered, read) = (Receipt::of(&secret, Stage::Delivered), Receipt::of(&secret, Stage::Read));
        assert_eq!(delivered.commitment(), commitment);
        assert_eq!(read.commitment(), commitment);
        // Whoever saw only that it arrived can't claim that it was read.
        let forged = Receipt { stage: Stage::Read, value: delivered.value };
        assert_ne!(forged.commitment(), commitment);
        let forged = Receipt { stage: Stage::Delivered, value: commitment.0 };
        assert_ne!(forged.commitment(), commitment);
    }

    #[test]
    fn w03_a_receipt_cut_at_any_byte_is_refused() {
        let bytes = Receipt::of(&[7; 16], Stage::Read).encode();
        for length in 0..bytes.len() {
            assert!(Receipt::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Receipt::decode(&bytes), Ok(Receipt::of(&[7; 16], Stage::Read)));
        let delivered = Receipt::of(&[7; 16], Stage::Delivered);
        assert_eq!(Receipt::decode(&delivered.encode()), Ok(delivered));
    }

    #[test]
    fn w07_a_receipt_has_one_encoding() {
        let good = Receipt::of(&[7; 16], Stage::Delivered).encode();
        for at in 0..good.len() {
            for to in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = to;
                if let Ok(receipt) = Receipt::decode(&bytes) {
                    assert_eq!(receipt.encode(), bytes);
                }
            }
        }
    }
}
