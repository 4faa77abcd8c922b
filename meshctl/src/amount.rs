//! Amounts for people.

/// A number of bytes in the unit that leaves at most four digits.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut size = 1_u64;
    while count / size >= 1000 {
        size *= 1000;
        unit += 1;
    }
    let tenths = count % size * 10 / size.max(1);
    if size == 1 || count / size >= 100 {
        format!("{} {}", count / size, units[unit])
    } else {
        format!("{}.{tenths} {}", count / size, units[unit])
    }
}

/// How much of its room a store uses.
pub(crate) fn of_bundles(count: u64, used_bytes: u64, bytes_max: u64) -> String {
    let noun = if count == 1 { "bundle" } else { "bundles" };
    format!("{count} {noun}, {} of {}", bytes(used_bytes), bytes(bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, words) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (34_123, "34.1 kB"), (268_435_456, "268 MB")]
        {
            assert_eq!(bytes(count), words);
        }
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn one_bundle_is_no_bundles() {
        assert_eq!(of_bundles(1, 512, 1000), "1 bundle, 512 B of 1.0 kB");
        assert_eq!(of_bundles(0, 0, 1000), "0 bundles, 0 B of 1.0 kB");
    }
}
