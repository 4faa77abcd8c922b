//! Where there is no systemd (Windows): nobody to tell, and no watchdog to feed.

use crate::driver::Driver;
use crate::stop::Stopping;

pub(crate) fn ready() {}
pub(crate) fn stopping() {}
pub(crate) fn reloading() {}
pub(crate) fn reloaded() {}

/// Nobody grows impatient.
pub(crate) struct Patience;

pub(crate) fn be_patient() -> Patience {
    Patience
}

pub(crate) async fn report(_: Driver, _: Stopping) {}
