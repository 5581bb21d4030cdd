//! The phases of a graceful shutdown.

use tokio::sync::watch;

/// How far the shutdown has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum DrainPhase {
    /// The port is open and connections are accepted.
    Open,
    /// The port is closed. Connections that the system had already accepted are still served.
    PortClosed,
    /// Connections close gracefully, once their calls have ended.
    Closing,
    /// The remaining connections are cut.
    Abort,
}

/// Watches the phase of the shutdown; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct DrainWatch(watch::Receiver<DrainPhase>);

impl DrainWatch {
    /// Starts with [`DrainPhase::Open`].
    pub(super) fn channel() -> (watch::Sender<DrainPhase>, Self) {
        let (sender, receiver) = watch::channel(DrainPhase::Open);
        (sender, Self(receiver))
    }

    /// Returns whether the port is open.
    pub(super) fn is_open(&self) -> bool {
        *self.0.borrow() == DrainPhase::Open
    }

    /// Waits until the shutdown has reached `phase`, or the sender is gone. Cancel safe.
    pub(super) async fn reached(&mut self, phase: DrainPhase) {
        drop(self.0.wait_for(|current| *current >= phase).await);
    }
}
