//! One stream of changes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    APPENDED_WITHIN, Change, Inner, State, StreamEnd,
    place::{Place, Run},
    rules::{Rule, holds},
    streams::Next,
    token,
};
use crate::{pool::PoolId, telemetry::metrics::watch::WatchCut, user::Sub};

/// An open stream. Dropping it closes the stream.
#[derive(Debug)]
pub struct Subscription {
    pub(super) inner: Arc<Inner>,
    pub(super) id: u64,
    pub(super) wake: Arc<Notify>,
    /// What its resume tokens are bound to.
    pub(super) holder: [u8; 32],
}

/// What a stream sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A change.
    Change(Delivery),
    /// Everything up to a time was sent.
    Checkpoint(CheckpointInfo),
}

/// A change to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The user's pool.
    pub pool: PoolId,
    /// The user.
    pub sub: Sub,
    /// What changed.
    pub change: Change,
    /// Continues after this change.
    pub resume_token: String,
}

/// A checkpoint to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckpointInfo {
    /// Everything that was heard of until then was sent.
    pub seen_through: SystemTime,
    /// Whether changes are heard of within seconds.
    pub source_healthy: bool,
    /// How long after the last dated change this service heard of it.
    pub source_lag: Option<Duration>,
    /// Continues after this checkpoint.
    pub resume_token: String,
}

impl Subscription {
    /// Returns the next change, or a checkpoint once it is due. Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns why the server ends the stream.
    pub async fn next(&self, checkpoint_at: Instant) -> Result<Item, StreamEnd> {
        loop {
            if Instant::now() >= checkpoint_at {
                return self.checkpoint().map(Item::Checkpoint);
            }
            match self.take()? {
                Taken::Change(delivery) => return Ok(Item::Change(delivery)),
                Taken::Again => {}
                // A change since then has left a permit, so this does not sleep through it.
                Taken::Nothing => drop(timeout_at(checkpoint_at, self.wake.notified()).await),
            }
        }
    }

    /// Returns a checkpoint for everything that was sent so far.
    pub fn checkpoint(&self) -> Result<CheckpointInfo, StreamEnd> {
        // Read before the mailbox, so that what comes in between is not promised.
        let (source_healthy, heard) = self.inner.source();
        // A resumed stream still has to send the changes in the log after its place.
        while holds(Rule::CheckpointCatchesUp) && self.catches_up()? {}
        let state = self.inner.lock();
        let (place, waiting_since) =
            (state.streams.sent(self.id, &state.log), state.streams.waiting_since(self.id));
        let (run, last) = (state.log.run(), state.log.last_dated());
        drop(state);
        let resume_token = self.token(run, place)?;
        let lag = |change: Change| change.seen_at.duration_since(change.changed_at?).ok();
        Ok(CheckpointInfo {
            seen_through: waiting_since.map_or(heard, |first| heard_of_all_before(first).min(heard)),
            source_healthy,
            source_lag: last.and_then(lag),
            resume_token,
        })
    }

    fn catches_up(&self) -> Result<bool, StreamEnd> {
        let mut state = self.inner.lock();
        let State { log, streams, .. } = &mut *state;
        streams.catch_up(self.id, log)
    }

    /// Counts a stream that the server ends.
    pub fn count_cut(&self, reason: WatchCut) {
        self.inner.metrics.cuts.get(reason).inc();
    }

    fn take(&self) -> Result<Taken, StreamEnd> {
        let mut state = self.inner.lock();
        let State { log, streams, .. } = &mut *state;
        let ((pool, sub), change) = match streams.next(self.id, log)? {
            Next::Change(user, change) => (user, change),
            Next::Wait => return Ok(Taken::Nothing),
            Next::Again => return Ok(Taken::Again),
        };
        let (run, place) = (log.run(), streams.sent(self.id, log));
        // All streams and changes wait for the lock, and a token takes longer than the rest.
        drop(state);
        let resume_token = self.token(run, place)?;
        for kind in change.kinds.iter() {
            self.inner.metrics.changes.get(kind).inc();
        }
        Ok(Taken::Change(Delivery { pool, sub, change, resume_token }))
    }

    /// Seals a place. Without a token the stream could not be continued, so it ends.
    fn token(&self, run: Option<Run>, place: Place) -> Result<String, StreamEnd> {
        token::seal(&self.inner.sealer, &self.holder, run.ok_or(StreamEnd::Lost)?, place)
            .map_err(|_| StreamEnd::Moved)
    }
}

/// Returns the time up to which everything was sent, given the earliest time of a pending change.
/// Later events in the log may have a slightly earlier time.
fn heard_of_all_before(pending: SystemTime) -> SystemTime {
    pending.checked_sub(APPENDED_WITHIN).unwrap_or(SystemTime::UNIX_EPOCH)
}

enum Taken {
    Again,
    Change(Delivery),
    Nothing,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inner.lock().streams.close(self.id);
    }
}
