//! What the node holds, watched for as long as Bluetooth is on.

use std::time::Duration;

use meshlink_core::MessageStatus;
use tokio::sync::watch;
use tokio::time::sleep;

use super::beacon::Fingerprint;
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

/// Keeps the fingerprint of what is held true.
pub(super) async fn watch_holdings(driver: &Driver, holdings: &mut Holdings, held: &watch::Sender<Option<Held>>) {
    let mut newest = driver.newest();
    loop {
        let mut walk = *holdings;
        let walked = driver
            .read(move |node, _| {
                let outcome = walk.walk(node.store());
                let pending = node.store().counts().own_with(MessageStatus::Pending);
                (walk, outcome, pending > 0)
            })
            .await;
        let Ok((walk, outcome, unsettled)) = walked else { return };
        *holdings = walk;
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
