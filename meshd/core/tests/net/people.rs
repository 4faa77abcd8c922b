//! Nodes whose users write to each other in private.

use meshlink_core::node::{ContactDraft, ContactError, PrivateDraft, SubmitError};
use meshlink_core::{BundleId, Limits, NodeId, Priority};

use super::{At, Net};

/// Nodes that can be written to.
pub fn people(count: usize) -> Net {
    let mut net = Net::with_limits(count, Limits::default());
    for at in 0..count {
        net.node(at).set_reachable();
    }
    net.pass(1);
    net
}

pub fn write(net: &mut Net, from: At, to: NodeId, text: &str) -> Result<BundleId, SubmitError> {
    let now = net.now(from);
    let draft = PrivateDraft {
        to,
        text: text.to_owned(),
        lifetime_s: None,
        priority: Priority::Normal,
        reply_to: None,
    };
    net.node(from).submit_private(draft, now)
}

pub fn send(net: &mut Net, from: At, to: At, text: &str) -> BundleId {
    let to = net.id(to);
    write(net, from, to, text).unwrap()
}

/// One shows a code, the other takes it.
pub fn exchange_code(net: &mut Net, shown_by: At, taken_by: At, in_person: bool) {
    let code = code_of(net, shown_by, in_person);
    take_code(net, taken_by, &code, in_person).unwrap();
}

pub fn code_of(net: &mut Net, at: At, in_person: bool) -> String {
    let now = net.now(at);
    net.node(at).make_code(in_person, now).unwrap().to_string()
}

pub fn take_code(net: &mut Net, at: At, code: &str, in_person: bool) -> Result<NodeId, ContactError> {
    let now = net.now(at);
    let draft = ContactDraft { code: Some(code.parse().unwrap()), in_person, ..ContactDraft::default() };
    net.node(at).add_contact(draft, now).map(|(id, _)| id)
}
