//! Revocations over replicas that share a model of the store.

use std::time::SystemTime;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{super::*, lab::Lab, replicas::Fleet};
use crate::{
    auth::{Revocation, RevokedTokens},
    shared_cache::{
        CallError,
        model::{LinkFaults, ModelStore},
    },
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
    assert_eq!(failed, RevocationFailure::SharedCache(CallError::Unavailable));
    assert!(refuses(fleet.lab(0), "ada") && !refuses(fleet.lab(1), "ada"));
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    sleep(Duration::from_secs(3)).await;
    assert!(revoke(fleet.lab(0), "ada").await.unwrap().reached_all_replicas, "it may be repeated");
    sleep(Duration::from_millis(10)).await;
    assert!(refuses(fleet.lab(1), "ada"));
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_reaches_every_replica_and_refuses_nothing() {
    let fleet = Fleet::start(2).await;
    let (pool, ada) = (&fleet.lab(0).pool.id, "ada".parse().unwrap());
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    // Cognito is never asked, so nobody needs to know.
    assert_eq!(fleet.lab(0).users.suspect(pool, &ada, until).await, Ok(false));
    let tokens = RevokedTokens::SuspectsOfUser(ada.clone());
    fleet.lab(0).users.revoke(Revocation { pool: pool.clone(), tokens, at: until }).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    for lab in fleet.labs.iter().chain([&fleet.join().await]) {
        assert_eq!(lab.users.0.tokens.revocations().suspected_until(pool, &ada), Some(until));
        assert!(!refuses(lab, "ada"));
    }
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

/// The replica learns of the failover long after it, and what it publishes again fails at first.
#[tokio::test(start_paused = true)]
async fn a_revocation_that_a_failover_lost_is_published_until_it_is_there() {
    for (is_cut_off, dropped_requests) in [(true, 0), (false, 90), (false, 100)] {
        let fleet = Fleet::start(2).await;
        revoke(fleet.lab(0), "ada").await.unwrap();
        fleet.links[0].change(|faults| {
            (faults.is_cut_off, faults.dropped_requests) = (is_cut_off, dropped_requests);
        });
        fleet.store.failover(Duration::from_secs(2));
        sleep(Duration::from_secs(30)).await;
        fleet.links[0].change(|faults| (faults.is_cut_off, faults.dropped_requests) = (false, 0));
        sleep(Duration::from_secs(5)).await;
        assert!(refuses(&fleet.join().await, "ada"), "cut off: {is_cut_off}, dropped: {dropped_requests} %");
        assert_eq!(unpublished(fleet.lab(0)), 0);
    }
}

/// Also those of a replica that has ended since.
#[tokio::test(start_paused = true)]
async fn a_store_that_lost_everything_gets_all_marks_again() {
    type Loss = fn(&ModelStore);
    let table: [(&str, Loss); 2] = [("flushed", ModelStore::flush), ("restarted", ModelStore::restart_empty)];
    for (case, lose) in table {
        let mut fleet = Fleet::start(3).await;
        // The marks have the time of the machine, which a test of so many may use up a minute of.
        let issued = SystemTime::now() - Duration::from_secs(60);
        let revokes = (0..COUNT).map(async |n| revoke(fleet.lab(n % 3), &format!("user-{n}")).await);
        assert!(join_all(revokes).await.iter().all(Result::is_ok), "{case}");
        sleep(Duration::from_secs(60)).await;
        drop((fleet.labs.remove(0), fleet.links.remove(0)));
        lose(&fleet.store);
        let published = fleet.store.calls("publish");
        sleep(Duration::from_secs(20)).await;
        assert!(fleet.labs.iter().all(|lab| unpublished(lab) == 0), "{case}");
        let later = fleet.join().await;
        sleep(Duration::from_millis(100)).await;
        let refuses =
            |n: usize| later.users.refuses(&later.pool.id, &format!("user-{n}").parse().unwrap(), issued);
        assert!((0..COUNT).all(refuses), "{case}");
        let published = fleet.store.calls("publish") - published;
        assert!(published < COUNT * 7 / 4, "{case}: two replicas published {published} marks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_nothing_gets_no_mark_again() {
    let fleet = Fleet::start(2).await;
    for n in 0..10 {
        revoke(fleet.lab(n % 2), &format!("user-{n}")).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let published = fleet.store.calls("publish");
    fleet.store.failover(Duration::ZERO);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(fleet.store.calls("publish"), published);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_the_store_did_not_take_is_published_later() {
    let fleet = Fleet::start(2).await;
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    revoke(fleet.lab(0), "ada").await.unwrap_err();
    // This one ended long ago, so there is nothing to repeat.
    let (pool, tokens) = (fleet.lab(0).pool.id.clone(), RevokedTokens::OfUser("bob".parse().unwrap()));
    let over = Revocation { pool, tokens, at: SystemTime::UNIX_EPOCH };
    fleet.lab(0).users.revoke(over).await.unwrap_err();
    assert_eq!(unpublished(fleet.lab(0)), 2);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(unpublished(fleet.lab(0)), 1);
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(unpublished(fleet.lab(0)), 0);
    assert!(refuses(fleet.lab(1), "ada") && refuses(&fleet.join().await, "ada"));
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

/// Whatever the store does, a start waits for at most 5 s, and the rest is read once it answers.
#[tokio::test(start_paused = true)]
async fn the_replay_is_bounded_and_completed_later() {
    // Which requests are lost is random, and the same in each run.
    fastrand::seed(1);
    let near = |delay: u64| Duration::from_millis(delay)..=Duration::from_millis(delay);
    type Change<'a> = &'a dyn Fn(&mut LinkFaults);
    // What the store does from the start on, what after 150 ms, and whether all is read within the 5 s.
    let table: [(&str, Change<'_>, Change<'_>, bool); 7] = [
        ("answers", &|_| (), &|_| (), true),
        ("is slow", &|faults| faults.delay = near(20), &|_| (), true),
        ("loses requests", &|faults| faults.dropped_requests = 30, &|_| (), true),
        ("is too slow", &|faults| faults.delay = near(100), &|_| (), false),
        ("is down", &|faults| faults.is_cut_off = true, &|_| (), false),
        ("is silent", &|faults| faults.is_held = true, &|_| (), false),
        (
            "is cut in the middle",
            &|faults| faults.delay = near(20),
            &|faults| faults.is_cut_off = true,
            false,
        ),
    ];
    let fleet = Fleet::start(1).await;
    for n in 0..COUNT {
        revoke(fleet.lab(0), &format!("user-{n}")).await.unwrap();
    }
    for (case, change, then, is_read) in table {
        let (link, later) = fleet.connect(fleet.lab(0), "value");
        link.change(change);
        let shared = later.users.0.shared.clone().unwrap();
        let (begun, waited) = (Instant::now(), shared.caught_up());
        let changed = async {
            sleep(Duration::from_millis(150)).await;
            link.change(then);
        };
        tokio::join!(waited, changed);
        assert_eq!(shared.is_caught_up(), is_read, "it {case}");
        assert!(begun.elapsed() <= Duration::from_millis(5_100), "it {case}: {:?}", begun.elapsed());
        assert!(is_read || begun.elapsed() >= Duration::from_secs(5), "it {case}: {:?}", begun.elapsed());
        link.change(|faults| *faults = LinkFaults::default());
        sleep(Duration::from_secs(5)).await;
        assert!(shared.is_caught_up() && (0..COUNT).all(|n| refuses(&later, &format!("user-{n}"))), "{case}");
    }
}

/// More than a read of the stream returns, so that a replay takes several.
const COUNT: usize = 2_200;

async fn revoke(lab: &Lab, sub: &str) -> Result<Revoked, RevocationFailure> {
    let tokens = RevokedTokens::OfUser(sub.parse().unwrap());
    lab.users.revoke(Revocation { pool: lab.pool.id.clone(), tokens, at: SystemTime::now() }).await
}

fn unpublished(lab: &Lab) -> usize {
    lab.users.0.shared.as_ref().unwrap().unpublished_marks()
}

/// Returns whether a replica refuses a token that was issued a minute ago.
fn refuses(lab: &Lab, sub: &str) -> bool {
    let issued = SystemTime::now() - Duration::from_secs(60);
    lab.users.0.tokens.revocations().refuses(&lab.pool.id, &sub.parse().unwrap(), issued)
}
