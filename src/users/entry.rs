//! What is held of a user, and for how long it may be served. All cache policy is here, pure.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    freshness::{Demand, Freshness, Source, StaleReason, TimePoint},
    user::{Groups, User},
};

/// What one fetch brought, when that fetch began, and whether another has failed since.
#[derive(Clone, Debug)]
pub(super) struct CacheEntry {
    pub(super) content: Content,
    /// Before the question was sent: whatever was written before it is seen.
    pub(super) began: TimePoint,
    /// The last fetch since then that failed: when it ended, and why.
    pub(super) failed: Option<(Instant, StaleReason)>,
    /// Whether an operator wants it method for anew, whatever its age.
    pub(super) expired: bool,
    /// How long this one's ttls are, in percent, 90 to 110: so that what was fetched together is not fetched
    /// together again.
    pub(super) ttl_jitter: u8,
}

/// What one fetch brought.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Cognito knows no such user.
    Absent(LookupMethod),
    /// The groups that the user is in.
    Groups(Groups),
    /// The user.
    Present(Arc<User>),
}

/// How Cognito was method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LookupMethod {
    /// By `sub`, which may miss a federated user or one created a moment ago.
    BySub,
    /// By the username of a verified token, which misses only users that are gone.
    ByUsername,
}

/// How long snapshots are served; `fresh` is at most `usable`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ttls {
    /// A user is served without asking; past half of it, one hit asks in the background.
    pub(super) fresh: Duration,
    /// A user is served while Cognito cannot answer.
    pub(super) usable: Duration,
    /// An absence is served.
    pub(super) absent: Duration,
}

/// What to do with a entry when method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// Ask Cognito, and let the caller wait.
    Fetch,
    /// Ask Cognito, and let the caller wait briefly: what is held is of use.
    FetchOrStale,
    /// Serve it.
    Serve,
    /// Serve it, and ask Cognito in the background.
    ServeAndRefresh,
    /// Serve it, and say why it is no fresher.
    ServeStale(StaleReason),
}

impl Ttls {
    /// Decides for a question method this way with this demand. After a failed fetch Cognito is left in peace for 1 s, as
    /// far as this user goes.
    pub(super) fn decide(
        &self,
        entry: &CacheEntry,
        method: LookupMethod,
        demand: Demand,
        now: Instant,
    ) -> Decision {
        if !entry.answers(method, demand) {
            return Decision::Fetch;
        }
        let age = now.saturating_duration_since(entry.began.monotonic);
        let within = |ttl: Duration| age < ttl * u32::from(entry.ttl_jitter) / 100;
        let is_fresh = |ttl: Duration| within(ttl) && !entry.expired;
        let resting =
            entry.failed.filter(|(ended, _)| now.saturating_duration_since(*ended) < FAILURE_BACKOFF);
        match (&entry.content, resting) {
            (Content::Absent(_), _) if within(self.absent) => Decision::Serve,
            (Content::Absent(_), _) => Decision::Fetch,
            (_, _) if is_fresh(self.fresh / 2) => Decision::Serve,
            (_, None) if is_fresh(self.fresh) => Decision::ServeAndRefresh,
            (_, Some(_)) if is_fresh(self.fresh) => Decision::Serve,
            (_, Some((_, reason))) if within(self.usable) => Decision::ServeStale(reason),
            (_, None) if within(self.usable) => Decision::FetchOrStale,
            (_, _) => Decision::Fetch,
        }
    }
}

impl CacheEntry {
    /// Returns the same with a failed fetch noted on it.
    pub(super) fn failed(self, ended: Instant, reason: StaleReason) -> Self {
        Self { failed: Some((ended, reason)), ..self }
    }

    /// Returns how fresh it is.
    pub(super) fn freshness(
        &self,
        source: Source,
        stale_reason: Option<StaleReason>,
        now: Instant,
    ) -> Freshness {
        let age = now.saturating_duration_since(self.began.monotonic);
        Freshness { source, fetched_at: self.began.system, age, stale_reason }
    }

    /// Returns the same, no longer fresh: of use only if Cognito, method anew, cannot answer.
    pub(super) fn expired(self) -> Self {
        Self { expired: true, failed: None, ..self }
    }

    /// Returns true if and only if this meets the demand and is conclusive for a question method this way: an absence
    /// found by `sub` is none for a user whose token was just verified.
    pub(super) fn answers(&self, method: LookupMethod, demand: Demand) -> bool {
        let inconclusive = matches!(self.content, Content::Absent(LookupMethod::BySub))
            && method == LookupMethod::ByUsername;
        demand.allows(self.began.monotonic) && !inconclusive
    }
}

const FAILURE_BACKOFF: Duration = Duration::from_secs(1);

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::users) const TTLS: Ttls = Ttls {
        fresh: Duration::from_secs(60),
        usable: Duration::from_secs(900),
        absent: Duration::from_secs(15),
    };

    #[tokio::test(start_paused = true)]
    #[expect(clippy::too_many_lines, reason = "a table")]
    async fn the_verdict_follows_from_age_demand_and_failures() {
        use Decision::{Fetch, FetchOrStale, Serve, ServeAndRefresh, ServeStale};
        use LookupMethod::{BySub, ByUsername};
        let begin = TimePoint::now();
        tokio::time::advance(Duration::from_secs(10_000)).await;
        let end = TimePoint::now();
        let at = |age: u64| TimePoint { monotonic: begin.monotonic + Duration::from_secs(age), ..end };
        let at_most = |seconds: u64, age: u64| Demand::at_most(Duration::from_secs(seconds), at(age));
        let user = || Content::Present(Arc::new(crate::users::test_user("a")));
        let any = Demand::ANY;
        let stale = ServeStale(StaleReason::UpstreamThrottled);
        // What is held, its age, when a fetch failed (as an age), how it is method for, what is demanded, the decision.
        let table = [
            ("a new user", user(), 0, None, BySub, any, Serve),
            ("up to half of its freshness", user(), 29, None, BySub, any, Serve),
            ("past half of it", user(), 30, None, BySub, any, ServeAndRefresh),
            ("up to its freshness", user(), 59, None, BySub, any, ServeAndRefresh),
            ("past half of it, a refresh just failed", user(), 40, Some(40), BySub, any, Serve),
            ("past half of it, a refresh failed before", user(), 40, Some(39), BySub, any, ServeAndRefresh),
            ("past its freshness", user(), 60, None, BySub, any, FetchOrStale),
            ("past its freshness, a fetch just failed", user(), 60, Some(60), BySub, any, stale),
            ("past its freshness, a fetch failed before", user(), 60, Some(59), BySub, any, FetchOrStale),
            ("up to its use, a fetch just failed", user(), 899, Some(899), BySub, any, stale),
            ("past its use", user(), 900, None, BySub, any, Fetch),
            ("past its use, a fetch just failed", user(), 900, Some(900), BySub, any, Fetch),
            ("young enough for the demand", user(), 5, None, BySub, at_most(5, 5), Serve),
            ("too old for the demand", user(), 6, None, BySub, at_most(5, 6), Fetch),
            (
                "too old for the demand, a fetch just failed",
                user(),
                90,
                Some(90),
                BySub,
                at_most(80, 90),
                Fetch,
            ),
            ("stale, and the demand allows it", user(), 90, Some(90), BySub, at_most(100, 90), stale),
            ("cached, where Cognito is to be method", user(), 1, None, ByUsername, at_most(0, 1), Fetch),
            ("a demand does not lengthen freshness", user(), 60, None, BySub, at_most(90, 60), FetchOrStale),
            ("an absence", Content::Absent(BySub), 14, None, BySub, any, Serve),
            ("an absence past its time", Content::Absent(BySub), 15, None, BySub, any, Fetch),
            ("an absence, never stale", Content::Absent(BySub), 15, Some(15), BySub, any, Fetch),
            ("an absence by sub, method by token", Content::Absent(BySub), 1, None, ByUsername, any, Fetch),
            (
                "an absence by username, method by sub",
                Content::Absent(ByUsername),
                1,
                None,
                BySub,
                any,
                Serve,
            ),
            (
                "an absence by username, method by token",
                Content::Absent(ByUsername),
                1,
                None,
                ByUsername,
                any,
                Serve,
            ),
            (
                "an absence too old for the demand",
                Content::Absent(BySub),
                2,
                None,
                BySub,
                at_most(1, 2),
                Fetch,
            ),
        ];
        for (case, content, age, failed, method, demand, decision) in table {
            let failed = failed.map(|age| (at(age).monotonic, StaleReason::UpstreamThrottled));
            let entry = CacheEntry { content, began: begin, failed, expired: false, ttl_jitter: 100 };
            assert_eq!(TTLS.decide(&entry, method, demand, at(age).monotonic), decision, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_changes_nothing() {
        let began = TimePoint::now();
        let content = Content::Present(Arc::new(crate::users::test_user("a")));
        let entry = CacheEntry { content, began, failed: None, expired: false, ttl_jitter: 100 };
        for age in [0, 29, 30, 59, 60, 899, 900] {
            let monotonic = began.monotonic + Duration::from_secs(age);
            let decide = |system| {
                let now = TimePoint { system, monotonic };
                TTLS.decide(
                    &entry,
                    LookupMethod::BySub,
                    Demand::at_most(Duration::from_secs(300), now),
                    monotonic,
                )
            };
            for step in [1, 600, 86_400].map(Duration::from_secs) {
                assert_eq!(decide(began.system + step), decide(began.system), "{age} s, {step:?} ahead");
                assert_eq!(decide(began.system - step), decide(began.system), "{age} s, {step:?} back");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn groups_are_as_fresh_as_a_user_and_what_is_expired_is_not() {
        let begin = TimePoint::now();
        tokio::time::advance(Duration::from_secs(10_000)).await;
        let end = TimePoint::now();
        let at = |age: u64| TimePoint { monotonic: begin.monotonic + Duration::from_secs(age), ..end };
        let held = |content, failed: Option<u64>| {
            let failed = failed.map(|age| (at(age).monotonic, StaleReason::UpstreamThrottled));
            CacheEntry { content, began: begin, failed, expired: false, ttl_jitter: 100 }
        };
        let decide =
            |held: &CacheEntry, age| TTLS.decide(held, LookupMethod::BySub, Demand::ANY, at(age).monotonic);
        let user = || Content::Present(Arc::new(crate::users::test_user("a")));
        let groups = || Content::Groups(Groups::default());
        for (age, failed) in (0..1000).flat_map(|age| [(age, None), (age, Some(age))]) {
            let decision = decide(&held(user(), failed), age);
            assert_eq!(decide(&held(groups(), failed), age), decision, "{age} {failed:?}");
            let expired = if age < 900 { Decision::FetchOrStale } else { Decision::Fetch };
            assert_eq!(decide(&held(user(), failed).expired(), age), expired, "{age} {failed:?}");
        }
        let failed_again = held(user(), None).expired().failed(at(5).monotonic, StaleReason::BudgetExhausted);
        assert_eq!(decide(&failed_again, 5), Decision::ServeStale(StaleReason::BudgetExhausted));
    }

    #[tokio::test(start_paused = true)]
    async fn every_lifetime_is_spread() {
        let begin = TimePoint::now();
        let decide = |content: Content, ttl_jitter, failed: Option<u64>, age: u64| {
            let at = |age: u64| begin.monotonic + Duration::from_secs(age);
            let failed = failed.map(|age| (at(age), StaleReason::UpstreamUnavailable));
            let entry = CacheEntry { content, began: begin, failed, expired: false, ttl_jitter };
            TTLS.decide(&entry, LookupMethod::BySub, Demand::ANY, at(age))
        };
        let user = || Content::Present(Arc::new(crate::users::test_user("a")));
        let stale = Decision::ServeStale(StaleReason::UpstreamUnavailable);
        for (ttl_jitter, half, fresh, usable, absent) in [(90, 27, 54, 810, 14), (110, 33, 66, 990, 17)] {
            assert_eq!(decide(user(), ttl_jitter, None, half - 1), Decision::Serve);
            assert_eq!(decide(user(), ttl_jitter, None, half), Decision::ServeAndRefresh);
            assert_eq!(decide(user(), ttl_jitter, None, fresh), Decision::FetchOrStale);
            assert_eq!(decide(user(), ttl_jitter, Some(usable - 1), usable - 1), stale);
            assert_eq!(decide(user(), ttl_jitter, Some(usable), usable), Decision::Fetch);
            assert_eq!(
                decide(Content::Absent(LookupMethod::BySub), ttl_jitter, None, absent - 1),
                Decision::Serve
            );
            assert_eq!(
                decide(Content::Absent(LookupMethod::BySub), ttl_jitter, None, absent),
                Decision::Fetch
            );
        }
    }
}
