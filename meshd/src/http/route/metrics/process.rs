//! The process itself, under the names that Prometheus' own libraries use, and its tasks.

use tokio::runtime::Handle;

use super::page::Page;

/// What the runtime says, and `/proc/self`; where there is none of that, nothing of it is written.
pub(super) fn write(page: &mut Page) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    page.single("meshlink_tasks", "gauge", "Tasks that have not ended: a leak shows as a rise.", tasks);
    if let Some(threads) = status_number("Threads:") {
        page.single("process_threads", "gauge", "Threads of the process.", threads);
    }
    if let Some(kib) = status_number("VmRSS:") {
        let bytes = kib * 1024;
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

/// A number in `/proc/self/status`; sizes are in KiB there.
fn status_number(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
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
        assert!(status_number("VmRSS:").unwrap() > 1024);
        assert!(status_number("Threads:").unwrap() >= 1);
        assert!(cpu_seconds() > 0.0);
    }
}
