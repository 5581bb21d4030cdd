//! Revocations over replicas that share a model of the store.

use std::time::SystemTime;

use tokio::time::sleep;

use super::{super::*, lab::Lab, replicas::Fleet};
use crate::{
    auth::{Revocation, RevokedTokens},
    shared_cache::CallError,
};

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_every_replica_and_those_that_start_later() {
    let fleet = Fleet::start(3).await;
    let revoked = revoke(fleet.lab(0), "ada").await.unwrap();
    assert!(revoked.reached_all_replicas && revoked.until > SystemTime::now());
    sleep(Duration::from_millis(10)).await;
    for lab in &fleet.labs {
        assert!(refuses(lab, "ada") && !refuses(lab, "bob"));
    }
    // As if every replica had restarted.
    let later = fleet.join().await;
    assert!(later.users.0.shared.as_ref().unwrap().is_caught_up());
    assert!(refuses(&later, "ada") && !refuses(&later, "bob"));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_no_event_announced_is_found_after_a_gap() {
    let fleet = Fleet::start(2).await;
    fleet.links[1].change(|faults| faults.is_cut_off = true);
    revoke(fleet.lab(0), "ada").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(!refuses(fleet.lab(1), "ada"), "it is cut off");
    fleet.links[1].change(|faults| faults.is_cut_off = false);
    sleep(Duration::from_secs(3)).await;
    assert!(refuses(fleet.lab(1), "ada"));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_without_the_store_holds_here_and_says_so() {
    let fleet = Fleet::start(2).await;
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    let failed = revoke(fleet.lab(0), "ada").await.unwrap_err();
    assert_eq!(
        failed,
        InvalidationFailure::SharedCache { here: Invalidated::default(), error: CallError::Unavailable }
    );
    assert!(refuses(fleet.lab(0), "ada") && !refuses(fleet.lab(1), "ada"));
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    sleep(Duration::from_secs(3)).await;
    assert!(revoke(fleet.lab(0), "ada").await.unwrap().reached_all_replicas, "it may be repeated");
    sleep(Duration::from_millis(10)).await;
    assert!(refuses(fleet.lab(1), "ada"));
}

#[tokio::test(start_paused = true)]
async fn a_failover_loses_no_revocation() {
    for lost in [Duration::ZERO, Duration::from_secs(2)] {
        let fleet = Fleet::start(2).await;
        revoke(fleet.lab(0), "ada").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        fleet.store.failover(lost);
        sleep(Duration::from_secs(5)).await;
        assert!(fleet.labs.iter().all(|lab| refuses(lab, "ada")), "{lost:?}");
        assert!(refuses(&fleet.join().await, "ada"), "one that starts later, after {lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_the_revocations_but_not_for_long() {
    let fleet = Fleet::start(1).await;
    revoke(fleet.lab(0), "ada").await.unwrap();
    fleet.store.freeze();
    let begun = Instant::now();
    let later = fleet.join().await;
    let shared = later.users.0.shared.clone().unwrap();
    shared.caught_up().await;
    assert!(begun.elapsed() >= Duration::from_secs(5) && !shared.is_caught_up());
    fleet.store.thaw();
    sleep(Duration::from_secs(5)).await;
    assert!(shared.is_caught_up() && refuses(&later, "ada"));
}

async fn revoke(lab: &Lab, sub: &str) -> Result<Revoked, InvalidationFailure> {
    let tokens = RevokedTokens::OfUser(sub.parse().unwrap());
    lab.users.revoke(Revocation { pool: lab.pool.id.clone(), tokens, at: SystemTime::now() }).await
}

/// Returns whether a replica refuses a token that was issued a minute ago.
fn refuses(lab: &Lab, sub: &str) -> bool {
    let issued = SystemTime::now() - Duration::from_secs(60);
    lab.users.0.tokens.revocations().refuses(&lab.pool.id, &sub.parse().unwrap(), issued)
}
