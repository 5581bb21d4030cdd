//! How many connections the limit on file descriptors allows.

use rustix::process::{Resource, getrlimit};
use tracing::warn;

/// Returns the smaller of `wanted` and what `ulimit -n` allows, less a reserve: a full server must
/// still get descriptors for Cognito and for probes.
pub(super) fn max_connections(wanted: usize, threads: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let available = available(limit, threads);
    if available < wanted {
        warn!(
            limit,
            connections = available,
            wanted,
            "the open file limit allows fewer connections than limits.connections; raise it or lower the setting"
        );
    }
    wanted.min(available)
}

fn available(limit: u64, threads: usize) -> usize {
    let reserved = RESERVED + PER_THREAD * threads;
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved).max(1)
}

// For the log, 64 connections on the admin port, Cognito and the key servers.
const RESERVED: usize = 128;
// For the epoll, event and signal descriptors of each serving thread's runtime.
const PER_THREAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_other_uses() {
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
