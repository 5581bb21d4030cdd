use std::{collections::HashMap, time::Duration};

use super::{
    sliding_log::WINDOW,
    state::{CallState, READS_OF_ONE_USER},
    *,
};

#[test]
fn a_call_begins_at_once_or_before_the_deadline_or_never() {
    use Priority::{Background, Single};
    let over = |ms: u64| Err(Failure::BudgetExhausted(Duration::from_millis(ms)));
    // At 8 user reads a second, 3 of them at once: the calls in flight, whether Cognito throttled, the
    // priority, the deadline, and when the call begins.
    let table = [
        ("the first", 0, false, Single, 3000, Ok(0)),
        ("the third", 2, false, Single, 3000, Ok(0)),
        ("the fourth waits for an eighth of a second", 3, false, Single, 3000, Ok(125)),
        ("with just enough time for it", 3, false, Single, 225, Ok(125)),
        ("without enough time for it", 3, false, Single, 224, over(125)),
        ("the ninth waits until the first has left the window", 8, false, Single, 3000, Ok(1010)),
        ("without enough time for that", 8, false, Single, 485, over(386)),
        ("a call at once needs no time", 0, false, Single, 0, Ok(0)),
        ("a refresh", 0, false, Background, 0, Ok(0)),
        ("a refresh leaves half of a burst to others", 2, false, Background, 0, over(125)),
        ("a refresh uses only half of the rate", 4, false, Background, 0, over(886)),
        ("throttled", 0, true, Single, 3000, Ok(0)),
        ("throttled, a call does not wait", 4, true, Single, 3000, Err(Failure::Throttled)),
        ("throttled, a refresh", 4, true, Background, 0, Err(Failure::Throttled)),
    ];
    for (case, before, throttled, priority, deadline, expected) in table {
        let mut bench = Bench::at(8);
        for _ in 0..before {
            let _ = bench.ask(ANYBODY, 60_000);
        }
        let begin = bench.now;
        if before > 3 {
            bench.run(125 * (before - 3));
        }
        let late = bench.now - begin;
        if throttled {
            bench.state.categories.get_mut(QuotaCategory::UserReads).allowance.aimd.throttled(bench.now);
        }
        let asked = bench.ask(Account { priority, ..ANYBODY }, deadline);
        bench.run(4000);
        let began = asked.map(|fetch| (bench.begun[&fetch].0 - begin).as_millis());
        match (began, expected) {
            // Rounded up to the next millisecond, and after a call in flight has ended.
            (Ok(began), Ok(expected)) => {
                assert!((expected..expected + 5).contains(&began), "{case}: {began}")
            }
            (Err(failure), Err(expected)) => assert_eq!(failure, expected, "{case} at {late:?}"),
            unexpected => panic!("{case}: {unexpected:?}"),
        }
    }
}

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
fn a_callers_own_limit_applies_to_that_caller_only() {
    let mut bench = Bench::at(1000);
    let greedy = account(0, Some(4), Priority::Single);
    for _ in 0..4 {
        assert!(bench.ask(greedy, 0).is_ok());
    }
    assert_eq!(bench.ask(greedy, 0), Err(Failure::BudgetExhausted(WINDOW)));
    for other in [account(1, Some(4), Priority::Single), account(2, None, Priority::Single)] {
        assert!(bench.ask(other, 0).is_ok());
    }
}

#[test]
fn a_follow_up_call_does_not_wait_for_the_callers_limit_and_is_charged_later() {
    let mut bench = Bench::at(1000);
    let limited = account(0, Some(1), Priority::Single);
    let fetch = bench.ask(limited, 0).unwrap();
    for _ in 0..2 {
        bench.state.end(fetch, true, bench.now);
        let queued =
            bench.state.queue(fetch, QuotaCategory::UserReads, CallKind::FollowUp, bench.now, bench.now);
        assert_eq!(queued, Ok(()), "at once");
    }
    bench.state.end(fetch, true, bench.now);
    assert_eq!(bench.ask(limited, 0), Err(Failure::BudgetExhausted(3 * WINDOW)), "after three calls");
}

#[test]
fn a_refusal_is_not_charged() {
    let mut bench = Bench::at(4);
    let limited = account(0, Some(1), Priority::Single);
    bench.ask(limited, 0).unwrap();
    for _ in 0..1000 {
        assert!(bench.ask(limited, 0).is_err());
    }
    bench.run(250);
    assert!(bench.ask(ANYBODY, 0).is_ok());
    assert_eq!(bench.state.users.len(), 2, "and no user is remembered for it");
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
fn callers_that_ask_share_the_limit_max_min_fairly() {
    // Of 96 calls a second, and 93 after the time that a call takes: what each caller asks for a second,
    // what it gets at least, and at most.
    let table: [(&str, &[Share]); 6] = [
        ("one alone gets all", &[(1000, None, 88.0, 96.0)]),
        ("two share it", &[(1000, None, 43.0, 49.0), (1000, None, 43.0, 49.0)]),
        ("the rest of a modest one is used", &[(10, None, 9.5, 11.0), (1000, None, 77.0, 87.0)]),
        (
            "and shared by the others",
            &[(5, None, 4.5, 5.5), (20, None, 19.0, 21.0), (1000, None, 32.0, 37.0), (300, None, 32.0, 37.0)],
        ),
        ("a limit of its own leaves more", &[(1000, Some(10), 8.0, 10.5), (1000, None, 77.0, 87.0)]),
        ("a limit above its part gives no more", &[(1000, Some(90), 43.0, 49.0), (1000, None, 43.0, 49.0)]),
    ];
    for (case, callers) in table {
        let mut bench = Bench::at(96);
        for step in 0..5000 {
            for (caller, (asks, own, ..)) in callers.iter().enumerate() {
                if (step + caller) * asks / 1000 > (step + caller).saturating_sub(1) * asks / 1000 {
                    let _ = bench.ask(account(caller, *own, Priority::Batch), 2000);
                }
            }
            bench.run(1);
        }
        let got = bench.begun_of();
        for (caller, (.., least, most)) in callers.iter().enumerate() {
            let got = got[&caller] as f64 / 5.0;
            assert!((*least..=*most * 1.06).contains(&got), "{case}: caller {caller} got {got} a second");
        }
    }
}

#[test]
fn who_asks_for_little_waits_for_little() {
    let mut bench = Bench::at(96);
    let (mut waits, mut singles) = (Vec::new(), Vec::new());
    for step in 0..6000 {
        // Far more than can be called, and single reads of another caller and of the same one.
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        if step % 50 == 0 {
            let caller = usize::from(step % 100 == 0);
            singles.push((bench.ask(account(caller, None, Priority::Single), 1000), bench.now));
        }
        bench.run(1);
    }
    bench.run(1000);
    for (fetch, asked) in singles {
        waits.push(bench.begun[&fetch.expect("a place in the queue")].0 - asked);
    }
    waits.sort_unstable();
    assert!(waits[waits.len() * 95 / 100] < Duration::from_millis(300), "{waits:?}");
}

#[test]
fn a_burst_of_a_caller_that_had_nothing_comes_first_until_both_have_as_much() {
    let mut bench = Bench::at(96);
    for _ in 0..3000 {
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        bench.run(1);
    }
    let begin = bench.now;
    let burst: Vec<_> =
        (0..60).map(|_| bench.ask(account(1, None, Priority::Single), 2000).expect("a place")).collect();
    for _ in 0..2000 {
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        bench.run(1);
    }
    let mut times: Vec<_> = burst.iter().map(|fetch| (bench.begun[fetch].0 - begin).as_millis()).collect();
    times.sort_unstable();
    // Its part of a second, and then as the first of it leave the window.
    assert!(times[46] < 600 && times[59] < 1300, "{times:?}");
}

#[test]
fn single_requests_come_before_batches_and_follow_up_calls_before_both() {
    let mut bench = Bench::at(10);
    let order = [
        (CallKind::First, Priority::Batch),
        (CallKind::First, Priority::Single),
        (CallKind::Retry, Priority::Batch),
        (CallKind::FollowUp, Priority::Single),
        (CallKind::First, Priority::Batch),
    ];
    for _ in 0..3 {
        let _ = bench.ask(ANYBODY, 0);
    }
    let fetches = order.map(|(kind, priority)| {
        let fetch = bench.open(account(0, None, priority));
        bench.queue(fetch, kind, 5000).unwrap();
        fetch
    });
    bench.run(3000);
    let mut begun: Vec<_> = (0..5).map(|n| (bench.begun[&fetches[n]].0, n)).collect();
    begun.sort_unstable();
    assert_eq!(begun.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [2, 3, 1, 0, 4]);
}

#[test]
fn a_caller_that_joins_pulls_a_fetch_ahead_on_its_own_account() {
    let limited = account(0, Some(1), Priority::Single);
    // The account that joins, its deadline, when the call then begins, and on whose account.
    let other = account(1, None, Priority::Single);
    let busy = account(2, Some(1), Priority::Single);
    let table = [
        ("without a limit", other, 1000, 0, 1),
        ("for a batch", Account { priority: Priority::Batch, ..other }, 1000, 0, 1),
        ("with its limit used up later", busy, 9000, 2020, 0),
        ("itself", limited, 9000, 2020, 0),
    ];
    for (case, joins, deadline, begins, payer) in table {
        let mut bench = Bench::at(96);
        let _ = bench.ask(busy, 0);
        for _ in 0..2 {
            let _ = bench.ask(busy, 9000);
        }
        let fetches = [(); 3].map(|()| bench.ask(limited, 9000).unwrap());
        let begin = bench.now;
        let expected_at = bench.state.join(fetches[2], joins, begin + Duration::from_millis(deadline), begin);
        let expected = expected_at.map_or(0, |at| (at - begin).as_millis());
        assert!((begins..=begins + 60).contains(&expected), "{case}: expected at {expected}");
        bench.run(4000);
        let (at, caller) = bench.begun[&fetches[2]];
        assert!((begins..=begins + 60).contains(&(at - begin).as_millis()), "{case}");
        assert_eq!(caller, Some(payer), "{case}");
    }
}

#[test]
fn a_caller_that_joins_without_time_for_it_pays_nothing_and_keeps_the_fetch_no_longer() {
    let mut bench = Bench::at(1);
    let _ = bench.ask(ANYBODY, 0);
    let fetch = bench.ask(ANYBODY, 2000).unwrap();
    let hasty = account(1, None, Priority::Single);
    let expected_at = bench.state.join(fetch, hasty, bench.now + Duration::from_millis(500), bench.now);
    assert!(expected_at.is_some_and(|at| at >= bench.now + Duration::from_millis(1000)));
    bench.run(2000);
    assert_eq!(bench.begun[&fetch].1, Some(0));
}

#[test]
fn a_retry_costs_a_tenth_of_a_call_and_no_miss() {
    let mut bench = Bench::at(1000);
    let limited = account(0, Some(1), Priority::Single);
    let fetch = bench.ask(limited, 0).unwrap();
    bench.run(500);
    let fetch_again = bench.open(limited);
    assert_eq!(bench.queue(fetch_again, CallKind::Retry, 0), Ok(()));
    assert!(bench.begun.contains_key(&fetch));
    bench.run(600);
    assert!(bench.ask(limited, 0).is_ok(), "the retry is not charged");
    let retries = (0..20).map(|_| bench.open(ANYBODY)).collect::<Vec<_>>();
    let allowed = retries.into_iter().filter(|fetch| bench.queue(*fetch, CallKind::Retry, 3000).is_ok());
    assert_eq!(allowed.count(), 9);
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

/// What a caller asks for a second, its own limit, and what it gets at least and at most.
type Share = (usize, Option<usize>, f64, f64);

/// A limiter's state on a clock of its own, and a Cognito that receives its calls.
struct Bench {
    state: LimiterState,
    now: Instant,
    category: QuotaCategory,
    last_id: u64,
    random: fastrand::Rng,
    /// The most that a call takes, in milliseconds.
    most_latency: u64,
    /// The users of the fetches that wait, and until when.
    waiting: HashMap<FetchId, (Key, Instant)>,
    running: Vec<(FetchId, Instant, bool)>,
    /// When each call began, and on whose account.
    begun: HashMap<FetchId, (Instant, Option<usize>)>,
    received: Vec<Received>,
}

struct Received {
    at: Instant,
    user: Key,
    payer: Option<usize>,
}

impl Bench {
    fn at(rate: usize) -> Self {
        let settings = BudgetSettings {
            user_reads_per_second: Some(rate),
            lists_per_second: Some(rate),
            group_reads_per_second: Some(rate),
        };
        Self {
            state: LimiterState::new(&settings),
            now: Instant::now(),
            category: QuotaCategory::UserReads,
            last_id: 0,
            random: fastrand::Rng::with_seed(1),
            most_latency: 1,
            waiting: HashMap::new(),
            running: Vec::new(),
            begun: HashMap::new(),
            received: Vec::new(),
        }
    }

    fn user(&mut self) -> Key {
        self.last_id += 1;
        Key {
            pool: "eu-west-1_A".parse().unwrap(),
            sub: format!("user-{}", self.last_id).parse().unwrap(),
            kind: crate::users::EntryKind::Profile,
        }
    }

    /// Begins a fetch of a new user, whose first call begins now or within `wait` ms.
    fn ask(&mut self, account: Account, wait: u64) -> Result<FetchId, Failure> {
        let user = self.user();
        self.ask_about(&user, account, wait)
    }

    fn ask_about(&mut self, user: &Key, account: Account, wait: u64) -> Result<FetchId, Failure> {
        let fetch = self.open_about(user.clone(), account);
        self.queue(fetch, CallKind::First, wait).map(|()| fetch)
    }

    fn open(&mut self, account: Account) -> FetchId {
        let user = self.user();
        self.open_about(user, account)
    }

    fn open_about(&mut self, user: Key, account: Account) -> FetchId {
        self.last_id += 1;
        let fetch = FetchId(self.last_id);
        self.state.open(fetch, account, user.clone(), Arc::default(), self.now);
        self.waiting.insert(fetch, (user, self.now));
        fetch
    }

    fn queue(&mut self, fetch: FetchId, kind: CallKind, wait: u64) -> Result<(), Failure> {
        let deadline = self.now + Duration::from_millis(wait);
        let queued = self.state.queue(fetch, self.category, kind, deadline, self.now);
        if let Some((_, until)) = self.waiting.get_mut(&fetch) {
            *until = deadline.checked_sub(LEAST_TIME).unwrap();
        }
        if queued.is_err() {
            self.waiting.remove(&fetch);
            self.state.close(fetch, self.now);
        }
        self.note_begun();
        queued
    }

    /// Lets so many milliseconds pass.
    fn run(&mut self, ms: usize) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            let (over, running): (Vec<_>, Vec<_>) =
                self.running.drain(..).partition(|(_, end, _)| *end <= self.now);
            self.running = running;
            for (fetch, _, is_answered) in over {
                self.state.end(fetch, is_answered, self.now);
                self.state.close(fetch, self.now);
            }
            self.state.dispatch_all(self.now);
            self.note_begun();
            let due = self.waiting.iter().filter(|(_, (_, until))| *until <= self.now);
            for fetch in Vec::from_iter(due.map(|(fetch, _)| *fetch)) {
                if self.state.waits_until(fetch, self.now).is_err() {
                    self.state.close(fetch, self.now);
                    self.waiting.remove(&fetch);
                }
            }
        }
    }

    fn note_begun(&mut self) {
        for fetch in Vec::from_iter(self.waiting.keys().copied()) {
            let CallState::Begun { payer, at, .. } = self.state.fetches[&fetch].call else { continue };
            let (user, _) = self.waiting.remove(&fetch).unwrap();
            self.begun.insert(fetch, (at, payer));
            let latency = Duration::from_millis(self.random.u64(0..=self.most_latency));
            let travel = latency.mul_f64(self.random.f64());
            // An attempt ends after a second, wherever its request is.
            let end = at + latency.min(Duration::from_secs(1));
            self.running.push((fetch, end, latency <= Duration::from_secs(1)));
            self.received.push(Received { at: at + travel, user, payer });
        }
    }

    /// How many calls each caller made.
    fn begun_of(&self) -> HashMap<usize, usize> {
        let mut calls = HashMap::new();
        for (_, payer) in self.begun.values() {
            *calls.entry(payer.unwrap()).or_default() += 1;
        }
        calls
    }
}

fn account(caller: usize, misses_per_second: Option<usize>, priority: Priority) -> Account {
    Account { priority, caller_limit: CallerRateLimit { caller, misses_per_second } }
}

const ANYBODY: Account = Account {
    priority: Priority::Single,
    caller_limit: CallerRateLimit { caller: 0, misses_per_second: None },
};
