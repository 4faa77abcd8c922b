//! What the store keeps, as the API says it.

use std::collections::BTreeMap;

use meshlink_api as api;
use meshlink_core::group::entry::GroupId;
use meshlink_core::node::groups::{Group, Part, Recipient, conversation_of};
use meshlink_core::node::{JoinedChannel, Node};
use meshlink_core::private::contact::{Contact, ReceiptChoice, Standing, Trust};
use meshlink_core::store::{HandOver, MessageRecord, PeerRecord, Protection};
use meshlink_core::{
    LinkKind, LinkPhase, LinkStatus, MessageStatus, NodeId, Now, Priority, Seq, Store, StoreError,
};
use meshlink_core::{TransportState, TransportStatus};

use super::position::Position;
use crate::sqlite::SqliteStore;

/// A moment as RFC 3339 in UTC with milliseconds; `None` for what lies outside the years 0 to 9999.
pub(super) fn time(unix_ms: u64) -> Option<String> {
    let moment = jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(format!("{moment:.3}"))
}

/// What of the status the node does not know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vitals {
    /// Seconds since the daemon started.
    pub(super) uptime_s: u64,
    /// The cap of the store.
    pub(super) store_bytes_max: u64,
    /// Whether there is a passphrase.
    pub(super) has_passphrase: bool,
}

/// How what is private lies on the disk.
pub(super) fn at_rest(is_locked: bool, has_passphrase: bool) -> api::AtRest {
    let (state, detail, hint) = match (is_locked, has_passphrase) {
        (true, _) => (
            api::AtRestState::Locked,
            "locked: this node carries for others, and its own messages can't be read or written",
            Some(super::problem::UNLOCK),
        ),
        (false, true) => (api::AtRestState::Unlocked, "sealed with a passphrase; unlocked now", None),
        (false, false) => (
            api::AtRestState::Open,
            "no passphrase: whoever gets this disk can read the node's keys and messages",
            Some("set one: meshctl passphrase set"),
        ),
    };
    api::AtRest { state, detail: detail.to_owned(), hint: hint.map(str::to_owned) }
}

/// Turns records into API objects, for one answer. Remembers the names it looked up.
pub(super) struct Renderer<'a> {
    node: &'a Node<SqliteStore>,
    now: Now,
    names: BTreeMap<NodeId, Option<String>>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(node: &'a Node<SqliteStore>, now: Now) -> Self {
        Self { node, now, names: BTreeMap::new() }
    }

    pub(super) fn cursor(&self, seq: Seq) -> String {
        Position { store: self.node.store().store_id(), seq }.to_string()
    }

    pub(super) fn message(&mut self, record: &MessageRecord) -> Result<api::Message, StoreError> {
        Ok(api::Message {
            id: record.id.to_string(),
            conversation: record.conversation.clone(),
            conversation_name: self.conversation_name(&record.conversation)?,
            from: self.sender(record)?,
            to: record.conversation.clone(),
            text: record.text.clone(),
            created_at: record.created_unix_ms.and_then(time),
            received_at: record.received_unix_ms.and_then(time),
            status: status(record.status),
            status_reason: record.status_reason.clone(),
            protection: protection(record.protection),
            priority: priority(record.priority),
            expires_at: self.timeline_time(record.expires_tl_ms),
            read: record.read,
            attachments: Vec::new(),
            reply_to: record.reply_to.map(|id| id.to_string()),
            recipients: self.recipients(record)?,
            cursor: self.cursor(record.seq),
        })
    }

    /// What the person or the group is called that a conversation is with.
    pub(super) fn conversation_name(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        if let Ok(person) = conversation.parse() {
            return self.name(&person);
        }
        let group = group_in(conversation).and_then(|id| self.node.groups().get(&id));
        Ok(group.map(|group| group.view().name.clone()))
    }

    /// For whom an own message to a group is.
    fn recipients(&mut self, record: &MessageRecord) -> Result<Vec<api::Recipient>, StoreError> {
        if !record.own || group_in(&record.conversation).is_none() || self.node.store().is_locked() {
            return Ok(Vec::new());
        }
        let mut recipients = Vec::new();
        for Recipient { id, status: of } in self.node.group_recipients(&record.id)? {
            recipients.push(api::Recipient { id: id.to_string(), name: self.name(&id)?, status: status(of) });
        }
        Ok(recipients)
    }

    /// A group with who is in it.
    pub(super) fn group(&mut self, id: &GroupId, group: &Group) -> Result<api::Group, StoreError> {
        let own = self.node.id();
        let mut members = Vec::new();
        for (who, member) in &group.view().members {
            members.push(api::Member {
                id: who.to_string(),
                name: self.name(who)?,
                me: *who == own,
                admin: member.is_admin,
                membership: membership(group.part_of(who)),
            });
        }
        Ok(api::Group {
            id: id.to_string(),
            name: group.view().name.clone(),
            membership: membership(group.part_of(&own)),
            admin: members.iter().any(|member| member.me && member.admin),
            history: group.view().history,
            invited_by: group.invited_by(&own).map(|by| by.to_string()),
            conversation: conversation_of(id),
            members,
            since_at: group.since_unix_ms().and_then(time),
        })
    }

    fn sender(&mut self, record: &MessageRecord) -> Result<api::Sender, StoreError> {
        let Some(from) = record.from else {
            let alias = record.from_alias.clone().unwrap_or_default();
            return Ok(api::Sender {
                id: format!("relay:{alias}"),
                name: Some(alias),
                me: false,
                authenticated: false,
            });
        };
        Ok(api::Sender { id: from.to_string(), name: self.name(&from)?, me: record.own, authenticated: true })
    }

    /// How a contact is called here; for others the name they give themselves, as last heard.
    pub(super) fn name(&mut self, id: &NodeId) -> Result<Option<String>, StoreError> {
        if let Some(name) = self.names.get(id) {
            return Ok(name.clone());
        }
        let called = self.node.contact(id).and_then(|contact| contact.shown_name()).map(str::to_owned);
        let name = if *id == self.node.id() {
            self.node.profile()?.name
        } else if called.is_some() {
            called
        } else {
            self.node.store().peer(id)?.and_then(|peer| peer.profile).and_then(|profile| profile.name)
        };
        self.names.insert(*id, name.clone());
        Ok(name)
    }

    /// A node, of which there may be no record, for example because it was blocked before it was heard of.
    pub(super) fn peer(&self, id: &NodeId, record: Option<&PeerRecord>) -> Result<api::Peer, StoreError> {
        let profile = record.and_then(|r| r.profile.as_ref());
        let mut links: Vec<api::LinkKind> =
            self.node.links().filter(|link| link.peer == Some(*id)).map(|link| kind(link.kind)).collect();
        links.sort_unstable();
        links.dedup();
        Ok(api::Peer {
            id: id.to_string(),
            name: profile.and_then(|p| p.name.clone()),
            about: profile.and_then(|p| p.about.clone()),
            avatar: profile.and_then(|p| p.avatar.clone()),
            up: !links.is_empty(),
            links,
            last_seen_at: record.and_then(|r| r.last_seen_unix_ms).and_then(time),
            encounters: record.map_or(0, |r| r.encounters),
            bundles_sent: record.map_or(0, |r| r.bundles_sent),
            bundles_received: record.map_or(0, |r| r.bundles_received),
            messages: self.node.store().messages_of(id)?,
            blocked: record.is_some_and(|r| r.blocked),
        })
    }

    /// A contact, with what can be said about writing to it.
    pub(super) fn contact(&self, id: &NodeId, contact: &Contact) -> api::Contact {
        let (state, detail, hint) = self.contact_state(id, contact);
        api::Contact {
            id: id.to_string(),
            name: contact.name.clone(),
            own_name: contact.own_name.clone(),
            trust: match contact.trust {
                Trust::Unverified => api::Trust::Unverified,
                Trust::Introduced => api::Trust::Introduced,
                Trust::Verified => api::Trust::Verified,
            },
            introduced_by: contact.introduced_by.map(|by| by.to_string()),
            state,
            detail: detail.to_owned(),
            hint: hint.map(str::to_owned),
            rival: contact.rival.map(|rival| rival.to_string()),
            protection: match contact.trust {
                Trust::Verified => api::Protection::SealedVerified,
                Trust::Unverified | Trust::Introduced => api::Protection::Sealed,
            },
            receipts: match contact.receipts {
                ReceiptChoice::Nothing => api::Receipts::None,
                ReceiptChoice::Delivered => api::Receipts::Delivered,
                ReceiptChoice::Read => api::Receipts::Read,
            },
            safety_number: None,
            added_at: contact.added_unix_ms.and_then(time),
        }
    }

    /// The same with its safety number, which takes a millisecond to compute.
    pub(super) fn contact_in_full(&self, id: &NodeId, contact: &Contact) -> api::Contact {
        let safety_number = self.node.safety_number(id).ok();
        api::Contact { safety_number, ..self.contact(id, contact) }
    }

    fn contact_state(
        &self,
        id: &NodeId,
        contact: &Contact,
    ) -> (api::ContactState, &'static str, Option<&'static str>) {
        use api::ContactState;
        if self.node.is_blocked(id) {
            return (ContactState::Blocked, "it is blocked", None);
        }
        if contact.rival.is_some() {
            return (
                ContactState::KeyChanged,
                "another node claims to be this contact; nothing is sent until you decide",
                Some("ask that person which device is right, then keep or replace this contact"),
            );
        }
        if contact.standing != Standing::Added {
            return (
                ContactState::Asking,
                "it wrote to you and is not one of your contacts",
                Some("accept or block it; writing back accepts it"),
            );
        }
        if contact.awaits_answer() {
            return (
                ContactState::WaitingForAnswer,
                "it was added by a code and has not answered yet; messages are sent all the same",
                Some("the code may have expired or been used by somebody else if this lasts"),
            );
        }
        if !contact.has_keys(self.node.timeline_ms(self.now)) {
            return (
                ContactState::WaitingForKeys,
                "messages wait here until fresh keys of it come by",
                Some("keys travel like messages; a code of that person brings them at once"),
            );
        }
        (ContactState::Ready, "messages are sealed and sent", None)
    }

    /// A channel that is joined, with what is kept of it.
    pub(super) fn channel(&self, channel: JoinedChannel) -> Result<api::Channel, StoreError> {
        let kept = self.node.store().kept_of(&channel.name)?;
        Ok(api::Channel {
            joined_at: channel.since_unix_ms.and_then(time),
            protection: match channel.check {
                None => api::Protection::Public,
                Some(_) => api::Protection::Channel,
            },
            check: channel.check,
            members_heard: kept.authors,
            messages: kept.messages,
            unread: kept.unread,
            warning: None,
            name: channel.name,
        })
    }

    pub(super) fn link(&mut self, link: &LinkStatus) -> Result<api::Link, StoreError> {
        let peer_name = match link.peer {
            Some(peer) => self.name(&peer)?,
            None => None,
        };
        // What is kept of a link has no address; one that is up still says it.
        let is_same = |live: &LinkStatus| {
            (live.id, live.peer, live.since_unix_ms) == (link.id, link.peer, link.since_unix_ms)
        };
        let live = link.address.is_empty().then(|| self.node.links().find(is_same)).flatten();
        Ok(api::Link {
            id: link.id.to_string(),
            peer: link.peer.map(|peer| peer.to_string()),
            peer_name,
            kind: kind(link.kind),
            address: live.map_or_else(|| link.address.clone(), |live| live.address),
            dialled: link.dialled,
            phase: phase(link.phase).to_owned(),
            since_at: link.since_unix_ms.and_then(time),
            sent_bytes: link.sent_bytes,
            received_bytes: link.received_bytes,
            sent_bundles: link.sent_bundles,
            received_bundles: link.received_bundles,
            rssi: link.rssi,
            path: link.path.clone(),
            mtu_bytes: link.mtu_bytes,
            connect_ms: link.connect_ms,
        })
    }

    pub(super) fn hand_over(
        &mut self,
        step: &HandOver,
        message: &MessageRecord,
    ) -> Result<api::HandOver, StoreError> {
        use meshlink_core::store::HandOverStep;
        let peer = step.peer.or_else(|| message.conversation.parse().ok());
        Ok(api::HandOver {
            step: match step.step {
                HandOverStep::Offered => api::HandOverStep::Offered,
                HandOverStep::Stored => api::HandOverStep::Stored,
                HandOverStep::Received => api::HandOverStep::Received,
                HandOverStep::Delivered => api::HandOverStep::Delivered,
                HandOverStep::Read => api::HandOverStep::Read,
            },
            peer: peer.map(|peer| peer.to_string()),
            peer_name: peer.map_or(Ok(None), |peer| self.name(&peer))?,
            via: step.via.map(kind),
            at: step.at_unix_ms.and_then(time),
        })
    }

    /// When the timeline reaches a position, by the wall clock.
    pub(super) fn timeline_time(&self, timeline_ms: u64) -> Option<String> {
        let here_ms = self.node.timeline_ms(self.now);
        let unix_ms = self.now.unix_ms?;
        let at_ms = if timeline_ms >= here_ms {
            unix_ms.saturating_add(timeline_ms - here_ms)
        } else {
            unix_ms.saturating_sub(here_ms - timeline_ms)
        };
        time(at_ms)
    }

    pub(super) fn status(&self, vitals: Vitals) -> Result<api::Status, StoreError> {
        let store = self.node.store();
        let counts = store.counts();
        let own = |status| counts.own_with(status);
        let newest = store.event_bounds()?.map_or(Seq(0), |(_, newest)| newest);
        let writable = self.node.is_writable();
        let held = store.usage_of_all()?;
        Ok(api::Status {
            node_id: self.node.id().to_string(),
            name: self.node.profile()?.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: vitals.uptime_s,
            clock: api::ClockState {
                trusted: self.now.unix_ms.is_some(),
                now_at: self.now.unix_ms.and_then(time),
            },
            has_twin: self.node.has_met_twin(),
            at_rest: at_rest(store.is_locked(), vitals.has_passphrase),
            store: api::StoreUse {
                bundles: held.bundles,
                bytes: held.bytes,
                bytes_max: vitals.store_bytes_max,
                writable,
                detail: (!writable)
                    .then(|| "the disk is full: nothing new is stored until there is room".to_owned()),
            },
            messages: api::MessageCounts {
                pending: own(MessageStatus::Pending),
                synced: own(MessageStatus::Synced),
                delivered: own(MessageStatus::Delivered),
                read: own(MessageStatus::Read),
                expired: own(MessageStatus::Expired),
                failed: own(MessageStatus::Failed),
                received: counts.received,
                unread: counts.unread,
            },
            transports: self.node.transports().map(transport).collect(),
            links: self.node.links().filter(|link| link.peer.is_some()).count() as u64,
            cursor: self.cursor(newest),
        })
    }
}

/// Which group a conversation is of, if of one.
fn group_in(conversation: &str) -> Option<GroupId> {
    conversation.strip_prefix("group:")?.parse().ok()
}

pub(super) fn transport(status: &TransportStatus) -> api::TransportStatus {
    api::TransportStatus {
        kind: kind(status.kind),
        name: status.name.clone(),
        state: match status.state {
            TransportState::Off => api::TransportState::Off,
            TransportState::Starting => api::TransportState::Starting,
            TransportState::Up => api::TransportState::Up,
            TransportState::Degraded => api::TransportState::Degraded,
            TransportState::Down => api::TransportState::Down,
        },
        detail: status.detail.clone(),
        hint: status.hint.clone(),
    }
}

fn membership(part: Part) -> api::Membership {
    match part {
        Part::Joined => api::Membership::Joined,
        Part::Invited => api::Membership::Invited,
        Part::Out => api::Membership::Out,
    }
}

pub(super) fn kind(kind: LinkKind) -> api::LinkKind {
    match kind {
        LinkKind::Pipe => api::LinkKind::Pipe,
        LinkKind::Lan => api::LinkKind::Lan,
        LinkKind::Ble => api::LinkKind::Ble,
        LinkKind::Relay => api::LinkKind::Relay,
    }
}

pub(super) fn status(status: MessageStatus) -> api::MessageStatus {
    match status {
        MessageStatus::Pending => api::MessageStatus::Pending,
        MessageStatus::Synced => api::MessageStatus::Synced,
        MessageStatus::Delivered => api::MessageStatus::Delivered,
        MessageStatus::Read => api::MessageStatus::Read,
        MessageStatus::Expired => api::MessageStatus::Expired,
        MessageStatus::Failed => api::MessageStatus::Failed,
    }
}

pub(super) fn core_status(status: api::MessageStatus) -> MessageStatus {
    match status {
        api::MessageStatus::Pending => MessageStatus::Pending,
        api::MessageStatus::Synced => MessageStatus::Synced,
        api::MessageStatus::Delivered => MessageStatus::Delivered,
        api::MessageStatus::Read => MessageStatus::Read,
        api::MessageStatus::Expired => MessageStatus::Expired,
        api::MessageStatus::Failed => MessageStatus::Failed,
    }
}

fn priority(priority: Priority) -> api::Priority {
    match priority {
        Priority::Sos => api::Priority::Sos,
        Priority::Normal => api::Priority::Normal,
        Priority::Bulk => api::Priority::Bulk,
    }
}

pub(super) fn core_priority(priority: api::Priority) -> Priority {
    match priority {
        api::Priority::Sos => Priority::Sos,
        api::Priority::Normal => Priority::Normal,
        api::Priority::Bulk => Priority::Bulk,
    }
}

pub(super) fn core_receipts(receipts: api::Receipts) -> ReceiptChoice {
    match receipts {
        api::Receipts::None => ReceiptChoice::Nothing,
        api::Receipts::Delivered => ReceiptChoice::Delivered,
        api::Receipts::Read => ReceiptChoice::Read,
    }
}

fn protection(protection: Protection) -> api::Protection {
    match protection {
        Protection::Public => api::Protection::Public,
        Protection::Channel => api::Protection::Channel,
        Protection::Sealed => api::Protection::Sealed,
        Protection::SealedVerified => api::Protection::SealedVerified,
    }
}

fn phase(phase: LinkPhase) -> &'static str {
    match phase {
        LinkPhase::Handshake => "handshake",
        LinkPhase::Reconciling => "reconciling",
        LinkPhase::Live => "live",
        LinkPhase::Standby => "standby",
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(time(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(time(1_767_225_600_123).as_deref(), Some("2026-01-01T00:00:00.123Z"));
        // past 2038, and what no calendar has.
        assert_eq!(time(4_102_444_800_000).as_deref(), Some("2100-01-01T00:00:00.000Z"));
        assert_eq!(time(u64::MAX), None);
        assert_eq!(time(i64::MAX as u64), None);
    }
}
