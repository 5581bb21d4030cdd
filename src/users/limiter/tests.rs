use std::time::Duration;

use super::{
    state::{CALL_TIME, READS_OF_ONE_USER},
    *,
};

#[test]
fn a_call_starts_at_once_or_before_the_deadline_or_never() {
    use Priority::{Background, Foreground};
    let begin = Instant::now();
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let over = |ms: u64| Err(Failure::BudgetExhausted(Duration::from_millis(ms)));
    // At 8 user reads a second, 2 a quarter: the calls made, whether Cognito throttled, the
    // priority, the deadline, the result at 0 ms.
    let table = [
        ("the first", 0, false, Foreground, 3000, Ok(at(0))),
        ("the second", 1, false, Foreground, 3000, Ok(at(0))),
        ("the third waits a quarter of a second", 2, false, Foreground, 3000, Ok(at(250))),
        ("with just enough time for it", 2, false, Foreground, 350, Ok(at(250))),
        ("without enough time for it", 2, false, Foreground, 349, over(250)),
        ("the ninth waits a second", 8, false, Foreground, 3000, Ok(at(1000))),
        ("without enough time for that", 8, false, Foreground, 1000, over(1000)),
        ("a call at once needs no time", 0, false, Foreground, 0, Ok(at(0))),
        ("a refresh", 0, false, Background, 0, Ok(at(0))),
        ("a refresh uses only half of the rate", 1, false, Background, 0, over(250)),
        ("throttled", 0, true, Foreground, 3000, Ok(at(0))),
        ("throttled, a call does not wait", 1, true, Foreground, 3000, Err(Failure::Throttled)),
        ("throttled, a refresh", 1, true, Background, 0, Err(Failure::Throttled)),
    ];
    for (case, before, throttled, priority, deadline, expected) in table {
        let mut state = state(8);
        for n in 0..before {
            state.reserve(&acquire(&key(n), Foreground, None), at(0), at(60_000)).unwrap();
        }
        if throttled {
            state.user_reads.aimd.throttled(at(0));
        }
        assert_eq!(
            state.reserve(&acquire(&key(99), priority, None), at(0), at(deadline)),
            expected,
            "{case}"
        );
    }
}

#[test]
fn one_user_is_read_at_most_ten_times_a_second() {
    let (mut state, begin) = (state(1000), Instant::now());
    let ada = key(1);
    let calls: Vec<_> = (0..100)
        .map_while(|_| {
            let deadline = begin + Duration::from_secs(3);
            state.reserve(&acquire(&ada, Priority::Foreground, None), begin, deadline).ok()
        })
        .collect();
    for (first, eleventh) in calls.iter().zip(calls.iter().skip(10)) {
        assert!(*eleventh - *first >= Duration::from_secs(1));
    }
    assert!((20..=30).contains(&calls.len()), "{}", calls.len());
    assert_eq!(
        state.reserve(&acquire(&key(2), Priority::Foreground, None), begin, begin),
        Ok(begin),
        "other users are not limited"
    );
}

#[test]
fn a_callers_limit_applies_to_that_caller_only() {
    let (mut state, now) = (state(1000), Instant::now());
    let greedy = CallerRateLimit { caller: "greedy".into(), misses_per_second: 4 };
    let others = CallerRateLimit { caller: "other".into(), misses_per_second: 4 };
    state.reserve(&acquire(&key(1), Priority::Foreground, Some(&greedy)), now, now).unwrap();
    let refused = state.reserve(&acquire(&key(2), Priority::Foreground, Some(&greedy)), now, now);
    assert_eq!(refused, Err(Failure::BudgetExhausted(Duration::from_millis(250))));
    for caller_limit in [Some(&others), None] {
        assert_eq!(state.reserve(&acquire(&key(2), Priority::Foreground, caller_limit), now, now), Ok(now));
    }
}

#[test]
fn a_follow_up_call_starts_at_once_and_is_charged_later() {
    let (mut state, now) = (state(1000), Instant::now());
    let caller_limit = CallerRateLimit { caller: "a".into(), misses_per_second: 1 };
    state.reserve(&acquire(&key(1), Priority::Foreground, Some(&caller_limit)), now, now).unwrap();
    let ada = key(1);
    for _ in 0..2 {
        let more =
            Acquire { is_continuation: true, ..acquire(&ada, Priority::Foreground, Some(&caller_limit)) };
        assert_eq!(state.reserve(&more, now, now), Ok(now), "at once");
    }
    let next = state.reserve(&acquire(&key(2), Priority::Foreground, Some(&caller_limit)), now, now);
    assert_eq!(next, Err(Failure::BudgetExhausted(Duration::from_secs(3))), "after three calls");
}

#[test]
fn a_refusal_is_not_charged() {
    let (mut state, begin) = (state(4), Instant::now());
    let caller_limit = CallerRateLimit { caller: "a".into(), misses_per_second: 1 };
    state.reserve(&acquire(&key(1), Priority::Foreground, Some(&caller_limit)), begin, begin).unwrap();
    for n in 0..1000 {
        assert!(
            state
                .reserve(&acquire(&key(n), Priority::Foreground, Some(&caller_limit)), begin, begin)
                .is_err()
        );
    }
    let later = begin + Duration::from_millis(250);
    assert_eq!(state.reserve(&acquire(&key(2), Priority::Foreground, None), later, later), Ok(later));
    assert_eq!(state.users.len(), 2, "and no user is remembered for it");
}

#[test]
fn categories_are_independent() {
    let (mut state, now) = (state(1), Instant::now());
    for category in QuotaCategory::ALL {
        let (ada, bob) = (key(1), key(2));
        let mut book = |user| {
            let acquire = Acquire { category, ..acquire(user, Priority::Foreground, None) };
            state.reserve(&acquire, now, now)
        };
        assert_eq!(book(&ada), Ok(now), "{category:?}");
        assert!(book(&bob).is_err(), "{category:?}");
    }
}

#[test]
fn users_are_forgotten() {
    let mut state = state(1000);
    let mut now = Instant::now();
    for n in 0..100_000 {
        now += Duration::from_millis(2);
        state.reserve(&acquire(&key(n), Priority::Foreground, None), now, now).unwrap();
    }
    assert!(state.users.len() <= 2000, "{}", state.users.len());
    assert!(state.user_reads.window.len() <= 500);
}

#[test]
fn no_second_holds_more_calls_than_any_limit_under_random_requests() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let per_second = random.usize(1..120);
        let mut state = state(per_second);
        let caller_limit = CallerRateLimit { caller: "a".into(), misses_per_second: random.usize(1..20) };
        let (mut now, mut all) = (Instant::now(), Vec::new());
        for _ in 0..400 {
            now += Duration::from_micros(random.u64(0..20_000));
            let user = key(random.usize(0..30));
            let priority = if random.u8(0..4) == 0 { Priority::Background } else { Priority::Foreground };
            let wait = if priority == Priority::Background { 0 } else { random.u64(0..4000) };
            let caller_limit = random.bool().then_some(&caller_limit);
            let acquire = acquire(&user, priority, caller_limit);
            if let Ok(at) = state.reserve(&acquire, now, now + Duration::from_millis(wait)) {
                assert!(at == now || at + CALL_TIME <= now + Duration::from_millis(wait), "seed {seed}");
                all.push((at, user.clone(), caller_limit.is_some()));
            }
        }
        all.sort_unstable_by_key(|(at, ..)| *at);
        let of = |wanted: &dyn Fn(&(Instant, Key, bool)) -> bool| -> Vec<_> {
            all.iter().filter(|call| wanted(call)).map(|(at, ..)| *at).collect()
        };
        assert_within(&of(&|_| true), per_second, seed);
        assert_within(&of(&|(.., shared)| *shared), caller_limit.misses_per_second, seed);
        for n in 0..30 {
            assert_within(&of(&|(_, user, _)| *user == key(n)), READS_OF_ONE_USER, seed);
        }
    }
}

#[test]
fn the_reported_quota_is_followed_unless_a_rate_is_configured() {
    let settings = BudgetSettings { lists_per_second: Some(7), ..BudgetSettings::default() };
    let limiter = RateLimiter::new(&settings, &UpstreamMetrics::default());
    assert_eq!(limiter.rates(), [96, 7, 40]);
    for category in QuotaCategory::ALL {
        limiter.report_quota(category, 200);
    }
    assert_eq!(limiter.rates(), [160, 7, 160]);
}

fn assert_within(calls: &[Instant], per_second: usize, seed: u64) {
    let mut pairs = calls.iter().zip(calls.iter().skip(per_second));
    let over = pairs.find(|(first, last)| **last - **first < Duration::from_secs(1));
    assert!(over.is_none(), "seed {seed}: more than {per_second} calls in a second");
}

fn state(per_second: usize) -> LimiterState {
    let rate = Some(per_second);
    let settings =
        BudgetSettings { user_reads_per_second: rate, lists_per_second: rate, group_reads_per_second: rate };
    RateLimiter::new(&settings, &UpstreamMetrics::default()).state.into_inner().unwrap()
}

fn acquire<'a>(user: &'a Key, priority: Priority, caller_limit: Option<&'a CallerRateLimit>) -> Acquire<'a> {
    Acquire { category: QuotaCategory::UserReads, user, priority, caller_limit, is_continuation: false }
}

fn key(n: usize) -> Key {
    Key {
        pool: "eu-west-1_A".parse().unwrap(),
        sub: format!("user-{n}").parse().unwrap(),
        kind: crate::users::EntryKind::Profile,
    }
}
