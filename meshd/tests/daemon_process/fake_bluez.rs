//! A system bus on which nobody is but BlueZ, with one adapter, that refuses what a test wants and remembers all it was asked.
//!
//! It speaks D-Bus as far as a daemon without objects of others needs it: each connection is answered by itself, nothing is
//! passed from one to another.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use dbus::MessageType;
use dbus::arg::{PropMap, Variant};
use dbus::message::Message;
use dbus::strings::{BusName, ErrorName};

const ADAPTER: &str = "/org/bluez/hci0";
/// A number that no answer has.
const NEWS_SERIAL: u32 = 1 << 20;

type Interfaces = HashMap<String, PropMap>;
type Objects = HashMap<dbus::Path<'static>, Interfaces>;

/// A call that was made: to whom, what, and the path it handed over, if any.
#[derive(Debug, Clone)]
pub struct Call {
    pub to: String,
    pub member: String,
    pub path: Option<String>,
}

#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    refused: BTreeSet<&'static str>,
    /// Whether the adapter comes right after the first answer that does not have it.
    adapter_is_late: bool,
}

/// The bus; it ends with the test's process.
pub struct FakeBluez {
    pub address: String,
    book: Arc<Mutex<Book>>,
}

impl FakeBluez {
    /// Refuses these methods until it is told otherwise.
    pub fn refusing(dir: &Path, refused: &[&'static str]) -> Self {
        Self::start(dir, Book { refused: refused.iter().copied().collect(), ..Book::default() })
    }

    /// Has no adapter when it is first asked, and tells of one with the same bytes.
    pub fn with_a_late_adapter(dir: &Path) -> Self {
        Self::start(dir, Book { adapter_is_late: true, ..Book::default() })
    }

    fn start(dir: &Path, book: Book) -> Self {
        let path = dir.join("bus");
        let listener = UnixListener::bind(&path).expect("a short path");
        let book = Arc::new(Mutex::new(book));
        let kept = Arc::clone(&book);
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let (Ok(client), book) = (client, Arc::clone(&kept)) else { return };
                std::thread::spawn(move || serve(client, number, &book));
            }
        });
        Self { address: format!("unix:path={}", path.display()), book }
    }

    /// Refuses nothing any more.
    pub fn relent(&self) {
        self.book.lock().expect("nobody panics with it").refused.clear();
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.book.lock().expect("nobody panics with it").calls.clone()
    }

    /// The paths that were handed over in calls of this name.
    pub fn paths_in(&self, member: &str) -> Vec<String> {
        let calls = self.calls().into_iter().filter(|call| call.member == member);
        calls.map(|call| call.path.expect("it has a path")).collect()
    }
}

/// One connection, until its client hangs up.
fn serve(client: UnixStream, number: usize, book: &Mutex<Book>) -> Option<()> {
    let mut writer = client.try_clone().ok()?;
    let mut reader = BufReader::new(client);
    authenticate(&mut reader, &mut writer)?;
    for serial in 1.. {
        let call = read(&mut reader)?;
        // What the daemon tells everybody of its own objects.
        if call.msg_type() != MessageType::MethodCall {
            continue;
        }
        let mut answer = answer(&call, number, book)?;
        answer.set_serial(serial);
        answer.set_sender(BusName::new(call.destination()?.to_string()).ok());
        let mut bytes = marshalled(&answer)?;
        if call.member().as_deref() == Some("GetManagedObjects")
            && answer.get1::<Objects>().is_some_and(|objects| objects.is_empty())
        {
            let mut news = added();
            news.set_serial(NEWS_SERIAL);
            bytes.extend(marshalled(&news)?);
        }
        writer.write_all(&bytes).ok()?;
    }
    None
}

/// Lets everybody in, without file descriptors.
fn authenticate(reader: &mut impl BufRead, writer: &mut impl Write) -> Option<()> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let answer = match line.trim_start_matches('\0').split_whitespace().next()? {
            "AUTH" => "OK 0123456789abcdef0123456789abcdef\r\n",
            "BEGIN" => return Some(()),
            _ => "ERROR\r\n",
        };
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

fn read(reader: &mut impl Read) -> Option<Message> {
    let mut bytes = vec![0; 16];
    reader.read_exact(&mut bytes).ok()?;
    bytes.resize(Message::demarshal_bytes_needed(&bytes).ok()?, 0);
    reader.read_exact(&mut bytes[16..]).ok()?;
    Message::demarshal(&bytes).ok()
}

fn answer(call: &Message, number: usize, book: &Mutex<Book>) -> Option<Message> {
    let member = call.member()?.to_string();
    let path = call.get1::<dbus::Path<'_>>().map(|path| path.to_string());
    let is_refused = {
        let mut book = book.lock().expect("nobody panics with it");
        book.calls.push(Call { to: call.destination()?.to_string(), member: member.clone(), path });
        book.refused.contains(member.as_str())
    };
    if is_refused {
        return Some(error(call, "org.bluez.Error.NotPermitted", "Maximum reached"));
    }
    let done = call.method_return();
    Some(match member.as_str() {
        "Hello" => done.append1(format!(":1.{}", number + 1)),
        "GetNameOwner" => done.append1(":1.0"),
        "GetManagedObjects" => {
            let is_late = std::mem::take(&mut book.lock().expect("nobody panics with it").adapter_is_late);
            done.append1(if is_late { Objects::new() } else { objects() })
        }
        "Get" => done.append1(Variant(true)),
        "AddMatch"
        | "RemoveMatch"
        | "Set"
        | "SetDiscoveryFilter"
        | "StartDiscovery"
        | "StopDiscovery"
        | "RegisterApplication"
        | "UnregisterApplication"
        | "RegisterAdvertisement"
        | "UnregisterAdvertisement" => done,
        _ => error(call, "org.freedesktop.DBus.Error.UnknownMethod", "there is no such thing here"),
    })
}

fn error(call: &Message, name: &str, text: &str) -> Message {
    call.error(&ErrorName::new(name).expect("a name"), &CString::new(text).expect("no NUL"))
}

/// One adapter, switched on, near which nobody is.
fn objects() -> Objects {
    HashMap::from([(dbus::Path::from(ADAPTER), interfaces())])
}

fn interfaces() -> Interfaces {
    let interface = |name: &str| (format!("org.bluez.{name}"), PropMap::new());
    HashMap::from(["Adapter1", "GattManager1", "LEAdvertisingManager1"].map(interface))
}

/// Tells of that adapter.
fn added() -> Message {
    let member = "InterfacesAdded";
    let mut news = Message::new_signal("/", "org.freedesktop.DBus.ObjectManager", member).expect("names");
    news = news.append2(dbus::Path::from(ADAPTER), interfaces());
    news.set_sender(BusName::new(":1.0").ok());
    news
}

fn marshalled(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    message
        .marshal(|part| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(())
        })
        .ok()?;
    Some(bytes)
}
