//! What BlueZ says without being asked: whether it is there, which adapters there are, who is heard.
//!
//! One connection to the bus, with two match rules for the whole and two for each adapter in use: what other adapters hear
//! wakes nobody. bluer would take a match rule for every
//! device and ask back for what the signal said already; here a neighbour that is heard costs one signal and no
//! call. Nothing is polled: a bluetoothd that was killed and started again answers as if nothing had been, but
//! the owner of its name has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bluer::{Address, Uuid};
use dbus::Path;
use dbus::arg::{AppendAll, PropMap, ReadAll, RefArg, Variant, prop_cast};
use dbus::channel::MatchingReceiver;
use dbus::message::{MatchRule, Message};
use dbus::nonblock::{Proxy, SyncConnection};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::super::air::News;
use super::super::beacon::Beacon;
use super::super::names;
use super::connections::Connections;
use super::fault::Fault;

const BLUEZ: &str = "org.bluez";
const ROOT: &str = "/org/bluez/";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const BUS: &str = "org.freedesktop.DBus";
const OBJECTS: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// BlueZ answers in milliseconds, on a busy machine in seconds; after this it hangs.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

type Ear = Box<dyn Fn(News) + Send + Sync>;

/// The way to the bus.
pub(super) struct Bus {
    connection: Arc<SyncConnection>,
    shared: Arc<Shared>,
    task: AbortHandle,
    /// What adapters register over.
    pub(super) own: Connections,
    /// Adapters whose signals come.
    followed: Mutex<BTreeSet<String>>,
}

struct Shared {
    world: watch::Sender<World>,
    ears: Mutex<BTreeMap<String, Ear>>,
}

/// What all of Bluetooth rests on; another value is a reason to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    /// Who owns BlueZ's name; another owner is another bluetoothd.
    pub(super) owner: Option<String>,
    /// How often an adapter came, went, or was switched on or off.
    pub(super) adapter_changes: u64,
    /// The bus itself is gone.
    pub(super) is_lost: bool,
}

/// What BlueZ knows at the start.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Names of the adapters.
    pub(super) adapters: Vec<String>,
    /// Neighbours that it remembers.
    pub(super) neighbours: Vec<Remembered>,
}

/// A device that had one of our beacons when BlueZ last heard it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) adapter: String,
    pub(super) address: Address,
    pub(super) beacon: Beacon,
    /// From before; that connection is nobody's now and ends.
    pub(super) is_connected: bool,
}

impl Bus {
    /// Connects to the system bus.
    ///
    /// # Errors
    /// [`Fault::NoBus`].
    pub(super) async fn connect() -> Result<Arc<Self>, Fault> {
        let no_bus = |error: dbus::Error| {
            tracing::debug!(%error, "the system bus");
            Fault::NoBus
        };
        let (resource, connection) = tokio::task::spawn_blocking(dbus_tokio::connection::new_system_sync)
            .await
            .map_err(|_| Fault::NoBus)?
            .map_err(no_bus)?;
        let shared = Arc::new(Shared { world: watch::Sender::default(), ears: Mutex::default() });
        let (listener, loser) = (Arc::downgrade(&shared), Arc::downgrade(&shared));
        let task = tokio::spawn(async move {
            let error = resource.await;
            tracing::debug!(%error, "the system bus is gone");
            if let Some(shared) = loser.upgrade() {
                shared.world.send_modify(|world| world.is_lost = true);
            }
        })
        .abort_handle();
        let (own, followed) = (Connections::default(), Mutex::default());
        let bus = Self { connection, shared, task, own, followed };
        let all_signals = MatchRule::new().with_type(dbus::MessageType::Signal);
        bus.connection.start_receive(
            all_signals,
            Box::new(move |message, _| match listener.upgrade() {
                Some(shared) => {
                    shared.take(&message);
                    true
                }
                None => false,
            }),
        );
        for rule in [
            format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{BLUEZ}'"),
            format!("type='signal',sender='{BLUEZ}',interface='{OBJECTS}'"),
        ] {
            bus.connection.add_match_no_cb(&rule).await.map_err(no_bus)?;
        }
        let proxy = Proxy::new(BUS, "/org/freedesktop/DBus", ANSWER_TIME_MAX, Arc::clone(&bus.connection));
        let owner: Result<(String,), _> = proxy.method_call(BUS, "GetNameOwner", (BLUEZ,)).await;
        if let Ok((owner,)) = owner {
            bus.shared.world.send_modify(|world| world.owner = world.owner.take().or(Some(owner)));
        }
        Ok(Arc::new(bus))
    }

    /// What all rests on, to wait for another.
    pub(super) fn world(&self) -> watch::Receiver<World> {
        self.shared.world.subscribe()
    }

    /// What the bus calls the bluetoothd that is there.
    pub(super) fn owner(&self) -> Option<String> {
        self.shared.world.borrow().owner.clone()
    }

    /// Has BlueZ's signals of an adapter come, and of what it hears, from now on.
    ///
    /// # Errors
    /// The bus is gone.
    pub(super) async fn follow(&self, adapter: &str) -> Result<(), Fault> {
        if !self.followed().insert(adapter.to_owned()) {
            return Ok(());
        }
        for rule in rules_of(adapter) {
            if let Err(error) = self.connection.add_match_no_cb(&rule).await {
                self.followed().remove(adapter);
                return Err(Fault::of_bus(
                    error.name().unwrap_or_default(),
                    error.message().unwrap_or_default(),
                ));
            }
        }
        Ok(())
    }

    fn followed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.followed.lock().expect("nothing panics while it holds this lock")
    }

    /// Hears what happens on an adapter for as long as the answer is kept.
    pub(super) fn attach(&self, adapter: &str, ear: impl Fn(News) + Send + Sync + 'static) -> Attached {
        self.shared.ears().insert(adapter.to_owned(), Box::new(ear));
        Attached { shared: Arc::clone(&self.shared), adapter: adapter.to_owned() }
    }

    /// Asks BlueZ for what it knows. Where the system starts services on demand, that starts it.
    pub(super) async fn known(&self) -> Result<Known, Fault> {
        type Objects = HashMap<Path<'static>, HashMap<String, PropMap>>;
        let (objects,): (Objects,) = self.call("/", OBJECTS, "GetManagedObjects", ()).await?;
        let mut known = Known::default();
        for (path, interfaces) in &objects {
            match (Place::of(path), interfaces.get(DEVICE)) {
                (Some(Place::Adapter(name)), _) if interfaces.contains_key(ADAPTER) => {
                    known.adapters.push(name.to_owned());
                }
                (Some(Place::Device(adapter, address)), Some(properties)) => {
                    let Some(beacon) = beacon(properties) else { continue };
                    let is_connected = prop_cast::<bool>(properties, "Connected") == Some(&true);
                    let adapter = adapter.to_owned();
                    known.neighbours.push(Remembered { adapter, address, beacon, is_connected });
                }
                _ => {}
            }
        }
        known.adapters.sort_by_key(|name| (name.len(), name.clone()));
        Ok(known)
    }

    /// Has an adapter listen for advertisements, until [`Bus::rest`] or the end of this connection.
    ///
    /// # Errors
    /// [`Fault::Busy`]: the kernel still listens for a bluetoothd that was killed, up to 10 s.
    pub(super) async fn listen(&self, adapter: &str) -> Result<(), Fault> {
        let path = format!("{ROOT}{adapter}");
        let filter: PropMap = HashMap::from([
            ("Transport".to_owned(), Variant(Box::new("le".to_owned()) as Box<dyn RefArg>)),
            ("DuplicateData".to_owned(), Variant(Box::new(false) as Box<dyn RefArg>)),
        ]);
        self.call::<()>(&path, ADAPTER, "SetDiscoveryFilter", (filter,)).await?;
        match self.call(&path, ADAPTER, "StartDiscovery", ()).await {
            // Perhaps for an earlier task of ours.
            Err(Fault::Busy) => {
                self.rest(adapter).await?;
                self.call(&path, ADAPTER, "StartDiscovery", ()).await
            }
            answer => answer,
        }
    }

    /// Ends [`Bus::listen`], and returns when the radio is free to connect.
    pub(super) async fn rest(&self, adapter: &str) -> Result<(), Fault> {
        match self.call::<()>(&format!("{ROOT}{adapter}"), ADAPTER, "StopDiscovery", ()).await {
            Err(Fault::Hung) => Err(Fault::Hung),
            // Somebody has ended all of it, or the adapter is gone, which is told in another way.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn call<R: ReadAll + 'static>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: impl AppendAll,
    ) -> Result<R, Fault> {
        let proxy = Proxy::new(BLUEZ, path, ANSWER_TIME_MAX, Arc::clone(&self.connection));
        proxy.method_call(interface, member, arguments).await.map_err(|error: dbus::Error| {
            Fault::of_bus(error.name().unwrap_or_default(), error.message().unwrap_or_default())
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An ear at work; dropped, it hears no more.
pub(super) struct Attached {
    shared: Arc<Shared>,
    adapter: String,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.ears().remove(&self.adapter);
    }
}

impl Shared {
    fn ears(&self) -> MutexGuard<'_, BTreeMap<String, Ear>> {
        self.ears.lock().expect("nothing panics while it holds this lock")
    }

    fn take(&self, message: &Message) {
        match message.member().as_deref() {
            Some("NameOwnerChanged") => {
                if let Ok((BLUEZ, _, new)) = message.read3::<&str, &str, &str>() {
                    let owner = Some(new.to_owned()).filter(|new| !new.is_empty());
                    self.world.send_if_modified(|world| {
                        std::mem::replace(&mut world.owner, owner.clone()) != owner
                    });
                }
            }
            Some("InterfacesAdded") => {
                let Some(path) = message.get1::<Path<'_>>() else { return };
                let Some(place) = Place::of(&path) else { return };
                if let Ok((_, interfaces)) = message.read2::<Path<'_>, HashMap<String, PropMap>>() {
                    self.added(&place, &interfaces);
                }
            }
            Some("InterfacesRemoved") => {
                if let Ok((path, interfaces)) = message.read2::<Path<'_>, Vec<&str>>()
                    && let Some(Place::Adapter(name)) = Place::of(&path)
                    && interfaces.contains(&ADAPTER)
                {
                    self.tell(name, News::Gone);
                    self.adapters_changed();
                }
            }
            Some("PropertiesChanged") => {
                let path = message.path();
                let Some(place) = path.as_ref().and_then(|path| Place::of(path)) else { return };
                if let Ok((_, changed)) = message.read2::<&str, PropMap>() {
                    self.changed(&place, &changed);
                }
            }
            Some(_) | None => {}
        }
    }

    fn added(&self, place: &Place<'_>, interfaces: &HashMap<String, PropMap>) {
        match (place, interfaces.get(DEVICE)) {
            (Place::Adapter(_), _) if interfaces.contains_key(ADAPTER) => self.adapters_changed(),
            (Place::Device(..), Some(properties)) => self.changed(place, properties),
            _ => {}
        }
    }

    fn changed(&self, place: &Place<'_>, properties: &PropMap) {
        match *place {
            Place::Adapter(name) => {
                if let Some(powered) = prop_cast::<bool>(properties, "Powered") {
                    self.tell(name, News::Powered(*powered));
                    self.adapters_changed();
                }
            }
            Place::Device(name, address) => {
                for news in device_news(address, properties).into_iter().flatten() {
                    self.tell(name, news);
                }
            }
        }
    }

    fn tell(&self, adapter: &str, news: News) {
        if let Some(ear) = self.ears().get(adapter) {
            ear(news);
        }
    }

    fn adapters_changed(&self) {
        self.world.send_modify(|world| world.adapter_changes += 1);
    }
}

/// What the bus is asked to pass on of an adapter: whether it is on, and who is heard, connected or gone.
fn rules_of(adapter: &str) -> [String; 2] {
    let changed = format!("type='signal',sender='{BLUEZ}',interface='{PROPERTIES}'");
    [
        format!("{changed},path='{ROOT}{adapter}',arg0='{ADAPTER}'"),
        format!("{changed},path_namespace='{ROOT}{adapter}',arg0='{DEVICE}'"),
    ]
}

fn device_news(Address(address): Address, properties: &PropMap) -> [Option<News>; 3] {
    let (beacon, dbm) = (beacon(properties), prop_cast::<i16>(properties, "RSSI").copied());
    let heard = (dbm.is_some() || beacon.is_some()).then_some(News::Heard { address, beacon, dbm });
    let connected = prop_cast::<bool>(properties, "Connected");
    let resolved = prop_cast::<bool>(properties, "ServicesResolved") == Some(&true);
    [
        heard,
        connected.map(|is| News::Connected { address, is: *is }),
        resolved.then_some(News::Resolved { address }),
    ]
}

/// The beacon in a device's properties, if it is one of ours.
fn beacon(properties: &PropMap) -> Option<Beacon> {
    let data = &properties.get("ServiceData")?.0;
    let mut items = data.as_iter()?;
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        if key.as_str().and_then(|key| key.parse().ok()) != Some(Uuid::from_u128(names::SERVICE)) {
            continue;
        }
        let bytes = value.as_iter()?.next()?.as_iter()?;
        let bytes: Option<Vec<u8>> = bytes.map(|byte| byte.as_u64()?.try_into().ok()).collect();
        return Beacon::read(&bytes?);
    }
    None
}

/// What a path of BlueZ's is of.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Adapter(&'a str),
    Device(&'a str, Address),
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        match rest.split_once("/dev_") {
            Some((adapter, address)) => Some(Self::Device(adapter, address.replace('_', ":").parse().ok()?)),
            None if rest.contains('/') => None,
            None => Some(Self::Adapter(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn value(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
        Variant(Box::new(value))
    }

    fn service_data(uuid: &str, bytes: &[u8]) -> Variant<Box<dyn RefArg>> {
        value(HashMap::from([(uuid.to_owned(), value(bytes.to_vec()))]))
    }

    fn listening() -> (Shared, mpsc::Receiver<News>) {
        let (sender, heard) = mpsc::channel();
        let ear: Ear = Box::new(move |news| sender.send(news).unwrap());
        let ears = Mutex::new(BTreeMap::from([("hci0".to_owned(), ear)]));
        (Shared { world: watch::Sender::default(), ears }, heard)
    }

    fn signal(path: &str, interface: &str, member: &str) -> Message {
        Message::new_signal(path, interface, member).unwrap()
    }

    const PATH: &str = "/org/bluez/hci0/dev_00_AA_01_02_03_04";
    const ADDRESS: Address = Address([0x00, 0xaa, 1, 2, 3, 4]);

    #[test]
    fn a_new_device_is_heard_with_what_it_says() {
        let (shared, heard) = listening();
        let properties: PropMap = HashMap::from([
            ("RSSI".to_owned(), value(-60_i16)),
            (
                "ServiceData".to_owned(),
                service_data(&Uuid::from_u128(names::SERVICE).to_string(), &[1, 2, 3, 4, 5, 6, 7, 8]),
            ),
        ]);
        let interfaces = HashMap::from([(DEVICE.to_owned(), properties)]);
        shared.take(&signal("/", OBJECTS, "InterfacesAdded").append2(Path::from(PATH), interfaces));
        let beacon = Beacon::read(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            heard.try_iter().collect::<Vec<_>>(),
            [News::Heard { address: ADDRESS.0, beacon, dbm: Some(-60) }]
        );
    }

    #[test]
    fn changes_of_a_device_are_told_apart_and_others_adapters_are_not_ours() {
        let (shared, heard) = listening();
        let other = service_data("0000fd6f-0000-1000-8000-00805f9b34fb", &[1; 20]);
        for (path, name, value) in [
            (PATH, "RSSI", value(-70_i16)),
            (PATH, "ServiceData", other),
            (PATH, "Connected", value(true)),
            (PATH, "ServicesResolved", value(true)),
            (PATH, "ServicesResolved", value(false)),
            ("/org/bluez/hci1/dev_00_AA_01_02_03_04", "RSSI", value(-70_i16)),
            ("/org/bluez/hci0", "Powered", value(false)),
        ] {
            let changed: PropMap = HashMap::from([(name.to_owned(), value)]);
            let none: Vec<String> = Vec::new();
            shared.take(&signal(path, PROPERTIES, "PropertiesChanged").append3(DEVICE, changed, none));
        }
        assert_eq!(
            heard.try_iter().collect::<Vec<_>>(),
            [
                News::Heard { address: ADDRESS.0, beacon: None, dbm: Some(-70) },
                News::Connected { address: ADDRESS.0, is: true },
                News::Resolved { address: ADDRESS.0 },
                News::Powered(false),
            ]
        );
    }

    #[test]
    fn another_bluetoothd_and_another_adapter_change_the_world() {
        let (shared, _heard) = listening();
        let mut world = shared.world.subscribe();
        shared.take(&signal("/", BUS, "NameOwnerChanged").append3(BLUEZ, "", ":1.5"));
        assert!(world.has_changed().unwrap());
        assert_eq!(world.borrow_and_update().owner.as_deref(), Some(":1.5"));
        let interfaces: HashMap<String, PropMap> = HashMap::from([(ADAPTER.to_owned(), HashMap::new())]);
        shared.take(
            &signal("/", OBJECTS, "InterfacesAdded").append2(Path::from("/org/bluez/hci9"), interfaces),
        );
        assert!(world.has_changed().unwrap());
        world.borrow_and_update();
        shared.take(
            &signal("/", OBJECTS, "InterfacesRemoved").append2(Path::from("/org/bluez/hci9"), vec![ADAPTER]),
        );
        assert!(world.has_changed().unwrap());
        shared.take(&signal("/", BUS, "NameOwnerChanged").append3(BLUEZ, ":1.5", ""));
        assert_eq!(world.borrow_and_update().owner, None);
    }

    #[test]
    fn w03_signals_of_another_shape_are_passed_over() {
        let (shared, heard) = listening();
        for member in ["NameOwnerChanged", "InterfacesAdded", "InterfacesRemoved", "PropertiesChanged"] {
            shared.take(&signal(PATH, PROPERTIES, member));
            shared.take(&signal(PATH, PROPERTIES, member).append1(7_u32));
        }
        let odd: PropMap = HashMap::from([
            ("RSSI".to_owned(), value("loud".to_owned())),
            ("ServiceData".to_owned(), value(7_u8)),
            ("Connected".to_owned(), value(7_u8)),
        ]);
        shared.take(&signal(PATH, PROPERTIES, "PropertiesChanged").append2(DEVICE, odd));
        assert_eq!(heard.try_iter().count(), 0);
    }

    #[test]
    fn only_adapters_and_devices_have_a_place() {
        assert_eq!(Place::of("/org/bluez/hci0"), Some(Place::Adapter("hci0")));
        assert_eq!(Place::of(PATH), Some(Place::Device("hci0", ADDRESS)));
        for path in [
            "/",
            "/org/bluez",
            "/org/bluez/hci0/player0",
            "/org/bluez/hci0/dev_00_AA_01_02_03_04/service000c",
        ] {
            assert_eq!(Place::of(path), None, "{path}");
        }
    }
}
