//! The integration tests, one binary: the server on loopback, called through the generated client,
//! with the stand-in as its Cognito.
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
// Odd answers of Cognito, and users whose name or `sub` leads to others.
mod answers;
// Audit records: their content, sinks and failures.
mod audit;
// The subject of each audit record.
mod audit_subjects;
// Which tokens are accepted and how the others are refused.
mod authentication;
// The metadata and fields that may carry a token.
mod authentication_metadata;
// The claims of a token.
mod authentication_claims;
// The encoding of a token.
mod authentication_encoding;
// Usable and unusable key sets, and their server.
mod authentication_jwks;
// The signature of a token, and its key.
mod authentication_keys;
// BatchGetUsers.
mod batch;
// The rate limits of calls to Cognito and of callers.
mod rate_limit;
// Callers and their rules.
mod callers;
// What is looked up in CloudTrail at the start.
mod catch_up;
// The circuit breaker, and connections that died silently.
mod circuit;
// The command line: tokens, hashes, pages and pipes.
mod command;
// The commands that call a service, and what they say if it is another one.
mod command_client;
// The commands that read the settings.
mod command_settings;
// The start while a machine boots: late files, a wrong clock.
mod boot;
// Single flight: how many calls Cognito gets.
mod single_flight;
// Checks of tokens at Cognito.
mod online;
// The sources of AWS credentials.
mod credentials;
// Graceful shutdown under load, and with clients that keep their connections open.
mod drain;
// The queue of changes of users.
mod events;
// ExplainAccess.
mod explain;
// Requirements of freshness, `max_age` and `not_older_than`, and the clocks behind them.
mod freshness;
// GetUser: users, attributes and refusals.
mod get_user;
// Groups, from a token and from Cognito.
mod groups;
// The imports between the modules and files.
mod layering;
// Starting, health, reflection and stopping.
mod lifecycle;
// Connections that start slowly, stay silent, or exceed their age.
mod connection_lifetime;
// The limits of connections: per peer, in total, per worker, and with few file descriptors.
mod connection_limits;
// HTTP/2 frames that would exhaust the memory or the CPU of the server.
mod http2_attacks;
// Proxies, root certificates and trace collectors.
mod outgoing;
// The bound on the log.
mod log_limit;
// The limits of one request.
mod request_limits;
// The memory of a full cache.
mod memory;
// The metrics.
mod metrics;
// Outages of Cognito and of the key server, and wrong responses.
mod outage;
// Processes that share a cache, and the faults of their store.
mod replicas;
// Every RPC requires a credential.
mod authorization;
// Several pools in one server.
mod pools;
// The admin port: probes, load balancers and Prometheus.
mod probes;
// Rotation of signing keys.
mod revocation;
mod rotation;
// The sandbox.
mod sandbox;
// The reload of pools and callers.
mod reload;
// The page for people on the admin port, and what is missing for readiness.
mod status_page;
// No log has personal data.
mod personal_data;
// The link to the store of the shared cache.
mod link;
// Signals, systemd and Unix sockets.
mod signals;
// The scripts of the shared cache.
mod scripts;
// Servers of the shared cache, and a proxy with faults.
mod store;
// Helpers, and the tests of the search for personal data.
mod support;
// Throttling and failures of Cognito, however they are spelt.
mod throttling;
// TLS, client certificates, and the reload of their files.
mod tls;
// The connection to Cognito: host names, TLS, credentials.
mod upstream;
// The cache of verified tokens.
mod verified_tokens;
// WatchUsers.
mod watch;
// The clients of WatchUsers: the command and `UserMirror`.
mod watch_clients;
