//! The gRPC health checking protocol. All services share one status, as they share dependencies.
//!
//! tonic-health 0.14 has no `List`, and its streams do not end with a drain. Its `Watch` fails for
//! an unknown service, where the protocol requires `SERVICE_UNKNOWN`.

use std::{collections::BTreeMap, pin::Pin};

use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::readiness::Readiness;
use crate::proto::{
    admin_service_server,
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    user_service_server,
};

/// The health service. It needs no credentials.
#[derive(Debug)]
pub(super) struct HealthService(Readiness);

impl HealthService {
    /// Returns the service that reports `readiness`.
    pub(super) fn new(readiness: Readiness) -> HealthServer<Self> {
        HealthServer::new(Self(readiness))
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if is_known(&request) {
            Ok(Response::new(response(status(self.0.is_ready()))))
        } else {
            // The protocol defines this code, without details.
            Err(Status::not_found("unknown service"))
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let current = response(status(self.0.is_ready()));
        let statuses: BTreeMap<_, _> = SERVICES.map(|name| (name.to_owned(), current)).into();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request);
        // The stream ends when the sender is dropped, so that it does not prolong a drain.
        let changes = WatchStream::new(self.0.subscribe()).map(move |ready| {
            Ok(response(if known { status(ready) } else { ServingStatus::ServiceUnknown }))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn is_known(request: &Request<HealthCheckRequest>) -> bool {
    SERVICES.contains(&request.get_ref().service.as_str())
}

fn status(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

// The empty name stands for the server as a whole.
const SERVICES: [&str; 3] = ["", user_service_server::SERVICE_NAME, admin_service_server::SERVICE_NAME];
