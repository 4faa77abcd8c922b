//! Every limit of the core, in one place: unit last in the name, reason and source beside it.

/// Longest text of a message, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Largest payload of a bundle: a text with its envelope, or one attachment chunk.
pub const PAYLOAD_BYTES_MAX: usize = 20 * 1024;
/// Smallest payload of a sealed bundle. Larger ones have twice as many bytes, and so on (threat C-16).
pub const SEALED_BYTES_MIN: usize = 256;
/// Largest header of a bundle. Ours has at most 115 bytes; the rest is room for later fields.
pub const HEADER_BYTES_MAX: usize = 256;
/// Largest signature of a bundle: Ed25519. A kind that is not signed has none; its author is proven inside.
pub const AUTH_BYTES_MAX: usize = 64;
/// Largest frame on a link. One bundle fits with its envelope and encryption.
pub const FRAME_BYTES_MAX: usize = 24 * 1024;
/// What every node takes as a frame at least: the largest bundle with its envelope and encryption.
pub const FRAME_BYTES_MIN: usize = 21 * 1024;
/// After this many frames one way their key is replaced by a hash of itself, so that whoever learns it later
/// can't read what went before (Noise section 11.3).
pub const REKEY_FRAMES: u64 = 1024;
/// What a bundle counts at least against the cap: its row and index entries (threat L-05).
pub const BUNDLE_COST_BYTES_MIN: u64 = 512;
/// What a message counts against the cap beside its text.
pub const MESSAGE_COST_BYTES: u64 = 256;

/// Latest time a bundle may claim to be made at, in milliseconds since 1970: the last RFC 3339 can write.
pub const CREATED_UNIX_MS_MAX: u64 = 253_402_300_799_999;
/// Shortest lifetime, in seconds.
pub const LIFETIME_S_MIN: u64 = 60;
/// Lifetime of a message whose author names none, in seconds: 7 days.
pub const LIFETIME_S_DEFAULT: u64 = 7 * 24 * 3600;
/// Longest lifetime of an own or a contact's bundle, in seconds: 30 days (threat L-04).
pub const LIFETIME_S_MAX: u64 = 30 * 24 * 3600;
/// Longest lifetime granted to a stranger's bundle, in seconds: 7 days (threat L-04).
pub const LIFETIME_S_STRANGER_MAX: u64 = 7 * 24 * 3600;
/// How long past its expiry a bundle's id is remembered, in milliseconds: one day (threats L-07, R-01).
pub const DROPPED_MS: u64 = 24 * 3600 * 1000;

/// Most nodes a bundle passes through (threat S-06). On traces of real encounters 16 lost four of a hundred messages that
/// 32 delivers, and more than 32 delivers none: a message that waits for days goes through many hands.
pub const HOPS_MAX: u8 = 32;
/// Copies of a bundle that a node begins with, whoever it has it from. One goes with each hand-over of its own: the fewer
/// are left, the more others have it from here, and it gives way first when a store is full. Nobody is told, so nobody
/// learns from it who wrote a bundle, and nobody can lie about it.
pub const COPIES_MAX: u8 = 255;
/// Copies that a carrier begins with of what is for everybody, as posts are: it gives way before mail for one person that was
/// handed on less than 128 times.
pub const COPIES_PUBLIC_MAX: u8 = COPIES_MAX / 2;
/// Mail that was handed on often enough counts down no further than to this: it stays above what is for everybody.
pub const COPIES_MAIL_MIN: u8 = COPIES_PUBLIC_MAX + 1;
/// Mail that is only carried, and was never handed on, gives way to no other such mail for so long, in milliseconds: one
/// day. In a full store the newcomers would else push each other out before anybody was met (figures in
/// `docs/benchmarks.md`); and without an end to it, what nobody takes would block a store for as long as it lives.
pub const UNTRIED_MS: u64 = 24 * 3600 * 1000;
/// Others' mail that gave way or found no room is taken again while so much of the store stays free for what is new, in
/// percent: if it filled the store, the next newcomer would push it out again. In a model of real encounters 6, 10 and 16 did
/// the same, and none at all cost more copies.
pub const ROOM_FOR_NEW_PERCENT: u64 = 10;
/// In a full store a neighbour's share is bounded by what the others have: one of whose bundles so many times as much is
/// held as of another's pushes out its own instead of the other's, and gives way to it even with mail that met nobody.
/// So neighbours fill a store only until somebody comes who brought little. Four would share more evenly, and cost one or
/// two of a hundred deliveries in a model of real encounters, where nobody is hostile.
pub const HOARD_TIMES: u64 = 8;
/// Who hoards most is looked up anew after this time, in milliseconds, if it was not enough when it was last looked at.
pub const HOARD_LOOK_MS: u64 = 10_000;
/// Bytes of strangers' calls for help that go before others within an hour, over all links; what is beyond that is carried
/// as any other bundle: some hundred calls (threat L-02).
pub const URGENT_HOUR_BYTES_MAX: u64 = 64 * 1024;
/// The same as a share of the bundles' space in a small store, in percent.
pub const URGENT_HOUR_PERCENT: u64 = 5;
/// The last so many percent of it are for calls by a neighbour that brought little of what is held: [`LITTLE_PERCENT`].
pub const URGENT_RESERVE_PERCENT: u64 = 50;
/// Share of the bundles' space that is little for one neighbour to have brought, in percent.
pub const LITTLE_PERCENT: u64 = 1;

/// How long others may use a published prekey, in milliseconds: 7 days, as long as its bundle lives.
pub const PREKEY_MS: u64 = 7 * 24 * 3600 * 1000;
/// New prekeys are published this long after the last, in milliseconds: 3.5 days, so that a node that hears of
/// others every few days has some that are fresh.
pub const PREKEY_RENEW_MS: u64 = PREKEY_MS / 2;
/// Longest lifetime of a private message, in milliseconds: 7 days. With [`PREKEY_MS`] it bounds how long a key that
/// opens it is kept.
pub const PRIVATE_LIFETIME_MS_MAX: u64 = LIFETIME_S_STRANGER_MAX * 1000;
/// Published prekeys whose secret half is kept at one time: four, and some for restarts with a wrong clock.
pub const PUBLISHED_MAX: usize = 16;
/// A prekey for one message is kept this long after that message came, in milliseconds: it may come again.
pub const ONE_TIME_GRACE_MS: u64 = 48 * 3600 * 1000;
/// After prekeys of this node's own came from elsewhere, which are newer and may be of no use to it, it publishes others
/// this long after its last, in milliseconds: one hour, so that two nodes with the same keys don't chase each other.
pub const PREKEY_OUTGROW_MS: u64 = 3600 * 1000;
/// Prekeys given to one contact that it has not used yet.
pub const ONE_TIME_MAX: usize = 8;
/// Bundles that came while locked and are looked into at a time: each may cost a few tries to open it, half a
/// millisecond in all.
pub const PUT_BY_BATCH: usize = 64;
/// Contacts of a node, with those that only wrote.
pub const CONTACTS_MAX: usize = 1_000;
/// Strangers that wrote and that the user has said nothing about.
pub const ASKING_MAX: usize = 100;
/// Codes shown to others that were not used yet.
pub const CODES_MAX: usize = 32;
/// How long a code works, in milliseconds: 7 days.
pub const CODE_MS: u64 = 7 * 24 * 3600 * 1000;
/// How long a code that is shown in person works, in milliseconds: 10 minutes.
pub const CODE_IN_PERSON_MS: u64 = 10 * 60 * 1000;
/// Intros that are tried to be opened within an hour: each costs as many Diffie-Hellman operations as there are
/// published prekeys.
pub const INTROS_PER_HOUR_MAX: u64 = 3_600;
/// Marked bundles that may fail to open within an hour before more are tried only as long as strangers may make this node
/// write: a mark is easily copied from one bundle to others, and each try costs up to three Diffie-Hellman operations for
/// each key that may fit.
pub const FAILURES_PER_HOUR_MAX: u64 = 3_600;
/// An intro counts so many times its size against what strangers may make a node write.
pub const INTRO_COST: u64 = 8;
/// A receipt is sent after a time between this, in milliseconds: not at once, so that it does not show who has
/// just got something.
pub const RECEIPT_MS_MIN: u64 = 1_000;
/// And this.
pub const RECEIPT_MS_MAX: u64 = 15_000;
/// Nodes that a private bundle claims to have passed through when it starts: up to this many, so that the first
/// carrier does not know whether it got it from the author.
pub const HOPS_PRETENDED_MAX: u8 = 3;
/// What its age pretends when it starts, up to this, in milliseconds: 10 minutes.
pub const AGE_PRETENDED_MS_MAX: u64 = 10 * 60 * 1000;

/// Password channels joined at one time: each costs a MAC for each post to any of them.
pub const SECRET_CHANNELS_MAX: usize = 64;
/// Posts of the past that are looked at in one go when a channel is joined: some milliseconds of work.
pub const HISTORY_SLICE: usize = 256;
/// Bytes of groups' rosters in a backup: some twenty groups of 64 people, beside a thousand contacts in the one MiB of it.
pub const GROUP_BACKUP_BYTES_MAX: usize = 512 * 1024;
/// Groups of a node, with those it is invited to and those it left.
pub const GROUPS_MAX: usize = 64;
/// Invitations to groups that the user has said nothing about.
pub const GROUP_INVITATIONS_MAX: usize = 32;
/// Members of a group with those invited, asked of whoever adds one.
pub const GROUP_MEMBERS_MAX: usize = 64;
/// Entries of a group's roster; then the group can't be changed any more.
pub const GROUP_ENTRIES_MAX: usize = 1_024;
/// Longest entry of a roster, in bytes with its signature: all parents and a name, or a member's keys.
pub const GROUP_ENTRY_BYTES_MAX: usize = 768;
/// Entries that an entry names as those before it; more heads than that are named by the next.
pub const GROUP_PARENTS_MAX: usize = 16;
/// Messages sent with one session; the number after the last is refused.
pub const GROUP_SESSION_MESSAGES_MAX: u32 = 100;
/// How long a session is sent with, in milliseconds: 7 days.
pub const GROUP_SESSION_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Sessions of one member that are kept of one group, the newest ones: a machine that is switched off each night begins one
/// a day, and each is kept for 21.
pub const GROUP_SESSIONS_OF_MEMBER_MAX: usize = 24;
/// Lifetime of a message to a group, in seconds: 14 days at most, and if its author names none, so that somebody who
/// was away for a week gets all of it.
pub const GROUP_LIFETIME_S_MAX: u64 = 14 * 24 * 3600;
/// The keys to a session of another's are kept so long after they came, in milliseconds: until its last message has
/// come or expired.
pub const GROUP_SESSION_KEPT_MS: u64 = GROUP_SESSION_MS_MAX + GROUP_LIFETIME_S_MAX * 1000;
/// Largest note about a group inside a sealed message, in bytes.
pub const GROUP_NOTE_BYTES_MAX: usize = 16 * 1024;
/// Receipts in one note.
pub const GROUP_RECEIPTS_MAX: usize = 64;
/// A member whose roster ends elsewhere is told after so long, in milliseconds: most of that settles itself.
pub const GROUP_REPAIR_MS: u64 = 60_000;
/// And so often, as long as nothing new comes of it.
pub const GROUP_REPAIRS_MAX: u32 = 4;
/// Held bundles of groups that are tried with a new session in one go, oldest first.
pub const GROUP_TRIES_MAX: usize = 4 * 1024;

/// Links at one time, all kinds together.
pub const LINKS_MAX: usize = 256;
/// A handshake not done by then is cut, in milliseconds (threats S-12, B-03).
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// A neighbour that owes an answer and is silent for this long is cut, in milliseconds (threat S-05).
pub const STALL_MS_MAX: u64 = 30_000;

/// Links whose handshake is under way and that others dialled (threat S-12).
pub const HALF_OPEN_MAX: usize = 32;
/// Links that others dialled and that are answered within an hour (threat S-12).
pub const ANSWERED_PER_HOUR_MAX: u64 = 3_600;
/// Most id prefixes in one message.
pub const PREFIXES_MAX: usize = 1024;
/// Symbols kept of a set's row at least; a set is also told by fewer.
pub const SYMBOLS_MIN: usize = 64;
/// Symbols kept of a set's row at most, and sent at most in one round: 640 KiB, enough for a difference of 53,000
/// (threat S-01).
pub const SYMBOLS_MAX: usize = 64 * 1024;
/// Symbols of a set that its fingerprint depends on at most.
pub const FINGERPRINT_SYMBOLS: usize = 4 * 1024;
/// How often more symbols are asked for in one round (threat S-04).
pub const MORE_MAX: u8 = 3;
/// Own messages not known to be elsewhere that are compared with what a neighbour holds.
pub const PENDING_MAX: usize = 4 * 1024;
/// Ids in the first page of a walk.
pub const PAGE_IDS_FIRST: usize = 128;
/// Most ids in a page (threat S-01).
pub const PAGE_IDS_MAX: usize = 1024;
/// Rows looked at for one page, however many of them are offered.
pub const WALK_ROWS_MAX: usize = 8 * 1024;
/// Ids of a neighbour's that are looked up within an hour; the rest is answered with "not now".
pub const IDS_PER_HOUR_MAX: u64 = 4_000_000;
/// Rounds and walks that a neighbour begins within an hour in one session; an honest one begins a round when the session
/// does and at most one a minute after that. Whoever asks for more is cut (threat S-03).
pub const ROUNDS_PER_HOUR_MAX: u64 = 90;
/// Times within an hour that a neighbour makes one link take another one's place: each begins a session anew (threat S-03).
pub const TAKEOVERS_PER_HOUR_MAX: u64 = 60;
/// A neighbour may ask for a new walk this often, in milliseconds (threat S-03).
pub const WALK_MS_MIN: u64 = 60_000;
/// Bundles asked for on one link and not come yet; more is not asked for until then.
pub const OWED_MAX: usize = 2 * 1024;
/// Bundles a neighbour wants from us, waiting to be sent.
pub const QUEUE_MAX: usize = 4 * 1024;
/// New pages are sent only while fewer bundles than this wait to be sent.
pub const QUEUE_LOW: usize = 512;
/// Answers waiting to be taken by a neighbour; one that takes none is cut.
pub const ANSWERS_MAX: usize = 8 * 1024;
/// Bundles sent and not yet answered, on one link.
pub const IN_FLIGHT_MAX: usize = 512;
/// Bytes of bundles sent and not yet answered, on one link.
pub const IN_FLIGHT_BYTES_MAX: u64 = 512 * 1024;
/// A bundle of at most so many bytes is a receipt, or costs no more than one: of equally urgent ones it goes first.
pub const TINY_BYTES_MAX: u64 = 128;
/// Largest bundle that is pushed without being asked for, in bytes.
pub const PUSH_BYTES_MAX: u64 = 1024;
/// Bundles that a round has shown a neighbour to lack are pushed if they are no more than this; more are announced, since it
/// may have dropped them and would refuse each one anew.
pub const GIFTS_PUSHED_MAX: usize = 8;
/// Other links remembered as offering what was asked for on one.
pub const SECOND_SOURCES_MAX: usize = 3;
/// Prefixes remembered per session as known to the neighbour.
pub const KNOWN_TO_PEER_MAX: usize = 64;
/// Bundles no good, or sent unasked and too large, before a neighbour is cut (threat S-02).
pub const OFFENCES_MAX: u32 = 8;
/// On a slow link answers that go by themselves are this far apart, in milliseconds: a burst of short messages costs few
/// of them, and its sender still hears within what a person takes for at once.
pub const ANSWERS_APART_MS: u64 = 300;
/// Room in a frame that several bundles share on a slow link, in bytes: an urgent one waits for no more.
pub const SLOW_FRAME_BYTES: usize = 2 * 1024;

/// Share of a store's bytes that is for bundles, in percent; the rest is for received messages.
pub const BUNDLES_PERCENT: u64 = 75;
/// Share of the bundles' space that own ones get back whenever they need it, in percent.
pub const OWN_PERCENT: u64 = 30;
/// The same for contacts' and their contacts' bundles, in percent.
pub const CONTACT_PERCENT: u64 = 50;
/// The same for strangers' bundles, in percent.
pub const STRANGER_PERCENT: u64 = 15;
/// Share of what strangers' bundles have that posts, and whatever else is for everybody, keep against mail, in percent. Beyond it
/// they give way to mail; without it whoever brings mail for nobody would silence all calls for help (threat L-02).
pub const PUBLIC_PERCENT: u64 = 25;
/// Share of the bundles' space that receipts use at most, in percent.
pub const RECEIPT_PERCENT: u64 = 5;
/// Most of the bundles' space that strangers' bundles of one neighbour use, in percent (threat L-02:
/// origins are free to invent, so the neighbour that brings them is counted first).
pub const INGRESS_PERCENT: u64 = 10;
/// Most of the bundles' space that the bundles of one stranger use, in percent (threat L-01).
pub const ORIGIN_PERCENT: u64 = 5;
/// Most of a store's bytes that strangers' bundles may rewrite in an hour over one link, in percent.
pub const LINK_HOUR_PERCENT: u64 = 10;
/// Most of a store's bytes that strangers' bundles may rewrite in an hour over all links, in percent
/// (threat L-08: flash wears out).
pub const HOUR_PERCENT: u64 = 50;
/// What an hour's share is at least, in bytes, however small the store.
pub const HOUR_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Expired bundles dropped in one go.
pub const SWEEP_MAX: usize = 256;
/// Dropped ids forgotten in one go: more than are dropped in one, so that they do not pile up.
pub const FORGET_MAX: usize = 1024;
/// Sweeps are at least this far apart unless there is more to do at once, in milliseconds: each is a commit,
/// and flash wears out.
pub const SWEEP_MS_MIN: u64 = 10_000;
/// Events or peers are trimmed after this many were added.
pub const TRIM_EVERY: u64 = 256;
/// The clocks are saved with a commit if that was last done this long ago, in milliseconds.
pub const CLOCK_SAVE_MS: u64 = 10_000;
/// An idle node saves its clocks this often, in milliseconds: one hour.
pub const CLOCK_SAVE_IDLE_MS: u64 = 3_600_000;
/// What neighbours say about bundles they were sent is committed after this time at the latest, in
/// milliseconds: a commit of its own for each answer would be a second one for each message.
pub const PATIENCE_MS: u64 = 50;
/// After a full disk, the node tries whether there is room again this often, in milliseconds.
pub const PROBE_MS: u64 = 2_000;

/// Earliest creation time that is believed, in milliseconds since 1970: 2025-01-01. Before that no MeshLink
/// existed, so the clock that said so was not set.
pub const CREATED_UNIX_MS_MIN: u64 = 1_735_689_600_000;
/// How far two trusted clocks may be apart, in milliseconds: one day.
pub const SKEW_MS_MAX: u64 = 24 * 3600 * 1000;

/// Steps kept on the way of one message, with all neighbours together.
pub const HAND_OVERS_MAX: usize = 64;

/// Events waiting to be taken from the outbox; older ones are in the log only.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// How much a node keeps. The rest of the limits are the protocol's and the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of bundles and received messages, all together.
    pub store_bytes_max: u64,
    /// Most bundles.
    pub store_bundles_max: u64,
    /// Events kept in the log.
    pub events_kept: u64,
    /// Nodes heard of.
    pub peers_kept: u64,
}

impl Limits {
    /// Most bytes of bundles.
    pub fn bundle_bytes_max(&self) -> u64 {
        percent(self.store_bytes_max, BUNDLES_PERCENT)
    }

    /// Most dropped ids remembered (threat L-07): about as many as bundles fit, in a sixteenth of the space.
    pub fn dropped_max(&self) -> u64 {
        self.store_bytes_max / 1024
    }

    /// Most bytes of received messages.
    pub fn received_bytes_max(&self) -> u64 {
        self.store_bytes_max - self.bundle_bytes_max()
    }
}

/// A share of a whole.
pub(crate) fn percent(whole: u64, percent: u64) -> u64 {
    whole / 100 * percent + whole % 100 * percent / 100
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_bytes_max: 1024 * 1024 * 1024,
            store_bundles_max: 1_000_000,
            events_kept: 100_000,
            peers_kept: 10_000,
        }
    }
}
