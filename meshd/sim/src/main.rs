//! `meshsim`: repeats a claim about MeshLink's mesh engine on any machine.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use meshlink_core::store::Priority;
use meshsim::flood::{Junk, Place};
use meshsim::reconcile::{Plan, Shape};
use meshsim::trace::contacts::Contacts;
use meshsim::trace::replay::Radio;
use meshsim::trace::spread::Summary;
use meshsim::trace::{Outcome, Policy};
use meshsim::{Scenario, World};
use serde::Serialize;

/// Runs the real node of MeshLink under a virtual clock.
#[derive(Parser)]
#[command(name = "meshsim", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one world of a scenario and checks that nothing acknowledged is lost and nothing shown twice.
    World {
        /// A TOML file; see meshd/sim/scenarios.
        scenario: PathBuf,
        /// Chooses one of the scenario's runs.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Counts what it costs two nodes to find out what each lacks.
    Reconcile {
        /// Bundles in all, both nodes' together.
        #[arg(long, default_value_t = 100_000)]
        n: u64,
        /// How many of them only one of the two holds, each about half.
        #[arg(long, default_value_t = 1_000)]
        d: u64,
        /// Which bundles those are.
        #[arg(long, value_enum, default_value_t = Shape::Spread)]
        shape: Shape,
        /// Bytes a second each way. A slow link stops the symbols as soon as they are enough.
        #[arg(long, default_value_t = 15_000)]
        bandwidth: u64,
        /// Delay of a frame each way, in milliseconds.
        #[arg(long, default_value_t = 30)]
        latency: u64,
        /// Makes the ids.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Sends messages through a trace of real encounters, with real nodes, and with textbook ways beside them.
    Trace {
        /// Lines `t i j` in steps of 20 s; .gz and .zip are read directly.
        file: PathBuf,
        /// Room at each node, in messages.
        #[arg(long, default_value_t = 50)]
        buffer: usize,
        /// Messages, each for one recipient.
        #[arg(long, default_value_t = 1_000)]
        messages: usize,
        /// How many percent of them have 8,000 bytes of text in place of 200.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
        long: u64,
        /// Draws the messages.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Runs with so many seeds from that one on, and tells mean, least and most after them.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
        seeds: u64,
        /// Who forwards; without it the real nodes and the textbook ways, one after the other.
        #[arg(long, value_enum)]
        policy: Option<Policy>,
        /// Bytes a second each way on the real nodes' links.
        #[arg(long, default_value_t = 1_000_000)]
        bandwidth: u64,
        /// From the moment two can hear each other until their link is up, in seconds.
        #[arg(long, default_value_t = 0.9)]
        setup: f64,
        /// Prints one JSON object; without --policy the textbook ways' outcomes are in its `beside`. With several
        /// seeds one a line for each way of forwarding and seed, and then one more for each way of forwarding.
        #[arg(long)]
        json: bool,
    },
    /// Lets an attacker fill stores with the posts of invented authors, and compares what happens to people's letters.
    Flood {
        /// People.
        #[arg(long, default_value_t = 20)]
        nodes: usize,
        /// Letters they write to each other, in the first half.
        #[arg(long, default_value_t = 60)]
        letters: usize,
        /// Public posts that they write in that time, every other a call for help.
        #[arg(long, default_value_t = 0)]
        posts: usize,
        /// People that the attacker has a link to; 0 for no attacker.
        #[arg(long, default_value_t = 1)]
        links: usize,
        /// Authors that it makes up.
        #[arg(long, default_value_t = 1_000)]
        identities: usize,
        /// Posts that it brings for each letter.
        #[arg(long, default_value_t = 100)]
        rate: usize,
        /// Whether its posts claim to be calls for help.
        #[arg(long)]
        sos: bool,
        /// Whether the letters are calls for help.
        #[arg(long)]
        sos_letters: bool,
        /// Whether it brings sealed mail for nobody instead of posts.
        #[arg(long)]
        sealed: bool,
        /// Two villages and a ferryman instead of a town; each of the attacker's links is to everybody in turn.
        #[arg(long)]
        ferry: bool,
        /// Whether the attacker's nodes are somebody else at each encounter.
        #[arg(long)]
        new_faces: bool,
        /// Cap of each store in bytes.
        #[arg(long, default_value_t = 1024 * 1024)]
        store: u64,
        /// How long it all takes, in minutes.
        #[arg(long, default_value_t = 360)]
        minutes: u64,
        /// Draws who meets whom, and who writes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Lets a part of the carriers drop what they took, bring it back, and claim to hold what they don't; compares what arrives
    /// with what arrives among the honest ones alone.
    Liars {
        /// People.
        #[arg(long, default_value_t = 30)]
        nodes: usize,
        /// How many of them lie.
        #[arg(long, default_value_t = 10)]
        liars: usize,
        /// Letters between the honest ones, in the first half.
        #[arg(long, default_value_t = 100)]
        letters: usize,
        /// Room at each node, in bundles.
        #[arg(long, default_value_t = 50)]
        buffer: u64,
        /// How long it all takes, in minutes.
        #[arg(long, default_value_t = 180)]
        minutes: u64,
        /// Draws who meets whom, and who writes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Runs worlds drawn from consecutive seeds; stops at the first bad one.
    Worlds {
        /// How many.
        #[arg(long, default_value_t = 100)]
        count: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON object a world.
        #[arg(long)]
        json: bool,
    },
}

/// One JSON object for all ways of forwarding: the real nodes' outcome, with the textbook ways' in it.
#[derive(Serialize)]
struct Beside {
    #[serde(flatten)]
    meshlink: Outcome,
    /// The same of the others.
    beside: Vec<Outcome>,
}

impl Beside {
    fn of(mut outcomes: Vec<Outcome>) -> Option<Self> {
        if outcomes.is_empty() {
            return None;
        }
        Some(Self { meshlink: outcomes.remove(0), beside: outcomes })
    }
}

impl Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.meshlink.fmt(f)
    }
}

#[allow(clippy::print_stdout, reason = "the report is the program's result")]
fn show(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

fn run(args: Args) -> anyhow::Result<bool> {
    match args.command {
        Command::World { scenario, seed, json } => {
            let text = std::fs::read_to_string(&scenario)
                .with_context(|| format!("can't read the scenario {}", scenario.display()))?;
            let plan = Scenario::parse(&text).with_context(|| format!("in {}", scenario.display()))?;
            let report = World::new(plan, seed).run();
            show(&report, json)?;
            Ok(report.is_good())
        }
        Command::Trace { file, buffer, messages, long, seed, seeds, policy, bandwidth, setup, json } => {
            anyhow::ensure!(
                messages >= 1 && buffer >= 1 && bandwidth >= 1 && setup >= 0.0,
                "a message, room for one, a byte a second and no negative time at least"
            );
            let contacts = Contacts::read(&file)?;
            let radio =
                Radio { bandwidth_bytes_per_s: bandwidth, setup_ms: (setup * 1e3) as u64, latency_ms: 30 };
            let all = [Policy::Meshlink, Policy::Epidemic, Policy::Spray, Policy::Direct];
            let policies = policy.map_or(all.to_vec(), |policy| vec![policy]);
            let mut runs = Vec::new();
            for seed in seed..seed.saturating_add(seeds) {
                let long_percent = long as usize;
                let plan = meshsim::trace::Plan { buffer, messages, long_percent, seed, radio };
                let outcomes = meshsim::trace::run(&contacts, plan, &policies);
                if json && policy.is_none() && seeds == 1 {
                    show(&Beside::of(outcomes).context("a run at least")?, json)?;
                    return Ok(true);
                }
                for outcome in outcomes {
                    show(&outcome, json)?;
                    runs.push(outcome);
                }
            }
            for policy in policies.into_iter().filter(|_| seeds > 1) {
                let of_policy: Vec<Outcome> =
                    runs.iter().filter(|run| run.policy == policy).cloned().collect();
                show(&Summary::of(&of_policy).context("a run at least")?, json)?;
            }
            Ok(true)
        }
        Command::Reconcile { n, d, shape, bandwidth, latency, seed, json } => {
            anyhow::ensure!(d <= n, "{n} bundles in all can't differ in {d}: --d is at most --n");
            anyhow::ensure!(bandwidth >= 1, "a byte a second at least");
            let plan = Plan { n, d, shape, bandwidth_bytes_per_s: bandwidth, latency_ms: latency, seed };
            let cost = meshsim::reconcile::measure(plan)?;
            show(&cost, json)?;
            Ok(true)
        }
        Command::Flood {
            nodes,
            letters,
            posts,
            links,
            identities,
            rate,
            sos,
            sos_letters,
            sealed,
            ferry,
            new_faces,
            store,
            minutes,
            seed,
            json,
        } => {
            anyhow::ensure!(
                nodes >= if ferry { 5 } else { 2 } && identities >= 1 && minutes >= 2,
                "two people (five with a ferry), an identity and two minutes at least"
            );
            let urgency = |is_urgent| if is_urgent { Priority::Sos } else { Priority::Normal };
            let plan = meshsim::flood::Plan {
                junk: if sealed { Junk::Sealed } else { Junk::Posts },
                place: if ferry { Place::Ferry } else { Place::Town },
                new_faces,
                letters_priority: urgency(sos_letters),
                nodes,
                letters,
                notices: posts,
                links,
                identities,
                rate,
                priority: urgency(sos),
                store_bytes: store,
                minutes,
                seed,
                flaw: None,
            };
            let outcome = meshsim::flood::run(plan);
            show(&outcome, json)?;
            Ok(outcome.links == 0 || outcome.ratio >= 0.95 && outcome.fullest <= 1.05)
        }
        Command::Liars { nodes, liars, letters, buffer, minutes, seed, json } => {
            anyhow::ensure!(nodes >= liars + 2 && minutes >= 2, "two honest people and two minutes at least");
            let plan = meshsim::liars::Plan { nodes, liars, letters, buffer, minutes, seed };
            let outcome = meshsim::liars::run(plan);
            show(&outcome, json)?;
            Ok(outcome.ratio >= 1.0)
        }
        Command::Worlds { count, seed, json } => {
            for seed in seed..seed.saturating_add(count) {
                let report = World::new(Scenario::random(seed), seed).run();
                show(&report, json)?;
                if !report.is_good() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

#[allow(clippy::print_stderr, reason = "the one line that says what is wrong")]
fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("meshsim: {error:#}");
            ExitCode::from(2)
        }
    }
}
