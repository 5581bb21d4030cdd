//! Changes that one replica receives, in the streams of another.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};

use super::{
    super::*,
    lab::{Lab, NEAR},
    replicas::Fleet,
};
use crate::{
    auth::{Revocation, RevokedTokens, TokenFamily},
    changes::{Change, ChangeKind, ChangeKinds, Changes, Item, Subscription, WatchFilter, Watcher},
    clock::TimePoint,
    config::WatchSettings,
    shared_cache::{ServerTime, fixtures::sealer},
    unix_time::micros_since_1970,
};

#[tokio::test(start_paused = true)]
async fn a_replica_where_nobody_may_watch_tells_those_that_watch_at_another() {
    let fleet = Fleet::start(2).await;
    let watch = watch(fleet.lab(1)).await;
    let lab = fleet.lab(0);
    let change = Change::seen(ChangeKind::SignedOut, TimePoint::now().system);
    lab.users.announce(&lab.pool.id, &"ada".parse().unwrap(), change).await.unwrap();
    assert_eq!(next(&watch).await.kinds, ChangeKind::SignedOut.into());
    lab.ask("ada").await.unwrap();
    lab.respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
    let since = FreshnessRequirement::FetchedSince(BootTime::now());
    lab.ask_with("ada", since, account(0, None), NEAR * 50).await.unwrap();
    assert_eq!(next(&watch).await.kinds, ChangeKind::Attributes.into());
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_finds_is_told_at_the_others_though_the_store_fails_at_first() {
    let fleet = Fleet::start(2).await;
    let watch = watch(fleet.lab(1)).await;
    let lab = fleet.lab(0);
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    let ada = (lab.pool.id.clone(), "ada".parse().unwrap());
    lab.users.announce_found(ada, ChangeKind::SignedOut.into(), ServerTime::ZERO);
    sleep(Duration::from_secs(2)).await;
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    let change = next(&watch).await;
    assert_eq!((change.kinds, change.tokens_issued_until), (ChangeKind::SignedOut.into(), None));
}

/// A watcher may present a token of that sign-in at once.
#[tokio::test(start_paused = true)]
async fn a_sign_out_that_an_online_check_found_is_in_force_before_other_replicas_report_it() {
    let fleet = Fleet::start(2).await;
    let [lab, other] = [fleet.lab(0), fleet.lab(1)];
    let watch = watch(other).await;
    // The store keeps microseconds, and `has_revoked` compares exactly.
    let at = UNIX_EPOCH + Duration::from_micros(micros_since_1970(SystemTime::now()));
    // The outage ends at different times between two tries.
    for cut_off in [1500, 1900, 2300] {
        let tokens = RevokedTokens::OfFamily(TokenFamily::of(&cut_off.to_string()));
        let revocation = Revocation { pool: lab.pool.id.clone(), tokens, at };
        fleet.links[0].change(|faults| faults.is_cut_off = true);
        assert!(lab.users.revoke(revocation.clone()).await.is_err());
        lab.users.announce_sign_out(&"ada".parse().unwrap(), revocation.clone());
        sleep(Duration::from_millis(cut_off)).await;
        fleet.links[0].change(|faults| faults.is_cut_off = false);
        assert_eq!(next(&watch).await.kinds, ChangeKind::SignedOut.into());
        assert!(other.users.has_revoked(&revocation), "after {cut_off} ms");
    }
}

/// Before it is told, an audit record or the store may take long.
#[tokio::test(start_paused = true)]
async fn a_change_is_seen_when_it_is_told_so_that_no_checkpoint_is_ahead() {
    let (fleet, alone) = (Fleet::start(2).await, Lab::start(|_, _| {}));
    for (by, at) in [(fleet.lab(0), fleet.lab(1)), (&alone, &alone)] {
        let (watch, ada) = (watch(at).await, "ada".parse().unwrap());
        let change = Change::seen(ChangeKind::Erased, TimePoint::now().system);
        sleep(Duration::from_secs(5)).await;
        let checkpoint = watch.checkpoint().unwrap();
        by.users.invalidate_for(&by.pool.id, &ada, Invalidation::Erase, change).await.unwrap();
        assert!(next(&watch).await.seen_at > checkpoint.seen_through);
        let checkpoint = watch.checkpoint().unwrap();
        sleep(Duration::from_secs(5)).await;
        by.users.announce(&by.pool.id, &ada, change).await.unwrap();
        assert!(next(&watch).await.seen_at > checkpoint.seen_through);
    }
}

/// A watcher may present a token of the user at once.
#[tokio::test(start_paused = true)]
async fn a_sign_out_is_in_force_when_a_watcher_hears_of_it() {
    let fleet = Fleet::start(2).await;
    let [lab, other] = [fleet.lab(0), fleet.lab(1)];
    let watch = watch(other).await;
    fleet.links[1].change(|faults| faults.delay = Duration::from_millis(20)..=Duration::from_millis(20));
    sleep(Duration::from_secs(2)).await;
    let (pool, at) = (lab.pool.id.clone(), SystemTime::now());
    let tokens = RevokedTokens::OfUser("ada".parse().unwrap());
    lab.users.revoke(Revocation { pool: pool.clone(), tokens, at }).await.unwrap();
    assert_eq!(next(&watch).await.kinds, ChangeKind::SignedOut.into());
    assert!(other.users.refuses(&pool, &"ada".parse().unwrap(), at - Duration::from_secs(60)));
}

/// In a cluster, revocations and events may be on different nodes, so that only one of them fails.
#[tokio::test(start_paused = true)]
async fn a_sign_out_is_not_reported_while_revocations_cannot_be_read() {
    let fleet = Fleet::start(2).await;
    let [lab, other] = [fleet.lab(0), fleet.lab(1)];
    let watch = watch(other).await;
    fleet.links[1].change(|faults| faults.fails_revocation_reads = true);
    let (pool, ada, at) = (lab.pool.id.clone(), "ada".parse().unwrap(), SystemTime::now());
    let sent = TimePoint::now().system;
    let tokens = RevokedTokens::OfUser("ada".parse().unwrap());
    lab.users.revoke(Revocation { pool: pool.clone(), tokens, at }).await.unwrap();
    let heard = watch.next(Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert!(matches!(&heard, Item::Checkpoint(checkpoint) if checkpoint.seen_through <= sent), "{heard:?}");
    fleet.links[1].change(|faults| faults.fails_revocation_reads = false);
    assert_eq!(next(&watch).await.kinds, ChangeKind::SignedOut.into());
    assert!(other.users.refuses(&pool, &ada, at - Duration::from_secs(60)));
}

/// The log begins at a new end of the events, and those before it are passed over.
#[tokio::test(start_paused = true)]
async fn a_replica_that_begins_to_watch_misses_no_revocation() {
    let fleet = Fleet::start(2).await;
    let [lab, begins] = [fleet.lab(0), fleet.lab(1)];
    fleet.links[1].change(|faults| faults.delay = Duration::from_millis(20)..=Duration::from_millis(20));
    sleep(Duration::from_secs(2)).await;
    let (pool, ada, at) = (lab.pool.id.clone(), "ada".parse().unwrap(), SystemTime::now());
    let revokes = async {
        let change = Change::seen(ChangeKind::SignedOut, TimePoint::now().system);
        lab.users.announce(&pool, &ada, change).await.unwrap();
        // That one is read after 20 ms, and the new end is after 40 ms.
        sleep(Duration::from_millis(30)).await;
        let tokens = RevokedTokens::OfUser(ada.clone());
        lab.users.revoke(Revocation { pool: pool.clone(), tokens, at }).await.unwrap();
    };
    let (_watch, ()) = tokio::join!(watch(begins), revokes);
    sleep(Duration::from_secs(5)).await;
    assert!(begins.users.refuses(&pool, &ada, at - Duration::from_secs(60)));
}

/// Its streams may begin with a sign-out from before.
#[tokio::test(start_paused = true)]
async fn no_stream_begins_while_revocations_cannot_be_read() {
    let fleet = Fleet::start(2).await;
    let [lab, begins] = [fleet.lab(0), fleet.lab(1)];
    fleet.links[1].change(|faults| faults.fails_revocation_reads = true);
    let (pool, ada, at) = (lab.pool.id.clone(), "ada".parse().unwrap(), SystemTime::now());
    let tokens = RevokedTokens::OfUser("ada".parse().unwrap());
    lab.users.revoke(Revocation { pool: pool.clone(), tokens, at }).await.unwrap();
    let begun = async {
        let _watch = watch(begins).await;
        begins.users.refuses(&pool, &ada, at - Duration::from_secs(60))
    };
    let outage = async {
        sleep(Duration::from_secs(5)).await;
        fleet.links[1].change(|faults| faults.fails_revocation_reads = false);
    };
    let (is_in_force, ()) = tokio::join!(begun, outage);
    assert!(is_in_force);
}

/// Opens a stream of all changes at a replica.
async fn watch(lab: &Lab) -> Subscription {
    let shared = lab.users.0.shared.is_some().then(|| sealer("cl", &["value"]));
    let changes = Changes::start(&WatchSettings::default(), shared, &Metrics::new().watch).unwrap();
    lab.users.record_changes(changes.clone());
    let filter = WatchFilter { pool: None, subs: Vec::new(), kinds: ChangeKinds::ALL };
    let watcher = Watcher { caller: "web".into(), filter, resume_token: String::new() };
    // The events of the others are read on within two seconds.
    let open = async {
        loop {
            if let Ok(opened) = changes.open(watcher.clone()).await {
                return opened;
            }
        }
    };
    timeout(PATIENCE, open).await.unwrap()
}

/// Returns the next change of user ada.
async fn next(watch: &Subscription) -> Change {
    match watch.next(Instant::now() + PATIENCE).await.unwrap() {
        Item::Change(delivery) if delivery.sub.as_str() == "ada" => delivery.change,
        other => panic!("{other:?} instead of a change"),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
