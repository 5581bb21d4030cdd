//! The gRPC health checking protocol. Every service is as healthy as the server: they share all they need.

use std::{collections::BTreeMap, pin::Pin};

use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::readiness::Readiness;
use crate::proto::{
    admin_service_server,
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server,
    },
    user_service_server,
};

/// Tells how the server is. Needs no credentials.
#[derive(Debug)]
pub(super) struct Health(Readiness);

impl Health {
    /// Returns the service that tells what `readiness` sees.
    pub(super) fn service(readiness: Readiness) -> health_server::HealthServer<Self> {
        health_server::HealthServer::new(Self(readiness))
    }

    fn now(&self) -> HealthCheckResponse {
        response(self.0.is_ready())
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if SERVICES.contains(&request.get_ref().service.as_str()) {
            Ok(Response::new(self.now()))
        } else {
            // The protocol's own answer, which clients of it know.
            Err(Status::not_found("the service is not served"))
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let statuses: BTreeMap<_, _> = SERVICES.iter().map(|name| ((*name).to_owned(), self.now())).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        // Ends with the readiness, so that watchers do not hold a drain to its last second.
        let changes = WatchStream::new(self.0.subscribe());
        let told = changes.map(move |ready| Ok(if known { response(ready) } else { unknown() }));
        Ok(Response::new(Box::pin(told)))
    }
}

fn response(ready: bool) -> HealthCheckResponse {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

fn unknown() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() }
}

const SERVICES: [&str; 3] = ["", user_service_server::SERVICE_NAME, admin_service_server::SERVICE_NAME];
