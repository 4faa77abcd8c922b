//! `group`: who writes to whom at once.

use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{Group, GroupChange, Member, Membership, NewGroup, NewMember};

use super::Console;
use crate::args::GroupAction;
use crate::failure::Failure;
use crate::limits::ID_CHARS_SHOWN;
use crate::line::{BAD, Column, FAINT, GOOD, Line, STRONG, Table, WARN};
use crate::message_view::short_id;
use crate::moment;
use crate::request::Request;

const GROUPS: &str = "/v1/groups";

/// `meshctl group`.
pub(super) async fn groups(console: &mut Console<'_>, action: Option<GroupAction>) -> Result<(), Failure> {
    match action.unwrap_or(GroupAction::List) {
        GroupAction::List => {
            let pages = console.daemon.list(Request::get(GROUPS), None);
            console.show_list(pages, table, row, "no groups yet: `meshctl group create`").await
        }
        GroupAction::Create(new) => {
            let body = NewGroup { name: new.name, history: new.history, members: new.members };
            show_one(console, &Request::post(GROUPS).json(&body)).await
        }
        GroupAction::Show { which } => show_one(console, &Request::get(GROUPS).id(&which)).await,
        GroupAction::Invite(invite) => {
            let mut members = invite.members.into_iter().peekable();
            while let Some(who) = members.next() {
                let body = NewMember { who, admin: invite.admin };
                let request = Request::post(GROUPS).id(&invite.which).action("members").json(&body);
                if members.peek().is_some() {
                    console.daemon.tell(&request).await?;
                } else {
                    show_one(console, &request).await?;
                }
            }
            Ok(())
        }
        GroupAction::Join { which } => {
            show_one(console, &Request::post(GROUPS).id(&which).action("join")).await
        }
        GroupAction::Decline { which } => leave(console, &which, "declined").await,
        GroupAction::Leave { which } => leave(console, &which, "left").await,
        GroupAction::Remove { which, who } => {
            let request = Request::new(Method::DELETE, GROUPS).id(&which).action("members").id(&who);
            show_one(console, &request).await
        }
        GroupAction::Rename { which, name } => {
            change(console, &which, &GroupChange { name: Some(name), ..GroupChange::default() }).await
        }
        GroupAction::History { which, setting } => {
            let history = Some(setting == "on");
            change(console, &which, &GroupChange { history, ..GroupChange::default() }).await
        }
    }
}

async fn leave(console: &mut Console<'_>, which: &str, done: &'static str) -> Result<(), Failure> {
    let request = Request::post(GROUPS).id(which).action("leave");
    let group = console.daemon.ask::<Group>(&request).await?.value;
    let line = Line::of(format!("{} {done}", group.name));
    console.report(&[("id", &group.id), ("done", done)], line)
}

async fn change(console: &mut Console<'_>, which: &str, change: &GroupChange) -> Result<(), Failure> {
    show_one(console, &Request::new(Method::PATCH, GROUPS).id(which).json(change)).await
}

async fn show_one(console: &mut Console<'_>, request: &Request) -> Result<(), Failure> {
    console.show(request, |screen, group: &Group, now| screen.facts(facts(group, now))).await
}

fn table() -> Table<4> {
    Table::new([
        Column::left("NAME").at_least(16),
        Column::left("STATE").at_least(8),
        Column::left("MEMBERS"),
        Column::left("ID").at_least(ID_CHARS_SHOWN),
    ])
}

fn row(group: &Group, _: Timestamp) -> [Line; 4] {
    [
        Line::new().styled(STRONG, &group.name),
        state(group),
        Line::of(count(group)),
        Line::of(short_id(&group.id)),
    ]
}

fn state(group: &Group) -> Line {
    match group.membership {
        Membership::Joined if group.admin => Line::new().styled(GOOD, "administrator"),
        Membership::Joined => Line::new().styled(GOOD, "joined"),
        Membership::Invited => Line::new().styled(WARN, "invited"),
        Membership::Out => Line::new().styled(BAD, "out"),
    }
}

fn count(group: &Group) -> String {
    let joined = group.members.iter().filter(|member| member.membership == Membership::Joined).count();
    match group.members.len() - joined {
        0 => joined.to_string(),
        invited => format!("{joined}, {invited} invited"),
    }
}

fn facts(group: &Group, now: Timestamp) -> Vec<(&'static str, Line)> {
    let mut facts = vec![
        ("id", Line::new().styled(STRONG, &group.id)),
        ("name", Line::new().styled(STRONG, &group.name)),
        ("state", state(group)),
    ];
    if group.membership == Membership::Invited {
        facts.extend(group.invited_by.as_ref().map(|by| ("invited by", named(by, group))));
        facts.push(("hint", Line::of("meshctl group join, or meshctl group decline")));
    }
    let history =
        if group.history { "new members get what was sent before" } else { "new members get what is new" };
    facts.push(("history", Line::of(history)));
    facts.extend(group.members.iter().map(|member| ("member", member_line(member))));
    let since = group.since_at.as_deref().map_or_else(|| "unknown".to_owned(), |at| moment::ago(at, now));
    facts.push(("known since", Line::of(since)));
    facts
}

/// A member's name, if the group has it, and its id.
fn named(id: &str, group: &Group) -> Line {
    let name = group.members.iter().find(|member| member.id == id).and_then(|member| member.name.as_deref());
    Line::of(name.map_or_else(String::new, |name| format!("{name} "))).text(id)
}

fn member_line(member: &Member) -> Line {
    let name = member.name.as_deref().map_or_else(String::new, |name| format!("{name} "));
    let mut line = Line::of(name).text(&member.id);
    if member.me {
        line = line.text(" (me)");
    }
    if member.admin {
        line = line.styled(FAINT, " administrator");
    }
    if member.membership == Membership::Invited {
        line = line.styled(WARN, " invited");
    }
    line
}
