//! Contacts, and how this node shows who it is.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{
    Code as ShownCode, Contact, ContactChange, Identity, Introduction, NewCode, NewContact, Page, Resolution,
    Verification,
};
use meshlink_core::node::{ContactDraft, ContactError, Node};
use meshlink_core::private::code::Code as ContactCode;
use meshlink_core::{NodeId, Now};

use super::PageQuery;
use crate::http::app::App;
use crate::http::intake::{self, Parameters, PathText};
use crate::http::problem::{Code, Failure};
use crate::http::render::{self, Renderer};
use crate::sqlite::SqliteStore;

/// What a QR code of a node id begins with.
const ID_PREFIX: &str = "MESHLINK:";

/// Contacts, and those who wrote first, by id.
#[utoipa::path(
    get, path = "/v1/contacts", tag = "contacts", operation_id = "list_contacts", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Contact>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Contact>>, Failure> {
    let contacts = app
        .read(|node, now| {
            let renderer = Renderer::new(node, now);
            Ok::<_, Failure>(
                node.contacts().map(|(id, contact)| renderer.contact(id, contact)).collect::<Vec<_>>(),
            )
        })
        .await?;
    let key = |contact: &Contact| contact.id.clone();
    Ok(Json(super::page_of(contacts, key, &query)?))
}

/// Adds a contact by its id or by its code. By a code it is greeted at once.
#[utoipa::path(
    post, path = "/v1/contacts", tag = "contacts", operation_id = "add_contact", request_body = NewContact,
    responses(
        (status = 201, description = "Added.", body = Contact),
        (status = 200, description = "It was a contact already.", body = Contact),
    ),
)]
pub(crate) async fn add(State(app): State<App>, body: Bytes) -> Result<(StatusCode, Json<Contact>), Failure> {
    let draft = draft(intake::from_json(&body)?)?;
    let (contact, new) = app
        .write(move |node, now| {
            let (id, new) = node.add_contact(draft, now).map_err(contact_failure)?;
            Ok::<_, Failure>((shown(node, &id, now)?, new))
        })
        .await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(contact)))
}

/// One contact.
#[utoipa::path(
    get, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "get_contact",
    params(("id" = String, Path, description = "Its name or node id.")),
    responses((status = 200, description = "The contact.", body = Contact)),
)]
pub(crate) async fn show(State(app): State<App>, PathText(who): PathText) -> Result<Json<Contact>, Failure> {
    let contact = app
        .read(move |node, now| {
            let id = contact_id(node, &who)?;
            shown(node, &id, now)
        })
        .await?;
    Ok(Json(contact))
}

/// Changes a contact: its name, its receipts, whether it is accepted, who it is.
#[utoipa::path(
    patch, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "change_contact", request_body = ContactChange,
    params(("id" = String, Path, description = "Its name or node id.")),
    responses((status = 200, description = "The contact; after `\"resolve\": \"replace\"` the one that has the name now.", body = Contact)),
)]
pub(crate) async fn change(
    State(app): State<App>,
    PathText(who): PathText,
    body: Bytes,
) -> Result<Json<Contact>, Failure> {
    let change: ContactChange = intake::from_json(&body)?;
    let contact = app
        .write(move |node, now| {
            let id = contact_id(node, &who)?;
            let id = apply(node, id, change, now)?;
            shown(node, &id, now)
        })
        .await?;
    Ok(Json(contact))
}

fn apply(
    node: &mut Node<SqliteStore>,
    id: NodeId,
    change: ContactChange,
    now: Now,
) -> Result<NodeId, Failure> {
    let ContactChange { name, receipts, accept, verified, resolve } = change;
    if verified == Some(true) {
        return Err(Code::InvalidBody
            .because("a contact is verified by its safety number")
            .hint("POST /v1/contacts/{id}/verify with the number that the other person's device shows"));
    }
    if let Some(name) = name {
        node.rename_contact(&id, Some(name), now).map_err(contact_failure)?;
    }
    if let Some(receipts) = receipts {
        node.set_receipts(&id, render::core_receipts(receipts), now).map_err(contact_failure)?;
    }
    if accept == Some(true) {
        node.accept_contact(&id, now).map_err(contact_failure)?;
    }
    if verified == Some(false) {
        node.unverify_contact(&id, now).map_err(contact_failure)?;
    }
    match resolve {
        Some(resolution) => {
            node.resolve_rival(&id, resolution == Resolution::Keep, now).map_err(contact_failure)
        }
        None => Ok(id),
    }
}

/// Removes a contact with the keys shared with it. Messages stay.
#[utoipa::path(
    delete, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "remove_contact",
    params(("id" = String, Path, description = "Its name or node id.")),
    responses((status = 204, description = "Removed.")),
)]
pub(crate) async fn remove(State(app): State<App>, PathText(who): PathText) -> Result<StatusCode, Failure> {
    app.write(move |node, now| {
        let id = contact_id(node, &who)?;
        node.remove_contact(&id, now)?;
        Ok::<_, Failure>(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Marks a contact verified, if the number is the right one.
#[utoipa::path(
    post, path = "/v1/contacts/{id}/verify", tag = "contacts", operation_id = "verify_contact", request_body = Verification,
    params(("id" = String, Path, description = "Its name or node id.")),
    responses((status = 200, description = "The contact.", body = Contact)),
)]
pub(crate) async fn verify(
    State(app): State<App>,
    PathText(who): PathText,
    body: Bytes,
) -> Result<Json<Contact>, Failure> {
    let Verification { safety_number } = intake::from_json(&body).map_err(|failure| {
        failure.hint("{\"safety_number\": \"...\"}: the digits that the other person's device shows, which must be those of GET /v1/contacts/{id}")
    })?;
    let contact = app
        .write(move |node, now| {
            let id = contact_id(node, &who)?;
            node.verify_contact(&id, &safety_number, now).map_err(contact_failure)?;
            shown(node, &id, now)
        })
        .await?;
    Ok(Json(contact))
}

/// Tells another contact who a verified one is.
#[utoipa::path(
    post, path = "/v1/contacts/{id}/introduce", tag = "contacts", operation_id = "introduce_contact", request_body = Introduction,
    params(("id" = String, Path, description = "Name or node id of the one to be introduced.")),
    responses((status = 202, description = "It is under way.", body = Contact)),
)]
pub(crate) async fn introduce(
    State(app): State<App>,
    PathText(who): PathText,
    body: Bytes,
) -> Result<(StatusCode, Json<Contact>), Failure> {
    let Introduction { to } = intake::from_json(&body)?;
    let contact = app
        .write(move |node, now| {
            let (id, to) = (contact_id(node, &who)?, contact_id(node, &to)?);
            node.introduce(&id, &to, now).map_err(contact_failure)?;
            shown(node, &id, now)
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(contact)))
}

/// Who this node is.
#[utoipa::path(
    get, path = "/v1/identity", tag = "contacts", operation_id = "get_identity",
    responses((status = 200, description = "Its id and public keys.", body = Identity)),
)]
pub(crate) async fn identity(State(app): State<App>) -> Result<Json<Identity>, Failure> {
    let identity = app
        .read(|node, _| {
            let keys = node.identity().public();
            let id = node.id().to_string();
            Ok::<_, Failure>(Identity {
                qr_text: format!("{ID_PREFIX}{}", id.to_ascii_uppercase()),
                id,
                name: node.profile()?.name,
                ed25519: data_encoding::HEXLOWER.encode(&keys.ed),
                x25519: data_encoding::HEXLOWER.encode(&keys.x),
            })
        })
        .await?;
    Ok(Json(identity))
}

/// Makes a code for one other person, who can write at once by it.
#[utoipa::path(
    post, path = "/v1/identity/code", tag = "contacts", operation_id = "make_code", request_body = NewCode,
    responses((status = 201, description = "It works once.", body = ShownCode)),
)]
pub(crate) async fn make_code(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<ShownCode>), Failure> {
    let NewCode { in_person } = if body.is_empty() { NewCode::default() } else { intake::from_json(&body)? };
    let code = app.write(move |node, now| node.make_code(in_person, now).map_err(contact_failure)).await?;
    let expires_at = Some(code.expires_unix_s).filter(|s| *s > 0).and_then(|s| render::time(s * 1000));
    Ok((StatusCode::CREATED, Json(ShownCode { code: code.to_string(), expires_at })))
}

fn draft(new: NewContact) -> Result<ContactDraft, Failure> {
    let NewContact { id, code, name, in_person } = new;
    let mut draft = ContactDraft { name, in_person, ..ContactDraft::default() };
    if let Some(id) = id {
        let id = id.trim().to_ascii_lowercase();
        let id = id.parse().map_err(|e| Code::InvalidId.because(format!("id: {e}")))?;
        draft.id = Some(id);
    }
    if let Some(code) = code {
        let shown_id = code.trim().to_ascii_uppercase().strip_prefix(ID_PREFIX).map(str::to_ascii_lowercase);
        match shown_id.and_then(|id| id.parse().ok()) {
            Some(id) => draft.id = Some(id),
            None => {
                let parsed: Result<ContactCode, _> = code.parse();
                draft.code = Some(parsed.map_err(|e| Code::InvalidCode.because(e.to_string()))?);
            }
        }
    }
    Ok(draft)
}

/// The contact that a name or a node id means.
fn contact_id(node: &Node<SqliteStore>, who: &str) -> Result<NodeId, Failure> {
    let id = who
        .to_ascii_lowercase()
        .parse()
        .ok()
        .or_else(|| node.contact_called(who).or_else(|| node.contact_called(who.strip_prefix('@')?)));
    id.filter(|id| node.contact(id).is_some()).ok_or_else(|| {
        Code::NotFound
            .because(format!("{who:?} is no contact"))
            .hint("`meshctl contact list` and GET /v1/contacts list them")
    })
}

fn shown(node: &Node<SqliteStore>, id: &NodeId, now: Now) -> Result<Contact, Failure> {
    let contact = node.contact(id).ok_or_else(|| Code::NotFound.because(format!("{id} is no contact")))?;
    Ok(Renderer::new(node, now).contact_in_full(id, contact))
}

fn contact_failure(error: ContactError) -> Failure {
    let failure = |code: Code| code.because(error.to_string());
    match &error {
        ContactError::Store(error) => error.clone().into(),
        ContactError::NobodyNamed => failure(Code::InvalidBody).hint("give either \"id\" or \"code\""),
        ContactError::Oneself => {
            failure(Code::InvalidId).hint("notes to yourself need no contact: send to your own id")
        }
        ContactError::Unknown { .. } => failure(Code::NotFound),
        ContactError::CodeExpired => failure(Code::InvalidCode).hint("ask for a new one"),
        ContactError::TooMany { .. } => failure(Code::LimitReached).hint("remove one"),
        ContactError::TooManyCodes { .. } => {
            failure(Code::LimitReached).hint("unused codes expire by themselves")
        }
        ContactError::BadName { .. } => failure(Code::InvalidName),
        ContactError::NameTaken { .. } => failure(Code::NameTaken).hint("choose another name"),
        ContactError::NoKeys => {
            failure(Code::KeysUnknown).hint("they come with the contact's bundles; or use a code")
        }
        ContactError::WrongNumber => failure(Code::WrongSafetyNumber)
            .hint("compare again, in person; if it stays different, do not trust this contact"),
        ContactError::NoRival => failure(Code::InvalidBody),
        ContactError::NotVerified => failure(Code::NotVerified).hint("verify it first"),
    }
}
