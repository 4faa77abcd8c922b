//! The node itself, its neighbours and its links.

use serde::{Deserialize, Serialize};

use crate::Protection;

/// What carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Bluetooth LE.
    Ble,
    /// TCP on the local network.
    Lan,
    /// A WebSocket relay.
    Relay,
    /// A connection inside one machine.
    Pipe,
}

/// Whether a transport works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransportState {
    /// Switched off by configuration.
    Off,
    /// Coming up.
    Starting,
    /// Working.
    Up,
    /// Working, with something the user should know; `detail` says what.
    Degraded,
    /// Not working; `detail` says why, `hint` what to do. It is tried again by itself.
    Down,
}

/// One transport, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransportStatus {
    /// What kind of links it makes.
    pub kind: LinkKind,
    /// Which one of its kind: the relay's URL, the adapter's or the interface's name.
    pub name: String,
    /// Whether it works.
    pub state: TransportState,
    /// The state in words.
    pub detail: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Always `ok` when the daemon answers.
    pub status: String,
}

/// Whether this node knows the time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClockState {
    /// False on a machine without a battery clock that has not heard the time yet.
    pub trusted: bool,
    /// The time as this node has it.
    pub now_at: Option<String>,
}

/// Whether what is private on this node's disk can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AtRestState {
    /// By whoever has the disk: the node has no passphrase.
    Open,
    /// By this daemon, until it ends or is locked; on the disk it is sealed with a passphrase.
    Unlocked,
    /// By nobody without the passphrase. The node carries for others under a passing identity, and its own messages
    /// can be neither read nor written.
    Locked,
}

/// How what is private lies on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AtRest {
    /// Whether it can be read.
    pub state: AtRestState,
    /// The same in words.
    pub detail: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// The body of `POST /v1/unlock`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    /// The node's passphrase.
    pub passphrase: String,
}

/// The body of `PUT /v1/passphrase`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPassphrase {
    /// The passphrase until now; `null` if there is none.
    #[serde(default)]
    pub current: Option<String>,
    /// The one from now on, 8 characters or more; `null` for none.
    #[serde(default)]
    pub new: Option<String>,
}

/// The body of `POST /v1/wipe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Wipe {
    /// The word `wipe`.
    pub confirm: String,
}

/// The body of `POST /v1/backup`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewBackup {
    /// What the backup is sealed with, 8 characters or more. Need not be the node's own passphrase.
    pub passphrase: String,
}

/// A backup of a node's identity and contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupMade {
    /// Whose it is.
    pub node_id: String,
    /// How many contacts are in it.
    pub contacts: u64,
    /// How many groups are in it.
    #[serde(default)]
    pub groups: u64,
    /// How many had no room in it: a backup has 512 KiB for what was done to groups. Those that were left give way first, then
    /// those to which most was done.
    #[serde(default)]
    pub groups_left_out: u64,
    /// The file, in base64.
    pub backup: String,
}

/// The body of `POST /v1/restore`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRestore {
    /// The backup file, in base64.
    pub backup: String,
    /// What it was sealed with.
    pub passphrase: String,
    /// The passphrase of the node that is to become the one of the backup, if it has one.
    #[serde(default)]
    pub node_passphrase: Option<String>,
}

/// What a node became by a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Restored {
    /// Its id from now on.
    pub node_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How many contacts it has.
    pub contacts: u64,
    /// How many groups it knows, with those it left.
    #[serde(default)]
    pub groups: u64,
    /// When the backup was made, if that node knew the time.
    pub made_at: Option<String>,
}

/// How full the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreUse {
    /// Bundles held, own and carried.
    pub bundles: u64,
    /// Their bytes, as counted against the cap.
    pub bytes: u64,
    /// The cap.
    pub bytes_max: u64,
    /// Whether new messages can be stored; false while the disk is full.
    pub writable: bool,
    /// Why not, in words.
    pub detail: Option<String>,
}

/// Own messages by status, and what came in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageCounts {
    /// Own, on this node only.
    pub pending: u64,
    /// Own, on at least one other node.
    pub synced: u64,
    /// Own, with the recipient.
    pub delivered: u64,
    /// Own, read by the recipient.
    pub read: u64,
    /// Own, ended before delivery.
    pub expired: u64,
    /// Own, impossible to send.
    pub failed: u64,
    /// From others.
    pub received: u64,
    /// From others, not marked read.
    pub unread: u64,
}

/// `GET /v1/status`, and the first event of a fresh event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// This node's id; while it is locked, the one it carries with for now.
    pub node_id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether it knows the time.
    pub clock: ClockState,
    /// Whether another machine was met since the start that runs with this node's keys: a copied disk, or a
    /// backup beside its original. One of the two has to go.
    #[serde(default)]
    pub has_twin: bool,
    /// How what is private lies on the disk.
    pub at_rest: AtRest,
    /// How full the store is.
    pub store: StoreUse,
    /// Messages by status.
    pub messages: MessageCounts,
    /// Each transport, in words.
    pub transports: Vec<TransportStatus>,
    /// Neighbours linked right now.
    pub links: u64,
    /// The newest position of the event log.
    pub cursor: String,
}

/// `GET` and `PUT /v1/profile`: how this node introduces itself. Public: every node may carry it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// At most 64 bytes; not unique, proves nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// At most 1,024 bytes.
    #[serde(default)]
    pub about: Option<String>,
    /// A `data:image/...;base64,` URL of at most 12,288 bytes.
    #[serde(default)]
    pub avatar: Option<String>,
}

/// A node heard of: a neighbour, or the author of something carried here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peer {
    /// Its node id.
    pub id: String,
    /// The name it gives itself.
    pub name: Option<String>,
    /// What it says about itself.
    pub about: Option<String>,
    /// Its picture.
    pub avatar: Option<String>,
    /// Whether a link to it is up.
    pub up: bool,
    /// Kinds of its live links.
    pub links: Vec<LinkKind>,
    /// When a link to it was last up; `None` if it was never a neighbour or the clock was not trusted.
    pub last_seen_at: Option<String>,
    /// Encounters so far.
    pub encounters: u64,
    /// Bundles it stored for us.
    pub bundles_sent: u64,
    /// Bundles it brought.
    pub bundles_received: u64,
    /// Messages it wrote that are kept here.
    pub messages: u64,
    /// Whether the user blocked it: no links, no display, nothing carried for it.
    pub blocked: bool,
}

/// A live link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Link {
    /// Number of the link, unique while the daemon runs.
    pub id: String,
    /// The neighbour's node id; `None` until the handshake proved it.
    pub peer: Option<String>,
    /// The neighbour's name, as last heard.
    pub peer_name: Option<String>,
    /// What carries it.
    pub kind: LinkKind,
    /// The other end's address on that transport; empty in events of a link that is down, since it is not kept.
    pub address: String,
    /// Whether this side made the connection.
    pub dialled: bool,
    /// `handshake`, `reconciling`, `live` or `standby`.
    pub phase: String,
    /// Up since; `None` while the clock is not trusted.
    pub since_at: Option<String>,
    /// Bytes sent, framing included.
    pub sent_bytes: u64,
    /// Bytes received, framing included.
    pub received_bytes: u64,
    /// Bundles sent.
    pub sent_bundles: u64,
    /// Bundles received.
    pub received_bundles: u64,
    /// Signal strength in dBm where known.
    pub rssi: Option<i16>,
    /// Which of a transport's ways it takes, where there are several: `gatt` or `l2cap`.
    #[serde(default)]
    pub path: Option<String>,
    /// Largest piece that the transport passes on, in bytes, where known.
    #[serde(default)]
    pub mtu_bytes: Option<u32>,
    /// How long the connection took to make, in milliseconds, where this side made it.
    #[serde(default)]
    pub connect_ms: Option<u32>,
}

/// A channel this node shows. Others are carried all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channel {
    /// `#name`.
    pub name: String,
    /// When it was joined; `None` for `#mesh`, or where the clock was not trusted.
    pub joined_at: Option<String>,
    /// `public`: everybody can read it. `channel`: whoever has the password can.
    #[serde(default = "public")]
    #[cfg_attr(feature = "openapi", schema(inline))]
    pub protection: Protection,
    /// With a password: eight characters that are the same for everybody with the same one. Compare them if nothing
    /// arrives: another password is another channel.
    #[serde(default)]
    pub check: Option<String>,
    /// Nodes whose posts are kept here, this one's not counted.
    #[serde(default)]
    pub members_heard: u64,
    /// Messages kept.
    #[serde(default)]
    pub messages: u64,
    /// Received messages not marked read.
    #[serde(default)]
    pub unread: u64,
    /// What is wrong with it, such as a password that can be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

fn public() -> Protection {
    Protection::Public
}

/// The body of `POST /v1/channels`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// `#name`: after the `#` 1 to 63 bytes of lower-case letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// For a channel with a password: that, 8 characters or more. Another password is another channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Shows no password.
impl std::fmt::Debug for NewChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewChannel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `<state-dir>/api.json`: where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiAddress {
    /// `http://127.0.0.1:6374`; absent with `--no-tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Path of the Unix socket; absent where there are none (Windows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The daemon's process id.
    pub pid: u32,
}
