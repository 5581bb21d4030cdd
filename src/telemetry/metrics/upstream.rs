//! Metrics of the calls to Cognito and of their rate limit.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tokio::time::Instant;
use tracing::trace;

use super::{DurationHistogram, EnumFamily, Label as _};

/// A label set of one label whose values are known at run time only.
type OneLabel = [(&'static str, &'static str); 1];

metric_set! {
    /// Metrics of the calls to Cognito; cheap to clone.
    pub struct UpstreamMetrics {
        /// Calls to Cognito, retries and further pages included.
        calls: Family<(OneLabel, CallOutcome), Counter> = "upstream_calls",
        /// Duration of calls to Cognito in seconds, without the wait for the rate limiter.
        durations: Family<(OneLabel, CallOutcome), DurationHistogram> = "upstream_call_seconds",
        /// Calls to Cognito that the rate limiter refused, background refreshes included.
        refusals: Family<OneLabel, Counter> = "upstream_refusals",
        /// Responses of Cognito that do not describe the requested user.
        pub unusable: EnumFamily<UnusableResponse, Counter> = "upstream_unusable_answers",
        /// Whether calls fail at once (1) because Cognito has not answered the last ones in time.
        circuit_open: Family<CircuitLabels, Gauge> = "upstream_circuit_open",
        /// Calls to Cognito that may still begin within this second; they are spread over it.
        left: Family<BudgetLabels, Gauge> = "upstream_budget_left",
        /// Calls to Cognito that the rate limiter allows this replica per second: of a shared limit, all
        /// that the other replicas leave; fewer while Cognito throttles.
        allowed: Family<BudgetLabels, Gauge> = "upstream_budget_per_second",
        /// Whether calls to Cognito are counted (1) by the log of all replicas (Shared), by this
        /// replica's cut-off allowance because the shared cache fails (CutOff) or its log is new (Warm),
        /// or by this replica alone as configured (Own).
        scopes: Family<ScopeLabels, Gauge> = "upstream_budget_scope",
    }
}

impl UpstreamMetrics {
    /// Creates the series of a quota category and of the operation that it is for.
    pub fn prepare(&self, category: &'static str, operation: &'static str) {
        for (outcome, _) in CallOutcome::ALL {
            let labels = ([("operation", operation)], *outcome);
            drop(self.calls.get_or_create(&labels));
            drop(self.durations.get_or_create(&labels));
        }
        drop(self.refusals.get_or_create(&[("category", category)]));
    }

    /// Sets whether the circuit breaker of an operation is open.
    pub fn set_circuit_open(&self, pool: &str, operation: &'static str, is_open: bool) {
        let labels = CircuitLabels { pool: pool.to_owned(), operation };
        self.circuit_open.get_or_create(&labels).set(is_open.into());
    }

    /// Begins to count a call.
    pub fn begin_call(&self, operation: &'static str) -> PendingCall<'_> {
        let (outcome, begun) = (CallOutcome::TimedOut, Instant::now());
        PendingCall { metrics: self, operation, outcome, begun }
    }

    /// Counts a call that the rate limiter refused.
    pub fn count_refusal(&self, category: &'static str) {
        self.refusals.get_or_create(&[("category", category)]).inc();
    }

    /// Sets what counts the calls of the rate limiter of an account and Region.
    pub fn set_budget_scope(&self, (account, region): &(String, String), scope: LimitScope) {
        for (other, name) in LimitScope::ALL {
            let labels = ScopeLabels { account: account.clone(), region: region.clone(), scope: name };
            self.scopes.get_or_create(&labels).set((*other == scope).into());
        }
    }

    /// Sets how many calls a rate limiter allows now, and how many per second.
    pub fn set_budget(&self, budget: &BudgetLabels, left: usize, allowed: usize) {
        self.left.get_or_create(budget).set(i64::try_from(left).unwrap_or(i64::MAX));
        self.allowed.get_or_create(budget).set(i64::try_from(allowed).unwrap_or(i64::MAX));
    }
}

/// A call in flight. Dropping it counts a timeout.
#[derive(Debug)]
pub struct PendingCall<'a> {
    metrics: &'a UpstreamMetrics,
    operation: &'static str,
    outcome: CallOutcome,
    begun: Instant,
}

impl PendingCall<'_> {
    /// Counts the call.
    pub fn end(mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        let (labels, duration) = (([("operation", self.operation)], self.outcome), self.begun.elapsed());
        self.metrics.calls.get_or_create(&labels).inc();
        self.metrics.durations.get_or_create(&labels).observe(duration);
        trace!(operation = self.operation, outcome = self.outcome.name(), ?duration, "call to Cognito ended");
    }
}

label! {
    /// How a call to Cognito ended.
    pub enum CallOutcome = "outcome" {
        /// Cognito returned what was requested.
        Answered,
        /// Cognito denied this service access: an operator must act.
        Denied,
        /// Cognito or the connection to it failed.
        Failed,
        /// Cognito knows no such user.
        NotFound,
        /// Cognito throttled the call.
        Throttled,
        /// Cognito did not respond in time.
        TimedOut,
    }
}

label! {
    /// What is wrong with a response of Cognito.
    pub enum UnusableResponse = "flaw" {
        /// A name that was looked up belongs to another user. The requested one counts as not found.
        AnotherUser,
        /// It cannot be read as a user.
        Garbled,
        /// It contradicts itself: another user than its filter names, or several.
        Mismatch,
    }
}

label! {
    /// What counts the calls of a rate limiter.
    pub enum LimitScope = "scope" {
        /// The log of all replicas.
        Shared,
        /// The cut-off allowance, because the shared cache fails.
        CutOff,
        /// The cut-off allowance, because the log of all replicas is new.
        Warm,
        /// This replica alone.
        Own,
    }
}

/// The labels of the scope of a rate limit.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ScopeLabels {
    account: String,
    region: String,
    scope: &'static str,
}

/// The labels of one circuit breaker.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CircuitLabels {
    pool: String,
    operation: &'static str,
}

/// The labels of one quota category in one account and Region.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct BudgetLabels {
    /// The account ID in the settings; empty if there is none.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The category, as AWS names it.
    pub category: &'static str,
}
