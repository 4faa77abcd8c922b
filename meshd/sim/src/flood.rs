//! Somebody fills stores, and people go on writing to each other.
//!
//! The same people meet and write twice: once alone, once with an attacker who has links to some of them and brings, at
//! each encounter, posts of ever new authors: as many in all as a hundred times the people's letters, of a thousand
//! identities that it made up. What the people's letters lose by it, and how full a store ever was, is the result. The nodes
//! are real on all sides: the attacker's node keeps to the protocol, only what it carries is made up.
//!
//! What it brings is public posts, or mail that nobody can open and that no carrier can tell from a letter. Where people meet is
//! a town, or two villages between which a ferryman goes to and fro. There the attacker lays siege: between two landings each of its
//! nodes meets each person, so that two who meet have both just been filled.

use std::collections::BTreeSet;

use meshlink_core::bundle::{BundleBytes, NewBundle};
use meshlink_core::canonical::Extensions;
use meshlink_core::flaw::Flaw;
use meshlink_core::header::{Header, Kind};
use meshlink_core::identity::Identity;
use meshlink_core::limits::{COPIES_MAX, Limits};
use meshlink_core::post::Post;
use meshlink_core::receipt::Commitment;
use meshlink_core::store::{Class, Priority, StoredBundle};
use serde::Serialize;

use crate::dice::Dice;
use crate::trace::contacts::{Contacts, STEP_S};
use crate::trace::replay::{Radio, Replayed, Setting, replay};
use crate::trace::work;

/// The links of a town.
pub(crate) const RADIO: Radio = Radio { bandwidth_bytes_per_s: 15_000, setup_ms: 900, latency_ms: 30 };

/// What the attacker brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Junk {
    /// Public posts, signed by authors that it made up.
    Posts,
    /// Sealed mail for nobody.
    Sealed,
}

/// Who meets whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anybody anybody; each of the attacker's links is to another person.
    Town,
    /// Two villages and a ferryman; each of the attacker's links is to everybody in turn.
    Ferry,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What the attacker brings.
    pub junk: Junk,
    /// Who meets whom.
    pub place: Place,
    /// Whether each of the attacker's nodes is somebody else at each encounter.
    pub new_faces: bool,
    /// How urgent people's letters are.
    pub letters_priority: Priority,
    /// People.
    pub nodes: usize,
    /// Letters between them, in the first half of the time.
    pub letters: usize,
    /// What people say to everybody in that time, every other a call for help.
    pub notices: usize,
    /// People that the attacker has a link to.
    pub links: usize,
    /// Authors that it makes up.
    pub identities: usize,
    /// How many posts it brings for each letter.
    pub rate: usize,
    /// How urgent its posts claim to be.
    pub priority: Priority,
    /// Each store's cap in bytes.
    pub store_bytes: u64,
    /// Minutes it all takes.
    pub minutes: u64,
    /// Draws who meets whom, who writes, and all keys.
    pub seed: u64,
    /// A rule that people's nodes do not keep.
    pub flaw: Option<Flaw>,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Seed of the run.
    pub seed: u64,
    /// People that the attacker has a link to.
    pub links: usize,
    /// Letters written.
    pub letters: usize,
    /// Letters that arrived without an attacker.
    pub quiet: usize,
    /// Letters that arrived with one.
    pub flooded: usize,
    /// The one by the other.
    pub ratio: f64,
    /// Of what people said to everybody, and of their calls for help.
    pub notices: Heard,
    /// The same for calls for help alone.
    pub calls: Heard,
    /// Posts that the attacker brought to its links.
    pub spam: u64,
    /// Bytes counted in the fullest honest store at any time, by the cap on bundles.
    pub fullest: f64,
}

/// How many heard what people said to everybody, each of the others counted once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Heard {
    /// Without an attacker.
    pub quiet: usize,
    /// With one.
    pub flooded: usize,
    /// If everybody had heard all.
    pub all: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: {} links, {} posts of an attacker; of {} letters {} arrived, {} without it (ratio {:.3}); fullest store {:.3} of its cap; \
             said to everybody and heard {} of {}, {} without it; calls for help {} of {}, {} without it",
            self.seed,
            self.links,
            self.spam,
            self.letters,
            self.flooded,
            self.quiet,
            self.ratio,
            self.fullest,
            self.notices.flooded,
            self.notices.all,
            self.notices.quiet,
            self.calls.flooded,
            self.calls.all,
            self.calls.quiet,
        )
    }
}

/// Runs it without and with the attacker; with no links of its to anybody only the former.
pub fn run(plan: Plan) -> Outcome {
    let quiet = once(Plan { links: 0, ..plan });
    let flooded = if plan.links > 0 { once(plan) } else { quiet.clone() };
    let [before, after] = [&quiet, &flooded].map(|run| run.achieved.latencies_s.len());
    let cap = limits(plan).bundle_bytes_max();
    Outcome {
        seed: plan.seed,
        links: plan.links,
        letters: plan.letters,
        quiet: before,
        flooded: after,
        ratio: after as f64 / before.max(1) as f64,
        notices: heard([&quiet, &flooded], plan.nodes, 0, 1),
        calls: heard([&quiet, &flooded], plan.nodes, 1, 2),
        spam: flooded.spam,
        fullest: flooded.fullest_bytes as f64 / cap as f64,
    }
}

/// Of every so many notices from the first one on.
fn heard(runs: [&Replayed; 2], people: usize, first: usize, every: usize) -> Heard {
    let [quiet, flooded] =
        runs.map(|run| run.heard.iter().skip(first).step_by(every).map(BTreeSet::len).sum());
    Heard { quiet, flooded, all: runs[0].heard.iter().skip(first).step_by(every).count() * (people - 1) }
}

fn limits(plan: Plan) -> Limits {
    Limits { store_bytes_max: plan.store_bytes, ..Limits::default() }
}

fn once(plan: Plan) -> Replayed {
    let mut dice = Dice::new(plan.seed);
    let people = match plan.place {
        Place::Town => town(plan.nodes, plan.minutes, &mut dice),
        Place::Ferry => ferry(plan.nodes, plan.minutes, &mut dice),
    };
    let letters = work::letters(&people, plan.letters, 0, &mut dice);
    let notices = work::notices(&people, plan.notices, &mut Dice::new(plan.seed ^ 0x7361_6964));
    let all = with_attacker(&people, plan);
    let encounters = match plan.place {
        Place::Town => plan.minutes.max(2) as usize / 2 * plan.links.max(1),
        Place::Ferry => (plan.minutes / 2).div_ceil(CROSSING_MINUTES) as usize * plan.links.max(1),
    };
    let spammer = (plan.links > 0).then(|| Spammer {
        first: plan.nodes,
        identities: (0..plan.identities).map(|_| Identity::from_bytes(&dice.bytes())).collect(),
        per_encounter: (plan.letters * plan.rate).div_ceil(encounters),
        priority: plan.priority,
        junk: plan.junk,
        is_new_each_time: plan.new_faces,
        made: 0,
    });
    let mut dice = Dice::new(plan.seed ^ 0x0066_6c6f_6f64);
    let setting = Setting {
        letters_priority: plan.letters_priority,
        notices,
        spammer,
        flaw: plan.flaw,
        ..Setting::honest(limits(plan), RADIO)
    };
    replay(&all, &letters, setting, &mut dice)
}

/// Each minute a third of the people are with somebody for two steps.
pub(crate) fn town(nodes: usize, minutes: u64, dice: &mut Dice) -> Contacts {
    let mut steps = Vec::new();
    for minute in 0..minutes {
        let mut order: Vec<usize> = (0..nodes).collect();
        dice.shuffle(&mut order);
        let pairs: Vec<(usize, usize)> = order
            .chunks_exact(2)
            .take(nodes.div_ceil(6))
            .map(|two| (two[0].min(two[1]), two[0].max(two[1])))
            .collect();
        for step in 1..=2 {
            steps.push((minute * 60 + step * STEP_S, pairs.clone()));
        }
    }
    Contacts { people: nodes, steps }
}

/// Minutes from one landing of the ferryman to the next, on the other bank.
const CROSSING_MINUTES: u64 = 15;

/// Person 0 lands at two villages in turn, and meets two of those who live there for two steps.
fn ferry(nodes: usize, minutes: u64, dice: &mut Dice) -> Contacts {
    let middle = 1 + (nodes - 1) / 2;
    let mut steps = Vec::new();
    for minute in 0..minutes {
        let mut banks: [Vec<usize>; 2] = [(1..middle).collect(), (middle..nodes).collect()];
        banks.iter_mut().for_each(|bank| dice.shuffle(bank));
        let mut pairs = Vec::new();
        if minute % CROSSING_MINUTES == 0 {
            let bank = &mut banks[(minute / CROSSING_MINUTES % 2) as usize];
            pairs.extend(bank.drain(..2.min(bank.len())).map(|person| (0, person)));
        }
        for bank in &banks {
            let met = bank.chunks_exact(2).take(bank.len().div_ceil(6));
            pairs.extend(met.map(|two| (two[0].min(two[1]), two[0].max(two[1]))));
        }
        for step in 1..=2 {
            steps.push((minute * 60 + step * STEP_S, pairs.clone()));
        }
    }
    steps.retain(|(_, pairs)| !pairs.is_empty());
    Contacts { people: nodes, steps }
}

/// Each of the attacker's nodes meets its victim each minute of the first half, or everybody between two landings.
fn with_attacker(people: &Contacts, plan: Plan) -> Contacts {
    let mut all = people.clone();
    all.people += plan.links;
    for (t, pairs) in &mut all.steps {
        if *t < plan.minutes * 30 {
            let attackers = (0..plan.links).map(|n| (n, plan.nodes + n));
            match plan.place {
                Place::Town => pairs.extend(attackers.map(|(n, attacker)| (n % plan.nodes, attacker))),
                Place::Ferry if *t / 60 % CROSSING_MINUTES == CROSSING_MINUTES / 2 => {
                    pairs.extend(attackers.flat_map(|(_, one)| (0..plan.nodes).map(move |n| (n, one))));
                }
                Place::Ferry => {}
            }
        }
    }
    all
}

/// Makes up posts.
pub(crate) struct Spammer {
    /// People with this number and above are its nodes.
    pub(crate) first: usize,
    identities: Vec<Identity>,
    per_encounter: usize,
    priority: Priority,
    junk: Junk,
    /// Whether its nodes draw new keys for each encounter.
    pub(crate) is_new_each_time: bool,
    made: u64,
}

impl Spammer {
    /// What one of its nodes brings to an encounter.
    pub(crate) fn posts(&mut self, unix_ms: u64, now_tl_ms: u64) -> Vec<StoredBundle> {
        (0..self.per_encounter).map(|_| self.post(unix_ms, now_tl_ms)).collect()
    }

    fn post(&mut self, unix_ms: u64, now_tl_ms: u64) -> StoredBundle {
        self.made += 1;
        let NewBundle { id, header, header_bytes, payload, auth } = match self.junk {
            Junk::Posts => self.words(unix_ms),
            Junk::Sealed => self.mail(),
        };
        StoredBundle {
            id,
            kind: header.kind.number(),
            priority: self.priority,
            class: Class::Stranger,
            origin: header.origin.as_ref().map(|keys| keys.node_id()),
            header: header_bytes,
            payload,
            auth,
            age_ms: 0,
            received_tl_ms: now_tl_ms,
            expires_tl_ms: now_tl_ms + 7 * 24 * 3_600_000,
            hops: 0,
            copies: COPIES_MAX,
            ingress: None,
            unshown_in: None,
            commitment: header.commitment,
        }
    }

    fn words(&self, unix_ms: u64) -> NewBundle {
        let identity = &self.identities[self.made as usize % self.identities.len()];
        let post = Post {
            channel: "#mesh".to_owned(),
            text: format!("{} {}", self.made, "spam ".repeat(40)),
            reply_to: None,
            extensions: Extensions::default(),
        };
        let header = Header {
            created_unix_ms: Some(unix_ms),
            salt: Some(self.made.to_be_bytes()),
            ..self.header(Kind::Post)
        };
        NewBundle::sign(header, post.encode(), identity)
    }

    /// What a letter of 200 bytes looks like to those who carry it.
    fn mail(&self) -> NewBundle {
        let drawn = *blake3::hash(&self.made.to_be_bytes()).as_bytes();
        let payload = drawn.repeat(16);
        let commitment = drawn[..Commitment::BYTES].try_into().expect("sixteen of 32 bytes");
        let header = Header { commitment: Some(Commitment(commitment)), ..self.header(Kind::Sealed) };
        let header_bytes = header.encode();
        let bytes = BundleBytes { header: &header_bytes, payload: &payload, auth: &[] };
        let id = bytes.name().expect("it is of a letter's size").id;
        NewBundle { id, header, header_bytes, payload, auth: Vec::new() }
    }

    fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            created_unix_ms: None,
            lifetime_s: 7 * 24 * 3600,
            priority: self.priority,
            origin: None,
            salt: None,
            commitment: None,
            extensions: Extensions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(links: usize, seed: u64) -> Plan {
        Plan {
            junk: Junk::Posts,
            place: Place::Town,
            new_faces: false,
            letters_priority: Priority::Normal,
            nodes: 8,
            letters: 16,
            notices: 0,
            links,
            identities: 200,
            rate: 100,
            priority: Priority::Normal,
            store_bytes: 256 * 1024,
            minutes: 120,
            seed,
            flaw: None,
        }
    }

    #[test]
    fn l01_l02_a_flood_of_many_identities_takes_no_mail_and_overfills_no_store() {
        for links in [1, 6] {
            let outcome = run(plan(links, 1));
            assert!(outcome.quiet >= 12 && outcome.spam >= 1_500, "{outcome}");
            assert!(outcome.ratio >= 0.95, "{outcome}");
            assert!(outcome.fullest > 0.5 && outcome.fullest <= 1.05, "{outcome}");
        }
    }

    /// Twelve neighbours fill all stores, and one carrier goes between two villages.
    fn under_siege(junk: Junk, priority: Priority) -> Plan {
        let place = Place::Ferry;
        Plan {
            junk,
            priority,
            place,
            nodes: 6,
            letters: 12,
            rate: 250,
            minutes: 120,
            store_bytes: 64 * 1024,
            ..plan(12, 1)
        }
    }

    #[test]
    fn l02_calls_for_help_by_twelve_neighbours_push_out_no_mail() {
        let siege = under_siege(Junk::Posts, Priority::Sos);
        // Two seeds: one letter of twelve more or less is chance.
        let sum = |flaw| {
            let runs = [1, 2].map(|seed| run(Plan { flaw, seed, ..siege }));
            runs.iter().fold((0, 0), |(quiet, flooded), run| (quiet + run.quiet, flooded + run.flooded))
        };
        let [(quiet, kept), (_, heeded)] = [None, Some(Flaw::EveryCallHeeded)].map(sum);
        assert!(quiet >= 22 && kept * 100 >= quiet * 95, "{kept} of {quiet}");
        assert!(heeded < kept, "if each were heeded: {heeded}; but {kept} of {quiet}");
    }
}
