//! What works of an adapter that is up: to be heard by others, and to hear them. Either half can fail alone, and the node
//! then works with the other one; the status says so.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use meshlink_core::TransportState;
use tokio::time::Instant;

use super::super::duty::Profile;
use super::super::report;
use super::fault::Fault;
use super::privacy;
use crate::driver::LinkPort;

/// After a bluetoothd that was killed the kernel goes on listening for it, and refuses others, for 10 s at most. Later,
/// something is wrong with it or with bluetoothd (docs/ble.md, 15).
const REFUSED_FOR: Duration = Duration::from_secs(15);

/// How long an adapter was refused to listen.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// Takes in whether it listens now. Returns whether it was refused for longer than is usual.
    pub(super) fn are_too_many(&mut self, listens: bool, now: Instant) -> bool {
        if listens {
            self.since = None;
            return false;
        }
        now - *self.since.get_or_insert(now) > REFUSED_FOR
    }
}

/// See the module's text. Says what changes.
pub(super) struct Halves<'a> {
    port: &'a LinkPort,
    adapter: &'a str,
    profile: Profile,
    now: Mutex<Now>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Now {
    /// Whether it was tried to be heard; nothing is said before.
    is_known: bool,
    /// Why others do not hear this node.
    mute: Option<Fault>,
    is_deaf: bool,
}

impl<'a> Halves<'a> {
    pub(super) fn new(port: &'a LinkPort, adapter: &'a str, profile: Profile) -> Self {
        Self { port, adapter, profile, now: Mutex::default() }
    }

    /// Others hear this node, or do not for that reason.
    pub(super) async fn heard_by_others(&self, mute: Option<Fault>) {
        self.change(|now| {
            now.is_known = true;
            now.mute = mute;
        })
        .await;
    }

    /// This node hears others, or does not.
    pub(super) async fn hears_others(&self, does: bool) {
        self.change(|now| now.is_deaf = !does).await;
    }

    async fn change(&self, change: impl FnOnce(&mut Now)) {
        let before = self.now().clone();
        change(&mut self.now());
        let now = self.now().clone();
        if now == before || !now.is_known {
            return;
        }
        let (state, detail, mut hint) = now.words(self.profile);
        if state == TransportState::Up {
            hint = privacy::hint().await;
        }
        report(self.port, self.adapter, state, &detail, hint);
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("nothing panics while it holds this lock")
    }
}

impl Now {
    /// What is said of it: the state, in words, and what helps.
    fn words(&self, profile: Profile) -> (TransportState, String, Option<&'static str>) {
        let degraded = |detail, fault: &Fault| (TransportState::Degraded, detail, fault.hint());
        match (&self.mute, self.is_deaf) {
            (None, false) => {
                let detail = format!("advertising and listening ({profile:?})").to_lowercase();
                (TransportState::Up, detail, None)
            }
            (Some(fault), false) => degraded(format!("listening, but not heard by others: {fault}"), fault),
            (None, true) => degraded(format!("advertising, but hears nobody: {}", Fault::Deaf), &Fault::Deaf),
            (Some(fault), true) => degraded(
                format!("not heard by others: {fault}; and hears nobody: {}", Fault::Deaf),
                &Fault::Deaf,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_once_it_lasts_longer_than_the_kernel_listens_for_a_killed_service() {
        let (mut refusals, began) = (Refusals::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(!refusals.are_too_many(false, began));
        assert!(!refusals.are_too_many(false, began + 10 * second), "so long it may last");
        assert!(refusals.are_too_many(false, began + 16 * second));
        assert!(!refusals.are_too_many(true, began + 17 * second), "it listens");
        assert!(!refusals.are_too_many(false, began + 18 * second), "the next ones are counted anew");
    }

    #[test]
    fn each_half_that_fails_is_in_the_status_with_what_helps_also_while_the_other_is_fine() {
        let words =
            |mute: Option<Fault>, is_deaf| Now { is_known: true, mute, is_deaf }.words(Profile::Mains);
        assert_eq!(
            words(None, false),
            (TransportState::Up, "advertising and listening (mains)".to_owned(), None)
        );
        let full = || Some(Fault::NoAdvertisement("full".to_owned()));
        for (mute, is_deaf, says) in [
            (full(), false, &["not heard", "full"][..]),
            (None, true, &["advertising", "does not listen"]),
            (full(), true, &["not heard", "full", "does not listen"]),
        ] {
            let (state, detail, hint) = words(mute, is_deaf);
            assert_eq!(state, TransportState::Degraded);
            assert!(says.iter().all(|word| detail.contains(word)), "{detail}");
            assert!(hint.is_some_and(|hint| hint.contains("systemctl restart bluetooth")), "{hint:?}");
        }
    }
}
