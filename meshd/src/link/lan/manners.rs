//! When to speak on a network: RFC 6762 sections 5.2 (questions), 6 (answers) and 8.3 (announcements). Pure.
//!
//! ```text
//!  s      0    1         3                   7  ...  then twice as long each time, up to an hour
//!  ask    x    x         x                   x
//!  tell   x    x         x
//! ```
//!
//! Two nodes that start at different times meet by the later one's first packets; repetitions are for packets
//! that get lost, which multicast over Wi-Fi does. An idle node wakes up once an hour for this. Answers wait
//! a random moment, so that not all answer at once, and are at least a second apart, however many ask
//! (threat B-05: nobody gets more out of a node than that).

use std::time::Duration;

use tokio::time::Instant;

/// The first packets wait a random part of this.
const FIRST: Duration = Duration::from_millis(120);
/// From the first question to the second.
const GAP: Duration = Duration::from_secs(1);
/// Between two questions at the most.
const GAP_MAX: Duration = Duration::from_secs(3600);
/// Unasked answers after something changed.
const ANNOUNCEMENTS: u8 = 3;
/// An answer waits this long and a random part of [`FIRST`].
const ANSWER_AFTER: Duration = Duration::from_millis(20);
/// Between two answers at least.
const ANSWERS_APART: Duration = Duration::from_secs(1);

/// What is due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) ask: bool,
    pub(super) tell: bool,
}

/// The timetable of one interface.
#[derive(Debug)]
pub(super) struct Manners {
    ask_at: Instant,
    gap: Duration,
    announcements: u8,
    tell_at: Option<Instant>,
    told: Option<Instant>,
}

impl Manners {
    /// Begins on a network. `chance` lies between 0 and 1, here and below.
    pub(super) fn new(now: Instant, chance: f64) -> Self {
        Self {
            ask_at: now + FIRST.mul_f64(chance),
            gap: GAP,
            announcements: ANNOUNCEMENTS,
            tell_at: None,
            told: None,
        }
    }

    /// Begins again: the network or this node changed.
    pub(super) fn begin_again(&mut self, now: Instant, chance: f64) {
        *self = Self { told: self.told, ..Self::new(now, chance) };
    }

    /// Somebody asks for the service.
    pub(super) fn asked(&mut self, now: Instant, chance: f64) {
        let soon = now + ANSWER_AFTER + FIRST.mul_f64(chance);
        let polite = self.told.map_or(soon, |told| soon.max(told + ANSWERS_APART));
        self.tell_at = Some(self.tell_at.map_or(polite, |at| at.min(polite)));
    }

    /// When [`Manners::take`] has something to say.
    pub(super) fn next(&self) -> Instant {
        self.tell_at.map_or(self.ask_at, |at| at.min(self.ask_at))
    }

    /// What to say now; it counts as said.
    pub(super) fn take(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        if now >= self.ask_at {
            due.ask = true;
            self.ask_at = now + self.gap;
            self.gap = (self.gap * 2).min(GAP_MAX);
            if self.announcements > 0 {
                self.announcements -= 1;
                due.tell = true;
            }
        }
        due.tell |= self.tell_at.is_some_and(|at| now >= at);
        if due.tell {
            self.tell_at = None;
            self.told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(manners: &mut Manners, end: Instant) -> Vec<(Instant, Due)> {
        let mut said = Vec::new();
        while manners.next() <= end {
            let now = manners.next();
            said.push((now, manners.take(now)));
        }
        said
    }

    #[tokio::test]
    async fn questions_become_rare_and_announcements_end() {
        let start = Instant::now();
        let mut manners = Manners::new(start, 0.5);
        let said = run(&mut manners, start + Duration::from_secs(24 * 3600));
        let at: Vec<u64> = said.iter().take(7).map(|(at, _)| at.duration_since(start).as_secs()).collect();
        assert_eq!(at, [0, 1, 3, 7, 15, 31, 63]);
        assert!(said.iter().all(|(_, due)| due.ask));
        assert_eq!(said.iter().filter(|(_, due)| due.tell).count(), 3);
        assert!(said[..3].iter().all(|(_, due)| due.tell));
        let (last, before) = (said[said.len() - 1].0, said[said.len() - 2].0);
        assert_eq!(last.duration_since(before), GAP_MAX);
        assert!(said.len() < 40, "{} questions in a day", said.len());
    }

    #[tokio::test]
    async fn b05_a_flood_of_questions_gets_one_answer_a_second() {
        let start = Instant::now();
        let mut manners = Manners::new(start, 0.0);
        run(&mut manners, start + Duration::from_secs(4));
        let (mut now, mut answers) = (start + Duration::from_secs(8), 0);
        let end = now + Duration::from_secs(10);
        while now < end {
            manners.asked(now, 0.0);
            if manners.next() <= now {
                answers += u32::from(manners.take(now).tell);
            }
            now += Duration::from_millis(1);
        }
        assert!((9..=11).contains(&answers), "{answers}");
    }

    #[tokio::test]
    async fn an_answer_waits_a_random_moment() {
        let start = Instant::now();
        let mut manners = Manners::new(start, 0.0);
        run(&mut manners, start + Duration::from_secs(4));
        let asked = start + Duration::from_secs(6);
        manners.asked(asked, 1.0);
        assert_eq!(manners.next(), asked + ANSWER_AFTER + FIRST);
        manners.asked(asked, 0.0);
        assert_eq!(manners.next(), asked + ANSWER_AFTER);
        assert_eq!(manners.take(manners.next()), Due { ask: false, tell: true });
    }

    #[tokio::test]
    async fn a_change_is_told_at_once() {
        let start = Instant::now();
        let mut manners = Manners::new(start, 0.0);
        run(&mut manners, start + Duration::from_secs(100));
        let changed = start + Duration::from_secs(101);
        manners.begin_again(changed, 1.0);
        assert_eq!(manners.next(), changed + FIRST);
        assert_eq!(manners.take(changed + FIRST), Due { ask: true, tell: true });
    }
}
