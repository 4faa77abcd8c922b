//! Whether an adapter is blocked by the kernel's rfkill switch, by software or by a button. BlueZ says only that
//! such an adapter has no power. (Documentation/ABI/stable/sysfs-class-rfkill)

use std::path::{Path, PathBuf};
use std::time::Duration;

const CLASS: &str = "/sys/class/bluetooth";
/// Between two looks at a switch that is on.
pub(super) const LOOK_APART: Duration = Duration::from_millis(250);

/// Whether a switch of that adapter is on. Where it can't be seen, it is not.
pub(super) async fn is_blocked(adapter: &str) -> bool {
    let folder = Path::new(CLASS).join(adapter);
    tokio::task::spawn_blocking(move || has_switch_on(&folder)).await.unwrap_or(false)
}

fn has_switch_on(adapter: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(adapter) else { return false };
    let switches = entries.flatten().map(|entry| entry.path()).filter(|path| is_switch(path));
    switches
        .flat_map(|path| [path.join("soft"), path.join("hard")])
        .any(|file: PathBuf| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1"))
}

fn is_switch(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("rfkill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_switch_blocks_and_other_files_do_not() {
        let adapter = tempfile::tempdir().unwrap();
        let (switch, other) = (adapter.path().join("rfkill7"), adapter.path().join("power"));
        for folder in [&switch, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(other.join("soft"), "1").unwrap();
        assert!(!has_switch_on(adapter.path()));
        for file in ["soft", "hard"] {
            std::fs::write(switch.join(file), "1\n").unwrap();
            assert!(has_switch_on(adapter.path()), "{file}");
            std::fs::write(switch.join(file), "0\n").unwrap();
        }
        assert!(!has_switch_on(adapter.path()));
    }
}
