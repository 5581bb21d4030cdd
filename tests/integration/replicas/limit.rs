//! One rate limit of three processes, in front of two pools of one account, under ten times the load
//! that it lets pass. Cognito counts the calls that it receives.

mod demand;
mod outage;
mod proof;
pub(super) mod received;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::{
    outage::Outage,
    proof::{Proof, Scope, Sharing},
};

/// So that a busy machine is no fault of the store.
const PATIENT: Duration = Duration::from_millis(250);

/// How much is asked for, and how long the parts of the proof take.
struct Pace {
    limit: usize,
    health: Duration,
    fault: Duration,
    /// After a fault of one replica's connection.
    rest: Duration,
    /// The time limit of a call to the store.
    timeout: Duration,
    /// Whether the times of recovery count.
    is_timed: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_has_more_calls_than_the_limit_and_the_allowances_whatever_the_store_does() {
    let pace = Pace {
        limit: 12,
        health: Duration::from_secs(2),
        fault: Duration::from_millis(600),
        rest: Duration::from_millis(100),
        timeout: PATIENT,
        is_timed: false,
    };
    prove(&pace).await;
}

/// The same for a minute in health and three seconds of each fault, with figures. Run it alone:
/// `cargo test --test integration -- --ignored --nocapture a_minute_of_the_limit`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three minutes, and needs the machine for itself"]
async fn a_minute_of_the_limit_and_its_recovery_from_every_fault_within_three_seconds() {
    let pace = Pace {
        limit: 48,
        health: Duration::from_secs(60),
        fault: Duration::from_secs(3),
        rest: Duration::from_secs(3),
        timeout: Duration::from_millis(50),
        is_timed: true,
    };
    prove(&pace).await;
}

impl Pace {
    /// The limit, and a quarter of it: the cut-off allowances of three replicas.
    fn most(&self) -> usize {
        self.limit + self.limit / 4
    }

    /// What counts as using the limit again.
    fn nearly_all(&self) -> usize {
        self.limit * 9 / 10 + 1
    }
}

#[expect(clippy::print_stdout, reason = "figures for the docs")]
async fn prove(pace: &Pace) {
    let limit = pace.limit;
    let mut proof = Proof::start(limit, Sharing::Shared(3), pace.timeout).await;
    proof.shares().await;
    let begun = Instant::now();
    sleep(pace.health).await;
    let health = begun..Instant::now();
    let (most, used) = (proof.received().most(&health), proof.received().per_second(&health));
    let part = used / limit as f64;
    println!("in health: at most {most} of {limit} calls in a second, {used:.1} on average ({part:.3})");
    assert!((1..=limit).contains(&most), "{most} calls in a second");
    assert!(!pace.is_timed || part >= 0.85, "{part} of the limit is used");
    for outage in Outage::all(pace.timeout) {
        suffer(&mut proof, outage, pace).await;
    }
    proof.shares().await;
    let well = Instant::now();
    sleep(Duration::from_secs(1)).await;
    let most = proof.received().most(&(well..Instant::now()));
    assert!((1..=limit).contains(&most), "{most} calls in a second after all faults");
    let most = proof.received().most(&(proof.begun..Instant::now()));
    println!("over all: at most {most} of {} calls in a second; {}", pace.most(), proof.demand.outcomes());
    assert!(most <= pace.most(), "{most} calls in a second");
    proof.demand.assert_tenfold(&(proof.begun..Instant::now()), limit);
}

/// Lets something fail, and waits until the limit is in use again.
#[expect(clippy::print_stdout, reason = "figures for the docs")]
async fn suffer(proof: &mut Proof, outage: Outage, pace: &Pace) {
    let begun = Instant::now();
    proof.begin(outage).await;
    sleep(pace.fault).await;
    if matches!(outage, Outage::Killed) {
        let (alone, allowances) = (proof.calls_alone().await, pace.limit / 4);
        assert!((1..=allowances).contains(&alone), "{alone} calls in a second of all allowances");
    }
    proof.end(outage).await;
    let returned = Instant::now();
    let most = proof.received().most(&(begun - Duration::from_secs(1)..returned));
    assert!(most <= pace.most(), "{outage:?}: {most} calls in a second");
    if outage.is_of_one_replica() {
        sleep(pace.rest).await;
    }
    if !outage.is_of_one_replica() || pace.is_timed {
        let (allowed, nearly_all) = (pace.most(), pace.nearly_all());
        let recovered = proof.recovered(returned, nearly_all).await;
        println!("{outage:?}: at most {most} of {allowed}; {nearly_all} a second from {recovered:.2?} on");
        assert!(!pace.is_timed || recovered <= Duration::from_secs(3), "{outage:?}: {recovered:?}");
    }
    if pace.is_timed {
        proof.shares().await;
        let well = Instant::now();
        sleep(Duration::from_secs(2)).await;
        let most = proof.received().most(&(well..Instant::now()));
        assert!(most <= pace.limit, "after {outage:?}: {most} calls in a second");
    }
}

/// The controls: the load suffices to exceed the limit, and to exceed the allowances.
#[tokio::test(flavor = "multi_thread")]
async fn the_proof_sees_limits_that_are_not_shared_and_allowances_that_are_too_large() {
    let (limit, most) = (12, 15);
    let proof = Proof::start(limit, Sharing::Own, PATIENT).await;
    proof.sees_more_than(most).await;
    assert_eq!(proof.scopes().await, [Scope::Own; 3]);
    drop(proof);

    // Of one replica at most, and there are three.
    let mut proof = Proof::start(limit, Sharing::Shared(1), PATIENT).await;
    proof.shares().await;
    proof.begin(Outage::Killed).await;
    let alone = proof.calls_alone().await;
    assert!(alone > limit / 4, "{alone} calls in a second");
}
