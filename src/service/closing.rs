//! The end of a connection, which ends its streams.

use tokio_util::sync::CancellationToken;

/// Says that a connection is about to close, so that its streams end before it is cut; cheap to clone.
/// The connection puts it into the extensions of each request.
#[derive(Clone, Debug, Default)]
pub struct Closing(CancellationToken);

impl Closing {
    /// Says so.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Completes when the connection is about to close. Cancel safe.
    pub(super) async fn begun(&self) {
        self.0.cancelled().await;
    }
}
