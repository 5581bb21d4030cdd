//! The services that come with every gRPC server: health and reflection.

use tonic::{codec::CompressionEncoding::Gzip, service::Routes};
use tonic_reflection::server::{Builder, Error};

use super::{health::HealthService, readiness::Readiness};
use crate::{config::Config, proto::DESCRIPTORS};

/// Returns the routes of the built-in services, with the message size limit of the settings.
pub(super) fn routes(readiness: Readiness, config: &Config) -> Result<Routes, Error> {
    let max_bytes = config.limits.message_bytes();
    let mut routes = Routes::builder();
    macro_rules! add {
        ($service:expr) => {
            routes.add_service($service.accept_compressed(Gzip).max_decoding_message_size(max_bytes))
        };
    }
    add!(HealthService::new(readiness));
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
