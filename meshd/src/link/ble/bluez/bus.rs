//! Whether BlueZ is on the bus, told by the bus itself.
//!
//! A bluetoothd that was killed and started again answers calls as if nothing had been, but has forgotten all
//! that was registered. bluer does not tell; the owner of BlueZ's name does, at once.

use std::sync::Arc;
use std::time::Duration;

use dbus::message::MatchRule;
use dbus::nonblock::{MsgMatch, Proxy, SyncConnection};
use tokio::sync::watch;
use tokio::task::AbortHandle;

const NAME: &str = "org.bluez";
const BUS: &str = "org.freedesktop.DBus";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Watches the bus while it lives.
pub(super) struct Bus {
    owner: watch::Receiver<Option<String>>,
    task: AbortHandle,
    _signals: MsgMatch,
}

/// The bus is gone, or was never there.
pub(super) struct NoBus;

impl From<dbus::Error> for NoBus {
    fn from(error: dbus::Error) -> Self {
        tracing::debug!(%error, "the system bus");
        Self
    }
}

impl Bus {
    pub(super) async fn connect() -> Result<Self, NoBus> {
        let (resource, connection) = tokio::task::spawn_blocking(dbus_tokio::connection::new_system_sync)
            .await
            .map_err(|_| NoBus)??;
        let (sender, owner) = watch::channel(None);
        let sender = Arc::new(sender);
        // The watch ends with the connection: whoever waits learns that the bus is gone.
        let end = Arc::clone(&sender);
        let task = tokio::spawn(async move {
            let error = resource.await;
            tracing::debug!(%error, "the system bus is gone");
            drop(end);
        })
        .abort_handle();
        let rule = MatchRule::new_signal(BUS, "NameOwnerChanged").with_sender(BUS);
        let news = Arc::downgrade(&sender);
        let signals =
            connection.add_match(rule).await?.cb(move |_, (name, _, new): (String, String, String)| {
                if name == NAME
                    && let Some(sender) = news.upgrade()
                {
                    sender.send_replace(Some(new).filter(|new| !new.is_empty()));
                }
                true
            });
        let now = owner_now(&connection).await;
        sender.send_if_modified(|known| {
            let is_news = known.is_none() && now.is_some();
            if is_news {
                *known = now;
            }
            is_news
        });
        Ok(Self { owner, task, _signals: signals })
    }

    /// Who owns BlueZ's name now; another owner is another bluetoothd.
    pub(super) fn owner(&mut self) -> Option<String> {
        self.owner.borrow_and_update().clone()
    }

    /// Waits until BlueZ comes or goes.
    ///
    /// # Errors
    /// [`NoBus`]: the bus is gone.
    pub(super) async fn changed(&mut self) -> Result<(), NoBus> {
        self.owner.changed().await.map_err(|_| NoBus)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn owner_now(connection: &SyncConnection) -> Option<String> {
    let bus = Proxy::new(BUS, "/org/freedesktop/DBus", ANSWER_TIME_MAX, connection);
    let answer: Result<(String,), dbus::Error> = bus.method_call(BUS, "GetNameOwner", (NAME,)).await;
    answer.ok().map(|(owner,)| owner)
}
