//! The services that say how this server is and what it serves, each with the bounds of its messages.

use tonic::service::Routes;

use super::{health::Health, readiness::Readiness};
use crate::{config::Config, proto::DESCRIPTORS};

/// Reflection could not be built.
pub(super) type Error = tonic_reflection::server::Error;

/// Returns what is served on the gRPC port beside the service itself.
pub(super) fn routes(readiness: Readiness, config: &Config) -> Result<Routes, Error> {
    let most = config.limits.message_bytes();
    let mut routes = Routes::builder();
    routes.add_service(Health::service(readiness).max_decoding_message_size(most));
    if config.reflection {
        // grpcurl up to 1.8 and others of its age speak v1alpha only.
        routes
            .add_service(reflected().build_v1()?.max_decoding_message_size(most))
            .add_service(reflected().build_v1alpha()?.max_decoding_message_size(most));
    }
    Ok(routes.routes())
}

fn reflected() -> tonic_reflection::server::Builder<'static> {
    // The details of our statuses are in messages of google.rpc; with their descriptors clients can show them.
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
