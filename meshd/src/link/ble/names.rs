//! Names on the air that are ours alone. What they mean: docs/ble.md, "Names on the air".

/// The service of every lane, and what the advertisement's data is of.
pub(crate) const SERVICE: u128 = 0x0b6f_4a2e_6d73_4f1c_9a57_3c1d_e0c0_a101;
/// A lane's characteristic.
pub(crate) const LANE: u128 = 0x0b6f_4a2e_6d73_4f1c_9a57_3c1d_e0c0_a102;
