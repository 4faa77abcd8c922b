//! What the adapters' tasks have to know of the node: what it holds, and who is at the other end of its links.

use std::collections::BTreeSet;
use std::time::Duration;

use meshlink_core::private::contact::Standing;
use meshlink_core::{LinkId, LinkKind, MessageStatus, Node, NodeId, Store};
use tokio::sync::watch;
use tokio::time::sleep;

use super::beacon::{Beacon, Fingerprint};
use super::candidates::Ours;
use super::holdings::{Holdings, Walk};
use crate::driver::Driver;

/// Between two looks at what is held, when there is reason to.
const LOOK_APART: Duration = Duration::from_millis(500);
/// Bundles that are only carried make no event: look this often anyway.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// What the node holds, as far as neighbours care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) fingerprint: Fingerprint,
    /// Own messages wait for a neighbour to confirm that it has them.
    pub(super) unsettled: bool,
}

impl Held {
    /// What a node that holds this says with that random half in its beacon.
    pub(super) fn ours(self, random: [u8; 4]) -> Ours {
        let Self { fingerprint, unsettled } = self;
        Ours { beacon: Beacon::new(random, fingerprint), held: fingerprint, unsettled }
    }
}

/// What the node knows of who is at the other end of its links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Friends {
    /// Whether the user has contacts.
    pub(super) has_contacts: bool,
    /// Links over Bluetooth to them.
    pub(super) links: BTreeSet<LinkId>,
}

impl Friends {
    fn of(node: &Node<impl Store>) -> Self {
        let is_contact = |id: &NodeId| {
            node.contact(id).is_some_and(|contact| contact.standing == Standing::Added)
                && !node.is_blocked(id)
        };
        let links = node.links().filter(|link| link.kind == LinkKind::Ble);
        let to_contacts = links.filter(|link| link.peer.as_ref().is_some_and(is_contact));
        Self {
            has_contacts: node.contacts().any(|(id, _)| is_contact(id)),
            links: to_contacts.map(|link| LinkId(link.id)).collect(),
        }
    }
}

/// What is held, once it is known; `None` when the daemon stops.
pub(super) async fn known_held(held: &mut watch::Receiver<Option<Held>>) -> Option<Held> {
    *held.wait_for(Option::is_some).await.ok()?
}

/// Keeps the fingerprint of what is held true, and who is at the other end of the links.
pub(super) async fn watch_holdings(
    driver: &Driver,
    holdings: &mut Holdings,
    held: &watch::Sender<Option<Held>>,
    friends: &watch::Sender<Friends>,
) {
    let mut newest = driver.newest();
    loop {
        let mut walk = *holdings;
        let walked = driver
            .read(move |node, _| {
                let outcome = walk.walk(node.store());
                let pending = node.store().counts().own_with(MessageStatus::Pending);
                (walk, outcome, pending > 0, Friends::of(node))
            })
            .await;
        let Ok((walk, outcome, unsettled, known)) = walked else { return };
        *holdings = walk;
        friends.send_if_modified(|before| {
            let is_news = *before != known;
            *before = known;
            is_news
        });
        match outcome {
            Ok(Walk::Unfinished | Walk::Stale) => continue,
            Ok(Walk::Whole(fingerprint)) => {
                let now = Some(Held { fingerprint, unsettled });
                held.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
            Err(error) => tracing::debug!(%error, "what is held can't be read"),
        }
        sleep(LOOK_APART).await;
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sleep(LOOK_ANYWAY) => {}
        }
    }
}
