//! The bounds that hold whatever is asked, and how much of them is used.

use std::time::Duration;

use super::{
    super::{state::READS_OF_ONE_USER, *},
    bench::{ANYBODY, Bench, Received, account},
};

#[test]
fn one_user_is_read_at_most_ten_times_a_second() {
    let mut bench = Bench::at(1000);
    let ada = bench.user();
    let asked: Vec<_> = (0..100).map_while(|_| bench.ask_about(&ada, ANYBODY, 3000).ok()).collect();
    assert!(bench.ask(ANYBODY, 0).is_ok(), "other users are not limited");
    bench.run(4000);
    let calls: Vec<_> = asked.iter().filter_map(|fetch| Some(bench.begun.get(fetch)?.0)).collect();
    assert!((20..=40).contains(&calls.len()), "{} calls", calls.len());
    assert_within(&calls, READS_OF_ONE_USER, "one user");
}

#[test]
fn categories_are_independent() {
    let mut bench = Bench::at(1);
    for category in QuotaCategory::ALL {
        bench.category = category;
        assert!(bench.ask(ANYBODY, 0).is_ok(), "{category:?}");
        assert!(bench.ask(ANYBODY, 0).is_err(), "{category:?}");
    }
}

#[test]
fn users_and_fetches_are_forgotten() {
    let mut bench = Bench::at(1000);
    for _ in 0..10_000 {
        bench.run(2);
        bench.ask(ANYBODY, 0).unwrap();
    }
    assert!(bench.state.users.len() <= 2000, "{}", bench.state.users.len());
    bench.run(3000);
    bench.state.prune(bench.now);
    assert_eq!((bench.state.users.len(), bench.state.fetches.len()), (0, 0));
    assert!(!bench.state.categories.get(QuotaCategory::UserReads).has_waiting());
}

#[test]
fn no_second_at_cognito_holds_more_calls_than_any_limit_under_random_requests() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rate = random.usize(1..120);
        let mut bench = Bench::at(rate);
        bench.most_latency = random.u64(1..1500);
        let limit = random.usize(1..20);
        let users: Vec<_> = (0..30).map(|_| bench.user()).collect();
        for _ in 0..400 {
            bench.run(random.usize(0..20));
            let caller = random.usize(0..4);
            let own_limit = (caller == 0).then_some(limit);
            let priority = [Priority::Background, Priority::Batch, Priority::Single, Priority::Single]
                [random.usize(0..4)];
            let account = account(caller, own_limit, priority);
            let _ = bench.ask_about(&users[random.usize(0..30)], account, random.u64(0..4000));
            if let Some(id) = bench.waiting.keys().nth(random.usize(0..10)).copied() {
                let deadline = bench.now + Duration::from_millis(random.u64(0..4000));
                bench.state.join(
                    id,
                    Account { caller_limit: account.caller_limit, priority: Priority::Single },
                    deadline,
                    bench.now,
                );
            }
            if random.u8(0..200) == 0 {
                bench.state.categories.get_mut(QuotaCategory::UserReads).allowance.aimd.throttled(bench.now);
            }
        }
        bench.run(5000);
        let received = mem::take(&mut bench.received);
        let of = |wanted: &dyn Fn(&Received) -> bool| -> Vec<_> {
            received.iter().filter(|call| wanted(call)).map(|call| call.at).collect()
        };
        assert_within(&of(&|_| true), rate, &format!("seed {seed}"));
        assert_within(&of(&|call| call.payer == Some(0)), limit, &format!("a caller, seed {seed}"));
        for user in &users {
            let name = format!("a user, seed {seed}");
            assert_within(&of(&|call| call.user == *user), READS_OF_ONE_USER, &name);
        }
        assert!(bench.waiting.is_empty(), "seed {seed}: a fetch waits for ever");
    }
}

/// At latencies as usual the rate is used, but for the window's margin and the latency.
#[test]
fn nine_tenths_of_the_limit_are_used_under_load() {
    for (rate, latency) in [(1, 20), (24, 20), (96, 50), (400, 100)] {
        let mut bench = Bench::at(rate);
        bench.most_latency = latency;
        for _ in 0..5000 {
            let _ = bench.ask(ANYBODY, 3000);
            bench.run(1);
        }
        let per_second = bench.begun.len() as f64 / 5.0;
        assert!(per_second >= rate as f64 * 0.9, "{per_second} of {rate} a second");
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

fn assert_within(calls: &[Instant], per_second: usize, of: &str) {
    let mut calls = calls.to_vec();
    calls.sort_unstable();
    let mut pairs = calls.iter().zip(calls.iter().skip(per_second));
    let over = pairs.find(|(first, last)| **last - **first < Duration::from_secs(1));
    assert!(over.is_none(), "{of}: more than {per_second} calls in a second");
}
