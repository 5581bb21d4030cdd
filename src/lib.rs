//! Looks up the attributes of users of an Amazon Cognito user pool, over gRPC, for the callers that may read them.
//!
//! A `GetUser` is a straight line of values, each made in one module only and required by the next:
//!
//! ```text
//! metadata ─auth→ Caller ┐
//! proto ────wire→ Query ─┴policy→ Permit ─users→ Found ─permit.disclose→ Disclosure ─wire→ reply
//! ```
//!
//! The modules below are in reading order, which is their order too: each may import only from those after it.
//! The messages of the contract are in `crates/client`, for backends in Rust too.

pub mod cli;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod server;
pub mod service;
pub mod error;
pub mod wire;
pub mod users;
pub mod policy;
pub mod audit;
pub mod auth;
pub mod query;
pub mod epochs;
pub mod freshness;
pub mod pool;
pub mod user;
pub mod attribute;
pub mod unix_time;
pub mod cache;
pub mod telemetry;
pub mod config;
pub mod proto;
