//! A gRPC service that looks up the attributes of users of an Amazon Cognito user pool, for the
//! callers that may read them.
//!
//! A `GetUser` is a chain of values. One module alone makes each, and the next step requires it:
//!
//! ```text
//! metadata ─auth→ Caller ─policy→ Rule ┐
//! message ──wire→ Query ───────────────┴→ Permit ─users→ Found ─disclose→ Disclosure ─wire→ reply
//! ```
//!
//! Each module below imports only from those after it. The messages of the contract and their
//! clients are in `crates/client`, which Rust backends depend on.

/// Implements a `Debug` that shows nothing of a secret or personal value.
macro_rules! redacted_debug {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )+};
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod cli;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod server;
pub mod service;
pub mod error;
pub mod wire;
pub mod events;
pub mod users;
pub mod policy;
pub mod audit;
pub mod auth;
pub mod query;
pub mod changes;
pub mod epochs;
pub mod shared_cache;
pub mod aws_credentials;
pub mod freshness;
pub mod pool;
pub mod user;
pub mod attribute;
pub mod unix_time;
pub mod clock;
pub mod cache;
pub mod memory;
pub mod key_file;
pub mod telemetry;
pub mod background;
pub mod outgoing;
pub mod config;
pub mod proto;
#[cfg(any(test, feature = "fuzzing"))]
pub mod oracle;
