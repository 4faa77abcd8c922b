//! What a carrier that keeps to nothing does to its store: honest nodes must lose nothing by it, and show nothing of it.

use meshlink_core::bundle::{BundleBytes, Content, NewBundle};
use meshlink_core::identity::Identity;
use meshlink_core::limits::COPIES_MAX;
use meshlink_core::mem::MemStore;
use meshlink_core::receipt::{Receipt, Stage};
use meshlink_core::store::{Class, OfferKey, Store, StoredBundle};

use crate::dice::Dice;

/// Drops everything that others wrote, and does not remember it; returns it.
pub(crate) fn drop_all(store: &mut MemStore) -> Vec<StoredBundle> {
    let carried: Vec<StoredBundle> =
        all(store).into_iter().filter(|bundle| bundle.class != Class::Own).collect();
    for bundle in &carried {
        store.drop_bundle(&bundle.id, 0).expect("a store in memory");
    }
    store.forget_dropped(1, usize::MAX).expect("a store in memory");
    store.commit().expect("a store in memory");
    carried
}

/// Holds again what it dropped, as if it had come just now.
pub(crate) fn bring_back(store: &mut MemStore, archive: &[StoredBundle], now_tl_ms: u64) {
    for bundle in archive {
        if store.bundle(&bundle.id).expect("a store in memory").is_none() {
            let again = StoredBundle { received_tl_ms: now_tl_ms, hops: 0, copies: 255, ..bundle.clone() };
            store.insert_bundle(&again).expect("a store in memory");
        }
    }
    store.commit().expect("a store in memory");
}

/// Claims to hold what it never had: bundles of these names, with other bytes.
pub(crate) fn pretend(store: &mut MemStore, names: &[StoredBundle]) {
    for bundle in names {
        if store.bundle(&bundle.id).expect("a store in memory").is_none() {
            let payload = bundle.payload.iter().map(|byte| !byte).collect();
            store.insert_bundle(&StoredBundle { payload, ..bundle.clone() }).expect("a store in memory");
        }
    }
    store.commit().expect("a store in memory");
}

/// Holds receipts for letters that it did not open, made of all that carriers see of their secrets; says how many.
pub(crate) fn acknowledge(store: &mut MemStore, archive: &[StoredBundle], now_tl_ms: u64) -> usize {
    let commitments = archive.iter().filter(|bundle| bundle.class != Class::Receipt);
    let mut made = 0;
    for commitment in commitments.filter_map(|bundle| bundle.commitment) {
        for stage in [Stage::Delivered, Stage::Read] {
            let guess = Receipt { stage, value: commitment.0 };
            let receipt = NewBundle::receipt(&guess);
            let forged = StoredBundle {
                id: receipt.id,
                kind: receipt.header.kind.number(),
                priority: receipt.header.priority,
                class: Class::Receipt,
                origin: None,
                age_ms: 0,
                received_tl_ms: now_tl_ms,
                expires_tl_ms: now_tl_ms + receipt.header.lifetime_ms(),
                hops: 0,
                copies: COPIES_MAX,
                ingress: None,
                unshown_in: None,
                commitment: Some(guess.commitment()),
                header: receipt.header_bytes,
                payload: receipt.payload,
                auth: receipt.auth,
            };
            if store.bundle(&forged.id).expect("a store in memory").is_none() {
                store.insert_bundle(&forged).expect("a store in memory");
            }
            made += 1;
        }
    }
    store.commit().expect("a store in memory");
    made
}

/// Puts other words under somebody's signature; with somebody's keys the signature is right.
pub(crate) fn make_up(store: &mut MemStore, keys: Option<[u8; 64]>, dice: &mut Dice) {
    let bundles = all(store);
    if bundles.is_empty() {
        return;
    }
    let victim = &bundles[dice.below(bundles.len())];
    let bytes = BundleBytes { header: &victim.header, payload: &victim.payload, auth: &victim.auth };
    let Ok(parsed) = bytes.parse() else { return };
    let Ok(Content::Post(mut post)) = parsed.read() else { return };
    post.text = format!("made up {}", dice.between(0, u64::MAX - 1));
    let payload = post.encode();
    let header = parsed.header;
    let forged = match keys {
        Some(keys) => {
            let made = NewBundle::sign(header, payload, &Identity::from_bytes(&keys));
            StoredBundle {
                id: made.id,
                header: made.header_bytes,
                payload: made.payload,
                auth: made.auth,
                ..victim.clone()
            }
        }
        None => {
            let header = header.encode();
            let bytes = BundleBytes { header: &header, payload: &payload, auth: &victim.auth };
            let Ok(id) = bytes.name().map(|named| named.id) else { return };
            StoredBundle { id, header, payload, ..victim.clone() }
        }
    };
    let forged = StoredBundle { class: Class::Stranger, ingress: None, ..forged };
    store.insert_bundle(&forged).expect("a store in memory");
    store.commit().expect("a store in memory");
}

fn all(store: &MemStore) -> Vec<StoredBundle> {
    let offers = store.offers(OfferKey::START, usize::MAX).expect("a store in memory");
    let held = offers.iter().map(|offer| store.bundle(&offer.id).expect("a store in memory"));
    held.map(|bundle| bundle.expect("it is offered")).collect()
}
