//! Receives the messages of the queue, applies them, and deletes them.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    applied::Applied,
    applier::Applier,
    backoff::backoff,
    catch_up::{CatchUp, CaughtUp},
    change::OTHER,
    config::EventsConfig,
    names,
    notices::Notices,
    queue::{Queue, QueueError, Received, WAIT_SECONDS},
    repeats::Repeats,
    staleness::watch_staleness,
    user_change,
};
use crate::{
    audit::Recorder,
    outgoing::Outgoing,
    pool::Pools,
    telemetry::metrics::events::{EventMetrics, PollOutcome},
    users::Users,
};

/// Receives messages until it is dropped. Those that it has received by then and not deleted return
/// after the visibility timeout of the queue.
#[derive(Debug)]
pub struct Consumer {
    tasks: Vec<AbortHandle>,
    caught_up: Option<CaughtUp>,
}

impl Consumer {
    /// Begins to receive. Must be called in the runtime that calls AWS. Without credentials, or if the
    /// queue refuses, it logs why and tries again.
    pub async fn start(
        config: &EventsConfig,
        users: Users,
        pools: watch::Receiver<Pools>,
        audit: Recorder,
        metrics: EventMetrics,
        outgoing: &Outgoing,
    ) -> Self {
        let events = names::EVENTS.into_iter().map(|(event, _)| event).chain([OTHER, user_change::EVENT]);
        events.for_each(|event| metrics.prepare(event));
        let (mut caught_up, served) = (None, pools.borrow().clone());
        let mut tasks = Vec::new();
        metrics.caught_up.set(1);
        if let Some(catch_up) = &config.catch_up {
            let (catch_up, receiver) =
                CatchUp::connect((catch_up, config), &users, &served, &metrics, outgoing).await;
            caught_up = Some(receiver);
            #[expect(clippy::disallowed_methods, reason = "ends with the consumer")]
            tasks.push(tokio::spawn(catch_up.run()).abort_handle());
        }
        let queue = Queue::connect(config, outgoing).await;
        info!(queue = %config.queue_url, "receiving the changes of users");
        let (repeats, pending) = Repeats::channel();
        let (applied, notices, repeated) = (Applied::default(), Notices::default(), users.clone());
        let (skew, revoke_on) = (config.skew, config.revoke_on.clone());
        let applier = Applier { users, pools, audit, skew, revoke_on, metrics, applied, notices, repeats };
        let receiving = Self::run(queue, applier, config.stale_after);
        #[expect(clippy::disallowed_methods, reason = "ends with the consumer")]
        let task = tokio::spawn(join(receiving, pending.run(repeated)));
        tasks.push(task.abort_handle());
        Self { tasks, caught_up }
    }

    /// Returns what waits for the changes before the start; none if they are not looked up.
    pub fn caught_up(&self) -> Option<CaughtUp> {
        self.caught_up.clone()
    }

    /// Receives messages without an end.
    pub(super) async fn run(queue: Queue, applier: Applier, stale_after: Duration) {
        let (polled, receiver) = watch::channel(Instant::now());
        let watching = watch_staleness(stale_after, receiver, applier.metrics.clone());
        join(Loop { queue, applier, polled }.run(), watching).await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

struct Loop {
    queue: Queue,
    applier: Applier,
    /// When the last receive succeeded.
    polled: watch::Sender<Instant>,
}

impl Loop {
    async fn run(self) {
        self.queue.ready().await;
        let (mut failures, mut is_known) = (0, false);
        loop {
            // What cannot be told to the other replicas is better kept in the queue.
            if !self.applier.users.can_invalidate() {
                sleep(PAUSE).await;
                continue;
            }
            // After a failure one, in case that the response was too long.
            let most = if failures == 0 { MAX_MESSAGES } else { 1 };
            // The first receive does not wait, so it shows at once whether the queue can be read.
            let wait = if is_known { WAIT_SECONDS } else { 0 };
            match self.queue.receive(most, wait).await {
                Ok(messages) => {
                    (failures, is_known) = (0, true);
                    self.polled.send_replace(Instant::now());
                    self.applier.users.changes().note_receive();
                    self.handle(messages).await;
                }
                Err(error) => {
                    (failures, is_known) = (failures + 1, false);
                    self.applier.metrics.polled(PollOutcome::Failed);
                    report("receive", &error);
                    sleep(backoff(failures)).await;
                }
            }
        }
    }

    async fn handle(&self, messages: Vec<Received>) {
        let outcome = if messages.is_empty() { PollOutcome::Empty } else { PollOutcome::Messages };
        self.applier.metrics.polled(outcome);
        let handled = join_all(messages.into_iter().map(async |Received { body, receipt, receives }| {
            self.applier.handle(&body, receives).await.then_some(receipt)
        }));
        let receipts: Vec<_> = handled.await.into_iter().flatten().collect();
        if receipts.is_empty() {
            return;
        }
        // Those that are left return, and are then applied again.
        if let Err(error) = self.queue.delete(receipts).await {
            report("delete", &error);
        }
    }
}

fn report(call: &str, error: &QueueError) {
    let QueueError { code, cause } = error;
    warn!(call, aws.code = code, cause, "a call to the queue of changes failed");
}

const MAX_MESSAGES: i32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
