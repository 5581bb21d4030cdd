//! How many connections the process has file descriptors for.

use rustix::process::{Resource, getrlimit};
use tracing::warn;

/// Returns how many connections may be held: as many as `wanted`, or as the limit on descriptors (`ulimit -n`) leaves
/// beside those for Cognito and the probes, which must never be in want of one.
pub(super) fn connections(wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = room(limit);
    if room < wanted {
        warn!(
            limit,
            connections = room,
            wanted,
            "the limit on open files allows fewer connections than are set; raise it or lower limits.connections"
        );
    }
    wanted.min(room)
}

fn room(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX).max(1)
}

// Of the runtimes, the log, the probes' 64 connections, and those to Cognito and the key servers.
const RESERVED: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_for_the_rest() {
        for (limit, expected) in [(1024, 896), (129, 1), (128, 1), (0, 1), (u64::MAX, usize::MAX - 128)] {
            assert_eq!(room(limit), expected, "{limit}");
        }
    }
}
