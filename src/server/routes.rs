//! The services that are served, each with the bounds of its messages.

use tonic::service::Routes;

use super::{health::Health, probe::Probe};
use crate::{
    config::Config,
    service::Service,
    wire::proto::{
        DESCRIPTORS, admin_service_server::AdminServiceServer, user_service_server::UserServiceServer,
    },
};

/// Reflection could not be built.
pub(super) type Error = tonic_reflection::server::Error;

/// Returns everything that is served on the gRPC port.
pub(super) fn routes(service: Service, probe: Probe, config: &Config) -> Result<Routes, Error> {
    let most = usize::try_from(config.limits.message).unwrap_or(usize::MAX);
    let mut routes = Routes::builder();
    routes
        .add_service(UserServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(AdminServiceServer::new(service).max_decoding_message_size(most))
        .add_service(Health::service(probe).max_decoding_message_size(most));
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
