//! Whether calls are welcome, as orchestrators and load balancers ask it, each in its own way.

use tokio::sync::watch;
use tonic::Status;

/// Where it is asked whether calls are welcome; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Begins with no.
    pub(super) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, readiness) = watch::channel(false);
        (sender, Self(readiness))
    }

    /// Returns true if and only if calls are welcome.
    pub(super) fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns where changes are told.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Answers the path that AWS's application load balancers ask by default; none for any other. They look at the
    /// code alone, so the health service, whose code is OK whatever it says, would never tell them of a drain.
    pub(super) fn alb_health_check(&self, path: &str) -> Option<Status> {
        (path == "/AWS.ALB/healthcheck").then(|| {
            if self.is_ready() { Status::ok("") } else { Status::unavailable("calls are not welcome") }
        })
    }
}
