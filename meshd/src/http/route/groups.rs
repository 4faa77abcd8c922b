//! Groups: founded, joined, changed, left.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{Group, GroupChange, NewGroup, NewMember, Page};
use meshlink_core::group::entry::GroupId;
use meshlink_core::node::groups::Part;
use meshlink_core::node::{GroupDraft, GroupError, Node};
use meshlink_core::{NodeId, Now, Store as _};

use super::PageQuery;
use super::send::recipient;
use crate::http::app::App;
use crate::http::intake::{self, Parameters, PathPair, PathText};
use crate::http::problem::{Code, Failure};
use crate::http::render::Renderer;
use crate::sqlite::SqliteStore;

/// Groups this node is in or invited to, by id.
#[utoipa::path(
    get, path = "/v1/groups", tag = "groups", operation_id = "list_groups", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Group>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Group>>, Failure> {
    let groups = app
        .read(|node, now| {
            let mut renderer = Renderer::new(node, now);
            let own = node.id();
            let known = node.groups().iter().filter(|(_, group)| group.part_of(&own) != Part::Out);
            known.map(|(id, group)| Ok(renderer.group(id, group)?)).collect::<Result<Vec<_>, Failure>>()
        })
        .await?;
    Ok(Json(super::page_of(groups, |group: &Group| group.id.clone(), &query)?))
}

/// Founds a group and invites contacts to it.
#[utoipa::path(
    post, path = "/v1/groups", tag = "groups", operation_id = "found_group", request_body = NewGroup,
    responses((status = 201, description = "Founded; the invitations are under way.", body = Group)),
)]
pub(crate) async fn found(State(app): State<App>, body: Bytes) -> Result<(StatusCode, Json<Group>), Failure> {
    let NewGroup { name, history, members } = intake::from_json(&body)?;
    let group = app
        .write(move |node, now| {
            let members = members.iter().map(|who| recipient(node, who)).collect::<Result<_, _>>()?;
            let draft = GroupDraft { name, history, members };
            let id = node.found_group(draft, now).map_err(group_failure)?;
            shown(node, &id, now)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(group)))
}

/// One group; also one that was left.
#[utoipa::path(
    get, path = "/v1/groups/{id}", tag = "groups", operation_id = "get_group",
    params(("id" = String, Path, description = "Its id, or its name if no other group here has it.")),
    responses((status = 200, description = "The group.", body = Group)),
)]
pub(crate) async fn show(State(app): State<App>, PathText(which): PathText) -> Result<Json<Group>, Failure> {
    let group = app.read(move |node, now| shown(node, &group_id(node, &which)?, now)).await?;
    Ok(Json(group))
}

/// Changes a group's name or policy. Administrators can.
#[utoipa::path(
    patch, path = "/v1/groups/{id}", tag = "groups", operation_id = "change_group", request_body = GroupChange,
    params(("id" = String, Path, description = "Its id, or its name if no other group here has it.")),
    responses((status = 200, description = "The group.", body = Group)),
)]
pub(crate) async fn change(
    State(app): State<App>,
    PathText(which): PathText,
    body: Bytes,
) -> Result<Json<Group>, Failure> {
    let GroupChange { name, history } = intake::from_json(&body)?;
    act(app, which, move |node, group, now| {
        if let Some(name) = name {
            node.rename_group(group, name, now)?;
        }
        history.map_or(Ok(()), |history| node.set_group_history(group, history, now))
    })
    .await
}

/// Accepts an invitation.
#[utoipa::path(
    post, path = "/v1/groups/{id}/join", tag = "groups", operation_id = "join_group",
    params(("id" = String, Path, description = "Its id, or its name if no other group here has it.")),
    responses((status = 200, description = "The group.", body = Group)),
)]
pub(crate) async fn join(State(app): State<App>, PathText(which): PathText) -> Result<Json<Group>, Failure> {
    act(app, which, |node, group, now| node.join_group(group, now)).await
}

/// Leaves a group, or declines an invitation. Messages stay.
#[utoipa::path(
    post, path = "/v1/groups/{id}/leave", tag = "groups", operation_id = "leave_group",
    params(("id" = String, Path, description = "Its id, or its name if no other group here has it.")),
    responses((status = 200, description = "The group as it was left.", body = Group)),
)]
pub(crate) async fn leave(State(app): State<App>, PathText(which): PathText) -> Result<Json<Group>, Failure> {
    act(app, which, |node, group, now| node.leave_group(group, now)).await
}

/// Invites a contact, or makes a member an administrator. Administrators can.
#[utoipa::path(
    post, path = "/v1/groups/{id}/members", tag = "groups", operation_id = "invite_to_group", request_body = NewMember,
    params(("id" = String, Path, description = "Its id, or its name if no other group here has it.")),
    responses((status = 200, description = "The group; the invitation is under way.", body = Group)),
)]
pub(crate) async fn invite(
    State(app): State<App>,
    PathText(which): PathText,
    body: Bytes,
) -> Result<Json<Group>, Failure> {
    let NewMember { who, admin } = intake::from_json(&body)?;
    let group = app
        .write(move |node, now| {
            let group = group_id(node, &which)?;
            let who = person_in(node, &group, &who)?;
            node.invite_to_group(&group, &who, admin, now).map_err(group_failure)?;
            shown(node, &group, now)
        })
        .await?;
    Ok(Json(group))
}

/// Removes a member, or takes an invitation back. Administrators can.
#[utoipa::path(
    delete, path = "/v1/groups/{id}/members/{who}", tag = "groups", operation_id = "remove_from_group",
    params(
        ("id" = String, Path, description = "Its id, or its name if no other group here has it."),
        ("who" = String, Path, description = "The member's name or node id."),
    ),
    responses((status = 200, description = "The group.", body = Group)),
)]
pub(crate) async fn remove(
    State(app): State<App>,
    PathPair(which, who): PathPair,
) -> Result<Json<Group>, Failure> {
    let group = app
        .write(move |node, now| {
            let group = group_id(node, &which)?;
            let who = person_in(node, &group, &who)?;
            node.remove_from_group(&group, &who, now).map_err(group_failure)?;
            shown(node, &group, now)
        })
        .await?;
    Ok(Json(group))
}

/// Does something to a group, and shows it.
async fn act(
    app: App,
    which: String,
    what: impl FnOnce(&mut Node<SqliteStore>, &GroupId, Now) -> Result<(), GroupError> + Send + 'static,
) -> Result<Json<Group>, Failure> {
    let group = app
        .write(move |node, now| {
            let group = group_id(node, &which)?;
            what(node, &group, now).map_err(group_failure)?;
            shown(node, &group, now)
        })
        .await?;
    Ok(Json(group))
}

fn shown(node: &Node<SqliteStore>, id: &GroupId, now: Now) -> Result<Group, Failure> {
    let group = node.groups().get(id).ok_or_else(|| group_failure(GroupError::Unknown { group: *id }))?;
    Ok(Renderer::new(node, now).group(id, group)?)
}

/// The group that an id means, or a name that one group here has.
pub(super) fn group_id(node: &Node<SqliteStore>, which: &str) -> Result<GroupId, Failure> {
    if let Ok(id) = which.to_ascii_lowercase().parse() {
        return Ok(id);
    }
    let own = node.id();
    let is_meant = |name: &str| name.to_lowercase() == which.to_lowercase();
    let mut called = node
        .groups()
        .iter()
        .filter(|(_, group)| is_meant(&group.view().name) && group.part_of(&own) != Part::Out)
        .map(|(id, _)| *id);
    match (called.next(), called.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(Code::AmbiguousId
            .because(format!("more than one group here is called {which:?}"))
            .hint("use its id: GET /v1/groups lists them")),
        (None, _) => Err(Code::NotFound
            .because(format!("{which:?} is no group here"))
            .hint("GET /v1/groups lists them")),
    }
}

/// Whom a name means: a contact, or a member whose name is its own.
fn person_in(node: &Node<SqliteStore>, group: &GroupId, who: &str) -> Result<NodeId, Failure> {
    let found = recipient(node, who);
    if found.is_ok() {
        return found;
    }
    let Some(group) = node.groups().get(group) else { return found };
    let calls_itself = |id: &NodeId| -> Result<bool, Failure> {
        let name = node.store().peer(id)?.and_then(|peer| peer.profile).and_then(|profile| profile.name);
        Ok(name.is_some_and(|name| name.to_lowercase() == who.to_lowercase()))
    };
    let mut meant = Vec::new();
    for id in group.view().members.keys() {
        if node.contact(id).is_none() && calls_itself(id)? {
            meant.push(*id);
        }
    }
    match meant.as_slice() {
        [one] => Ok(*one),
        [_, _, ..] => Err(Code::AmbiguousId
            .because(format!("more than one member calls itself {who:?}"))
            .hint("use the node id")),
        [] => found,
    }
}

fn group_failure(error: GroupError) -> Failure {
    let failure = |code: Code| code.because(error.to_string());
    match &error {
        GroupError::Store(error) => error.clone().into(),
        GroupError::Unknown { .. } => failure(Code::NotFound).hint("GET /v1/groups lists them"),
        GroupError::NotMember { .. } => {
            failure(Code::NotInGroup).hint("join it first, if it is an invitation")
        }
        GroupError::NotInvited { .. } => {
            failure(Code::NotInGroup).hint("ask one of its administrators for an invitation")
        }
        GroupError::NotAdmin { .. } | GroupError::Senior { .. } => {
            failure(Code::NotAdministrator).hint("GET /v1/groups/{id} says who is one")
        }
        GroupError::AlreadyIn { .. } => failure(Code::AlreadyMember),
        GroupError::NoMember { .. } => failure(Code::NotFound),
        GroupError::NoContact { .. } => failure(Code::UnknownRecipient).hint("POST /v1/contacts adds one"),
        GroupError::NoKeys { .. } => {
            failure(Code::KeysUnknown).hint("they come with the contact's bundles; or use a code")
        }
        GroupError::Blocked { who } => {
            failure(Code::RecipientBlocked).hint(format!("unblock it first: POST /v1/peers/{who}/unblock"))
        }
        GroupError::BadName { .. } => failure(Code::InvalidName),
        GroupError::TooManyMembers { .. } => failure(Code::LimitReached).hint("remove one"),
        GroupError::TooManyGroups { .. } => failure(Code::LimitReached),
        GroupError::TooManyEntries { .. } => failure(Code::LimitReached),
    }
}
