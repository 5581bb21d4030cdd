//! The machine and the versions that were measured.

use std::{fs, num::NonZero, process::Command, thread, time::Duration};

/// Returns the processor and the versions. Panics if h2load is not installed.
pub(crate) fn describe() -> String {
    let h2load = version("h2load").expect("h2load must be installed: apt-get install nghttp2-client");
    let rustc = version("rustc").unwrap_or_else(|| "rustc unknown".to_owned());
    format!("{}, {} cores; {rustc}, tonic {}, {h2load}", processor(), cores(), locked("tonic"))
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Returns the CPU time of all processes until now.
pub(crate) fn work() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let fields = text.lines().next().unwrap().split_whitespace().skip(1);
    // All fields except idle and iowait. The guest fields after steal are already part of user and
    // nice (proc(5)).
    ticks(fields.take(8).enumerate().filter(|(n, _)| !matches!(n, 3 | 4)).map(|(_, field)| field))
}

/// Returns the CPU time of this process and of the children that it has waited for.
pub(crate) fn work_of_bench() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    ticks(fields.split(' ').skip(11).take(4))
}

/// Converts the clock ticks of proc(5), which are 10 ms on every supported machine.
fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    Duration::from_millis(10 * fields.map(|field| field.parse::<u64>().unwrap()).sum::<u64>())
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "an unnamed processor".to_owned(), |(_, name)| name.to_owned())
}

/// Returns the version of a dependency in Cargo.lock.
fn locked(name: &str) -> &'static str {
    let entry = LOCK.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.split_once("version = \"")?.1.split('"').next());
    version.unwrap_or("unknown")
}

const LOCK: &str = include_str!("../../Cargo.lock");
