//! Tickets: a way in for `EventSource`, which can't send headers.
//!
//! A ticket stands in an address, and addresses end up in logs and histories. So it is good once, for half a
//! minute, and for the event stream alone. Tickets live in memory: a restart voids them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::limits;
use super::problem::Failure;
use super::secret::{SecretHash, random_text};
use super::token_book::Caller;

struct Issued {
    hash: SecretHash,
    caller: Caller,
    until: Instant,
}

/// The tickets not yet used, oldest first.
#[derive(Default)]
pub(super) struct TicketBox(Mutex<VecDeque<Issued>>);

impl TicketBox {
    /// Makes a ticket that lets `caller` in.
    pub(super) fn issue(&self, caller: Caller, now: Instant) -> Result<String, Failure> {
        let ticket = random_text::<20>()?;
        let mut issued = self.good_ones(now);
        if issued.len() >= limits::TICKETS_MAX {
            issued.pop_front();
        }
        issued.push_back(Issued { hash: SecretHash::of(&ticket), caller, until: now + limits::TICKET });
        Ok(ticket)
    }

    /// Whom a ticket lets in. It is void afterwards.
    pub(super) fn redeem(&self, ticket: &str, now: Instant) -> Option<Caller> {
        let shown = SecretHash::of(ticket);
        let mut issued = self.good_ones(now);
        let place = issued.iter().position(|t| bool::from(t.hash.matches(&shown)))?;
        issued.remove(place).map(|t| t.caller)
    }

    /// Those whose time is not over; the others are gone.
    fn good_ones(&self, now: Instant) -> MutexGuard<'_, VecDeque<Issued>> {
        let mut issued = self.0.lock().expect("nothing panics while it holds this lock");
        issued.retain(|t| t.until > now);
        issued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a01_a_ticket_is_good_once_and_for_a_while() {
        let tickets = TicketBox::default();
        let now = Instant::now();
        let ticket = tickets.issue(Caller::OWNER, now).unwrap();
        assert_eq!(tickets.redeem("other", now), None);
        assert_eq!(tickets.redeem(&ticket, now), Some(Caller::OWNER));
        assert_eq!(tickets.redeem(&ticket, now), None);
        let late = tickets.issue(Caller::OWNER, now).unwrap();
        assert_eq!(tickets.redeem(&late, now + limits::TICKET), None);
    }

    #[test]
    fn tickets_nobody_uses_do_not_pile_up() {
        let tickets = TicketBox::default();
        let now = Instant::now();
        let first = tickets.issue(Caller::OWNER, now).unwrap();
        let rest: Vec<String> =
            (0..limits::TICKETS_MAX).map(|_| tickets.issue(Caller::OWNER, now).unwrap()).collect();
        assert_eq!(tickets.redeem(&first, now), None);
        assert!(rest.iter().all(|t| tickets.redeem(t, now).is_some()));
    }
}
