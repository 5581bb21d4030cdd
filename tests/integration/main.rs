//! The integration tests, one binary: the server on loopback, called through the generated client, with the stand-in as
//! its Cognito.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its tables are long"
)]

// AdminService: one user's cache entry.
mod admin;
// The allocations of a cache hit.
mod allocations;
// Audit records: when, where and with what.
mod audit;
// Whose record a call is.
mod audit_subjects;
// Which tokens are accepted and how the others are refused.
mod authentication;
// Where a token may be, and what else says who asks.
mod authentication_carriage;
// What a token must say.
mod authentication_claims;
// How a token must be written.
mod authentication_form;
// Which key sets are taken, and which keys of them.
mod authentication_jwks;
// Which signatures and keys make a token good.
mod authentication_keys;
// BatchGetUsers.
mod batch;
// The rate limits of calls to Cognito and of callers.
mod rate_limit;
// Who the caller is, and what its rule lets it read.
mod callers;
// The command line: commands, exit codes and settings.
mod command;
// How many calls Cognito gets.
mod coalescing;
// Stopping under load, and with clients that keep their connections open.
mod drain;
// ExplainAccess.
mod explain;
// How old an answer may be.
mod freshness;
// What a lookup answers.
mod get_user;
// Groups, of a token and from Cognito.
mod groups;
// Which file may import which.
mod layering;
// Starting, health, reflection and stopping.
mod lifecycle;
// Connections that start slowly, stay silent, or exceed their age.
mod connection_lifetime;
// The number of connections: per peer, in all, per worker, and with few file descriptors.
mod connection_limits;
// HTTP/2 frames that would exhaust the memory or the CPU of the server.
mod http2_attacks;
// The limits of one request.
mod request_limits;
// The memory of a full cache.
mod memory;
// The metrics.
mod metrics;
// Cognito or the key server slow, broken, lying or gone.
mod outage;
// That every RPC requires a credential.
mod authorization;
// Several pools in one server.
mod pools;
// The admin port: probes, load balancers and Prometheus.
mod probes;
// Keys that come and go.
mod rotation;
// That no log has personal data.
mod secrecy;
// Signals, systemd and Unix sockets.
mod signals;
// Helpers, without tests but for those of the search for personal data.
mod support;
// TLS, client certificates, and the reload of their files.
mod tls;
// What lies between the service and Cognito: names, encryption, credentials.
mod upstream;
// The cache of verified tokens.
mod verified_tokens;
