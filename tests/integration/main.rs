//! The one integration-test binary: the real server on loopback, called through the generated client, before the
//! scriptable Cognito stand-in.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its tables are long"
)]

// An operator's hands on one person's entry.
mod admin;
// What a lookup from the cache allocates.
mod allocations;
// What is recorded of each call, and where.
mod audit;
// Whom a record names.
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
// Many users at once.
mod batch;
// How much Cognito is asked, and what who is refused is told.
mod rate_limit;
// Who asks, and what that lets them read.
mod callers;
// The binary: its commands, exit codes and settings.
mod command;
// How many calls Cognito gets.
mod coalescing;
// Stopping under load, and with clients that hold on.
mod drain;
// Why a caller gets what it gets.
mod explain;
// How old an answer may be.
mod freshness;
// What a lookup answers.
mod get_user;
// Groups, of a token and from Cognito.
mod groups;
// Which module may import which.
mod layering;
// Starting, health, reflection, stopping.
mod lifecycle;
// Connections that begin slowly, stay silent, or grow old.
mod connection_lifetime;
// The number of connections: per peer, in all, per worker, and with few file descriptors.
mod connection_limits;
// HTTP/2 frames that would exhaust the memory or the CPU of the server.
mod http2_attacks;
// The limits of one request.
mod request_limits;
// What a full cache takes of a process.
mod memory;
// What is counted.
mod metrics;
// Cognito or the key server slow, broken, lying or gone.
mod outage;
// That every RPC there is needs leave.
mod authorization;
// Several pools in one server.
mod pools;
// What orchestrators, load balancers and Prometheus are told.
mod probes;
// Keys that come and go.
mod rotation;
// What never appears in a log.
mod secrecy;
// What signals do, what systemd is told, and a Unix socket from start to end.
mod signals;
// The running server, its stand-in, and what to ask them; no tests.
mod support;
// Encryption, client certificates, and their files replaced.
mod tls;
// What lies between the service and Cognito: names, encryption, credentials.
mod upstream;
// Tokens that are known already.
mod verified_tokens;
