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
//! The last, [`proto`], is all that the feature `client` has, for backends that ask.

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod error;
#[cfg(feature = "server")]
pub mod wire;
#[cfg(feature = "server")]
pub mod users;
#[cfg(feature = "server")]
pub mod policy;
#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod query;
#[cfg(feature = "server")]
pub mod freshness;
#[cfg(feature = "server")]
pub mod pool;
#[cfg(feature = "server")]
pub mod user;
#[cfg(feature = "server")]
pub mod attribute;
#[cfg(feature = "server")]
pub mod room;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "client")]
pub mod proto;
