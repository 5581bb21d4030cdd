//! The messages, clients and services of `proto/`, generated; their descriptions are there.
//!
//! With `default-features = false, features = ["client"]` it is all of this crate.
#![expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    reason = "generated"
)]
#![cfg_attr(feature = "server", expect(clippy::too_many_lines, reason = "generated"))]

tonic::include_proto!("userlookup.v1");

pub use tonic_types::pb::Status;

/// The gRPC health checking protocol.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The descriptors of all of it, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/userlookup.v1.binpb"));

macro_rules! redacted {
    ($($message:ident),*) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($message), "(redacted)"))
            }
        }
    )*};
}

// Named in build.rs too, where their derived Debug is left out: it would show tokens and attribute values.
redacted!(BatchGetUsersRequest, GetUserRequest, User);
