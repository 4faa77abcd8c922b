//! The offer: what a caller reads before it takes a lane. Layout: docs/ble.md, "Names on the air".

/// What version of the link this is.
const VERSION: u8 = 1;
/// In place of a lane: none is free.
const NO_LANE: u8 = 0xff;
/// In place of a PSM: there is no L2CAP.
const NO_PSM: u16 = 0;
/// Smallest and largest window that make sense, in KiB.
const WINDOW_KIB: std::ops::RangeInclusive<u8> = 4..=64;

/// What is under way on a link at most, in KiB; BlueZ's sockets hold it. On a poor radio it is less: `pace`.
pub(crate) const OUR_WINDOW_KIB: u8 = 64;
/// The same in bytes.
pub(crate) const OUR_WINDOW_BYTES: usize = OUR_WINDOW_KIB as usize * 1024;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The lane given to whoever reads; `None`: come back later.
    pub(crate) lane: Option<u8>,
    /// Where whoever has a lane may open an L2CAP channel in place of it.
    pub(crate) psm: Option<u16>,
    /// The window in both directions, in KiB.
    pub(crate) window_kib: u8,
}

/// Why an offer can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    /// Another version, or not an offer.
    #[error("it speaks another version of the link")]
    Version,
    /// A window of no use.
    #[error("its window of {0} KiB is of no use")]
    Window(u8),
}

impl Offer {
    /// As it is read.
    pub(crate) fn encode(self) -> Vec<u8> {
        let [low, high] = self.psm.unwrap_or(NO_PSM).to_le_bytes();
        vec![VERSION, self.lane.unwrap_or(NO_LANE), low, high, self.window_kib]
    }

    /// Understands an offer. Longer ones are a later version's that still speaks this one.
    ///
    /// # Errors
    /// [`OfferError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OfferError> {
        let Some(&[VERSION, lane, low, high, window_kib]) = bytes.first_chunk() else {
            return Err(OfferError::Version);
        };
        if !WINDOW_KIB.contains(&window_kib) {
            return Err(OfferError::Window(window_kib));
        }
        let psm = u16::from_le_bytes([low, high]);
        Ok(Self { lane: (lane != NO_LANE).then_some(lane), psm: (psm != NO_PSM).then_some(psm), window_kib })
    }

    /// The window in bytes.
    pub(crate) fn window_bytes(self) -> usize {
        usize::from(self.window_kib) * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_offer_is_read_as_it_was_meant(
            lane in prop::option::of(0..NO_LANE),
            psm in prop::option::of(1..=u16::MAX),
            window_kib in WINDOW_KIB,
        ) {
            let offer = Offer { lane, psm, window_kib };
            prop_assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
        }

        #[test]
        fn w03_garbage_is_refused_or_read_and_never_panics(bytes: Vec<u8>) {
            if let Ok(offer) = Offer::decode(&bytes) {
                prop_assert!(WINDOW_KIB.contains(&offer.window_kib));
            }
        }
    }

    #[test]
    fn b06_windows_of_no_use_and_other_versions_are_refused() {
        assert_eq!(Offer::decode(&[1, 0, 0, 0, 0]), Err(OfferError::Window(0)));
        assert_eq!(Offer::decode(&[1, 0, 0, 0, 255]), Err(OfferError::Window(255)));
        assert_eq!(Offer::decode(&[2, 0, 0, 0, 32]), Err(OfferError::Version));
        assert_eq!(Offer::decode(&[1, 0, 0, 0]), Err(OfferError::Version));
    }
}
