use tokio::time::sleep;

use super::{
    super::super::*,
    fleet::{Fleet, Load, load, new_user},
};
use crate::users::fixtures::Duration;

#[tokio::test(start_paused = true)]
async fn replicas_share_one_limit_and_use_it() {
    for (replicas, rate) in [(3, 24), (4, 96)] {
        let fleet = Fleet::open(replicas, rate).await;
        let begun = Instant::now();
        let loads: Vec<_> = (0..replicas).map(|replica| load(replica, 0, 3 * rate as u64)).collect();
        fleet.run(&loads, Duration::from_secs(6)).await;
        assert_eq!(fleet.most_since(begun, |_| true), rate, "of {rate}");
        let used = fleet.count_since(begun, |_| true) as f64 / 6.0 / rate as f64;
        assert!(used > 0.88, "{used} of {rate}");
        for replica in 0..replicas {
            let part = fleet.count_since(begun, |call| call.replica == replica) as f64 / 6.0;
            let fair = rate as f64 / replicas as f64;
            assert!(part > fair * 0.7, "{part} of {fair} at replica {replica}");
        }
        assert_eq!(fleet.scopes(), vec![LimitScope::Shared; replicas]);
    }
}

/// Their queues are always full of calls that are about to be given up.
#[tokio::test(start_paused = true)]
async fn callers_that_do_not_wait_for_long_use_all_of_the_limit() {
    let (replicas, rate) = (3, 48);
    // The delay of the store each way, and the least part of the limit that is used.
    for (millis, least) in [(2, 0.88), (10, 0.8)] {
        let fleet = Fleet::open(replicas, rate).await;
        let one_way = Duration::from_millis(millis);
        fleet
            .replicas
            .iter()
            .for_each(|replica| replica.link.change(|faults| faults.delay = one_way..=one_way));
        let begun = Instant::now();
        let hasty = |replica| Load { deadline: Duration::from_millis(400), ..load(replica, 0, 160) };
        fleet.run(&[hasty(0), hasty(1), hasty(2)], Duration::from_secs(6)).await;
        assert!(fleet.most_since(begun, |_| true) <= rate);
        let used = fleet.count_since(begun, |_| true) as f64 / 6.0 / rate as f64;
        assert!(used > least, "{used} of {rate} at {one_way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_busy_replica_uses_what_the_others_leave() {
    let fleet = Fleet::open(3, 24).await;
    let begun = Instant::now();
    fleet.run(&[load(0, 0, 100), load(1, 0, 2)], Duration::from_secs(5)).await;
    assert!(fleet.most_since(begun, |_| true) <= 24);
    let modest = fleet.count_since(begun, |call| call.replica == 1);
    let busy = fleet.count_since(begun, |call| call.replica == 0);
    assert!((8..=11).contains(&modest) && busy > 90, "{modest} and {busy}");
}

#[tokio::test(start_paused = true)]
async fn callers_share_the_limit_over_all_replicas() {
    let fleet = Fleet::open(4, 24).await;
    let begun = Instant::now();
    let mut loads: Vec<_> = (0..4).map(|replica| load(replica, 0, 50)).collect();
    loads.push(load(3, 1, 50));
    fleet.run(&loads, Duration::from_secs(6)).await;
    let of = |caller: usize| fleet.count_since(begun, |call| call.caller == caller) as f64;
    // It asks one replica, the other one all of them.
    let part = of(1) / (of(0) + of(1));
    assert!((0.4..0.6).contains(&part), "{part}");
}

#[tokio::test(start_paused = true)]
async fn a_user_and_a_caller_have_their_limits_at_all_replicas_together() {
    let fleet = Fleet::open(3, 96).await;
    let begun = Instant::now();
    let limited = |replica| {
        let mut load = load(replica, 2, 30);
        load.account.caller_limit.misses_per_second = Some(6);
        load
    };
    let about_one_user = async {
        for n in 0..120 {
            let _ = fleet.ask(Load { deadline: Duration::from_millis(200), ..load(n % 3, 0, 1) }, 1).await;
        }
    };
    let of_one_caller = [limited(0), limited(1), limited(2)];
    tokio::join!(about_one_user, fleet.run(&of_one_caller, Duration::from_secs(4)));
    assert_eq!(fleet.most_since(begun, |call| call.user == 1), 10);
    assert_eq!(fleet.most_since(begun, |call| call.caller == 2), 6);
    assert!(fleet.count_since(begun, |call| call.caller == 2) >= 20);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_misses_is_refused_at_once_and_costs_few_scripts() {
    let fleet = Fleet::open(3, 24).await;
    let loads: Vec<_> = (0..3).map(|replica| load(replica, 0, 100)).collect();
    let flood = async {
        sleep(Duration::from_secs(3)).await;
        let (before, begun) = (fleet.store.calls("take"), Instant::now());
        let hasty = Load { deadline: Duration::from_millis(150), ..load(0, 1, 1) };
        for _ in 0..3_000 {
            let _ = fleet.ask(hasty, new_user()).await;
        }
        (fleet.store.calls("take") - before, begun.elapsed())
    };
    let ((takes, time), ()) = tokio::join!(flood, fleet.run(&loads, Duration::from_secs(8)));
    let per_second = takes as f64 / time.as_secs_f64().max(1.0);
    assert!(per_second < 24.0 * 6.0, "{takes} takes in {time:?}");
    assert!(time < Duration::from_secs(4), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_when_a_call_may_begin() {
    let fleet = Fleet::open(2, 4).await;
    for _ in 0..4 {
        fleet.ask(load(0, 0, 1), new_user()).await.unwrap();
    }
    // The other replica has not called yet.
    let hasty = Load { deadline: Duration::from_millis(200), ..load(1, 0, 1) };
    let refused = fleet.ask(hasty, new_user()).await;
    let Err(Failure::BudgetExhausted(wait)) = refused else { panic!("{refused:?}") };
    sleep(wait).await;
    assert_eq!(fleet.ask(hasty, new_user()).await, Ok(()), "after {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn background_calls_have_half_of_the_rate_and_wait_for_nothing() {
    let fleet = Fleet::open(2, 24).await;
    let background = |replica| {
        let mut load = load(replica, 0, 50);
        load.account.priority = Priority::Background;
        Load { deadline: Duration::ZERO, ..load }
    };
    let begun = Instant::now();
    fleet.run(&[background(0), background(1)], Duration::from_secs(4)).await;
    assert!((10..=12).contains(&fleet.most_since(begun, |_| true)));
    // While foreground calls wait, there are none.
    let begun = Instant::now();
    let busy = [load(0, 0, 60), load(1, 1, 60), background(0), background(1)];
    fleet.run(&busy, Duration::from_secs(4)).await;
    assert!(fleet.most_since(begun, |_| true) <= 24);
}

#[tokio::test(start_paused = true)]
async fn throttling_and_quotas_reach_all_replicas() {
    let fleet = Fleet::open(2, 96).await;
    let allowed = |replica: usize| {
        let state = fleet.replicas[replica].limiter.state();
        let allowance = &state.categories.get(QuotaCategory::UserReads).allowance;
        allowance.rate(Priority::Single, Instant::now())
    };
    fleet.replicas[0].limiter.throttled(QuotaCategory::UserReads);
    assert_eq!((allowed(0), allowed(1)), (48, 96));
    sleep(Duration::from_millis(1_050)).await;
    assert!(allowed(1) < 96, "{}", allowed(1));
    fleet.replicas[0].limiter.report_quota(QuotaCategory::Lists, 1_000);
    sleep(Duration::from_millis(1_050)).await;
    assert_eq!(fleet.replicas[1].limiter.rates()[1], 800);
}
