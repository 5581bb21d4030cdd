//! The place of one connection, between the calls that use it and the supervisor that replaces it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::warn;

use super::{
    breaker::Breaker,
    fault::{Fault, FaultKind},
};
use crate::telemetry::metrics::shared_cache::{ReconnectReason, SharedCacheMetrics};

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Lane<C> {
    /// What its connection is for, in the log.
    pub(super) purpose: &'static str,
    is_available: AtomicBool,
    state: Mutex<State<C>>,
    /// Wakes the supervisor.
    changed: Notify,
    metrics: SharedCacheMetrics,
}

#[derive(Debug)]
struct State<C> {
    /// None for a lane that is usable whenever it has a connection.
    breaker: Option<Breaker>,
    connection: Option<C>,
    /// Counts the connections, so that a late result of an earlier one changes nothing.
    number: u64,
    unanswered_in_a_row: u32,
    last_answer: Instant,
    /// Why the supervisor must replace the connection.
    replacement: Option<ReconnectReason>,
}

/// A connection that was taken for one call.
#[derive(Debug)]
pub(super) struct Taken<C> {
    pub(super) connection: C,
    number: u64,
}

/// What the supervisor has to know about a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Condition {
    pub(super) is_open: bool,
    pub(super) replacement: Option<ReconnectReason>,
    /// Time since the store answered last, or since the connection was established.
    pub(super) idle: Duration,
}

impl<C: Clone> Lane<C> {
    /// Returns a lane without a connection. With a breaker, its calls may open it.
    pub(super) fn new(purpose: &'static str, breaker: Option<Breaker>, metrics: &SharedCacheMetrics) -> Self {
        let state = State {
            breaker,
            connection: None,
            number: 0,
            unanswered_in_a_row: 0,
            last_answer: Instant::now(),
            replacement: None,
        };
        Self {
            purpose,
            is_available: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Notify::new(),
            metrics: metrics.clone(),
        }
    }

    /// Returns whether calls are sent at present: one atomic load.
    pub(super) fn is_available(&self) -> bool {
        self.is_available.load(Relaxed)
    }

    /// Returns the connection, if calls are sent at present.
    pub(super) fn take(&self) -> Option<Taken<C>> {
        if self.is_available() { self.take_for_probe() } else { None }
    }

    /// Returns the connection, even if the breaker is open.
    pub(super) fn take_for_probe(&self) -> Option<Taken<C>> {
        let state = self.state();
        Some(Taken { connection: state.connection.clone()?, number: state.number })
    }

    /// Waits until the supervisor has to look at the lane. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn condition(&self) -> Condition {
        let state = self.state();
        Condition {
            is_open: state.breaker.as_ref().is_some_and(Breaker::is_open),
            replacement: state.replacement,
            idle: state.last_answer.elapsed(),
        }
    }

    /// Begins to use this connection. With an open breaker it waits for probes first.
    pub(super) fn install(&self, connection: C) {
        let mut state = self.state();
        state.connection = Some(connection);
        state.number += 1;
        state.unanswered_in_a_row = 0;
        state.last_answer = Instant::now();
        state.replacement = None;
        if !state.breaker.as_ref().is_some_and(Breaker::is_open) {
            self.is_available.store(true, Relaxed);
        }
    }

    /// Asks the supervisor for another connection. The present one is used until then.
    pub(super) fn replace(&self, reason: ReconnectReason) {
        self.state().replacement.get_or_insert(reason);
        self.changed.notify_one();
    }

    /// Records the end of a call on a connection of this lane. A call that was cancelled must not be
    /// recorded.
    pub(super) fn record(&self, number: u64, fault: Option<&Fault>, took: Duration) {
        let mut state = self.state();
        if state.number != number {
            return;
        }
        let reason = state.note(fault.map(|fault| fault.kind));
        let opens = match &mut state.breaker {
            Some(breaker) => breaker.record(fault.map(|fault| fault.kind), took, Instant::now()),
            // Without a breaker, a connection that must be replaced is not used any more.
            None => reason.is_some() && self.is_available(),
        };
        if let Some(reason) = reason {
            state.replacement.get_or_insert(reason);
        }
        let has_breaker = state.breaker.is_some();
        if opens {
            self.is_available.store(false, Relaxed);
        }
        drop(state);
        if opens {
            self.report_open(has_breaker, fault);
        }
        if opens || reason.is_some() {
            self.changed.notify_one();
        }
    }

    /// Records a probe while the breaker is open. Returns whether this closes it.
    pub(super) fn record_probe(&self, number: u64, result: &Result<(), Fault>, took: Duration) -> bool {
        let mut state = self.state();
        if state.number != number {
            return false;
        }
        let kind = result.as_ref().err().map(|fault| fault.kind);
        if let Some(reason) = state.note(kind) {
            state.replacement.get_or_insert(reason);
        }
        let closes =
            state.breaker.as_mut().is_some_and(|breaker| breaker.probed(kind.is_none().then_some(took)));
        if closes {
            self.is_available.store(true, Relaxed);
            self.metrics.set_open(false);
        }
        closes
    }

    /// Stops the calls, if that has not happened yet: the connection must be replaced, and no other
    /// can be established.
    pub(super) fn lose(&self, fault: &Fault) {
        let number = self.state().number;
        let fault = Fault { kind: FaultKind::Closed, cause: fault.cause.clone() };
        self.record(number, Some(&fault), Duration::ZERO);
    }

    /// Records that the present connection has ended, perhaps without any call.
    pub(super) fn report_closed(&self) {
        let number = self.state().number;
        self.record(number, Some(&Fault::closed()), Duration::ZERO);
    }

    fn report_open(&self, has_breaker: bool, fault: Option<&Fault>) {
        let (connection, cause) = (self.purpose, fault.map_or(SLOW, |fault| &fault.cause));
        if has_breaker {
            self.metrics.set_open(true);
            warn!(connection, cause, "the shared cache is not used until its store answers in time again");
        } else {
            warn!(connection, cause, "a connection to the shared cache failed and is replaced");
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    /// Notes how a call or a probe ended. Returns why the connection must be replaced, if it must.
    fn note(&mut self, failure: Option<FaultKind>) -> Option<ReconnectReason> {
        match failure {
            // TCP keeps a half-open connection for minutes, and the `redis` crate never gives up one
            // whose calls time out.
            Some(FaultKind::Timeout | FaultKind::Node) => {
                self.unanswered_in_a_row += 1;
                let limit = if self.breaker.is_some() { MAX_UNANSWERED } else { 1 };
                (self.unanswered_in_a_row >= limit).then_some(ReconnectReason::Timeouts)
            }
            failure => {
                self.unanswered_in_a_row = 0;
                self.last_answer = Instant::now();
                failure.and_then(FaultKind::replaces)
            }
        }
    }
}

impl<C> Taken<C> {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

const MAX_UNANSWERED: u32 = 3;
const SLOW: &str = "most of its answers took longer than half of shared_cache.timeout";
