//! How many connections the limit on open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// The process may open too few files to serve.
#[derive(Debug, thiserror::Error)]
#[error(
    "the limit on open files is {limit}, and {needed} are needed for {threads} threads and a few connections; \
     raise it (ulimit -n, LimitNOFILE, the runtime's nofile)"
)]
pub struct TooFewFiles {
    limit: u64,
    needed: u64,
    threads: usize,
}

/// Raises the limit as far as the process may, and returns the smaller of `wanted` and what it
/// allows, less a reserve: a full server must still get files for Cognito and for probes.
pub(super) fn max_connections(wanted: usize, threads: usize) -> Result<usize, TooFewFiles> {
    let Some(limit) = raised_limit() else { return Ok(wanted) };
    let available = available(limit, threads).filter(|available| *available >= wanted.min(FEWEST));
    let Some(available) = available else {
        let needed = (RESERVED + PER_THREAD * threads + wanted.min(FEWEST)) as u64;
        return Err(TooFewFiles { limit, needed, threads });
    };
    if available < wanted {
        warn!(
            limit,
            connections = available,
            wanted,
            "the open file limit allows fewer connections than limits.connections; raise it or lower the setting"
        );
    }
    Ok(wanted.min(available))
}

/// Raises the soft limit to the hard one, and returns it. The soft one is low for programs that use
/// select(2).
fn raised_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

fn available(limit: u64, threads: usize) -> Option<usize> {
    usize::try_from(limit).unwrap_or(usize::MAX).checked_sub(RESERVED + PER_THREAD * threads)
}

// For the log, 64 connections on the admin port, Cognito and the key servers.
const RESERVED: usize = 128;
// For the epoll, event and signal descriptors of each serving thread's runtime.
const PER_THREAD: usize = 4;
// A server with fewer connections cannot serve its clients, unless the setting asks for fewer.
const FEWEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_other_uses() {
        for (limit, threads, expected) in [
            (1024, 2, Some(888)),
            (1024, 64, Some(640)),
            (137, 2, Some(1)),
            (136, 2, Some(0)),
            (128, 2, None),
            (0, 2, None),
            (u64::MAX, 0, Some(usize::MAX - 128)),
        ] {
            assert_eq!(available(limit, threads), expected, "{limit} {threads}");
        }
    }
}
