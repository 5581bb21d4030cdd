//! The services that tonic's generated code serves: health, reflection, and the streams of our contract.

use tonic::{codec::CompressionEncoding::Gzip, service::Routes};
use tonic_reflection::server::{Builder, Error};

use super::{health::HealthService, readiness::Readiness};
use crate::{
    config::Config,
    proto::{DESCRIPTORS, user_service_server::UserServiceServer},
    service::WatchServer,
};

/// Returns the routes of these services, with the message size limit of the settings.
pub(super) fn routes(readiness: Readiness, config: &Config) -> Result<Routes, Error> {
    let max_bytes = config.limits.message_bytes();
    let mut routes = Routes::builder();
    macro_rules! add {
        ($service:expr) => {
            routes.add_service($service.accept_compressed(Gzip).max_decoding_message_size(max_bytes))
        };
    }
    add!(HealthService::new(readiness));
    add!(UserServiceServer::new(WatchServer));
    if config.reflection {
        // grpcurl up to 1.8 and other clients of its age support only v1alpha.
        add!(reflection().build_v1()?);
        add!(reflection().build_v1alpha()?);
    }
    Ok(routes.routes())
}

fn reflection() -> Builder<'static> {
    // Error details are google.rpc messages; clients need their descriptors to print them.
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
