//! Groups in a net: founded, joined, talked in.

use meshlink_core::group::entry::GroupId;
use meshlink_core::node::{ContactDraft, GroupDraft, GroupMessageDraft, SubmitError};
use meshlink_core::{BundleId, Limits, LinkId, Priority};

use super::{At, MINUTE_MS, Net};

/// Nodes in a line, each the contact of all others, not linked.
pub fn friends(count: usize) -> Net {
    let mut net = Net::with_limits(count, Limits::default());
    for at in 0..count {
        net.node(at).set_reachable();
    }
    net.pass(1);
    // Everybody hears of everybody's keys once.
    let links = line(&mut net, count);
    net.settle();
    for one in 0..count {
        for other in (0..count).filter(|other| *other != one) {
            befriend(&mut net, one, other);
        }
    }
    net.pass(MINUTE_MS);
    cut(&mut net, links);
    net
}

pub fn befriend(net: &mut Net, one: At, other: At) {
    let (id, now) = (net.id(other), net.now(one));
    net.node(one).add_contact(ContactDraft { id: Some(id), ..ContactDraft::default() }, now).unwrap();
}

pub fn line(net: &mut Net, count: usize) -> Vec<LinkId> {
    (1..count).map(|at| net.join(at - 1, at)).collect()
}

pub fn cut(net: &mut Net, links: Vec<LinkId>) {
    for link in links {
        net.cut(link);
    }
}

/// Links all in a line until nobody has anything to say, receipts and all.
pub fn meet(net: &mut Net, count: usize) {
    let links = line(net, count);
    net.pass(5 * MINUTE_MS);
    cut(net, links);
}

pub fn found(net: &mut Net, at: At, members: &[At], history: bool) -> GroupId {
    let draft = GroupDraft {
        name: "Hikers".to_owned(),
        history,
        members: members.iter().map(|at| net.id(*at)).collect(),
    };
    let now = net.now(at);
    net.node(at).found_group(draft, now).unwrap()
}

pub fn join(net: &mut Net, at: At, group: &GroupId) {
    let now = net.now(at);
    net.node(at).join_group(group, now).unwrap();
}

/// A group of the first so many, all joined, everybody level.
pub fn group_of(net: &mut Net, count: usize, history: bool) -> GroupId {
    let others: Vec<At> = (1..count).collect();
    let group = found(net, 0, &others, history);
    meet(net, count);
    for at in others {
        join(net, at, &group);
    }
    meet(net, count);
    meet(net, count);
    group
}

pub fn say(net: &mut Net, at: At, group: &GroupId, text: &str) -> BundleId {
    try_say(net, at, group, text).unwrap()
}

pub fn try_say(net: &mut Net, at: At, group: &GroupId, text: &str) -> Result<BundleId, SubmitError> {
    let draft = GroupMessageDraft {
        group: *group,
        text: text.to_owned(),
        lifetime_s: None,
        priority: Priority::Normal,
        reply_to: None,
    };
    let now = net.now(at);
    net.node(at).submit_to_group(draft, now)
}
