//! Bundles sent on a link and not yet answered, by the numbers that both sides count them by.

use std::collections::{BTreeMap, BTreeSet};

use crate::canonical::Malformed;
use crate::id::{BundleId, IdPrefix};
use crate::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX};
use crate::wire::Run;

/// A bundle sent and not yet answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) id: BundleId,
    pub(super) own: bool,
    pub(super) bytes: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_number: BTreeMap<u64, Flight>,
    names: BTreeSet<IdPrefix>,
    bytes: u64,
    /// The number of the next bundle, and of how many were sent before it.
    next: u64,
}

impl Flights {
    /// On a link on which so many were sent before: an answer to those is none to what this session sends.
    pub(super) fn after(sent: u64) -> Self {
        Self { next: sent, ..Self::default() }
    }

    /// Takes in that a bundle goes out now.
    pub(super) fn add(&mut self, flight: Flight) {
        self.names.insert(flight.id.prefix());
        self.bytes += flight.bytes;
        self.by_number.insert(self.next, flight);
        self.next += 1;
    }

    /// Takes those out that an answer is about. What was answered before, or by another session, is passed over.
    ///
    /// # Errors
    /// It is about a bundle that was never sent.
    pub(super) fn land(&mut self, run: Run) -> Result<Vec<Flight>, Malformed> {
        if run.end() > self.next {
            return Err(Malformed("an answer to a bundle that was not sent"));
        }
        let numbers: Vec<u64> =
            self.by_number.range(run.first()..run.end()).map(|(number, _)| *number).collect();
        let landed: Vec<Flight> = numbers.iter().filter_map(|number| self.by_number.remove(number)).collect();
        for flight in &landed {
            self.names.remove(&flight.id.prefix());
            self.bytes -= flight.bytes;
        }
        Ok(landed)
    }

    /// Whether a bundle with this name is under way.
    pub(super) fn contains(&self, name: &IdPrefix) -> bool {
        self.names.contains(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Bytes of those under way.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether another one may go.
    pub(super) fn has_room(&self) -> bool {
        self.by_number.len() < IN_FLIGHT_MAX && self.bytes < IN_FLIGHT_BYTES_MAX
    }

    /// How many were sent on this link.
    pub(super) fn sent(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(n: u8) -> Flight {
        Flight { id: BundleId([n; 32]), own: false, bytes: 100 }
    }

    fn run(first: u64, count: u64) -> Run {
        Run::new(first, count).unwrap()
    }

    #[test]
    fn an_answer_lands_what_it_is_about_once() {
        let mut flights = Flights::after(7);
        (0..4).for_each(|n| flights.add(flight(n)));
        assert_eq!(flights.land(run(8, 2)), Ok(vec![flight(1), flight(2)]));
        assert_eq!(flights.land(run(7, 3)), Ok(vec![flight(0)]), "two of them are answered");
        assert_eq!(flights.land(run(0, 7)), Ok(vec![]), "an earlier session's");
        assert!(!flights.contains(&flight(1).id.prefix()) && flights.contains(&flight(3).id.prefix()));
        assert_eq!((flights.bytes(), flights.sent(), flights.is_empty()), (100, 11, false));
    }

    #[test]
    fn s08_an_answer_to_what_was_not_sent_is_an_error_and_lands_nothing() {
        let mut flights = Flights::after(0);
        flights.add(flight(0));
        assert!(flights.land(run(0, 2)).is_err());
        assert!(flights.land(run(1, u64::MAX - 1)).is_err());
        assert!(flights.contains(&flight(0).id.prefix()));
    }
}
