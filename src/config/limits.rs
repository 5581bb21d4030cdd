//! The limits, each with its unit, bounds and default, and why it is that.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;

/// What connections and requests may take: `[limits]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The time until a request is answered or given up, where its caller has no shorter deadline; `10ms` to `60s`,
    /// default `3s`.
    #[serde(with = "text::DurationText")]
    pub request_timeout: Duration,
    /// The time for the TLS handshake and the HTTP/2 preface together; `10ms` to `60s`, default `5s`.
    #[serde(with = "text::DurationText")]
    pub handshake_timeout: Duration,
    /// The time for which a client may leave answers unread; its connection is cut within twice that; `10ms` to `10min`,
    /// default `10s`.
    #[serde(with = "text::DurationText")]
    pub stall_timeout: Duration,
    /// The age at which a connection is ended in good order, give or take a tenth; `10ms` to `24h`, default `5min`.
    #[serde(with = "text::DurationText")]
    pub connection_age: Duration,
    /// The silence after which a client is pinged; `10ms` to `1h`, default `30s`.
    #[serde(with = "text::DurationText")]
    pub keepalive_interval: Duration,
    /// The time for the answer to a ping; `10ms` to `10min`, default `10s`.
    #[serde(with = "text::DurationText")]
    pub keepalive_timeout: Duration,
    /// The connections held at once, fewer where `ulimit -n` leaves no room beside 128 others and 4 for each thread; 1 to
    /// 1,000,000, default `10000`.
    #[serde(deserialize_with = "text::number")]
    pub connections: usize,
    /// The connections held at once from one address, or one IPv6 network of 64 bits; 1 to 1,000,000, default
    /// `1000`.
    #[serde(deserialize_with = "text::number")]
    pub connections_per_peer: usize,
    /// The calls under way at once on one connection; 1 to 10,000, default `100`.
    #[serde(deserialize_with = "text::number")]
    pub streams: usize,
    /// The calls of one connection that may break the protocol before it is ended; 1 to 1,000,000, default
    /// `1024`.
    #[serde(deserialize_with = "text::number")]
    pub local_error_resets: usize,
    /// The calls of one connection that may be taken back before they are looked at; 1 to 10,000,
    /// default `20`.
    #[serde(deserialize_with = "text::number")]
    pub pending_accept_resets: usize,
    /// The bytes that the metadata of one call may take; `4KiB` to `1MiB`, default `64KiB`.
    #[serde(with = "text::SizeText")]
    pub header_list: u64,
    /// The bytes that the message of one call may take; `1KiB` to `4MiB`, default `64KiB`.
    #[serde(with = "text::SizeText")]
    pub message: u64,
}

impl LimitSettings {
    /// Returns [`Self::message`] as sizes in memory are told.
    pub fn message_bytes(&self) -> usize {
        usize::try_from(self.message).unwrap_or(usize::MAX)
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            // Longer than Cognito ever takes (two attempts of 1 s), shorter than a person waits.
            request_timeout: Duration::from_secs(3),
            // Two round trips over the slowest link, and a full accept queue before them.
            handshake_timeout: Duration::from_secs(5),
            // An answer is a few KiB; a client that cannot take it in this time has gone or means harm.
            stall_timeout: Duration::from_secs(10),
            // Clients are spread again over the replicas in this time, and an idle one is let go.
            connection_age: Duration::from_secs(5 * 60),
            // Within the idle timeout of AWS's load balancers (60 s for ALB, 350 s for NLB).
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            // Some 60 KiB each with TLS, so that all of them fit in 1 GiB.
            connections: 10_000,
            // A tenth of all, and yet room for a load balancer that hides who is behind it.
            connections_per_peer: 1_000,
            // A lookup is one short call; a client that wants more at once opens another connection (Envoy's edge advice).
            streams: 100,
            // hyper's own bounds (RUSTSEC-2024-0003, CVE-2023-44487).
            local_error_resets: 1_024,
            pending_accept_resets: 20,
            // The largest legal token, about 20 KiB, twice, with room for what proxies add.
            header_list: 64 * bytesize::KIB,
            // A token of at most 32 KiB and a list of short names.
            message: 64 * bytesize::KIB,
        }
    }
}
