use tokio::time::sleep;

use super::{
    super::super::*,
    fleet::{Fleet, load},
};
use crate::users::fixtures::Duration;

const RATE: usize = 48;
const REPLICAS: usize = 4;
/// `replicas_at_most` is 4 here.
const CUT_OFF: usize = RATE / 4 / REPLICAS;

#[tokio::test(start_paused = true)]
async fn without_the_store_each_replica_has_its_cut_off_allowance_at_once() {
    let fleet = Fleet::open(REPLICAS, RATE).await;
    let all: Vec<_> = (0..REPLICAS).map(|replica| load(replica, 0, RATE as u64)).collect();
    let outage = async {
        sleep(Duration::from_secs(3)).await;
        fleet.replicas.iter().for_each(|replica| replica.link.change(|faults| faults.is_cut_off = true));
        let cut_off = Instant::now();
        sleep(Duration::from_secs(4)).await;
        cut_off
    };
    let (cut_off, ()) = tokio::join!(outage, fleet.run(&all, Duration::from_secs(8)));
    assert_eq!(fleet.scopes(), [LimitScope::CutOff; REPLICAS]);
    assert!(fleet.most_since(cut_off, |_| true) <= CUT_OFF * REPLICAS);
    for replica in 0..REPLICAS {
        let first = fleet.count_since(cut_off, |call| {
            call.replica == replica && call.at < cut_off + Duration::from_millis(100)
        });
        assert_eq!(first, CUT_OFF, "at once, at replica {replica}");
        let calls = fleet.count_since(cut_off, |call| call.replica == replica);
        assert!((CUT_OFF * 4..=CUT_OFF * 5).contains(&calls), "{calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_never_reaches_the_store_has_its_cut_off_allowance() {
    let fleet = Fleet::start(1, RATE);
    fleet.replicas[0].link.change(|faults| faults.is_cut_off = true);
    let begun = Instant::now();
    fleet.run(&[load(0, 0, 50)], Duration::from_secs(4)).await;
    let calls = fleet.count_since(begun, |_| true);
    assert!((CUT_OFF * 3..=CUT_OFF * 4).contains(&calls), "{calls} calls");
    assert_eq!(fleet.most_since(begun, |_| true), CUT_OFF);
}

/// No grant can be used then, so waiting for one would let no call begin.
#[tokio::test(start_paused = true)]
async fn a_store_that_always_answers_too_late_leaves_the_cut_off_allowance() {
    let fleet = Fleet::open(REPLICAS, RATE).await;
    let set = |one_way: u64| {
        let delay = Duration::from_millis(one_way);
        fleet.replicas.iter().for_each(|replica| {
            replica.link.change(|faults| {
                (faults.delay, faults.timeout) = (delay..=delay, Duration::from_secs(1));
            });
        });
    };
    let all: Vec<_> = (0..REPLICAS).map(|replica| load(replica, 0, RATE as u64)).collect();
    set(40);
    let begun = Instant::now();
    fleet.run(&all, Duration::from_secs(4)).await;
    assert_eq!(fleet.scopes(), [LimitScope::CutOff; REPLICAS]);
    for replica in 0..REPLICAS {
        let calls = fleet.count_since(begun, |call| call.replica == replica);
        assert!((CUT_OFF * 3..=CUT_OFF * 4).contains(&calls), "{calls} calls");
    }
    set(5);
    fleet.run(&all, Duration::from_secs(4)).await;
    assert_eq!(fleet.scopes(), [LimitScope::Shared; REPLICAS]);
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_the_store_lets_more_begin_than_the_limit_and_the_allowances() {
    type Fault = fn(&Fleet);
    // A fault, what ends it, and for how long it lasts.
    let table: [(&str, Fault, Fault, u64); 8] = [
        ("frozen", |fleet| fleet.store.freeze(), |fleet| fleet.store.thaw(), 3_000),
        ("restarted without its data", |fleet| fleet.store.restart_empty(), |_| {}, 0),
        ("flushed", |fleet| fleet.store.flush(), |_| {}, 0),
        ("failed over", |fleet| fleet.store.failover(Duration::from_millis(300)), |_| {}, 0),
        (
            "set forward",
            |fleet| fleet.store.set_skew(10_000_000),
            |fleet| fleet.store.set_skew(10_000_000),
            0,
        ),
        ("set back", |fleet| fleet.store.set_skew(-10_000_000), |_| {}, 0),
        (
            "requests of one replica are lost",
            |fleet| fleet.replicas[1].link.change(|faults| faults.dropped_requests = 100),
            |fleet| fleet.replicas[1].link.change(|faults| faults.dropped_requests = 0),
            2_000,
        ),
        (
            "replies to one replica are lost",
            |fleet| fleet.replicas[1].link.change(|faults| faults.dropped_replies = 100),
            |fleet| fleet.replicas[1].link.change(|faults| faults.dropped_replies = 0),
            2_000,
        ),
    ];
    for (case, begin, end, lasts) in table {
        let fleet = Fleet::open(REPLICAS, RATE).await;
        let begun = Instant::now();
        let all: Vec<_> = (0..REPLICAS).map(|replica| load(replica, 0, RATE as u64)).collect();
        let fault = async {
            sleep(Duration::from_secs(2)).await;
            begin(&fleet);
            sleep(Duration::from_millis(lasts)).await;
            end(&fleet);
            Instant::now()
        };
        let run = fleet.run(&all, Duration::from_millis(lasts + 7_500));
        let (ended, ()) = tokio::join!(fault, run);
        let most = fleet.most_since(begun, |_| true);
        assert!(most <= RATE + REPLICAS * CUT_OFF, "{case}: {most}");
        let recovered = ended + Duration::from_secs(3);
        let used = fleet.count_since(recovered, |_| true) as f64 / 2.5 / RATE as f64;
        assert!(used > 0.85, "{case}: {used} of the limit is used afterwards");
    }
}
