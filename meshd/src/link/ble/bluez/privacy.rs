//! Whether BlueZ rotates the address on the air. It is the administrator's choice, in main.conf; without it the
//! address names this machine wherever it goes, whatever the beacon does.

const FILE: &str = "/etc/bluetooth/main.conf";
const HINT: &str = "the adapter's own address is on the air and names this machine; to rotate it, set `Privacy = device` in /etc/bluetooth/main.conf";

/// What to tell, if it is not rotated.
pub(super) async fn hint() -> Option<&'static str> {
    let text = tokio::task::spawn_blocking(|| std::fs::read_to_string(FILE)).await;
    match text {
        Ok(Ok(text)) if is_private(&text) => None,
        _ => Some(HINT),
    }
}

fn is_private(text: &str) -> bool {
    let privacy =
        text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "Privacy");
    privacy.is_some_and(|(_, value)| !matches!(value.trim(), "off" | ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_set_and_uncommented_line_counts() {
        assert!(is_private("[General]\nName = x\nPrivacy = device\n"));
        assert!(is_private("Privacy=network/on"));
        assert!(!is_private("# Privacy = device\n"));
        assert!(!is_private("#Privacy = off\nPrivacy = off\n"));
        assert!(!is_private(""));
    }
}
