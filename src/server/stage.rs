//! How far the server has gone towards its end, as every connection sees it.

use tokio::sync::watch;

/// How far the server has gone towards its end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    /// Connections are welcome.
    Open,
    /// The port is closed, behind those whom the system let in.
    Shut,
    /// Connections are asked to end, their calls may.
    Closing,
    /// Whatever is left is dropped.
    Cut,
}

/// Where a connection sees the stage; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stages(watch::Receiver<Stage>);

impl Stages {
    /// Begins with [`Stage::Open`].
    pub(super) fn begin() -> (watch::Sender<Stage>, Self) {
        let (sender, stages) = watch::channel(Stage::Open);
        (sender, Self(stages))
    }

    /// Returns true if and only if the server is open.
    pub(super) fn is_open(&self) -> bool {
        *self.0.borrow() == Stage::Open
    }

    /// Returns when `stage` is reached; at once if it was, or if nobody is left to tell. Cancel safe.
    pub(super) async fn reached(&mut self, stage: Stage) {
        drop(self.0.wait_for(|now| *now >= stage).await);
    }
}
