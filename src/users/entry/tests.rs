//! The cache policy as a table.

use super::*;
use crate::clock::tests::suspend;

pub(in crate::users) const TTLS: Ttls = Ttls {
    fresh: Duration::from_secs(60),
    usable: Duration::from_secs(900),
    absent: Duration::from_secs(15),
};

#[tokio::test(start_paused = true)]
async fn the_decision_follows_from_age_requirement_and_failures() {
    use Decision::{Fetch, FetchOrStale, Serve, ServeAndRefresh, ServeStale};
    use LookupMethod::{BySub, ByUsername};
    let begin = TimePoint::now();
    tokio::time::advance(Duration::from_secs(10_000)).await;
    let end = TimePoint::now();
    let at = |age: u64| TimePoint { boot: begin.boot + Duration::from_secs(age), ..end };
    let at_most =
        |seconds: u64, age: u64| FreshnessRequirement::max_age(Duration::from_secs(seconds), at(age).boot);
    let user = || Content::Present(Arc::new(crate::users::test_user("a")));
    let any = FreshnessRequirement::Any;
    let stale = ServeStale(StaleReason::UpstreamThrottled);
    // Content, its age, the age at which a fetch failed, the lookup method, the
    // requirement, the decision.
    let table = [
        ("a new user", user(), 0, None, BySub, any, Serve),
        ("up to half of its TTL", user(), 29, None, BySub, any, Serve),
        ("past half of it", user(), 30, None, BySub, any, ServeAndRefresh),
        ("up to its TTL", user(), 59, None, BySub, any, ServeAndRefresh),
        ("past half of it, a refresh just failed", user(), 40, Some(40), BySub, any, Serve),
        ("past half of it, a refresh failed before", user(), 40, Some(39), BySub, any, ServeAndRefresh),
        ("past its TTL", user(), 60, None, BySub, any, FetchOrStale),
        ("past its TTL, a fetch just failed", user(), 60, Some(60), BySub, any, stale),
        ("past its TTL, a fetch failed before", user(), 60, Some(59), BySub, any, FetchOrStale),
        ("up to usable_for, a fetch just failed", user(), 899, Some(899), BySub, any, stale),
        ("past usable_for", user(), 900, None, BySub, any, Fetch),
        ("past usable_for, a fetch just failed", user(), 900, Some(900), BySub, any, Fetch),
        ("young enough for the bound", user(), 5, None, BySub, at_most(5, 5), Serve),
        ("too old for the bound", user(), 6, None, BySub, at_most(5, 6), Fetch),
        ("too old for the bound, a fetch just failed", user(), 90, Some(90), BySub, at_most(80, 90), Fetch),
        ("stale, and the bound allows it", user(), 90, Some(90), BySub, at_most(100, 90), stale),
        ("fresh, but a fetch is required", user(), 1, None, ByUsername, at_most(0, 1), Fetch),
        ("a bound does not lengthen freshness", user(), 60, None, BySub, at_most(90, 60), FetchOrStale),
        ("an absence", Content::Absent(BySub), 14, None, BySub, any, Serve),
        ("an absence past its TTL", Content::Absent(BySub), 15, None, BySub, any, Fetch),
        ("an absence, never stale", Content::Absent(BySub), 15, Some(15), BySub, any, Fetch),
        ("an absence by sub, looked up by token", Content::Absent(BySub), 1, None, ByUsername, any, Fetch),
        ("an absence by username, looked up by sub", Content::Absent(ByUsername), 1, None, BySub, any, Serve),
        (
            "an absence by username, looked up by token",
            Content::Absent(ByUsername),
            1,
            None,
            ByUsername,
            any,
            Serve,
        ),
        ("an absence too old for the bound", Content::Absent(BySub), 2, None, BySub, at_most(1, 2), Fetch),
    ];
    for (case, content, age, failed, method, requirement, decision) in table {
        let failed = failed.map(|age| (at(age).boot, StaleReason::UpstreamThrottled));
        let entry = entry(content, begin, failed, 100);
        assert_eq!(TTLS.decide(&entry, method, requirement, at(age).boot), decision, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_asleep_counts_and_a_step_of_the_system_clock_does_not() {
    let began = TimePoint::now();
    let content = || Content::Present(Arc::new(crate::users::test_user("a")));
    let decide = |entry: &CacheEntry, now: TimePoint| {
        let requirement = FreshnessRequirement::max_age(Duration::from_secs(300), now.boot);
        TTLS.decide(entry, LookupMethod::BySub, requirement, now.boot)
    };
    let cached = entry(content(), began, None, 100);
    for age in [0, 29, 30, 59, 60, 899, 900] {
        let boot = began.boot + Duration::from_secs(age);
        let at = |system| decide(&cached, TimePoint { system, boot });
        for step in [1, 600, 86_400].map(Duration::from_secs) {
            assert_eq!(at(began.system + step), at(began.system), "{age} s, {step:?} ahead");
            assert_eq!(at(began.system - step), at(began.system), "{age} s, {step:?} back");
        }
    }
    assert_eq!(decide(&cached, TimePoint::now()), Decision::Serve);
    suspend(Duration::from_secs(7200));
    assert_eq!(decide(&cached, TimePoint::now()), Decision::Fetch);
}

#[tokio::test(start_paused = true)]
async fn groups_are_as_fresh_as_a_user_and_an_expired_entry_is_not_fresh() {
    let begin = TimePoint::now();
    tokio::time::advance(Duration::from_secs(10_000)).await;
    let end = TimePoint::now();
    let at = |age: u64| TimePoint { boot: begin.boot + Duration::from_secs(age), ..end };
    let cached = |content, failed: Option<u64>| {
        let failed = failed.map(|age| (at(age).boot, StaleReason::UpstreamThrottled));
        entry(content, begin, failed, 100)
    };
    let decide = |entry: &CacheEntry, age| {
        TTLS.decide(entry, LookupMethod::BySub, FreshnessRequirement::Any, at(age).boot)
    };
    let user = || Content::Present(Arc::new(crate::users::test_user("a")));
    let groups = || Content::Groups(Groups::default(), true);
    for (age, failed) in (0..1000).flat_map(|age| [(age, None), (age, Some(age))]) {
        let decision = decide(&cached(user(), failed), age);
        assert_eq!(decide(&cached(groups(), failed), age), decision, "{age} {failed:?}");
        let expired = if age < 900 { Decision::FetchOrStale } else { Decision::Fetch };
        assert_eq!(decide(&cached(user(), failed).expired(), age), expired, "{age} {failed:?}");
    }
    let failed_again = cached(user(), None).expired().failed(at(5).boot, StaleReason::BudgetExhausted);
    assert_eq!(decide(&failed_again, 5), Decision::ServeStale(StaleReason::BudgetExhausted));
}

#[tokio::test(start_paused = true)]
async fn every_ttl_has_jitter() {
    let begin = TimePoint::now();
    let decide = |content: Content, ttl_jitter, failed: Option<u64>, age: u64| {
        let at = |age: u64| begin.boot + Duration::from_secs(age);
        let failed = failed.map(|age| (at(age), StaleReason::UpstreamUnavailable));
        let entry = entry(content, begin, failed, ttl_jitter);
        TTLS.decide(&entry, LookupMethod::BySub, FreshnessRequirement::Any, at(age))
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
        assert_eq!(decide(Content::Absent(LookupMethod::BySub), ttl_jitter, None, absent), Decision::Fetch);
    }
}

fn entry(
    content: Content,
    began: TimePoint,
    failed: Option<(BootTime, StaleReason)>,
    ttl_jitter: u8,
) -> CacheEntry {
    let entry = CacheEntry { ttl_jitter, ..CacheEntry::new(content, began) };
    match failed {
        Some((ended, reason)) => entry.failed(ended, reason),
        None => entry,
    }
}
