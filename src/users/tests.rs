//! How `Users` bears outages and loads: on a paused clock, so that "at once" is no time at all.

use std::sync::Mutex;

use futures_util::{FutureExt as _, future::join_all};
use serde_json::json;
use tokio::time::{advance, sleep};

use super::{
    cognito::network::{Reply, Request},
    *,
};
use crate::{
    pool::{Lookup, Pool},
    user::Sub,
};

#[tokio::test(start_paused = true)]
async fn throttled_it_serves_what_it_has_refuses_the_rest_at_once_and_heals() {
    let lab = Lab::start(|cache, _| cache.fresh_for = Duration::from_secs(20));
    for n in 0..50 {
        lab.ask(&format!("known-{n}")).await.unwrap();
    }
    let normal = lab.calls();
    sleep(Duration::from_secs(23)).await;
    lab.play(|_| (NEAR, Lab::error("TooManyRequestsException")));
    let (mut unknown, mut stale) = (0, 0);
    for second in 0..60 {
        let began = Instant::now();
        for n in 0..50 {
            let found = lab.ask(&format!("known-{n}")).await.unwrap();
            stale += usize::from(found.freshness().stale_reason == Some(StaleReason::UpstreamThrottled));
            let strangers = (0..4).map(|m| format!("unknown-{second}-{n}-{m}"));
            for sub in strangers {
                let asked = Instant::now();
                assert_eq!(lab.ask(&sub).await.unwrap_err(), Failure::Throttled);
                assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
                unknown += 1;
            }
        }
        advance(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    assert_eq!((unknown, stale), (12_000, 3000));
    // The budget would have let 96 a second through.
    assert!(lab.calls() - normal <= 60 * 96 * 11 / 20, "{} calls", lab.calls() - normal);

    lab.play(Lab::found);
    let healed = Instant::now();
    sleep(Duration::from_secs(4)).await;
    let all = join_all((0..96).map(|n| lab.ask_owned(format!("new-{n}")))).await;
    assert!(all.iter().all(Result::is_ok) && healed.elapsed() <= Duration::from_secs(5));
    sleep(Duration::from_secs(1)).await;
    for n in 0..50 {
        assert_eq!(lab.ask(&format!("known-{n}")).await.unwrap().freshness().stale_reason, None);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failing_calls_are_repeated_a_tenth_of_the_time() {
    for percent in [10, 50, 100] {
        let lab = Lab::start(|_, _| {});
        lab.play(move |request| match fastrand::u8(0..100) < percent {
            true => (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())),
            false => Lab::found(request),
        });
        let (mut misses, mut well) = (0, 0);
        for n in 0..1000 {
            misses += 1;
            well += usize::from(lab.ask(&format!("user-{n}")).await.is_ok());
            sleep(Duration::from_millis(15)).await;
        }
        // Ten retries are saved up at first.
        assert!(lab.calls() <= misses * 11 / 10 + 10, "{percent} %: {} calls", lab.calls());
        assert!(well >= misses * (100 - usize::from(percent)) / 100, "{percent} %: {well} answered");
    }
}

#[tokio::test(start_paused = true)]
async fn at_one_failure_in_ten_those_who_are_known_are_served() {
    let lab = Lab::start(|cache, _| cache.fresh_for = Duration::from_secs(2));
    for n in 0..20 {
        lab.ask(&format!("user-{n}")).await.unwrap();
    }
    lab.play(|request| match fastrand::u8(0..10) {
        0 => (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())),
        _ => Lab::found(request),
    });
    for n in 0..4000 {
        assert!(lab.ask(&format!("user-{}", n % 20)).await.is_ok());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_cognito_is_given_up_within_two_seconds() {
    let lab = Lab::start(|_, _| {});
    lab.play(|_| (NEAR, Reply::Nothing));
    let asked = Instant::now();
    assert_eq!(lab.ask("ada").await.unwrap_err(), Failure::Unavailable);
    assert!(asked.elapsed() <= Duration::from_millis(2001), "{:?}", asked.elapsed());
    assert_eq!(lab.calls(), 2, "each attempt has one second");
    let waiting = join_all((0..2000).map(|n| lab.ask_owned(format!("user-{n}")))).await;
    assert!(waiting.iter().all(Result::is_err));
    assert_eq!(lab.users.0.flights.len(), 0, "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_slow_cognito_holds_up_nobody_who_is_known() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    lab.play(|request| (Duration::from_millis(1500), Lab::found(request).1));
    let strangers: Vec<_> = (0..1000).map(|n| lab.ask_owned(format!("user-{n}"))).collect();
    let known = async {
        for _ in 0..1000 {
            assert!(lab.ask("ada").now_or_never().expect("at once").is_ok());
        }
    };
    let (strangers, ()) = tokio::join!(join_all(strangers), known);
    assert!(strangers.iter().all(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn a_region_out_for_two_hours_is_survived_for_the_time_set() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    let (began, before) = (Instant::now(), lab.calls());
    lab.play(|_| (NEAR, Reply::Reset));
    let mut served = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(7200) {
        match lab.ask("ada").await {
            Ok(_) => served = began.elapsed(),
            Err(failure) => assert_eq!(failure, Failure::Unavailable),
        }
        if began.elapsed().as_secs() == 120 {
            // Once a second, and again a tenth of the time, for as long as its freshness is over.
            assert!(lab.calls() - before <= 110, "{} calls", lab.calls() - before);
        }
        sleep(if began.elapsed().as_secs() < 120 { NEAR } else { Duration::from_secs(10) }).await;
    }
    let minutes = served.as_secs() / 60;
    assert!((13..=16).contains(&minutes), "15 min and a tenth more or less, not {served:?}");
    lab.play(Lab::found);
    assert!(lab.ask("ada").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_seen_within_its_freshness() {
    let lab = Lab::start(|_, _| {});
    type Change = fn(&Request) -> (Duration, Reply);
    let changes: [(&str, Change); 3] = [
        ("deleted", |_| (NEAR, Lab::error("UserNotFoundException"))),
        ("disabled", |request| (NEAR, Lab::user(request, false, None))),
        ("edited", |request| (NEAR, Lab::user(request, true, Some("new")))),
    ];
    for (change, reply) in changes {
        lab.play(Lab::found);
        lab.ask(change).await.unwrap();
        lab.play(reply);
        let changed = Instant::now();
        let seen = |answer: Result<Found, Failure>| match answer {
            Err(failure) => failure == Failure::NoSuchUser,
            Ok(found) => !found.user().enabled || found.user().attributes.contains_key("custom:plan"),
        };
        while !seen(lab.ask(change).await) {
            sleep(Duration::from_millis(100)).await;
        }
        // Half of 60 s, a tenth more, and the refresh.
        assert!(changed.elapsed() <= Duration::from_millis(33_500), "{change}: {:?}", changed.elapsed());
        // Whatever happens then, the old is not back.
        lab.play(|_| (NEAR, Reply::Reset));
        for _ in 0..100 {
            let answer = lab.ask(change).await;
            assert!(seen(answer) || change == "deleted", "{change}");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_thousand_cold_users_the_budget_is_asked_about_and_the_rest_refused_at_once() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for n in 0..100_000 {
        let mut asking = lab.ask_owned(format!("user-{n}")).boxed();
        match asking.as_mut().now_or_never() {
            None => waiting.push(asking),
            Some(Err(Failure::OverBudget(wait))) => {
                assert!(wait > Duration::ZERO && wait <= Duration::from_secs(3), "{wait:?}");
                refused += 1;
            }
            Some(other) => panic!("{other:?}"),
        }
        if n % 100 == 0 {
            assert!(lab.ask("ada").now_or_never().expect("a hit is served meanwhile").is_ok());
        }
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited to be refused");
    // The queue is bounded by what begins in time: 24 a quarter of a second, for 2.9 s.
    assert_eq!((waiting.len(), refused), (12 * 24, 100_000 - 12 * 24));
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert!(begun.elapsed() <= Duration::from_secs(3));
    lab.assert_within(96);
}

#[tokio::test(start_paused = true)]
async fn one_user_is_asked_about_ten_times_a_second_whoever_insists() {
    let lab = Lab::start(|_, _| {});
    let insisting = async |lab: &Lab| {
        for _ in 0..1000 {
            let demand = Demand::at_most(Duration::ZERO, Moment::now());
            drop(lab.ask_with("ada", demand, None, Duration::from_millis(500)).await);
            sleep(Duration::from_millis(10)).await;
        }
    };
    insisting(&lab).await;
    assert!(lab.calls() > 50, "{} calls", lab.calls());
    lab.assert_within(10);
    // Nor when each answer is somebody else's, and so never kept.
    let lab = Lab::start(|_, _| {});
    lab.play(|_| (NEAR, Lab::found_as("ada", "somebody-else")));
    for _ in 0..1000 {
        assert!(lab.ask("ada").await.is_err());
        sleep(Duration::from_millis(10)).await;
    }
    lab.assert_within(10);
}

#[tokio::test(start_paused = true)]
async fn a_greedy_caller_spends_its_own_share_only() {
    let lab = Lab::start(|_, _| {});
    let greedy = Share { caller: "greedy".into(), misses_per_second: 20 };
    let (mut well, mut refused) = (0, 0);
    for n in 0..2000 {
        for m in 0..9 {
            let sub = format!("random-{n}-{m}");
            let answer = lab.ask_with(&sub, Demand::ANY, Some(&greedy), Duration::ZERO).now_or_never();
            refused += usize::from(matches!(answer, Some(Err(Failure::OverBudget(_)))));
        }
        well += usize::from(lab.ask(&format!("other-{n}")).await.is_ok());
        sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(well, 2000, "the others are answered");
    assert!(refused > 16_000, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_retry_at_once_add_no_calls() {
    let lab = Lab::start(|_, _| {});
    lab.play(|_| (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())));
    for n in 0..1000 {
        for _ in 0..4 {
            assert!(lab.ask_with(&format!("user-{n}"), Demand::ANY, None, Duration::ZERO).await.is_err());
        }
    }
    lab.assert_within(96);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_for_whom_nobody_asks() {
    let lab = Lab::start(|_, _| {});
    for n in 0..50 {
        lab.ask(&format!("dormant-{n}")).await.unwrap();
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.calls(), 50, "no refresh without a hit");
    for n in 0..50 {
        lab.ask(&format!("dormant-{n}")).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lab.calls(), 100);
    sleep(Duration::from_secs(40)).await;
    for _ in 0..100 {
        lab.ask("dormant-0").await.unwrap();
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.calls(), 101, "one refresh for a hundred hits");
}

#[tokio::test(start_paused = true)]
async fn a_pool_set_to_lists_makes_nobody_active() {
    let lab = Lab::of(Lookup::ListUsers, |_, _| {});
    for _ in 0..20 {
        lab.ask("dormant").await.unwrap();
        sleep(Duration::from_secs(20)).await;
    }
    assert!(lab.calls() >= 5 && lab.world.lock().unwrap().calls.iter().all(|(_, name)| name == "ListUsers"));
}

#[tokio::test(start_paused = true)]
async fn refreshes_leave_half_of_the_budget_to_those_who_wait() {
    let lab = Lab::start(|_, budget| budget.user_reads_per_second = Some(40));
    for n in 0..200 {
        lab.ask(&format!("known-{n}")).await.unwrap();
        sleep(Duration::from_millis(30)).await;
    }
    sleep(Duration::from_secs(28)).await;
    // All are past half of their freshness, and one hit each would refresh them all.
    for n in 0..200 {
        assert!(lab.ask(&format!("known-{n}")).now_or_never().expect("a hit").is_ok());
    }
    for n in 0..5 {
        let answer = lab.ask_with(&format!("new-{n}"), Demand::ANY, None, Duration::ZERO).await;
        assert!(answer.is_ok(), "a token at once: {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_federated_user_is_refreshed_by_name_and_does_not_flap() {
    let lab = Lab::start(|_, _| {});
    // As Cognito does for a federated user: by name only.
    lab.play(|request| match request.input["Username"].as_str() {
        Some("Google_1") => (NEAR, Lab::found_as("Google_1", "grace")),
        _ => (NEAR, Lab::error("UserNotFoundException")),
    });
    let token = Known::ByToken("Google_1".parse().unwrap());
    lab.ask_known("grace", token).await.unwrap();
    for _ in 0..100 {
        assert!(lab.ask("grace").await.is_ok());
        sleep(Duration::from_secs(10)).await;
    }
}

/// `Users` before a Cognito that does as it is told.
struct Lab {
    users: Users,
    pool: Arc<Pool>,
    world: Arc<Mutex<World>>,
}

struct World {
    play: Box<dyn Fn(&Request) -> (Duration, Reply) + Send>,
    calls: Vec<(Instant, String)>,
}

impl Lab {
    fn start(change: impl FnOnce(&mut CacheSettings, &mut BudgetSettings)) -> Self {
        Self::of(Lookup::AdminGetUser, change)
    }

    fn of(bare_sub: Lookup, change: impl FnOnce(&mut CacheSettings, &mut BudgetSettings)) -> Self {
        let (mut cache, mut budget) = (CacheSettings::default(), BudgetSettings::default());
        change(&mut cache, &mut budget);
        let pool = Arc::new(test_pool(bare_sub));
        let world = Arc::new(Mutex::new(World { play: Box::new(Self::found), calls: Vec::new() }));
        let seen = Arc::clone(&world);
        let peer: cognito::network::Peer = Arc::new(move |request| {
            let mut world = seen.lock().unwrap();
            world.calls.push((Instant::now(), request.operation.clone()));
            let (time, reply) = (world.play)(&request);
            async move {
                sleep(time).await;
                reply
            }
            .boxed()
        });
        let cognito = Cognito::before(&peer, Arc::clone(&pool), Arc::new(Budget::new(&budget)));
        let users = Users::new(HashMap::from([(pool.id.clone(), cognito)]), &cache, 1);
        Self { users, pool, world }
    }

    fn play(&self, play: impl Fn(&Request) -> (Duration, Reply) + Send + 'static) {
        self.world.lock().unwrap().play = Box::new(play);
    }

    async fn ask(&self, sub: &str) -> Result<Found, Failure> {
        self.ask_with(sub, Demand::ANY, None, Duration::from_secs(3)).await
    }

    async fn ask_owned(&self, sub: String) -> Result<Found, Failure> {
        self.ask(&sub).await
    }

    async fn ask_known(&self, sub: &str, known: Known) -> Result<Found, Failure> {
        let subject = Subject { pool: Arc::clone(&self.pool), sub: sub.parse().unwrap(), known };
        let asked = Asked::from(&subject.known);
        let key = Key::of(&subject);
        let question = Question { subject: &subject, key, asked, demand: Demand::ANY, share: None };
        self.users.answer(&question, Instant::now() + Duration::from_secs(3)).await
    }

    async fn ask_with(
        &self,
        sub: &str,
        demand: Demand,
        share: Option<&Share>,
        time: Duration,
    ) -> Result<Found, Failure> {
        let sub: Sub = sub.parse().unwrap();
        let subject = Subject { pool: Arc::clone(&self.pool), sub, known: Known::BySub };
        let key = Key::of(&subject);
        let question = Question { subject: &subject, key, asked: Asked::BySub, demand, share };
        self.users.answer(&question, Instant::now() + time).await
    }

    fn calls(&self) -> usize {
        self.world.lock().unwrap().calls.len()
    }

    /// No second saw more calls than these.
    fn assert_within(&self, most: usize) {
        let world = self.world.lock().unwrap();
        let mut pairs = world.calls.iter().zip(world.calls.iter().skip(most));
        let over = pairs.find(|((first, _), (last, _))| *last - *first < Duration::from_secs(1));
        assert!(over.is_none(), "more than {most} calls in a second");
    }

    /// The user asked for.
    fn found(request: &Request) -> (Duration, Reply) {
        (NEAR, Self::user(request, true, None))
    }

    fn found_as(username: &str, sub: &str) -> Reply {
        let attributes = json!([{"Name": "sub", "Value": sub}]);
        let body = json!({"Username": username, "Enabled": true, "UserAttributes": attributes});
        Reply::Answer(200, body.to_string())
    }

    /// The user asked for, whose username is the `sub`.
    fn user(request: &Request, enabled: bool, plan: Option<&str>) -> Reply {
        let filter = || request.input["Filter"].as_str()?.strip_prefix("sub = \"")?.strip_suffix('"');
        let sub = request.input["Username"].as_str().or_else(filter).unwrap();
        let attribute = |(name, value): (&str, &str)| json!({"Name": name, "Value": value});
        let plan = plan.map(|plan| ("custom:plan", plan));
        let attributes: Vec<_> = [("sub", sub)].into_iter().chain(plan).map(attribute).collect();
        let body = match request.operation.as_str() {
            "ListUsers" => {
                json!({"Users": [{"Username": sub, "Enabled": enabled, "Attributes": attributes}]})
            }
            _ => json!({"Username": sub, "Enabled": enabled, "UserAttributes": attributes}),
        };
        Reply::Answer(200, body.to_string())
    }

    fn error(code: &str) -> Reply {
        Reply::Answer(400, json!({"__type": code, "message": "what Cognito says"}).to_string())
    }
}

const NEAR: Duration = Duration::from_millis(20);
