//! The part of multicast DNS that finding neighbours needs: one question, one answer. Pure.
//!
//! Messages are those of RFC 6762 and RFC 6763, so that any DNS-SD browser shows MeshLink's nodes and other
//! implementations may use the system's responder. What is read is only: does somebody ask for our service,
//! and which instances at which ports does an answer name. **Addresses in an answer are not believed**: a node
//! is where its packet came from, so that nobody can send all nodes of a network to a third machine.
//!
//! Everything read is bounded: labels, compression pointers (backwards only), records and instances per packet
//! (threats W-01, W-03, W-10).

use std::net::IpAddr;

use super::name::Name;

/// The service, as RFC 6763 section 4.1.2 spells it.
const SERVICE: [&[u8]; 3] = [b"_meshlink", b"_tcp", b"local"];
/// Largest packet, in bytes (RFC 6762 section 17).
pub(super) const PACKET_BYTES_MAX: usize = 9000;
/// How long an answer is good, in seconds (RFC 6762 section 10: 75 minutes; 2 minutes where a host is named).
const TTL_S: u32 = 4500;
const TTL_HOST_S: u32 = 120;

/// Labels of a name that could be ours: the instance, and the service.
const LABELS_MAX: usize = 4;
/// Labels of any name (RFC 1035: 255 bytes).
const LABELS_ANY_MAX: usize = 128;
/// Pointers followed in one name.
const POINTERS_MAX: usize = 8;
/// Records read of one packet.
const RECORDS_MAX: usize = 128;
/// Instances taken from one packet.
const INSTANCES_MAX: usize = 8;
/// Own addresses in one answer.
const ADDRESSES_MAX: usize = 6;
/// Instances a question says are known already.
pub(super) const KNOWN_MAX: usize = 32;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// In a class: the record replaces those known before (RFC 6762 section 10.2).
const CACHE_FLUSH: u16 = 0x8000;
const FLAG_RESPONSE: u16 = 0x8000;
const FLAGS_ANSWER: u16 = 0x8400;

/// An instance that an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) name: Name,
    pub(super) port: u16,
    /// How long it is good, in seconds; 0 says that it is gone.
    pub(super) ttl_s: u32,
}

/// What a packet has to say to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Somebody asks for our service.
    pub(super) asked: bool,
    /// Instances whoever asks knows already.
    pub(super) known: Vec<Name>,
    /// Instances an answer names.
    pub(super) instances: Vec<Instance>,
}

/// Asks who is there, and says who is known (RFC 6762 section 7.1).
pub(super) fn question(known: &[Name]) -> Vec<u8> {
    let known = &known[..known.len().min(KNOWN_MAX)];
    let mut packet = header(0, 1, known.len() as u16, 0);
    put_name(&mut packet, None);
    put_u16(&mut packet, TYPE_PTR);
    put_u16(&mut packet, CLASS_IN);
    for name in known {
        put_pointer(&mut packet, *name, TTL_S);
    }
    packet
}

/// Says that this node is there; with `gone` that it leaves.
pub(super) fn answer(name: Name, port: u16, addresses: &[IpAddr], gone: bool) -> Vec<u8> {
    let ttl = |ttl_s| if gone { 0 } else { ttl_s };
    let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    let mut packet = header(FLAGS_ANSWER, 0, 1, 2 + addresses.len() as u16);
    put_pointer(&mut packet, name, ttl(TTL_S));
    put_name(&mut packet, Some(name));
    put_record(&mut packet, TYPE_SRV, CLASS_IN | CACHE_FLUSH, ttl(TTL_HOST_S), |rdata| {
        rdata.extend_from_slice(&[0; 4]);
        put_u16(rdata, port);
        put_host(rdata, name);
    });
    put_name(&mut packet, Some(name));
    // One empty string: RFC 6763 section 6.1.
    put_record(&mut packet, TYPE_TXT, CLASS_IN | CACHE_FLUSH, ttl(TTL_S), |rdata| rdata.push(0));
    for address in addresses {
        put_host(&mut packet, name);
        let kind = if address.is_ipv4() { TYPE_A } else { TYPE_AAAA };
        put_record(&mut packet, kind, CLASS_IN | CACHE_FLUSH, ttl(TTL_HOST_S), |rdata| match address {
            IpAddr::V4(address) => rdata.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => rdata.extend_from_slice(&address.octets()),
        });
    }
    packet
}

fn header(flags: u16, questions: u16, answers: u16, additional: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    for field in [0, flags, questions, answers, 0, additional] {
        put_u16(&mut packet, field);
    }
    packet
}

fn put_u16(packet: &mut Vec<u8>, value: u16) {
    packet.extend_from_slice(&value.to_be_bytes());
}

fn put_label(packet: &mut Vec<u8>, label: &[u8]) {
    packet.push(u8::try_from(label.len()).expect("labels of ours are short"));
    packet.extend_from_slice(label);
}

/// The service's name, or that of an instance.
fn put_name(packet: &mut Vec<u8>, instance: Option<Name>) {
    if let Some(name) = instance {
        put_label(packet, name.as_bytes());
    }
    for label in SERVICE {
        put_label(packet, label);
    }
    packet.push(0);
}

/// A host name that exists for this record alone: the machine's own would give it away.
fn put_host(packet: &mut Vec<u8>, name: Name) {
    put_label(packet, name.as_bytes());
    put_label(packet, SERVICE[2]);
    packet.push(0);
}

fn put_pointer(packet: &mut Vec<u8>, name: Name, ttl_s: u32) {
    put_name(packet, None);
    put_record(packet, TYPE_PTR, CLASS_IN, ttl_s, |rdata| put_name(rdata, Some(name)));
}

fn put_record(packet: &mut Vec<u8>, kind: u16, class: u16, ttl_s: u32, rdata: impl FnOnce(&mut Vec<u8>)) {
    put_u16(packet, kind);
    put_u16(packet, class);
    packet.extend_from_slice(&ttl_s.to_be_bytes());
    let mut bytes = Vec::new();
    rdata(&mut bytes);
    put_u16(packet, u16::try_from(bytes.len()).expect("records of ours are short"));
    packet.extend_from_slice(&bytes);
}

/// Reads a packet. What is malformed says nothing.
pub(super) fn read(packet: &[u8]) -> Option<Heard> {
    let mut reader = Reader { packet, at: 0 };
    reader.u16()?;
    let flags = reader.u16()?;
    let questions = reader.u16()?;
    let records = usize::from(reader.u16()?) + usize::from(reader.u16()?) + usize::from(reader.u16()?);
    let mut heard = Heard::default();
    let is_answer = flags & FLAG_RESPONSE != 0;
    for _ in 0..usize::from(questions).min(RECORDS_MAX) {
        let name = reader.name()?;
        let kind = reader.u16()?;
        reader.u16()?;
        heard.asked |= !is_answer && name.is_service() && (kind == TYPE_PTR || kind == TYPE_ANY);
    }
    let mut pointers: Vec<(Name, u32)> = Vec::new();
    let mut places: Vec<(Name, u16)> = Vec::new();
    for _ in 0..records.min(RECORDS_MAX) {
        let record = reader.record()?;
        match record.kind {
            TYPE_PTR if record.name.is_service() && pointers.len() < KNOWN_MAX => {
                let target = Reader { packet, at: record.rdata_at }.name()?;
                pointers.extend(target.instance().map(|name| (name, record.ttl_s)));
            }
            TYPE_SRV if places.len() < KNOWN_MAX => {
                // Priority and weight come before the port.
                let port = Reader { packet, at: record.rdata_at + 4 }.u16()?;
                places.extend(record.name.instance().map(|name| (name, port)));
            }
            _ => {}
        }
    }
    if is_answer {
        let port_of = |name| places.iter().find(|(other, _)| *other == name).map(|(_, port)| *port);
        let instance = |&(name, ttl_s): &(Name, u32)| {
            // Whoever leaves need not say from where.
            let port = port_of(name).or((ttl_s == 0).then_some(0))?;
            Some(Instance { name, port, ttl_s })
        };
        heard.instances = pointers.iter().filter_map(instance).take(INSTANCES_MAX).collect();
    } else {
        // An answer that is soon forgotten is not known (RFC 6762 section 7.1).
        let known = pointers.into_iter().filter(|(_, ttl_s)| *ttl_s >= TTL_S / 2);
        heard.known = known.map(|(name, _)| name).collect();
    }
    Some(heard)
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

struct Record<'a> {
    name: Labels<'a>,
    kind: u16,
    ttl_s: u32,
    rdata_at: usize,
}

/// The first labels of a name, and how many there are.
struct Labels<'a> {
    first: [&'a [u8]; LABELS_MAX],
    count: usize,
}

impl Labels<'_> {
    fn is_service(&self) -> bool {
        self.count == 3 && is_service(&self.first[..3])
    }

    fn instance(&self) -> Option<Name> {
        (self.count == 4 && is_service(&self.first[1..])).then(|| Name::parse(self.first[0]))?
    }
}

fn is_service(labels: &[&[u8]]) -> bool {
    labels.iter().zip(SERVICE).all(|(label, ours)| label.eq_ignore_ascii_case(ours))
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.packet.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// A name, with its compression (RFC 1035 section 4.1.4). A pointer leads backwards, so it ends.
    fn name(&mut self) -> Option<Labels<'a>> {
        let mut labels = Labels { first: [&[]; LABELS_MAX], count: 0 };
        let mut start = self.at;
        let mut resume = None;
        let mut pointers = 0;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.bytes(usize::from(length))?;
                    if let Some(place) = labels.first.get_mut(labels.count) {
                        *place = label;
                    }
                    labels.count += 1;
                }
                0xC0.. => {
                    let to = usize::from(length & 0x3F) << 8 | usize::from(self.u8()?);
                    resume.get_or_insert(self.at);
                    pointers += 1;
                    if to >= start || pointers > POINTERS_MAX {
                        return None;
                    }
                    (start, self.at) = (to, to);
                }
                64..=0xBF => return None,
            }
            if labels.count > LABELS_ANY_MAX {
                return None;
            }
        }
        self.at = resume.unwrap_or(self.at);
        Some(labels)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let name = self.name()?;
        let kind = self.u16()?;
        self.u16()?;
        let ttl_s = self.u32()?;
        let length = self.u16()?;
        let rdata_at = self.at;
        self.bytes(usize::from(length))?;
        Some(Record { name, kind, ttl_s, rdata_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(letter: char) -> Name {
        Name::parse(letter.to_string().repeat(16).as_bytes()).unwrap()
    }

    fn addresses() -> Vec<IpAddr> {
        vec!["192.168.1.2".parse().unwrap(), "fe80::1".parse().unwrap()]
    }

    #[test]
    fn an_answer_says_who_and_at_which_port() {
        let heard = read(&answer(name('a'), 4711, &addresses(), false)).unwrap();
        let instance = Instance { name: name('a'), port: 4711, ttl_s: TTL_S };
        assert_eq!(heard, Heard { instances: vec![instance], ..Heard::default() });
    }

    #[test]
    fn a_good_bye_has_no_time_left() {
        let heard = read(&answer(name('a'), 4711, &[], true)).unwrap();
        assert_eq!(heard.instances, [Instance { name: name('a'), port: 4711, ttl_s: 0 }]);
    }

    #[test]
    fn a_question_names_who_is_known() {
        let heard = read(&question(&[name('a'), name('b')])).unwrap();
        assert_eq!(heard, Heard { asked: true, known: vec![name('a'), name('b')], instances: vec![] });
    }

    #[test]
    fn questions_and_answers_fit_an_ethernet_frame() {
        assert!(question(&[name('a'); KNOWN_MAX + 1]).len() < PACKET_BYTES_MAX);
        assert!(question(&[name('a'); 16]).len() < 1232);
        assert!(answer(name('a'), 1, &[IpAddr::from([0; 16]); 20], false).len() < 1232);
    }

    #[test]
    fn other_services_and_other_types_are_nothing_to_us() {
        let mut other = question(&[]);
        let at = other.windows(9).position(|w| w == b"_meshlink").unwrap();
        other[at + 1] = b'x';
        assert_eq!(read(&other), Some(Heard::default()));
        let mut address = question(&[]);
        let kind = address.len() - 3;
        address[kind] = TYPE_A as u8;
        assert!(!read(&address).unwrap().asked);
        address[kind] = TYPE_ANY as u8;
        assert!(read(&address).unwrap().asked);
    }

    /// Written as other responders do: a compressed name, upper case, the records in another order.
    #[test]
    fn compressed_names_of_other_responders_are_understood() {
        let mut packet = header(FLAGS_ANSWER, 0, 1, 1);
        put_name(&mut packet, None);
        let service_at = 12;
        put_u16(&mut packet, TYPE_PTR);
        put_u16(&mut packet, CLASS_IN);
        packet.extend_from_slice(&TTL_S.to_be_bytes());
        put_u16(&mut packet, 19);
        let instance_at = packet.len() as u8;
        put_label(&mut packet, &[b'A'; 16]);
        packet.extend_from_slice(&[0xC0, service_at]);
        packet.extend_from_slice(&[0xC0, instance_at]);
        put_record(&mut packet, TYPE_SRV, CLASS_IN, 120, |rdata| {
            rdata.extend_from_slice(&[0, 0, 0, 0, 0x12, 0x34, 0xC0, instance_at]);
        });
        let heard = read(&packet).unwrap();
        assert_eq!(heard.instances, [Instance { name: name('a'), port: 0x1234, ttl_s: TTL_S }]);
    }

    #[test]
    fn w03_every_cut_is_refused_or_says_less() {
        let packet = answer(name('a'), 4711, &addresses(), false);
        for end in 0..packet.len() {
            assert_eq!(read(&packet[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn w10_pointers_in_circles_and_long_chains_are_refused() {
        let mut circle = header(0, 1, 0, 0);
        circle.extend_from_slice(&[0xC0, 12, 0, TYPE_PTR as u8, 0, 1]);
        assert_eq!(read(&circle), None);
        let mut forward = header(0, 1, 0, 0);
        forward.extend_from_slice(&[0xC0, 14, 0, 0, TYPE_PTR as u8, 0, 1]);
        assert_eq!(read(&forward), None);
    }

    #[test]
    fn w10_a_packet_names_only_so_many() {
        let mut packet = header(FLAGS_ANSWER, 0, u16::MAX, 0);
        for letter in ('a'..='z').cycle().take(40) {
            put_pointer(&mut packet, name(letter), TTL_S);
            put_name(&mut packet, Some(name(letter)));
            put_record(&mut packet, TYPE_SRV, CLASS_IN, 120, |rdata| {
                rdata.extend_from_slice(&[0, 0, 0, 0, 1, 1, 0]);
            });
        }
        // The header promises more than there is: nothing of it counts.
        assert_eq!(read(&packet), None);
        packet[6..8].copy_from_slice(&80_u16.to_be_bytes());
        assert_eq!(read(&packet).unwrap().instances.len(), INSTANCES_MAX);
    }

    proptest! {
        #[test]
        fn w01_any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            read(&bytes);
        }

        #[test]
        fn w04_any_change_of_a_packet_is_read_without_panic(at in 0_usize..200, byte: u8) {
            let mut packet = answer(name('a'), 1, &addresses(), false);
            let at = at % packet.len();
            packet[at] = byte;
            read(&packet);
        }
    }
}
