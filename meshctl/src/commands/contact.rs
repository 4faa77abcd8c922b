//! `contact`: whom this node writes with, and how others get to know it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder, QRCode};
use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{
    Code, Contact, ContactChange, ContactState, Identity, Introduction, NewCode, NewContact, Trust,
    Verification,
};

use super::Console;
use crate::args::{ContactAction, NewContactArgs, ShownCode};
use crate::failure::Failure;
use crate::limits::ID_CHARS_SHOWN;
use crate::line::{BAD, Column, FAINT, GOOD, Line, STRONG, Table, WARN};
use crate::message_view::short_id;
use crate::moment;
use crate::request::Request;

const CONTACTS: &str = "/v1/contacts";
const PEERS: &str = "/v1/peers";
/// A code is a few hundred characters; more than this is something else.
const CODE_BYTES_MAX: u64 = 4096;

/// `meshctl contact`.
pub(super) async fn contacts(
    console: &mut Console<'_>,
    action: Option<ContactAction>,
) -> Result<(), Failure> {
    match action.unwrap_or(ContactAction::List) {
        ContactAction::List => {
            let pages = console.daemon.list(Request::get(CONTACTS), None);
            console.show_list(pages, table, row, "no contacts yet: `meshctl contact add`").await
        }
        ContactAction::Me => {
            console
                .show(&Request::get("/v1/identity"), |screen, identity: &Identity, _| {
                    screen.facts(identity_facts(identity))?;
                    draw(screen, &identity.qr_text)
                })
                .await
        }
        ContactAction::Code(shown) => code(console, shown).await,
        ContactAction::Add(new) => {
            let request = Request::post(CONTACTS).json(&new_contact(new)?);
            show_one(console, &request).await
        }
        ContactAction::Show { who } => show_one(console, &Request::get(CONTACTS).id(&who)).await,
        ContactAction::Verify { who, number } => verify(console, &who, number).await,
        ContactAction::Unverify { who } => {
            change(console, &who, &ContactChange { verified: Some(false), ..ContactChange::default() }).await
        }
        ContactAction::Rename { who, name } => {
            change(console, &who, &ContactChange { name: Some(name), ..ContactChange::default() }).await
        }
        ContactAction::Accept { who } => {
            change(console, &who, &ContactChange { accept: Some(true), ..ContactChange::default() }).await
        }
        ContactAction::Receipts { who, which } => {
            change(console, &who, &ContactChange { receipts: Some(which.0), ..ContactChange::default() })
                .await
        }
        ContactAction::Resolve { who, resolution } => {
            let resolve = Some(resolution.0);
            change(console, &who, &ContactChange { resolve, ..ContactChange::default() }).await
        }
        ContactAction::Introduce { who, to } => {
            let body = Introduction { to: to.clone() };
            let request = Request::post(CONTACTS).id(&who).action("introduce").json(&body);
            console.daemon.tell(&request).await?;
            let line = Line::of(format!("{to} will hear who {who} is"));
            console.report(&[("id", &who), ("to", &to), ("done", "introduced")], line)
        }
        ContactAction::Remove { who } => {
            console.daemon.tell(&Request::new(Method::DELETE, CONTACTS).id(&who)).await?;
            console.report(&[("id", &who), ("done", "removed")], Line::of(format!("{who} removed")))
        }
        ContactAction::Block { who } => set_block(console, &who, "block", "blocked").await,
        ContactAction::Unblock { who } => set_block(console, &who, "unblock", "unblocked").await,
    }
}

fn new_contact(new: NewContactArgs) -> Result<NewContact, Failure> {
    let mut who = new.who;
    if who == "-" {
        who.clear();
        std::io::stdin().take(CODE_BYTES_MAX).read_to_string(&mut who).map_err(|error| Failure::Failed {
            what: format!("can't read standard input: {}", crate::failure::cause(&error)),
            hint: None,
        })?;
    }
    let is_code = who.trim().to_ascii_uppercase().starts_with("MESHLINK:");
    let (id, code) = if is_code { (None, Some(who)) } else { (Some(who.trim().to_owned()), None) };
    Ok(NewContact { id, code, name: new.name, in_person: new.in_person })
}

async fn code(console: &mut Console<'_>, shown: ShownCode) -> Result<(), Failure> {
    let request = Request::post("/v1/identity/code").json(&NewCode { in_person: shown.in_person });
    let answer = console.daemon.ask::<Code>(&request).await?;
    let Code { code, expires_at } = answer.value;
    if let Some(path) = &shown.svg {
        write_svg(path, &code)?;
        console.screen.say(Line::of(format!("the QR code is in {}", path.display())));
    }
    if console.screen.is_json() {
        return console.screen.json(&answer.raw);
    }
    if std::io::stdout().is_terminal() {
        draw(console.screen, &code)?;
    }
    console.screen.line(&Line::of(&code))?;
    let until = expires_at.as_deref().map_or_else(|| "for a while".to_owned(), |at| format!("until {at}"));
    console.screen.say(Line::of(format!(
        "it works once, {until}; whoever has it can use it, so give it to one person only. They run:"
    )));
    let in_person = if shown.in_person { " --in-person" } else { "" };
    console.screen.say(Line::of(format!("  meshctl contact add{in_person} 'MESHLINK:...'")));
    Ok(())
}

async fn verify(console: &mut Console<'_>, who: &str, number: Option<String>) -> Result<(), Failure> {
    if let Some(safety_number) = number {
        let body = Verification { safety_number };
        return show_one(console, &Request::post(CONTACTS).id(who).action("verify").json(&body)).await;
    }
    let answer = console.daemon.ask::<Contact>(&Request::get(CONTACTS).id(who)).await?;
    if console.screen.is_json() {
        return console.screen.json(&answer.raw);
    }
    let Some(number) = answer.value.safety_number else {
        return Err(Failure::Failed {
            what: format!("the keys of {who} are not known yet, so there is no safety number"),
            hint: Some("they come with the first of its bundles".into()),
        });
    };
    for half in number.as_bytes().chunks(36) {
        let half = String::from_utf8_lossy(half);
        console.screen.line(&Line::new().styled(STRONG, half.trim_end()))?;
    }
    if std::io::stdout().is_terminal() {
        draw(console.screen, &number)?;
    }
    console.screen.say(Line::of(format!(
        "compare it with what {who} sees, in person or by telephone; if it is the same, run:"
    )));
    console.screen.say(Line::of(format!(
        "  meshctl contact verify {} --number 'the number that the other one sees'",
        typed(who)
    )));
    Ok(())
}

/// A contact as it is typed in a shell; one that would need care is left to the reader.
fn typed(who: &str) -> &str {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if who.chars().all(plain) { who } else { "NAME" }
}

async fn change(console: &mut Console<'_>, who: &str, change: &ContactChange) -> Result<(), Failure> {
    show_one(console, &Request::new(Method::PATCH, CONTACTS).id(who).json(change)).await
}

async fn show_one(console: &mut Console<'_>, request: &Request) -> Result<(), Failure> {
    console.show(request, |screen, contact: &Contact, now| screen.facts(facts(contact, now))).await
}

async fn set_block(
    console: &mut Console<'_>,
    who: &str,
    action: &'static str,
    done: &'static str,
) -> Result<(), Failure> {
    let contact = console.daemon.ask::<Contact>(&Request::get(CONTACTS).id(who)).await?.value;
    console.daemon.tell(&Request::post(PEERS).id(&contact.id).action(action)).await?;
    console.report(&[("id", &contact.id), ("done", done)], Line::of(format!("{who} {done}")))
}

/// As large as it must be: the more a code holds, the smaller its points are on a screen.
fn qr(text: &str) -> Result<QRCode, Failure> {
    QRBuilder::new(text).ecl(ECL::L).build().map_err(|error| Failure::Failed {
        what: format!("the text fits in no QR code ({error})"),
        hint: None,
    })
}

fn draw(screen: &mut crate::screen::Screen, text: &str) -> Result<(), Failure> {
    qr(text)?.to_str().lines().try_for_each(|line| screen.line(&Line::of(line)))
}

fn write_svg(path: &Path, text: &str) -> Result<(), Failure> {
    let svg = SvgBuilder::default().to_str(&qr(text)?);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(svg.as_bytes()))
        .map_err(|error| Failure::file("make", path, &error))
}

fn table() -> Table<5> {
    Table::new([
        Column::left("NAME").at_least(16),
        Column::left("TRUST").at_least(10),
        Column::left("STATE").at_least(18),
        Column::left("RECEIPTS"),
        Column::left("ID").at_least(ID_CHARS_SHOWN),
    ])
}

fn row(contact: &Contact, _: Timestamp) -> [Line; 5] {
    [
        name(contact),
        trust(contact),
        state(contact),
        Line::new().styled(FAINT, receipts_word(contact)),
        Line::of(short_id(&contact.id)),
    ]
}

fn name(contact: &Contact) -> Line {
    match (&contact.name, &contact.own_name) {
        (Some(name), _) => Line::new().styled(STRONG, name),
        (None, Some(own)) => Line::new().styled(FAINT, format!("calls itself {own}")),
        (None, None) => Line::new(),
    }
}

fn trust(contact: &Contact) -> Line {
    match contact.trust {
        Trust::Verified => Line::new().styled(GOOD, "verified"),
        Trust::Introduced => Line::of("introduced"),
        Trust::Unverified => Line::new().styled(WARN, "unverified"),
    }
}

fn state(contact: &Contact) -> Line {
    match contact.state {
        ContactState::Ready => Line::new().styled(GOOD, "ready"),
        ContactState::WaitingForKeys => Line::new().styled(WARN, "waiting for keys"),
        ContactState::WaitingForAnswer => Line::new().styled(WARN, "waiting for answer"),
        ContactState::Asking => Line::new().styled(WARN, "asking"),
        ContactState::KeyChanged => Line::new().styled(BAD, "key changed"),
        ContactState::Blocked => Line::new().styled(BAD, "blocked"),
    }
}

fn receipts_word(contact: &Contact) -> &'static str {
    match contact.receipts {
        meshlink_api::Receipts::None => "none",
        meshlink_api::Receipts::Delivered => "delivered",
        meshlink_api::Receipts::Read => "read",
    }
}

fn facts(contact: &Contact, now: Timestamp) -> Vec<(&'static str, Line)> {
    let mut facts = vec![("id", Line::new().styled(STRONG, &contact.id)), ("name", name(contact))];
    facts.extend(contact.own_name.as_ref().map(|own| ("calls itself", Line::of(own))));
    facts.push(("trust", trust(contact)));
    facts.extend(contact.introduced_by.as_ref().map(|by| ("introduced by", Line::of(by))));
    facts.push(("state", state(contact).text(format!(": {}", contact.detail))));
    facts.extend(contact.hint.as_ref().map(|hint| ("hint", Line::of(hint))));
    facts.extend(contact.rival.as_ref().map(|rival| ("claimed by", Line::new().styled(BAD, rival))));
    facts.push(("receipts", Line::of(receipts_word(contact))));
    facts.extend(contact.safety_number.as_ref().map(|number| ("safety number", Line::of(number))));
    let added = contact.added_at.as_deref().map_or_else(|| "unknown".to_owned(), |at| moment::ago(at, now));
    facts.push(("added", Line::of(added)));
    facts
}

fn identity_facts(identity: &Identity) -> Vec<(&'static str, Line)> {
    let mut facts = vec![("id", Line::new().styled(STRONG, &identity.id))];
    facts.extend(identity.name.as_ref().map(|name| ("name", Line::of(name))));
    facts.push(("ed25519", Line::of(&identity.ed25519)));
    facts.push(("x25519", Line::of(&identity.x25519)));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fits_in_a_qr_code_and_its_picture_is_svg() {
        let code = format!("MESHLINK:{}", "A".repeat(320));
        let drawn = qr(&code).expect("it fits").to_str();
        assert!(drawn.lines().count() <= 40, "{}", drawn.lines().count());
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("code.svg");
        write_svg(&path, &code).expect("written");
        assert!(std::fs::read_to_string(&path).expect("there").starts_with("<svg"));
        assert!(write_svg(&path, &code).is_err(), "nothing is overwritten");
    }

    #[test]
    fn what_begins_like_a_code_is_one() {
        let new = |who: &str| {
            let args = NewContactArgs { who: who.to_owned(), name: None, in_person: false };
            new_contact(args).expect("no standard input")
        };
        assert_eq!(new("meshlink:abc").code.as_deref(), Some("meshlink:abc"));
        assert_eq!(new("abc").id.as_deref(), Some("abc"));
    }
}
