//! Whether the server is ready for calls, as gRPC health, `/readyz` and load balancers report it.

use tokio::sync::watch;
use tonic::Status;

/// The readiness of the server; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Starts with "not ready".
    pub(super) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns whether the server is ready for calls.
    pub(super) fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns a receiver of the current readiness and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Answers the default health check path of AWS Application Load Balancers; `None` for any
    /// other path. The health service returns OK in every state, and a load balancer compares only
    /// the gRPC status code, so it would miss a drain.
    pub(super) fn alb_health_check(&self, path: &str) -> Option<Status> {
        (path == "/AWS.ALB/healthcheck").then(|| {
            if self.is_ready() { Status::ok("") } else { Status::unavailable("the server is not ready") }
        })
    }
}
