//! The gRPC health checking protocol. Every service is as healthy as the server: they share all they need.

use std::{collections::BTreeMap, pin::Pin};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::wire::proto::{
    admin_service_server,
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server,
    },
    user_service_server,
};

/// Where the server says how it is. It begins as not serving.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<ServingStatus>);

impl Reporter {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(ServingStatus::NotServing))
    }

    /// Says that calls are welcome.
    pub(super) fn serving(&self) {
        self.0.send_replace(ServingStatus::Serving);
    }

    /// Says that no new calls are welcome.
    pub(super) fn not_serving(&self) {
        self.0.send_replace(ServingStatus::NotServing);
    }

    /// Returns the service that tells.
    pub(super) fn service(&self) -> health_server::HealthServer<Health> {
        health_server::HealthServer::new(Health(self.0.subscribe()))
    }
}

/// Tells how the server is. Needs no credentials.
#[derive(Debug)]
pub(super) struct Health(watch::Receiver<ServingStatus>);

impl Health {
    fn now(&self) -> HealthCheckResponse {
        response(*self.0.borrow())
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
        let changes = WatchStream::new(self.0.clone());
        let told = changes
            .map(move |status| Ok(response(if known { status } else { ServingStatus::ServiceUnknown })));
        Ok(Response::new(Box::pin(told)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

const SERVICES: [&str; 3] = ["", user_service_server::SERVICE_NAME, admin_service_server::SERVICE_NAME];
