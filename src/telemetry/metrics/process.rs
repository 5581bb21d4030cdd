//! Metrics of the process, under the names that Prometheus's client libraries use.

use std::{fmt, fs, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use super::unix_seconds;

/// Reads them from the system at each scrape. What the system does not have, such as `/proc`, has
/// no series.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessMetrics {
    start: SystemTime,
}

impl Default for ProcessMetrics {
    /// The metrics are among the first things that a process creates.
    fn default() -> Self {
        Self { start: SystemTime::now() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        let help = "CPU time that the process has taken in seconds";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        let start = unix_seconds(self.start);
        for (name, help, value) in [
            ("process_start_time_seconds", "Unix time in seconds at which the process started", Some(start)),
            ("process_resident_memory_bytes", "Resident memory in bytes", kibibytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory in bytes", kibibytes("VmSize:")),
            ("process_open_fds", "Open file descriptors", open_files()),
            ("process_max_fds", "The most file descriptors that the process may open", max_files()),
        ] {
            if let Some(value) = value {
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// Returns a line of `/proc/self/status` in bytes (proc(5)).
fn kibibytes(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

fn open_files() -> Option<f64> {
    // Less the one that reads the directory.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(open).ok().map(f64::from)
}

fn max_files() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|limit| limit as f64)
}
