//! The memory of a process, for tests that search it. A parent may read its child's unless the system forbids it (Yama), and root
//! always.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Hands over all that a process can write to, part after part. `process` is its number, or `self`.
pub(crate) fn each_writable_part(process: &str, mut look: impl FnMut(&[u8])) {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
    let memory = File::open(format!("/proc/{process}/mem")).expect("this test is allowed to read it");
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |hex| u64::from_str_radix(hex, 16).expect("hexadecimal");
        let (from, to) = (address(from), address(to));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it is in memory")];
        // Some mappings can't be read, such as those of devices.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            look(&bytes);
        }
    }
}
