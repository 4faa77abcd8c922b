//! `channel`: which channels this node shows.

use super::Console;
use crate::args::{ChannelAction, Joining};
use crate::failure::Failure;
use crate::limits::NAME_COLUMNS_MAX;
use crate::line::{Column, FAINT, GOOD, Line, PLACE, Table, WARN};
use crate::moment;
use crate::passphrase::{self, Source};
use crate::request::Request;
use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{Channel, NewChannel, Protection};

const CHANNELS: &str = "/v1/channels";

/// `meshctl channel`.
pub(super) async fn channels(
    console: &mut Console<'_>,
    action: Option<ChannelAction>,
) -> Result<(), Failure> {
    match action.unwrap_or(ChannelAction::List) {
        ChannelAction::List => {
            let pages = console.daemon.list(Request::get(CHANNELS), None);
            console.show_list(pages, table, row, "no channels").await
        }
        ChannelAction::Join(joining) => join(console, joining).await,
        ChannelAction::Leave(channel) => {
            let name = with_mark(&channel.name);
            console.daemon.tell(&Request::new(Method::DELETE, CHANNELS).id(&name)).await?;
            console.report(&[("name", &name), ("done", "left")], Line::of(format!("{name} left")))
        }
    }
}

async fn join(console: &mut Console<'_>, joining: Joining) -> Result<(), Failure> {
    let name = with_mark(&joining.name);
    let password = match (joining.password, &joining.password_file) {
        (_, Some(path)) => Some(Source::file(path).of("password").ask("")?),
        (true, None) => {
            let mut terminal = passphrase::terminal().of("password");
            Some(terminal.ask_new(&format!("Password of {name}: "))?)
        }
        (false, None) => None,
    };
    let body = NewChannel { name, password: password.map(|password| password.to_string()) };
    let answer = console.daemon.ask::<Channel>(&Request::post(CHANNELS).json(&body)).await?;
    let channel = answer.value;
    if let Some(warning) = &channel.warning {
        console.screen.say(Line::new().styled(WARN, "warning: ").text(warning));
    }
    let mut line = Line::of(format!("{} joined", channel.name));
    if let Some(check) = &channel.check {
        line = line.text("; whoever has the same password sees the check ").styled(GOOD, check);
    }
    match channel.messages {
        0 => {}
        1 => line = line.text("; 1 message of it is here"),
        count => line = line.text(format!("; {count} messages of it are here")),
    }
    let mut fields = vec![("name", channel.name.as_str()), ("done", "joined")];
    fields.extend(channel.check.as_deref().map(|check| ("check", check)));
    fields.extend(channel.warning.as_deref().map(|warning| ("warning", warning)));
    console.report(&fields, line)
}

/// A shell takes an unquoted `#name` for a comment, so the mark may be left out.
fn with_mark(name: &str) -> String {
    if name.starts_with('#') { name.to_owned() } else { format!("#{name}") }
}

fn table() -> Table<6> {
    Table::new([
        Column::left("CHANNEL").at_least(NAME_COLUMNS_MAX),
        Column::left("KIND").at_least(8),
        Column::right("UNREAD"),
        Column::right("HEARD"),
        Column::left("CHECK").at_least(9),
        Column::left("JOINED"),
    ])
}

fn row(channel: &Channel, now: Timestamp) -> [Line; 6] {
    let joined = channel.joined_at.as_deref().map_or_else(String::new, |at| moment::ago(at, now));
    let kind = match channel.protection {
        Protection::Public => Line::of("public"),
        Protection::Channel | Protection::Sealed | Protection::SealedVerified => {
            Line::new().styled(GOOD, "password")
        }
    };
    [
        Line::new().styled(PLACE, &channel.name),
        kind,
        Line::of(channel.unread),
        Line::of(channel.members_heard),
        Line::new().styled(FAINT, channel.check.as_deref().unwrap_or_default()),
        Line::of(joined),
    ]
}
