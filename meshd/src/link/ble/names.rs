//! Names on the air that are ours alone. What they mean: docs/ble.md, "Names on the air".

/// The service of the first lane, and what the advertisement's data is of.
pub(crate) const SERVICE: u128 = 0x0b6f_4a2e_6d73_4f1c_9a57_3c1d_e0c0_a101;
/// A lane's characteristic.
pub(crate) const LANE: u128 = 0x0b6f_4a2e_6d73_4f1c_9a57_3c1d_e0c0_a102;

/// Where a node takes L2CAP channels, unless another program does there: in the dynamic range of LE (Core Specification,
/// Vol 3, Part A, 4.22), far from where kernels begin to give numbers out.
pub(crate) const PSM: u16 = 0x00d5;

/// The service of a lane. Each has another one: most systems show a program one service of a name.
pub(crate) fn service(lane: u8) -> u128 {
    SERVICE + (u128::from(lane) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ble::SlotLimits;

    #[test]
    fn every_lane_has_a_name_of_its_own_and_the_first_is_the_documented_one() {
        assert_eq!(service(0), SERVICE);
        assert_eq!(service(3), 0x0b6f_4a2e_6d73_4f1c_9a57_3c1d_e0c0_a401);
        let names: std::collections::BTreeSet<u128> = (0..*SlotLimits::LINKS.end()).map(service).collect();
        assert_eq!(names.len(), usize::from(*SlotLimits::LINKS.end()));
        assert!(!names.contains(&LANE));
    }
}
