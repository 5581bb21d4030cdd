//! The end of a connection, which ends its streams.

use http::Request;
use tokio_util::sync::CancellationToken;

use super::method;

/// Says that a connection is about to close, so that its streams end before it is cut; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Closing(CancellationToken);

impl Closing {
    /// Puts it into the extensions of a request that opens a stream. The other calls end by themselves, and
    /// do not pay for it.
    pub fn announce_to<B>(&self, request: &mut Request<B>) {
        if request.uri().path() == method::WATCH_PATH {
            request.extensions_mut().insert(self.clone());
        }
    }

    /// Announces that the connection is about to close.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Completes when the connection is about to close. Cancel safe.
    pub(super) async fn begun(&self) {
        self.0.cancelled().await;
    }
}
