//! The contract: the client crate's messages, the generated servers, and the descriptors for server
//! reflection.
//!
//! `service` dispatches unary calls itself and `wire` encodes the replies with users, because a
//! cache hit should cost as little as possible. The generated servers carry the rest.
#![expect(
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    clippy::too_many_lines,
    reason = "generated"
)]

pub use cognito_lookup_client::*;

tonic::include_proto!("userlookup.v1");

/// The gRPC health checking protocol.
pub mod health {
    pub use cognito_lookup_client::health::*;

    tonic::include_proto!("grpc.health.v1");
}

/// The descriptors of every service and message, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/userlookup.v1.binpb"));
