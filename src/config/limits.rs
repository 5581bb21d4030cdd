//! The limits of connections and requests, and why each default is what it is.

use std::time::Duration;

use bytesize::{KIB, MIB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, DAY, HOUR, MINUTE};

/// The limits of connections and requests. `[limits]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The deadline of a request whose caller sets none or a later one; default `3s`.
    #[serde(with = "Bounded::<Duration, SHORTEST, MINUTE>")]
    pub request_timeout: Duration,
    /// The timeout of the TLS handshake and the HTTP/2 preface together; default `5s`.
    #[serde(with = "Bounded::<Duration, SHORTEST, MINUTE>")]
    pub handshake_timeout: Duration,
    /// The time for which a response may stay unread. Between once and twice this time, the server
    /// closes the connection; default `10s`.
    #[serde(with = "Bounded::<Duration, SHORTEST, { 10 * MINUTE }>")]
    pub stall_timeout: Duration,
    /// The age at which a connection is closed gracefully, give or take a tenth; default `5min`.
    #[serde(with = "Bounded::<Duration, SHORTEST, DAY>")]
    pub connection_age: Duration,
    /// The idle time after which a client gets a keepalive ping; default `30s`.
    #[serde(with = "Bounded::<Duration, SHORTEST, HOUR>")]
    pub keepalive_interval: Duration,
    /// The timeout of the answer to a keepalive ping; default `10s`.
    #[serde(with = "Bounded::<Duration, SHORTEST, { 10 * MINUTE }>")]
    pub keepalive_timeout: Duration,
    /// The most concurrent connections. They are fewer if `memory` has no room for them (some 2,400
    /// by default, 1,300 with TLS), or `ulimit -n` beside 128 other files and 4 for each thread;
    /// default `10000`.
    #[serde(with = "Bounded::<usize, 1, 1_000_000>")]
    pub connections: usize,
    /// The most concurrent connections of one IPv4 address or IPv6 /64 network; default `1000`.
    #[serde(with = "Bounded::<usize, 1, 1_000_000>")]
    pub connections_per_peer: usize,
    /// The most concurrent calls on one connection; default `100`.
    #[serde(with = "Bounded::<usize, 1, 10_000>")]
    pub streams: usize,
    /// The most streams of one connection that the server resets for protocol errors before it
    /// closes the connection; default `1024`.
    #[serde(with = "Bounded::<usize, 1, 1_000_000>")]
    pub local_error_resets: usize,
    /// The most streams of one connection that the client may reset before the server has accepted
    /// them; default `20`.
    #[serde(with = "Bounded::<usize, 1, 10_000>")]
    pub pending_accept_resets: usize,
    /// The most bytes of metadata of one call; default `64KiB`.
    #[serde(with = "Bounded::<u64, { 4 * KIB }, MIB>")]
    pub header_list: u64,
    /// The most bytes of the request message of one call, also once it is inflated; default `64KiB`.
    #[serde(with = "Bounded::<u64, KIB, { 4 * MIB }>")]
    pub message: u64,
    /// The memory for all connections, and for the requests and responses under way on them, in
    /// bytes. A connection takes 40 KiB of it, 72 KiB with TLS. A third of it is kept for
    /// connections on which a caller has been identified; default `96MiB`.
    #[serde(with = "Bounded::<u64, { 8 * MIB }, { 1 << 50 }>")]
    pub memory: u64,
}

impl LimitSettings {
    /// Returns [`Self::message`] as a size in memory.
    pub fn message_bytes(&self) -> usize {
        usize::try_from(self.message).unwrap_or(usize::MAX)
    }

    /// Returns [`Self::memory`] as a size in memory.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory).unwrap_or(usize::MAX)
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            // Longer than Cognito ever takes (two attempts of 1 s), shorter than a person waits.
            request_timeout: Duration::from_secs(3),
            // Two round trips over the slowest link, after a wait in a full accept queue.
            handshake_timeout: Duration::from_secs(5),
            // Answers are a few KiB; a client that reads nothing for so long is gone or malicious.
            stall_timeout: Duration::from_secs(10),
            // Within this time clients are balanced over new replicas, and idle connections end.
            connection_age: Duration::from_secs(5 * 60),
            // Below the idle timeout of AWS's load balancers (60 s for ALB, 350 s for NLB).
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            // 72 KiB each with TLS: for all of them, raise `memory` to 1 GiB.
            connections: 10_000,
            // A tenth of all; enough for a load balancer that hides its clients' addresses.
            connections_per_peer: 1_000,
            // Calls are short; clients with more open another connection (Envoy's edge advice).
            streams: 100,
            // hyper's own bounds (RUSTSEC-2024-0003, CVE-2023-44487).
            local_error_resets: 1_024,
            pending_accept_resets: 20,
            // Twice the largest legal token, about 20 KiB, and what proxies add.
            header_list: 64 * KIB,
            // A token of at most 32 KiB and a list of short names.
            message: 64 * KIB,
            // With full caches (328 MiB) it fits in the 512 MiB of the Helm chart.
            memory: 96 * MIB,
        }
    }
}

// Tests need short timeouts; below this every call would fail.
const SHORTEST: u64 = 10;
