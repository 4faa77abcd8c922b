//! What is said through a relay.
//!
//! One WebSocket port, two dialects. Without a subprotocol a client speaks JSON text frames ([`Text`],
//! [`ErrorFrame`]). With the subprotocol [`SUBPROTOCOL`] it is a node: it receives and sends the same JSON
//! text frames of its topic, and besides them binary [`MeshFrame`]s, which make one link per present node.
//! A relay never looks into [`MeshFrame::Data`].
//!
//! ```text
//! byte 0   kind                 bytes 1..5  handle, big-endian      rest
//! 1 Present   relay -> node     of the node that is there           its device id, UTF-8
//! 2 Gone      relay -> node     of the node that left
//! 3 Data      both              to whom (node), from whom (relay)   bytes for the link
//! 4 Credit    both              likewise                            u32 big-endian: bytes taken off the link
//! 5 Reset     both              likewise                            why, UTF-8
//! ```
//!
//! A handle names one connected node for the life of its connection and is never used again while the
//! relay runs. A node may have [`WINDOW_BYTES`] of `Data` payload under way to one handle; `Credit` gives
//! back what the other side took. A relay that can't queue a frame for a slow node sends `Reset` to both:
//! a link carries every frame in order, or it goes down.

use serde::{Deserialize, Serialize};

/// The WebSocket subprotocol of nodes.
pub const SUBPROTOCOL: &str = "meshlink.v1";
/// A name for the JSON dialect, for browsers that have to offer a subprotocol beside the one that carries a
/// token ([`BEARER_PROTOCOL`]) and insist that one of those offered is taken.
pub const JSON_SUBPROTOCOL: &str = "meshlink.json";
/// A browser can't set headers; it offers its token as the subprotocol `bearer.<token>`.
pub const BEARER_PROTOCOL: &str = "bearer.";
/// The topic of a client that names none.
pub const TOPIC_DEFAULT: &str = "global-mesh";
/// Longest topic name and device id, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Largest WebSocket message either side accepts, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// `Data` payload bytes a node may have under way to one handle.
pub const WINDOW_BYTES: u32 = 128 * 1024;
/// WebSocket pings and pongs a relay takes from one client in a second. A node follows each text with a ping, to
/// hear when the relay has taken it, so this is no less than the texts it lets out in a second.
pub const CONTROL_FRAMES_PER_S: u32 = 200;
/// Bytes of a [`MeshFrame`] before its payload.
pub const HEADER_BYTES: usize = 5;

/// A post in the JSON dialect. Relays pass it on byte for byte; only nodes look into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// `TEXT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub payload: String,
    /// Who says so. Unauthenticated.
    #[serde(rename = "senderId", default)]
    pub sender_id: String,
    /// Milliseconds since 1970, as the sender has it.
    #[serde(default)]
    pub timestamp: i64,
    /// Set on a post that a node made out of one of its own messages: that message's id. Nodes skip such a
    /// post, since the message itself reaches them over their links.
    #[serde(rename = "messageId", default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

impl Text {
    /// The `type` of a text post.
    pub const TYPE: &'static str = "TEXT";
}

/// What a relay answers to a frame it can't pass on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// `ERROR`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Stable, for programs: `invalid_json`, `missing_type`, `too_large`, `rate_limited`, `invalid_frame`.
    pub code: String,
    /// In words.
    pub message: String,
}

/// A binary frame of the node dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeshFrame<'a> {
    /// A node is there: on joining, one for each; later, one for each that joins.
    Present {
        /// Its handle.
        handle: u32,
        /// Its device id.
        device_id: &'a str,
    },
    /// A node left.
    Gone {
        /// Its handle.
        handle: u32,
    },
    /// Bytes of a link.
    Data {
        /// To whom, or from whom.
        handle: u32,
        /// Opaque to the relay.
        payload: &'a [u8],
    },
    /// Bytes taken off the link: the other side may send as many more.
    Credit {
        /// To whom, or from whom.
        handle: u32,
        /// How many.
        bytes: u32,
    },
    /// The link is over.
    Reset {
        /// To whom, or from whom.
        handle: u32,
        /// In words.
        why: &'a str,
    },
}

/// Why bytes are no [`MeshFrame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// Shorter than its fields.
    Truncated,
    /// A kind this version does not know.
    UnknownKind(u8),
    /// Longer than its fields.
    TrailingBytes,
    /// A name or reason that is not UTF-8 or too long.
    BadName,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => write!(f, "frame is shorter than its fields"),
            Self::UnknownKind(kind) => write!(f, "frame kind {kind} is not known"),
            Self::TrailingBytes => write!(f, "frame is longer than its fields"),
            Self::BadName => write!(f, "name is not UTF-8 or longer than {NAME_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for BadFrame {}

impl<'a> MeshFrame<'a> {
    /// Reads one frame.
    ///
    /// # Errors
    /// [`BadFrame`] when `bytes` is not exactly one frame.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BadFrame> {
        let (head, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(BadFrame::Truncated)?;
        let handle = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let name = || match std::str::from_utf8(rest) {
            Ok(name) if name.len() <= NAME_BYTES_MAX => Ok(name),
            Ok(_) | Err(_) => Err(BadFrame::BadName),
        };
        match head[0] {
            1 => Ok(Self::Present { handle, device_id: name()? }),
            2 if rest.is_empty() => Ok(Self::Gone { handle }),
            2 => Err(BadFrame::TrailingBytes),
            3 => Ok(Self::Data { handle, payload: rest }),
            4 => match <[u8; 4]>::try_from(rest) {
                Ok(bytes) => Ok(Self::Credit { handle, bytes: u32::from_be_bytes(bytes) }),
                Err(_) if rest.len() < 4 => Err(BadFrame::Truncated),
                Err(_) => Err(BadFrame::TrailingBytes),
            },
            5 => Ok(Self::Reset { handle, why: name()? }),
            kind => Err(BadFrame::UnknownKind(kind)),
        }
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let mut head = |kind: u8, handle: u32| {
            out.push(kind);
            out.extend_from_slice(&handle.to_be_bytes());
        };
        match *self {
            Self::Present { handle, device_id } => {
                head(1, handle);
                out.extend_from_slice(device_id.as_bytes());
            }
            Self::Gone { handle } => head(2, handle),
            Self::Data { handle, payload } => {
                head(3, handle);
                out.extend_from_slice(payload);
            }
            Self::Credit { handle, bytes } => {
                head(4, handle);
                out.extend_from_slice(&bytes.to_be_bytes());
            }
            Self::Reset { handle, why } => {
                head(5, handle);
                out.extend_from_slice(why.as_bytes());
            }
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_round_trip() {
        let frames = [
            MeshFrame::Present { handle: 7, device_id: "pi-éø" },
            MeshFrame::Gone { handle: u32::MAX },
            MeshFrame::Data { handle: 0, payload: &[1, 2, 3] },
            MeshFrame::Data { handle: 9, payload: &[] },
            MeshFrame::Credit { handle: 1, bytes: 65_536 },
            MeshFrame::Reset { handle: 2, why: "queue full" },
        ];
        for frame in frames {
            assert_eq!(MeshFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn w03_every_truncation_of_a_fixed_frame_is_refused() {
        let bytes = MeshFrame::Credit { handle: 1, bytes: 2 }.encode();
        for end in 0..bytes.len() {
            assert_eq!(MeshFrame::decode(&bytes[..end]), Err(BadFrame::Truncated), "at {end}");
        }
    }

    #[test]
    fn w06_w07_unknown_kinds_and_trailing_bytes_are_refused() {
        assert_eq!(MeshFrame::decode(&[9, 0, 0, 0, 1]), Err(BadFrame::UnknownKind(9)));
        assert_eq!(MeshFrame::decode(&[2, 0, 0, 0, 1, 0]), Err(BadFrame::TrailingBytes));
        assert_eq!(MeshFrame::decode(&[4, 0, 0, 0, 1, 0, 0, 0, 0, 0]), Err(BadFrame::TrailingBytes));
    }

    #[test]
    fn w11_names_are_short_utf8() {
        let mut bytes = vec![1, 0, 0, 0, 1, 0xff];
        assert_eq!(MeshFrame::decode(&bytes), Err(BadFrame::BadName));
        bytes.truncate(HEADER_BYTES);
        bytes.extend(std::iter::repeat_n(b'a', NAME_BYTES_MAX + 1));
        assert_eq!(MeshFrame::decode(&bytes), Err(BadFrame::BadName));
    }
}
