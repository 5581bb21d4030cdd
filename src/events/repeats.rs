//! Users that expire once more, because `ListUsers` is eventually consistent.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    pool::PoolId,
    user::Sub,
    users::{Invalidation, Users},
};

/// Adds users that expire again later; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Repeats(mpsc::Sender<Repeat>);

/// The users that expire again, in order.
#[derive(Debug)]
pub(super) struct PendingRepeats(mpsc::Receiver<Repeat>);

#[derive(Debug)]
struct Repeat {
    at: Instant,
    pool: PoolId,
    sub: Sub,
}

impl Repeats {
    pub(super) fn channel() -> (Self, PendingRepeats) {
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        (Self(sender), PendingRepeats(receiver))
    }

    /// Expires a user again in 5 s, unless very many are waiting; then the TTL bounds its age.
    pub(super) fn add(&self, pool: &PoolId, sub: &Sub) {
        let at = Instant::now() + DELAY;
        let _full = self.0.try_send(Repeat { at, pool: pool.clone(), sub: sub.clone() });
    }
}

impl PendingRepeats {
    /// Expires the users, each at its time. A failure of the shared cache is bounded by the TTL.
    pub(super) async fn run(mut self, users: Users) {
        while let Some(Repeat { at, pool, sub }) = self.0.recv().await {
            sleep_until(at).await;
            let _bounded_by_ttl = users.invalidate(&pool, &sub, Invalidation::Expire).await;
        }
    }
}

const DELAY: Duration = Duration::from_secs(5);
// Some 2 MB.
const MAX_PENDING: usize = 10_000;
