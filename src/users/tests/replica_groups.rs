//! Changes of groups over replicas that share a model of the store.

use std::time::SystemTime;

use tokio::time::sleep;

use super::{super::*, groups::with_groups, lab::Lab, replicas::Fleet};
use crate::auth::{Revocation, RevokedTokens};

#[tokio::test(start_paused = true)]
async fn a_change_of_groups_reaches_every_replica_and_those_that_start_later() {
    let fleet = Fleet::start(3).await;
    assert!(note(fleet.lab(0), Some("ada")).await.unwrap());
    sleep(Duration::from_millis(10)).await;
    let later = fleet.join().await;
    for lab in fleet.labs.iter().chain([&later]) {
        assert!(is_outdated(lab, "ada", -60) && !is_outdated(lab, "ada", 1) && !is_outdated(lab, "bob", -60));
    }
    note(fleet.lab(1), None).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    for lab in fleet.labs.iter().chain([&later]) {
        assert!(is_outdated(lab, "bob", -60) && !is_outdated(lab, "bob", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_or_a_gap_loses_no_change_of_groups() {
    for lost in [Duration::ZERO, Duration::from_secs(2)] {
        let fleet = Fleet::start(2).await;
        fleet.links[1].change(|faults| faults.is_cut_off = true);
        note(fleet.lab(0), Some("ada")).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(!is_outdated(fleet.lab(1), "ada", -60), "it is cut off");
        fleet.store.failover(lost);
        fleet.links[1].change(|faults| faults.is_cut_off = false);
        sleep(Duration::from_secs(5)).await;
        assert!(is_outdated(fleet.lab(1), "ada", -60), "{lost:?}");
        assert!(is_outdated(&fleet.join().await, "ada", -60), "one that starts later, after {lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_everything_gets_the_changes_of_groups_again() {
    let fleet = Fleet::start(2).await;
    note(fleet.lab(0), Some("ada")).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    fleet.store.flush();
    sleep(Duration::from_secs(5)).await;
    let later = fleet.join().await;
    assert!(is_outdated(&later, "ada", -120) && !is_outdated(&later, "bob", -120));
}

/// Each stream has a bound of its own.
#[tokio::test(start_paused = true)]
async fn changes_of_groups_remove_no_revocation() {
    let fleet = Fleet::start(1).await;
    let ada = || "ada".parse().unwrap();
    let (pool, tokens) = (fleet.lab(0).pool.id.clone(), RevokedTokens::OfUser(ada()));
    let at = SystemTime::now();
    fleet.lab(0).users.revoke(Revocation { pool: pool.clone(), tokens, at }).await.unwrap();
    for n in 0..5 {
        note(fleet.lab(0), Some(&format!("user-{n}"))).await.unwrap();
    }
    fleet.store.trim(5);
    let later = fleet.join().await;
    assert!(later.users.refuses(&pool, &ada(), at - Duration::from_secs(60)));
    assert!((0..5).all(|n| is_outdated(&later, &format!("user-{n}"), -60)));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_change_of_groups_holds_here_and_says_so() {
    let fleet = Fleet::start(2).await;
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    assert!(note(fleet.lab(0), Some("ada")).await.is_err());
    assert!(is_outdated(fleet.lab(0), "ada", -60) && !is_outdated(fleet.lab(1), "ada", -60));
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    sleep(Duration::from_secs(3)).await;
    note(fleet.lab(0), Some("ada")).await.expect("it may be repeated");
    sleep(Duration::from_millis(10)).await;
    assert!(is_outdated(fleet.lab(1), "ada", -60));
}

/// Whose groups a deleted group was among, only Cognito knows.
#[tokio::test(start_paused = true)]
async fn a_deleted_group_outdates_the_cached_groups_of_the_pool_on_every_replica() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).respond(with_groups(2));
    for lab in &fleet.labs {
        for sub in ["ada", "bob"] {
            assert_eq!(groups(lab, sub).await, 2);
        }
    }
    sleep(Duration::from_secs(1)).await;
    fleet.lab(0).respond(with_groups(1));
    let before = listed(&fleet);
    note(fleet.lab(2), None).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    for lab in &fleet.labs {
        for sub in ["ada", "bob"] {
            assert_eq!(groups(lab, sub).await, 1);
            assert_eq!(lab.ask(sub).await.unwrap().freshness().source, Source::Cache, "the profile stays");
        }
    }
    assert_eq!(listed(&fleet) - before, 2, "each user's once for all replicas, whatever the store had");
    note(fleet.lab(0), None).await.unwrap();
    fleet.lab(0).respond(|_| (super::lab::NEAR, Lab::error("TooManyRequestsException")));
    let stale = fleet.lab(0).ask_with_groups("ada").await.unwrap();
    let expected = (Some(StaleReason::UpstreamThrottled), 1);
    assert_eq!((stale.freshness().stale_reason, stale.groups().unwrap().names().len()), expected);
}

async fn note(lab: &Lab, sub: Option<&str>) -> Result<bool, InvalidationFailure> {
    let (pool, sub) = (lab.pool.id.clone(), sub.map(|sub| sub.parse().unwrap()));
    lab.users.note_group_change(GroupChange { pool, sub, at: now() }).await
}

/// Returns whether the groups in a token that was issued so many seconds from now are not believed.
fn is_outdated(lab: &Lab, sub: &str, from_now: i64) -> bool {
    let by = Duration::from_secs(from_now.unsigned_abs());
    let issued_at = if from_now < 0 { now() - by } else { now() + by };
    lab.users.0.group_changes.outdates_token(&lab.pool.id, &sub.parse().unwrap(), issued_at)
}

async fn groups(lab: &Lab, sub: &str) -> usize {
    lab.ask_with_groups(sub).await.unwrap().groups().unwrap().names().len()
}

fn listed(fleet: &Fleet) -> usize {
    fleet.lab(0).operations().iter().filter(|operation| *operation == "AdminListGroupsForUser").count()
}

fn now() -> SystemTime {
    TimePoint::now().system
}
