//! The process itself, under the names that Prometheus' own libraries use.

use super::page::Page;

/// What `/proc/self` says; where there is none, nothing is written.
pub(super) fn write(page: &mut Page) {
    if let Some(bytes) = resident_bytes() {
        page.single("process_resident_memory_bytes", "gauge", "Memory in use.", bytes);
    }
    #[cfg(unix)]
    page.single("process_cpu_seconds_total", "counter", "Processor time used.", cpu_seconds());
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The directory itself is open while it is read.
        let open = open.count().saturating_sub(1);
        page.single("process_open_fds", "gauge", "Open files and sockets.", open);
    }
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_memory_and_time() {
        assert!(resident_bytes().unwrap() > 1024 * 1024);
        assert!(cpu_seconds() > 0.0);
    }
}
