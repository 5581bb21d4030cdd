//! What is asked of Cognito, what is not for want of budget, and how much may be asked yet.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters and gauges of the calls to Cognito; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UpstreamMetrics {
    calls: Family<CallLabels, Counter>,
    refusals: Family<CategoryLabels, Counter>,
    unusable: Family<UnusableLabels, Counter>,
    left: Family<BudgetLabels, Gauge>,
    allowed: Family<BudgetLabels, Gauge>,
}

impl UpstreamMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let calls = "Calls to Cognito, retries and pages included";
        registry.register("upstream_calls", calls, self.calls.clone());
        let refusals = "Calls to Cognito that were not made for want of budget, refreshes included";
        registry.register("upstream_refusals", refusals, self.refusals.clone());
        let unusable = "Answers of Cognito that are not the user asked for";
        registry.register("upstream_unusable_answers", unusable, self.unusable.clone());
        let left = "Calls to Cognito that may begin at once, and then no more within a second";
        registry.register("upstream_budget_left", left, self.left.clone());
        let allowed = "Calls to Cognito a second that the budget allows, less while Cognito throttles";
        registry.register("upstream_budget_per_second", allowed, self.allowed.clone());
    }

    /// Makes the series of one category and of the operation that it pays for.
    pub fn prepare(&self, category: &'static str, operation: &'static str) {
        for outcome in CallOutcome::ALL {
            drop(self.calls.get_or_create(&CallLabels { operation, outcome }));
        }
        drop(self.refusals.get_or_create(&CategoryLabels { category }));
        for flaw in [UnusableResponse::Garbled, UnusableResponse::Mismatch] {
            drop(self.unusable.get_or_create(&UnusableLabels { flaw }));
        }
    }

    /// Begins to count a call.
    pub fn begin_call(&self, operation: &'static str) -> PendingCall<'_> {
        PendingCall { upstream: self, of: CallLabels { operation, outcome: CallOutcome::TimedOut } }
    }

    /// Counts a call that was not made for want of budget.
    pub fn count_refusal(&self, category: &'static str) {
        self.refusals.get_or_create(&CategoryLabels { category }).inc();
    }

    /// Counts an answer that is not the user asked for.
    pub fn count_unusable(&self, flaw: UnusableResponse) {
        self.unusable.get_or_create(&UnusableLabels { flaw }).inc();
    }

    /// Shows how many calls a budget has left, and how many a second it allows.
    pub fn set_budget(&self, budget: &BudgetLabels, left: usize, allowed: usize) {
        self.left.get_or_create(budget).set(i64::try_from(left).unwrap_or(i64::MAX));
        self.allowed.get_or_create(budget).set(i64::try_from(allowed).unwrap_or(i64::MAX));
    }
}

/// A call under way. One that is dropped before it ended was not answered in time.
#[derive(Debug)]
pub struct PendingCall<'a> {
    upstream: &'a UpstreamMetrics,
    of: CallLabels,
}

impl PendingCall<'_> {
    /// Ends the call.
    pub fn end(mut self, outcome: CallOutcome) {
        self.of.outcome = outcome;
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.upstream.calls.get_or_create(&self.of).inc();
    }
}

/// One operation and how it ended.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    operation: &'static str,
    outcome: CallOutcome,
}

/// How a call to Cognito ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum CallOutcome {
    /// It was answered.
    Answered,
    /// Cognito refuses this service: an operator must act.
    Denied,
    /// Cognito failed, or the way there.
    Failed,
    /// It was answered: there is no such user.
    NotFound,
    /// Cognito throttled it.
    Throttled,
    /// It was not answered in time.
    TimedOut,
}

impl CallOutcome {
    const ALL: [Self; 6] =
        [Self::Answered, Self::Denied, Self::Failed, Self::NotFound, Self::Throttled, Self::TimedOut];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "Answered",
            Self::Denied => "Denied",
            Self::Failed => "Failed",
            Self::NotFound => "NotFound",
            Self::Throttled => "Throttled",
            Self::TimedOut => "TimedOut",
        }
    }
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CategoryLabels {
    category: &'static str,
}

/// One quota category of one account and Region.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct BudgetLabels {
    /// The account, as the settings have it; empty where they do not say.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The category, as AWS names it.
    pub category: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct UnusableLabels {
    flaw: UnusableResponse,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum UnusableResponse {
    /// It cannot be read as a user.
    Garbled,
    /// It is another user than the one asked for, or several.
    Mismatch,
}
