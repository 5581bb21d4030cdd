//! How many connections the process has file descriptors for.

use rustix::process::{Resource, getrlimit};
use tracing::warn;

/// Returns how many connections may be held: as many as `wanted`, or as the limit on descriptors (`ulimit -n`) leaves
/// beside those for Cognito and the probes, which must never be in want of one.
pub(super) fn max_connections(wanted: usize, threads: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let available = available(limit, threads);
    if available < wanted {
        warn!(
            limit,
            connections = available,
            wanted,
            "the limit on open files allows fewer connections than are set; raise it or lower limits.connections"
        );
    }
    wanted.min(available)
}

fn available(limit: u64, threads: usize) -> usize {
    let reserved = RESERVED + PER_THREAD * threads;
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved).max(1)
}

// Of the log, the probes' 64 connections, and those to Cognito and the key servers.
const RESERVED: usize = 128;
// Each serving thread's runtime polls, is woken and hears signals by them.
const PER_THREAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_for_the_rest() {
        for (limit, threads, expected) in [
            (1024, 2, 888),
            (1024, 64, 640),
            (137, 2, 1),
            (128, 2, 1),
            (0, 2, 1),
            (u64::MAX, 0, usize::MAX - 128),
        ] {
            assert_eq!(available(limit, threads), expected, "{limit} {threads}");
        }
    }
}
