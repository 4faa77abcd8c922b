//! What every adapter does by turns: listen, dial whoever is due, rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::air::{Air, Next};
use super::candidates::Address;

/// Between two tries to listen where something else is at it: nobody tells when that ends.
const REFUSED_APART: Duration = Duration::from_millis(500);

/// What an adapter's radio can be asked for.
pub(super) trait Radio {
    /// What may be wrong with it.
    type Fault;

    /// Begins to listen for advertisements, and returns whether it does: another program may be at it. Who is heard
    /// is told to the [`Air`].
    async fn listen(&mut self) -> Result<bool, Self::Fault>;
    /// Ends it, and returns when the radio is free to connect.
    async fn rest(&self) -> Result<(), Self::Fault>;
    /// Tries to reach a neighbour; a link that comes of it lives by itself.
    async fn dial(&self, address: Address);
}

/// Listens, dials whoever is due, rests, until something is wrong with the radio.
pub(super) async fn seek<A, R: Radio>(air: &Arc<Air<A>>, radio: &mut R) -> R::Fault {
    loop {
        let (listen, mut pause) = air.duty();
        match radio.listen().await {
            Ok(true) => until_somebody_is_due(air, Instant::now() + listen).await,
            Ok(false) => pause = pause.min(REFUSED_APART),
            Err(fault) => return fault,
        }
        // Before anybody is dialled: a connection waits for the end of a discovery.
        if let Err(fault) = radio.rest().await {
            return fault;
        }
        while let Next::Dial(address) = air.next() {
            radio.dial(address).await;
        }
        tracing::trace!(in_range = air.in_range(), links = air.links(), "resting");
        until_somebody_is_due(air, Instant::now() + pause).await;
    }
}

async fn until_somebody_is_due<A>(air: &Air<A>, ends: Instant) {
    loop {
        let due = match air.next() {
            Next::Dial(_) => return,
            Next::At(at) => air.instant(at).min(ends),
            Next::Nobody => ends,
        };
        tokio::select! {
            () = air.wake.notified() => {}
            () = sleep_until(due) => if due == ends { return },
        }
    }
}
