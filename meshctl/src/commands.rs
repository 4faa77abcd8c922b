//! The commands. Each asks the daemon and shows the answer; none keeps anything.

mod at_rest;
mod backup;
mod channel;
mod contact;
mod group;
mod manual;
mod messages;
mod neighbours;
mod node;
mod send;
mod upkeep;
mod watch;

use crate::args::{Args, Command};
use crate::daemon::{Answer, Daemon, Pages};
use crate::failure::Failure;
use crate::line::{Line, Table};
use crate::place::{Search, Surroundings};
use crate::request::Request;
use crate::screen::Screen;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Console<'a> {
    daemon: Daemon,
    screen: &'a mut Screen,
    now: Timestamp,
}

/// Does what the command line says.
///
/// # Errors
/// Why it could not.
pub(crate) async fn run(args: Args, screen: &mut Screen) -> Result<(), Failure> {
    let search = Search::new(&args.global, &Surroundings::from_env()?)?;
    if let Some(address) = search.remote() {
        screen.say(Line::of(format!("what goes to {address} can be read on the way, the token too")));
    }
    let console = &mut Console { daemon: Daemon::new(search), screen, now: Timestamp::now() };
    match args.command {
        Command::Send(send) => send::send(console, send).await,
        Command::Watch(watch) => watch::watch(console, watch).await,
        Command::List(list) => messages::list(console, list).await,
        Command::Show(one) => messages::show(console, &one.id).await,
        Command::Trace(one) => messages::trace(console, &one.id).await,
        Command::Search(search) => messages::search(console, search).await,
        Command::Read(some) => messages::mark_read(console, &some.ids).await,
        Command::Forget(some) => messages::forget(console, &some.ids).await,
        Command::Conversations => messages::conversations(console).await,
        Command::Peers { action } => neighbours::peers(console, action).await,
        Command::Links => neighbours::links(console).await,
        Command::Status => node::status(console).await,
        Command::Contact { action } => contact::contacts(console, action).await,
        Command::Group { action } => group::groups(console, action).await,
        Command::Channel { action } => channel::channels(console, action).await,
        Command::Token { action } => node::tokens(console, action).await,
        Command::Profile { action } => node::profile(console, action).await,
        Command::Doctor => upkeep::doctor(console).await,
        Command::Config { action } => upkeep::config(console, action).await,
        Command::Log { filter } => upkeep::log(console, filter).await,
        Command::Store { action } => upkeep::store(console, action).await,
        Command::Unlock(source) => at_rest::unlock(console, &source).await,
        Command::Lock => at_rest::lock(console).await,
        Command::Passphrase { action } => at_rest::passphrase(console, &action).await,
        Command::Backup { action } => backup::backup(console, &action).await,
        Command::Wipe { yes: _ } => at_rest::wipe(console).await,
        Command::Completions { shell } => manual::completions(console.screen, shell),
        Command::Man { dir } => manual::man(console.screen, dir.as_deref()),
    }?;
    if let Some(address) = console.daemon.address() {
        let line = Line::of(format!("the daemon at {address} answered"));
        console.screen.detail(line);
    }
    console.screen.flush()
}

impl Console<'_> {
    /// Asks for an object and prints it: as JSON, or as the lines of `show`.
    async fn show<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        show: impl FnOnce(&mut Screen, &T, Timestamp) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let answer: Answer<T> = self.daemon.ask(request).await?;
        if self.screen.is_json() {
            self.screen.json(&answer.raw)
        } else {
            show(self.screen, &answer.value, self.now)
        }
    }

    /// Prints what was done: as an object of `fields`, or as `line`.
    fn report(&mut self, fields: &[(&str, &str)], line: Line) -> Result<(), Failure> {
        if !self.screen.is_json() {
            return self.screen.line(&line);
        }
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let raw = serde_json::value::to_raw_value(&fields).expect("a map from strings to strings is JSON");
        self.screen.json(&raw)
    }

    /// Prints a list page by page: as a JSON array, or as a table. Says `nothing` where there is none.
    async fn show_list<T: DeserializeOwned, const N: usize>(
        &mut self,
        mut pages: Pages,
        table: impl Fn() -> Table<N>,
        row: impl Fn(&T, Timestamp) -> [Line; N],
        nothing: &str,
    ) -> Result<(), Failure> {
        let mut count = 0;
        while let Some(items) = pages.next::<T>(&mut self.daemon).await? {
            let mut page = table();
            let titled = count == 0 && !items.is_empty();
            for item in items {
                if self.screen.is_json() {
                    self.screen.json_item(count, &item.raw)?;
                } else {
                    page.row(row(&item.value, self.now));
                }
                count += 1;
            }
            if !self.screen.is_json() {
                self.screen.table(page, titled)?;
            }
        }
        if self.screen.is_json() {
            return self.screen.json_end(count);
        }
        if count == 0 {
            self.screen.say(Line::of(nothing));
        }
        Ok(())
    }
}
