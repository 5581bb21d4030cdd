//! A fetch's access to the rate limiter.

use std::sync::Arc;

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{CallKind, RateLimiter, category::QuotaCategory, queue::FetchId};
use crate::users::Failure;

/// Lets one fetch make calls, one after the other. Dropping it gives up its place in the queue; a
/// call that has not ended then counts as one without a response.
#[derive(Debug)]
pub(in crate::users) struct Ticket {
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) id: FetchId,
    pub(super) woken: Arc<Notify>,
}

impl Ticket {
    /// Queues a call, which may begin at once. Fails at once if it is not expected to begin early
    /// enough before `deadline`. The caller's own limit delays only the first call of a fetch.
    pub(in crate::users) fn queue(
        &self,
        category: QuotaCategory,
        kind: CallKind,
        deadline: Instant,
    ) -> Result<(), Failure> {
        self.limiter.queue(self.id, category, kind, deadline)
    }

    /// Waits until the queued call may begin. Fails, and gives up its place, once too little time
    /// is left before its deadline. Cancel safe.
    pub(in crate::users) async fn begun(&self) -> Result<(), Failure> {
        while let Some(latest) = self.limiter.waits_until(self.id)? {
            // Either way, the state decides.
            drop(timeout_at(latest, self.woken.notified()).await);
        }
        Ok(())
    }

    /// Ends the call. It must be over: whatever Cognito has yet to receive of it would not be
    /// counted.
    pub(in crate::users) fn end(&self, is_answered: bool) {
        self.limiter.state().end(self.id, is_answered, Instant::now());
        self.limiter.ended();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.limiter.state().close(self.id, Instant::now());
        self.limiter.ended();
    }
}
