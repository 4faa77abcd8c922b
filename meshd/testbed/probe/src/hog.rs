//! Takes from an adapter what others need, and keeps it until it is ended: what the daemon is refused then.

use std::num::NonZeroU16;

use anyhow::{Result, ensure};
use bluer::Uuid;
use bluer::adv::Advertisement;
use bluer::gatt::local::{Application, Service};
use serde_json::json;

/// More advertisements than any controller has.
const ADVERTISEMENTS_MAX: usize = 64;
const SERVICE: Uuid = Uuid::from_u128(0x7d6f_0099_53a1_4c8e_9b0e_6d65_7368_0bed);

/// All advertisements that there are. Prints one line of JSON when they are taken.
pub async fn advertisements(adapter: &str) -> Result<()> {
    let session = bluer::Session::new().await?;
    let adapter = session.adapter(adapter)?;
    let mut taken = Vec::new();
    while taken.len() < ADVERTISEMENTS_MAX {
        match adapter.advertise(Advertisement { discoverable: Some(true), ..Default::default() }).await {
            Ok(advertisement) => taken.push(advertisement),
            Err(error) => {
                eprintln!("after {}: {error}", taken.len());
                break;
            }
        }
    }
    ensure!(!taken.is_empty(), "not one advertisement");
    println!("{}", json!({ "advertisements": taken.len() }));
    std::future::pending().await
}

/// The handle of a service of others'. Prints one line of JSON when it is taken.
pub async fn handle(adapter: &str, handle: u16) -> Result<()> {
    let session = bluer::Session::new().await?;
    let adapter = session.adapter(adapter)?;
    let service =
        Service { uuid: SERVICE, handle: NonZeroU16::new(handle), primary: true, ..Default::default() };
    let services = Application { services: vec![service], ..Default::default() };
    let _services = adapter.serve_gatt_application(services).await?;
    println!("{}", json!({ "handle": handle }));
    std::future::pending().await
}
