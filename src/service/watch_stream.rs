//! One open stream of changes, from its first checkpoint to its end.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use super::{closing::Closing, watch_context::WatchContext};
use crate::{
    audit::StreamRecorder,
    auth::CredentialLease,
    changes::{Delivery, Item, Subscription},
    error::Error,
    memory::Charge,
    proto::WatchUsersResponse,
    telemetry::metrics::watch::WatchCut,
    wire,
};

/// A stream. It is dropped when its client leaves.
pub(super) struct WatchStream {
    subscription: Subscription,
    lease: CredentialLease,
    record: StreamRecorder,
    closing: Closing,
    replaced: CancellationToken,
    request_id: Box<str>,
    interval: Duration,
    checkpoint_at: Instant,
    ends_at: Instant,
    is_ended: bool,
    _charge: Charge,
}

impl WatchStream {
    pub(super) fn new(
        subscription: Subscription,
        lease: CredentialLease,
        record: StreamRecorder,
        interval: Duration,
        max_age: Duration,
        context: &WatchContext,
        charge: Charge,
    ) -> Self {
        let now = Instant::now();
        Self {
            subscription,
            lease,
            record,
            closing: context.closing.clone(),
            replaced: context.service.replaced.clone(),
            request_id: context.request_id.clone(),
            interval,
            // The first message is a checkpoint.
            checkpoint_at: now,
            ends_at: now + max_age.mul_f64(0.9 + 0.2 * fastrand::f64()),
            is_ended: false,
            _charge: charge,
        }
    }

    /// Returns the next message, or the status with which the stream ends.
    pub(super) async fn next(mut self) -> Option<(Result<WatchUsersResponse, Status>, Self)> {
        if self.is_ended {
            return None;
        }
        let message = match self.message().await {
            Ok(message) => Ok(message),
            Err(error) => Err(self.end(error)),
        };
        Some((message, self))
    }

    async fn message(&mut self) -> Result<WatchUsersResponse, Error> {
        match self.item().await? {
            Item::Checkpoint(checkpoint) => {
                self.checkpoint_at = Instant::now() + self.interval;
                Ok(wire::watch_checkpoint(checkpoint))
            }
            Item::Change(delivery) => {
                self.record(&delivery).await?;
                Ok(wire::watch_change(delivery))
            }
        }
    }

    /// The stream must end before its connection is closed, or its client would not learn the
    /// reason.
    async fn item(&self) -> Result<Item, Error> {
        self.lease.check()?;
        tokio::select! {
            biased;
            () = self.closing.begun() => Err(Error::WatchEnded),
            // Its caller opens the next one under the new rules.
            () = self.replaced.cancelled() => Err(Error::WatchEnded),
            () = sleep_until(self.ends_at) => Err(Error::WatchEnded),
            item = self.subscription.next(self.checkpoint_at) => Ok(item?),
            rejected = self.lease.ended() => Err(rejected.into()),
        }
    }

    /// Records a change before it is sent. A record may exist without its change.
    async fn record(&mut self, delivery: &Delivery) -> Result<(), Error> {
        let Delivery { pool, sub, change, .. } = delivery;
        let Some(written) = self.record.change(pool, sub, change.kinds) else { return Ok(()) };
        match timeout(RECORD_TIMEOUT, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::AuditUnavailable),
        }
    }

    fn end(&mut self, error: Error) -> Status {
        self.is_ended = true;
        let reason = error.reason();
        debug!(request.id = &*self.request_id, reason, "stream of changes ended");
        self.record.close(reason);
        self.subscription.count_cut(match error {
            Error::Rejected(_) => WatchCut::Credential,
            Error::AuditUnavailable => WatchCut::Audit,
            Error::ResumeTokenExpired => WatchCut::Lost,
            Error::WatchTooSlow => WatchCut::TooSlow,
            _ => WatchCut::Moved,
        });
        error.into_status(&self.request_id)
    }
}

// The default of `limits.request_timeout`.
const RECORD_TIMEOUT: Duration = Duration::from_secs(3);
