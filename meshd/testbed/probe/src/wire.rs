//! What the two ends of the yardstick agree on: UUIDs and one-message orders.

use bluer::Uuid;

/// The advertised service.
pub const SERVICE: Uuid = Uuid::from_u128(0x7d6f_0001_53a1_4c8e_9b0e_6d65_7368_0bed);
/// Read: the PSM of the L2CAP listener, two bytes little-endian.
pub const PSM: Uuid = Uuid::from_u128(0x7d6f_0002_53a1_4c8e_9b0e_6d65_7368_0bed);
/// Write with response: an [`Order`].
pub const ORDER: Uuid = Uuid::from_u128(0x7d6f_0003_53a1_4c8e_9b0e_6d65_7368_0bed);
/// Write without response into a socket of the server's.
pub const INBOX_SOCKET: Uuid = Uuid::from_u128(0x7d6f_0004_53a1_4c8e_9b0e_6d65_7368_0bed);
/// Write without response, handed to the server as one D-Bus call each.
pub const INBOX_CALLS: Uuid = Uuid::from_u128(0x7d6f_0005_53a1_4c8e_9b0e_6d65_7368_0bed);
/// Notifications from a socket of the server's.
pub const OUTBOX: Uuid = Uuid::from_u128(0x7d6f_0006_53a1_4c8e_9b0e_6d65_7368_0bed);

/// What the measuring end asks of the serving end, over GATT or over L2CAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// "I send this many bytes; answer when you have them, or when no more come." Over GATT the answer says how many came, in
    /// [`ARRIVED_BYTES`], little-endian; over L2CAP, which loses nothing, it is one byte.
    Receive(u32),
    /// "Send me this many bytes."
    Send(u32),
}

impl Order {
    /// Length on the wire, in bytes.
    pub const BYTES: usize = 5;

    pub fn encode(self) -> [u8; Self::BYTES] {
        let (tag, bytes) = match self {
            Self::Receive(bytes) => (b'R', bytes),
            Self::Send(bytes) => (b'S', bytes),
        };
        let [a, b, c, d] = bytes.to_le_bytes();
        [tag, a, b, c, d]
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [tag, a, b, c, d] = *bytes else { return None };
        let bytes = u32::from_le_bytes([a, b, c, d]);
        match tag {
            b'R' => Some(Self::Receive(bytes)),
            b'S' => Some(Self::Send(bytes)),
            _ => None,
        }
    }
}

/// Length of how many bytes have arrived.
pub const ARRIVED_BYTES: usize = 4;

/// The most a single write without response may carry: BlueZ 5.66 drops 512 silently and passes 509.
pub fn write_bytes_max(mtu: usize) -> usize {
    mtu - 3
}

/// Largest L2CAP packet either end takes. The kernel's default of 672 halves the rate; it grants credits by it.
pub const L2CAP_RECEIVE_BYTES_MAX: u16 = 8192;

/// Receive buffer of an L2CAP socket: the most an unprivileged process gets.
pub const L2CAP_SOCKET_BYTES: i32 = 212_992;
