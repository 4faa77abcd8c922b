//! Each adapter's own connection to the bus, for what it registers.
//!
//! With a connection's end BlueZ drops all that was registered over it, also what was half registered when a call was given
//! up, so there is a new one after every fault (docs/ble.md, 9). A bluetoothd that has ended left nothing behind, and the
//! same connection serves for the next one: for each that is ended bluer leaves a task behind that never ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bluer::Session;

use super::adapter::ask;
use super::fault::Fault;

/// By adapter, with what the bus called the bluetoothd that it was used for.
#[derive(Default)]
pub(super) struct Connections(Mutex<BTreeMap<String, (Session, Option<String>)>>);

impl Connections {
    /// A connection over which nothing is registered at the bluetoothd that the bus calls `owner`.
    ///
    /// # Errors
    /// [`Fault::NoBus`], [`Fault::Hung`].
    pub(super) async fn clean(&self, adapter: &str, owner: Option<String>) -> Result<Session, Fault> {
        // The last one ends first.
        let kept = self.lock().remove(adapter).filter(|(_, before)| *before != owner);
        let session = match kept {
            Some((session, _)) => session,
            None => ask(Session::new()).await?,
        };
        self.lock().insert(adapter.to_owned(), (session.clone(), owner));
        Ok(session)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Session, Option<String>)>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}
