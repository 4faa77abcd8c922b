//! How long messages stay readable here.
//!
//! A message is kept for its lifetime, and after it for as long as its conversation's rule says. Both are
//! counted on the timeline, so a clock that jumps by years deletes nothing (threat R-06). Only the copy to read
//! goes; what is still under way to others has a lifetime of its own, and that has ended by then.
//!
//! Messages expire in another order than they came in, so all are looked at, a page a minute, and after the
//! last one nothing happens for an hour. Without a rule nothing runs.

use std::collections::BTreeMap;
use std::time::Duration;

use meshlink_core::channel::is_channel;
use meshlink_core::{BundleId, MessageStatus, Node, NodeId, Now, Seq, Store, StoreError};

use crate::driver::Driver;
use crate::sqlite::{MessageFilter, Order, SqliteStore};
use crate::stop::Stopping;

/// Longest time to keep messages after their lifetime, in days: a hundred years.
const DAYS_MAX: u32 = 36_500;
/// Rule for every conversation without one of its own.
const EVERYTHING_ELSE: &str = "*";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Messages looked at in one go. Their texts are opened for it, so a page takes some milliseconds.
const PAGE: usize = 256;
/// Between two pages.
const PAGE_PAUSE: Duration = Duration::from_secs(60);
/// After the last page.
const ROUND_PAUSE: Duration = Duration::from_secs(3600);

/// Days that messages are kept after their lifetime, by conversation. What has no rule is kept for ever.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Retention(BTreeMap<String, u32>);

impl Retention {
    /// From the configuration: a channel, a contact's node id, or `*`; 0 days mean for ever.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(rules: BTreeMap<String, u32>) -> Result<Self, String> {
        for (conversation, days) in &rules {
            let is_known = conversation == EVERYTHING_ELSE
                || is_channel(conversation)
                || conversation.parse::<NodeId>().is_ok();
            if !is_known {
                return Err(format!(
                    "{conversation:?} names no conversation: write a channel such as \"#mesh\", a contact's node id, or \"*\" for all others"
                ));
            }
            if *days > DAYS_MAX {
                return Err(format!("{days} days are too many: at most {DAYS_MAX}, or 0 for ever"));
            }
        }
        Ok(Self(rules))
    }

    /// Whether any message ever goes.
    fn is_forever(&self) -> bool {
        self.0.values().all(|days| *days == 0)
    }

    /// When a message of this conversation goes whose lifetime ends then; `None`: never.
    fn ends_tl_ms(&self, conversation: &str, expires_tl_ms: u64) -> Option<u64> {
        let days = *self.0.get(conversation).or_else(|| self.0.get(EVERYTHING_ELSE))?;
        (days > 0).then(|| expires_tl_ms.saturating_add(u64::from(days) * DAY_MS))
    }
}

impl std::fmt::Debug for Retention {
    /// As in the configuration file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules: Vec<String> = self.0.iter().map(|(key, days)| format!("{key:?} = {days}")).collect();
        write!(f, "{{ {} }}", rules.join(", "))
    }
}

/// Forgets what is over, until the daemon stops.
pub(crate) async fn run(retention: Retention, driver: Driver, mut stopping: Stopping) {
    if retention.is_forever() {
        return;
    }
    let mut after = None;
    loop {
        let rules = retention.clone();
        let pause = match driver.write(move |node, now| forget_page(node, &rules, after, now)).await {
            Ok(Ok(next)) => {
                after = next;
                if next.is_some() { PAGE_PAUSE } else { ROUND_PAUSE }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "old messages stay for now");
                ROUND_PAUSE
            }
            Err(error) => {
                tracing::debug!(%error, "old messages stay for now");
                ROUND_PAUSE
            }
        };
        tokio::select! {
            () = stopping.heard() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Forgets those of the next page that are over. Says where to go on; `None`: that was all.
fn forget_page(
    node: &mut Node<SqliteStore>,
    retention: &Retention,
    after: Option<Seq>,
    now: Now,
) -> Result<Option<Seq>, StoreError> {
    // A locked store does not say which conversation a message is of.
    if node.store().is_locked() {
        return Ok(None);
    }
    let filter = MessageFilter { after, order: Order::OldestFirst, limit: PAGE, ..MessageFilter::default() };
    let page = node.store().messages(&filter)?;
    let now_tl_ms = node.timeline_ms(now);
    let is_over = |conversation: &str, expires_tl_ms: u64| {
        retention.ends_tl_ms(conversation, expires_tl_ms).is_some_and(|end| end <= now_tl_ms)
    };
    let over: Vec<BundleId> = page
        .items
        .iter()
        .filter(|message| message.status != MessageStatus::Pending)
        .filter(|message| is_over(&message.conversation, message.expires_tl_ms))
        .map(|message| message.id)
        .collect();
    for id in &over {
        node.forget(id, now)?;
    }
    if !over.is_empty() {
        tracing::info!(messages = over.len(), "old messages forgotten, as [retention] says");
    }
    Ok(page.next)
}

#[cfg(test)]
mod tests {
    use meshlink_core::{Draft, Identity, Input, Limits, Priority};

    use super::*;

    fn rules(rules: &[(&str, u32)]) -> Result<Retention, String> {
        Retention::new(rules.iter().map(|(key, days)| ((*key).to_owned(), *days)).collect())
    }

    #[test]
    fn a_rule_names_a_conversation_or_all_others() {
        assert!(rules(&[("#mesh", 1), ("*", 0)]).is_ok());
        assert!(rules(&[("enpjaklmk7vwh7njjetrincbn4jvkzdf", 36_500)]).is_ok());
        assert!(rules(&[("mesh", 1)]).unwrap_err().contains("#mesh"));
        assert!(rules(&[("#mesh", 36_501)]).unwrap_err().contains("36500"));
    }

    #[test]
    fn r06_the_end_is_counted_from_the_end_of_the_lifetime() {
        let retention = rules(&[("#mesh", 2), ("#kept", 0), ("*", 10)]).unwrap();
        assert_eq!(retention.ends_tl_ms("#mesh", 5), Some(5 + 2 * DAY_MS));
        assert_eq!(retention.ends_tl_ms("#other", 5), Some(5 + 10 * DAY_MS));
        assert_eq!(retention.ends_tl_ms("#kept", 5), None);
        assert_eq!(rules(&[("#mesh", 2)]).unwrap().ends_tl_ms("#other", 5), None);
    }

    #[test]
    fn a_message_goes_when_its_time_is_over_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let keys = crate::vault::MasterKey::from_bytes([1; 32]).record_keys();
        let store = SqliteStore::open(&dir.path().join("db"), Some(keys)).unwrap();
        let at = |ms| Now { mono_ms: ms, unix_ms: None };
        let limits = Limits::default();
        let mut node = Node::open(store, Identity::from_bytes(&[7; 64]), [1; 32], limits, at(0)).unwrap();
        node.join("#kept", at(0)).unwrap();
        for (channel, lifetime_s) in [("#mesh", 60), ("#kept", 60), ("#mesh", 1_000_000)] {
            let draft = Draft {
                channel: channel.to_owned(),
                text: format!("{channel} {lifetime_s}"),
                lifetime_s: Some(lifetime_s),
                priority: Priority::Normal,
                reply_to: None,
            };
            node.submit(draft, at(0)).unwrap();
        }
        let texts = |node: &Node<SqliteStore>| -> Vec<String> {
            let all = MessageFilter { order: Order::OldestFirst, ..MessageFilter::default() };
            node.store().messages(&all).unwrap().items.into_iter().map(|message| message.text).collect()
        };
        let retention = rules(&[("#mesh", 1)]).unwrap();
        let end_ms = 60_000 + DAY_MS;
        for ms in [60_000, end_ms - 1] {
            node.handle(Input::Timeout, at(ms)).unwrap();
            assert_eq!(forget_page(&mut node, &retention, None, at(ms)).unwrap(), None);
            assert_eq!(texts(&node).len(), 3, "after {ms} ms");
        }
        forget_page(&mut node, &retention, None, at(end_ms)).unwrap();
        assert_eq!(texts(&node), ["#kept 60", "#mesh 1000000"]);
    }
}
