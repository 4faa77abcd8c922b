//! Bluetooth through BlueZ: watches the bus, keeps a task for each adapter, and says what is wrong.
//!
//! Nothing is fatal. Whatever goes away takes what rested on it along. What BlueZ tells the end of (an adapter that
//! comes or is switched on, bluetoothd itself) is waited for without waking up; the rest is tried again every
//! second.

mod adapter;
mod bus;
mod connections;
mod dial;
mod fault;
mod halves;
mod l2cap;
mod lanes;
mod pipe;
mod privacy;
mod rfkill;

use std::sync::Arc;
use std::time::Duration;

use meshlink_core::TransportState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::held::{Friends, watch_holdings};
use super::holdings::Holdings;
use super::{BleSettings, GOODBYE, NAME, report};
use crate::driver::Driver;
use crate::stop::Stopping;
use adapter::Post;
use bus::{Bus, Known, World};
use fault::Fault;

/// Between two tries of what failed, where nobody tells when it may work again.
const TRY_APART: Duration = Duration::from_secs(1);
/// One adapter's air, and a slot in it.
type Air = super::air::Air<bluer::Adapter>;
type Slot = super::air::Slot<bluer::Adapter>;

/// Keeps Bluetooth going until the daemon stops.
pub(super) async fn run(settings: BleSettings, driver: Driver, stopping: Stopping) {
    let mut ended = stopping.clone();
    let mut radio =
        Radio { settings, driver, stopping, holdings: Holdings::default(), said: None, adapters: Vec::new() };
    tokio::select! {
        () = radio.run() => {}
        // Adapters say good-bye first, within what the daemon grants its links.
        () = async { ended.heard().await; sleep(GOODBYE).await } => {}
    }
}

/// All of Bluetooth on this machine.
struct Radio {
    settings: BleSettings,
    driver: Driver,
    stopping: Stopping,
    /// How far what is held was walked.
    holdings: Holdings,
    /// The fault that was reported last for the whole.
    said: Option<Fault>,
    /// Adapters in use, as last known.
    adapters: Vec<String>,
}

impl Radio {
    async fn run(&mut self) {
        loop {
            let fault = match Bus::connect().await {
                Ok(bus) => self.on_bus(&bus).await,
                Err(fault) => fault,
            };
            if fault == Fault::Stopping {
                return;
            }
            self.say(&fault);
            tokio::select! {
                () = sleep(TRY_APART) => {}
                () = self.stopping.heard() => return,
            }
        }
    }

    /// While the bus is there.
    async fn on_bus(&mut self, bus: &Arc<Bus>) -> Fault {
        let mut world = bus.world();
        loop {
            let now = world.borrow_and_update().clone();
            let fault = tokio::select! {
                fault = self.with_bluez(bus) => fault,
                fault = replaced(bus.world(), now.owner) => fault,
            };
            if matches!(fault, Fault::NoBus | Fault::Stopping) {
                return fault;
            }
            if fault == Fault::Restarted {
                continue;
            }
            self.say(&fault);
            tokio::select! {
                () = until_worth_a_try(&fault, &mut world) => {}
                () = self.stopping.heard() => return Fault::Stopping,
            }
        }
    }

    /// While the same bluetoothd is there.
    async fn with_bluez(&mut self, bus: &Arc<Bus>) -> Fault {
        // From before it is asked: an adapter that comes while it answers is not to be missed.
        let world = bus.world();
        let known = match bus.known().await {
            Ok(known) => Arc::new(known),
            Err(fault) => return fault,
        };
        let chosen = match self.settings.adapters.as_slice() {
            [] => known.adapters.first().cloned().into_iter().collect(),
            chosen => chosen.to_vec(),
        };
        if chosen.is_empty() {
            return Fault::NoAdapter;
        }
        for adapter in &chosen {
            if let Err(fault) = bus.follow(adapter).await {
                return fault;
            }
        }
        self.said = None;
        let port = self.driver.links();
        report(&port, NAME, TransportState::Up, &format!("uses {}", chosen.join(", ")), None);
        self.adapters.clone_from(&chosen);
        let (sender, held) = watch::channel(None);
        let (friends_sender, friends) = watch::channel(Friends::default());
        let mut adapters = JoinSet::new();
        for name in chosen {
            let post = Post {
                name,
                settings: self.settings.clone(),
                bus: Arc::clone(bus),
                port: port.clone(),
                held: held.clone(),
                friends: friends.clone(),
                stopping: self.stopping.clone(),
            };
            let any = self.settings.adapters.is_empty();
            adapters.spawn(keep(post, Arc::clone(&known), world.clone(), any));
        }
        tokio::select! {
            fault = first_fault(adapters) => fault,
            () = watch_holdings(&self.driver, &mut self.holdings, &sender, &friends_sender) => Fault::Stopping,
        }
    }

    /// Says what is wrong with the whole, once.
    fn say(&mut self, fault: &Fault) {
        if self.said.as_ref() != Some(fault) {
            for name in [NAME].into_iter().chain(self.adapters.iter().map(String::as_str)) {
                report(&self.driver.links(), name, TransportState::Down, &fault.to_string(), fault.hint());
            }
            self.said = Some(fault.clone());
        }
    }
}

/// Waits until an adapter's task gives up, or all have ended because the daemon stops.
async fn first_fault(mut adapters: JoinSet<Option<Fault>>) -> Fault {
    while let Some(ended) = adapters.join_next().await {
        if let Ok(Some(fault)) = ended {
            return fault;
        }
    }
    Fault::Stopping
}

/// Waits until bluetoothd is another one, or none, or the bus is gone.
async fn replaced(mut world: watch::Receiver<World>, owner: Option<String>) -> Fault {
    let changed = world.wait_for(|now| now.is_lost || now.owner != owner).await;
    match changed.as_deref() {
        Ok(World { is_lost: false, owner: Some(_), .. }) => Fault::Restarted,
        Ok(World { is_lost: false, owner: None, .. }) => Fault::NoBluez,
        Ok(World { is_lost: true, .. }) | Err(_) => Fault::NoBus,
    }
}

/// Waits until what was wrong may be over.
async fn until_worth_a_try(fault: &Fault, world: &mut watch::Receiver<World>) {
    let told = async {
        // An error means that the bus is gone, which the next call finds.
        let _ = world.changed().await;
    };
    if fault.is_told_to_end() {
        told.await;
    } else {
        let _ = timeout(TRY_APART, told).await;
    }
}

/// Waits until an adapter's rfkill switch is off, or BlueZ tells of a change. BlueZ does not tell of the switch alone, and
/// looking at it costs less than trying.
async fn until_unblocked(adapter: &str, world: &mut watch::Receiver<World>) {
    let looks = async {
        // First, for a switch that can't be seen.
        sleep(rfkill::LOOK_APART).await;
        while rfkill::is_blocked(adapter).await {
            sleep(rfkill::LOOK_APART).await;
        }
    };
    tokio::select! {
        () = looks => {}
        // An error means that the bus is gone, which the next call finds.
        _ = world.changed() => {}
    }
}

/// Keeps one adapter going. One that nobody named gives up when it is gone: there may be another.
/// `world` tells of changes since before BlueZ told what is `known`.
async fn keep(
    post: Post,
    mut known: Arc<Known>,
    mut world: watch::Receiver<World>,
    any: bool,
) -> Option<Fault> {
    let mut was_on = false;
    let mut said = None;
    loop {
        let started = Instant::now();
        let fault = if known.adapters.contains(&post.name) {
            adapter::run(&post, &known, &mut was_on).await?
        } else {
            Fault::Absent
        };
        if matches!(fault, Fault::Absent | Fault::Blocked) {
            // Another one may come by this name; and the end of a block is meant as one of the silence.
            was_on = false;
        }
        // It was up in between.
        if started.elapsed() > TRY_APART {
            said = None;
        }
        if said.as_ref() != Some(&fault) {
            report(&post.port, &post.name, TransportState::Down, &fault.to_string(), fault.hint());
            said = Some(fault.clone());
        }
        if any && fault == Fault::Absent {
            return Some(fault);
        }
        if fault == Fault::Blocked {
            until_unblocked(&post.name, &mut world).await;
        } else {
            until_worth_a_try(&fault, &mut world).await;
        }
        world.mark_unchanged();
        match post.bus.known().await {
            Ok(now) => known = Arc::new(now),
            Err(fault) => return Some(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(24 * 3600);

    /// Whether a wait for something better ends within a time although nothing is told.
    async fn ends_untold(fault: &Fault, within: Duration) -> bool {
        let (_sender, mut world) = watch::channel(World::default());
        timeout(within, until_worth_a_try(fault, &mut world)).await.is_ok()
    }

    /// How long a wait lasts after something was told.
    async fn ends_told(fault: &Fault) -> Duration {
        let (sender, mut world) = watch::channel(World::default());
        let began = Instant::now();
        let (told, ()) = (sender.send(World::default()), until_worth_a_try(fault, &mut world).await);
        told.expect("somebody listens");
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn p07_a_missing_or_switched_off_adapter_is_waited_for_in_silence_and_used_at_once_when_it_is_back()
    {
        for fault in [Fault::NoAdapter, Fault::Absent, Fault::SwitchedOff, Fault::NoBluez] {
            assert!(!ends_untold(&fault, LONG).await, "{fault}: nothing is tried before BlueZ tells");
            assert_eq!(ends_told(&fault).await, Duration::ZERO, "{fault}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p07_the_end_of_a_block_of_which_nothing_tells_is_seen_by_looking() {
        // An adapter whose switch can't be seen counts as free.
        let (_sender, mut world) = watch::channel(World::default());
        let waited = timeout(2 * rfkill::LOOK_APART, until_unblocked("hci-of-a-test", &mut world)).await;
        assert!(waited.is_ok());
        assert_eq!(ends_told(&Fault::Blocked).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn p08_a_call_that_hangs_is_given_up_and_tried_again_a_second_later() {
        let began = Instant::now();
        let hung = adapter::ask(std::future::pending::<bluer::Result<()>>()).await;
        assert_eq!((hung, began.elapsed()), (Err(Fault::Hung), Duration::from_secs(10)));
        for fault in [Fault::Hung, Fault::Busy, Fault::Forbidden, Fault::Other("new".to_owned())] {
            assert!(!ends_untold(&fault, TRY_APART / 2).await, "{fault}: not at once, again and again");
            assert!(ends_untold(&fault, 2 * TRY_APART).await, "{fault}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p08_a_registration_that_is_given_up_goes_on_and_is_taken_back_once_it_stands() {
        let (handle, mut is_kept) = tokio::sync::oneshot::channel::<()>();
        let began = Instant::now();
        let answer = adapter::register(async move {
            sleep(Duration::from_secs(60)).await;
            Ok(handle)
        });
        assert_eq!(answer.await.map(drop), Err(Fault::Hung));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let empty = tokio::sync::oneshot::error::TryRecvError::Empty;
        assert_eq!(is_kept.try_recv(), Err(empty), "the call is under way");
        assert!(is_kept.await.is_err(), "its handle is dropped");
        assert_eq!(began.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn p08_another_bluetoothd_none_and_a_lost_bus_are_told_apart() {
        let owned = |owner: &str| World { owner: Some(owner.to_owned()), ..World::default() };
        let lost = World { is_lost: true, ..owned(":1.1") };
        for (next, fault) in
            [(owned(":1.2"), Fault::Restarted), (World::default(), Fault::NoBluez), (lost, Fault::NoBus)]
        {
            let (sender, world) = watch::channel(owned(":1.1"));
            let waits = replaced(world, Some(":1.1".to_owned()));
            tokio::pin!(waits);
            assert!(timeout(LONG, &mut waits).await.is_err(), "the same one works on");
            sender.send(next).expect("somebody listens");
            assert_eq!(waits.await, fault);
        }
    }
}
