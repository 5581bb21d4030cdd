//! How far the server has gone towards its end, as every connection sees it.

use tokio::sync::watch;

/// How far the server has gone towards its end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum DrainPhase {
    /// Connections are welcome.
    Open,
    /// The port is closed, behind those whom the system let in.
    PortClosed,
    /// Connections are asked to end, their calls may.
    Closing,
    /// Whatever is left is dropped.
    Abort,
}

/// Where a connection sees the phase; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct DrainWatch(watch::Receiver<DrainPhase>);

impl DrainWatch {
    /// Begins with [`DrainPhase::Open`].
    pub(super) fn channel() -> (watch::Sender<DrainPhase>, Self) {
        let (sender, drain) = watch::channel(DrainPhase::Open);
        (sender, Self(drain))
    }

    /// Returns true if and only if the server is open.
    pub(super) fn is_open(&self) -> bool {
        *self.0.borrow() == DrainPhase::Open
    }

    /// Returns when `phase` is reached; at once if it was, or if nobody is left to tell. Cancel safe.
    pub(super) async fn reached(&mut self, phase: DrainPhase) {
        drop(self.0.wait_for(|now| *now >= phase).await);
    }
}
