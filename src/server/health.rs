//! The gRPC health checking protocol. All services share one status, as they share dependencies, and
//! each pool has its own.
//!
//! tonic-health 0.14 has no `List`, and its streams do not end with a drain. Its `Watch` fails for
//! an unknown service, where the protocol requires `SERVICE_UNKNOWN`.

use std::{future::ready, pin::Pin};

use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::readiness::{Readiness, ReadyState};
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
        match status(&self.0.subscribe().borrow(), &request.get_ref().service) {
            // The protocol defines this code, without details.
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            known => Ok(Response::new(response(known))),
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let receiver = self.0.subscribe();
        let state = receiver.borrow();
        let pools = state.pools().map(|pool| format!("{POOL_PREFIX}{pool}"));
        let names = SERVICES.into_iter().map(ToOwned::to_owned).chain(pools);
        let statuses = names.map(|name| (name.clone(), response(status(&state, &name)))).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (service, mut last) = (request.into_inner().service, None);
        // The stream ends when the sender is dropped, so that it does not prolong a drain.
        let changes = WatchStream::new(self.0.subscribe()).filter_map(move |state| {
            let current = status(&state, &service);
            ready((last.replace(current) != Some(current)).then(|| Ok(response(current))))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn status(state: &ReadyState, service: &str) -> ServingStatus {
    let pool = || state.is_pool_ready(service.strip_prefix(POOL_PREFIX)?);
    let ready = if SERVICES.contains(&service) { Some(state.is_ready()) } else { pool() };
    match ready {
        None => ServingStatus::ServiceUnknown,
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

// The empty name stands for the server as a whole.
const SERVICES: [&str; 3] = ["", user_service_server::SERVICE_NAME, admin_service_server::SERVICE_NAME];
// The id of a pool follows.
const POOL_PREFIX: &str = "userlookup.v1.UserService/";
