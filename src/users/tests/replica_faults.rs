//! Replicas whose store is slow, cut off, restarted, or in the wrong hands.

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
    replicas::Fleet,
};
use crate::telemetry::metrics::shared_entries::UnreadableReason;

#[tokio::test(start_paused = true)]
async fn without_the_store_each_replica_is_alone_and_no_hit_notices() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).ask("ada").await.unwrap();
    fleet.links.iter().for_each(|link| link.change(|faults| faults.is_cut_off = true));
    sleep(Duration::from_secs(5)).await;
    fleet.lab(0).ask("ada").now_or_never().expect("a hit").unwrap();
    for lab in &fleet.labs {
        assert_eq!(lab.ask("bob").await.unwrap().freshness().source, Source::Cognito);
    }
    assert_eq!(fleet.lab(0).calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_store_costs_a_miss_its_timeout_and_a_hit_nothing() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).ask("ada").await.unwrap();
    fleet.store.freeze();
    fleet.lab(0).ask("ada").now_or_never().expect("a hit").unwrap();
    let begun = Instant::now();
    fleet.lab(0).ask("bob").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_millis(50) + NEAR);
}

/// The entries become suspect once no events can be read. By then the circuit breaker must be open.
#[tokio::test(start_paused = true)]
async fn a_store_that_stays_frozen_costs_a_hit_nothing() {
    let fleet = Fleet::start(1).await;
    let lab = fleet.lab(0);
    lab.ask("ada").await.unwrap();
    fleet.links[0].change(|faults| faults.has_breaker = true);
    fleet.store.freeze();
    for milliseconds in 0..5000 {
        sleep(Duration::from_millis(1)).await;
        let hit = lab.ask("ada").now_or_never();
        hit.unwrap_or_else(|| panic!("it waits after {milliseconds} ms")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_found_disabled_is_disabled_here_before_the_store_answers() {
    let fleet = Fleet::start(1).await;
    let lab = fleet.lab(0);
    lab.ask("ada").await.unwrap();
    let store = fleet.store.clone();
    lab.respond(move |request| {
        store.freeze();
        (NEAR, Lab::user(request, false, None))
    });
    let now = FreshnessRequirement::FetchedSince(BootTime::now());
    let fetches = lab.ask_with("ada", now, account(0, None), NEAR * 50);
    let reads = async {
        // Cognito has answered, and the store does not.
        sleep(NEAR + Duration::from_millis(10)).await;
        lab.ask("ada").await.unwrap()
    };
    let (_, found) = tokio::join!(fetches, reads);
    assert!(!found.user().enabled);
}

#[tokio::test(start_paused = true)]
async fn a_user_known_to_be_disabled_stays_a_hit_while_the_store_is_told_again() {
    let fleet = Fleet::start(1).await;
    let lab = fleet.lab(0);
    lab.respond(|request| (NEAR, Lab::user(request, false, None)));
    lab.ask("ada").await.unwrap();
    let one_way = Duration::from_millis(20);
    fleet.links[0].change(|faults| faults.delay = one_way..=one_way);
    let now = FreshnessRequirement::FetchedSince(BootTime::now() + Duration::from_millis(1));
    sleep(Duration::from_millis(2)).await;
    let fetches = lab.ask_with("ada", now, account(0, None), NEAR * 50);
    let reads = async {
        sleep(one_way * 2 + NEAR + Duration::from_millis(10)).await;
        lab.ask("ada").now_or_never().expect("a hit").unwrap()
    };
    let (_, found) = tokio::join!(fetches, reads);
    assert!(!found.user().enabled);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_replaced_once_its_lease_ends() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(|request| (Duration::from_millis(900), Lab::found(request).1));
    let dying = async {
        sleep(Duration::from_millis(100)).await;
        // What it sends from now on does not arrive.
        fleet.links[0].change(|faults| faults.dropped_requests = 100);
        fleet.lab(0).respond(Lab::found);
        let begun = Instant::now();
        fleet.lab(1).ask("ada").await.unwrap();
        begun.elapsed()
    };
    let (_, took) = tokio::join!(fleet.lab(0).ask("ada"), dying);
    assert!((800..1100).contains(&took.as_millis()), "{took:?}");
    assert_eq!(fleet.lab(0).calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_keeps_its_lease() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(|request| (Duration::from_millis(900), Lab::found(request).1));
    let waiting = async {
        sleep(Duration::from_millis(100)).await;
        fleet.lab(1).ask("ada").await.unwrap().freshness().source
    };
    // The rate limit delays it for longer than a lease lasts without renewal.
    let (_, source) = tokio::join!(fleet.lab(0).ask("ada"), waiting);
    assert_eq!((source, fleet.lab(0).calls()), (Source::SharedCache, 1));
}

#[tokio::test(start_paused = true)]
async fn after_lost_events_an_entry_is_confirmed_before_it_is_served() {
    for is_invalidated in [false, true] {
        let fleet = Fleet::start(2).await;
        for lab in &fleet.labs {
            lab.ask("ada").await.unwrap();
        }
        fleet.links[1].change(|faults| faults.is_held = true);
        sleep(Duration::from_millis(10)).await;
        if is_invalidated {
            fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
        }
        fleet.invalidate(0, "bob", Invalidation::Expire).await.unwrap();
        fleet.store.trim(0);
        fleet.links[1].change(|faults| faults.is_held = false);
        sleep(Duration::from_secs(3)).await;
        let source = fleet.lab(1).ask("ada").await.unwrap().freshness().source;
        let expected = if is_invalidated { Source::Cognito } else { Source::Cache };
        assert_eq!(source, expected);
        assert_eq!(fleet.lab(0).calls(), if is_invalidated { 2 } else { 1 });
        // Once is enough.
        fleet.lab(1).ask("ada").now_or_never().expect("a hit").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_loses_an_invalidation_does_not_bring_the_old_user_back() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).ask("ada").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
    fleet.store.failover(Duration::from_millis(500));
    sleep(Duration::from_secs(3)).await;
    for lab in &fleet.labs {
        let found = lab.ask("ada").await.unwrap();
        assert_eq!(found.user().attributes.get("custom:plan"), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_its_data_is_a_cold_cache() {
    let fleet = Fleet::start(2).await;
    for lab in &fleet.labs {
        lab.ask("ada").await.unwrap();
    }
    fleet.store.restart_empty();
    sleep(Duration::from_secs(3)).await;
    for lab in &fleet.labs {
        assert_eq!(lab.ask("ada").await.unwrap().freshness().source, Source::Cache);
    }
    assert_eq!(fleet.lab(0).calls(), 1, "nothing was invalidated");
    fleet.lab(1).ask("bob").await.unwrap();
    assert_eq!(fleet.lab(0).ask("bob").await.unwrap().freshness().source, Source::SharedCache);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_shares_nothing_and_harms_nothing() {
    let fleet = Fleet::start(2).await;
    fleet.store.set_full(true);
    for lab in &fleet.labs {
        assert_eq!(lab.ask("ada").await.unwrap().freshness().source, Source::Cognito);
    }
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap_err();
    fleet.store.set_full(false);
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_with_another_key_fetches_for_itself_and_replaces_nothing() {
    let mut fleet = Fleet::start(2).await;
    let (link, lab) = fleet.connect(fleet.lab(0), "another value");
    fleet.links.push(link);
    fleet.labs.push(lab);
    sleep(Duration::from_millis(1)).await;
    fleet.lab(0).ask("ada").await.unwrap();
    assert_eq!(fleet.lab(2).ask("ada").await.unwrap().freshness().source, Source::Cognito);
    assert_eq!(fleet.lab(1).ask("ada").await.unwrap().freshness().source, Source::SharedCache);
    // It cannot read the event either, so that it confirms what it has.
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    fleet.lab(2).ask("ada").await.unwrap();
    assert_eq!(fleet.lab(2).calls(), 3);
}

/// A removed key leaves nothing behind that counts as unreadable, or the operator would be warned.
#[tokio::test(start_paused = true)]
async fn an_entry_that_is_not_used_any_more_needs_no_key() {
    // In minutes. The store keeps an entry for 17.5 min, and a replica uses it for 16.5 min.
    for (age, unreadable) in [(16, true), (17, false)] {
        let fleet = Fleet::start(1).await;
        fleet.lab(0).ask("ada").await.unwrap();
        sleep(Duration::from_secs(60 * age)).await;
        let (_link, lab) = fleet.connect(fleet.lab(0), "another value");
        sleep(Duration::from_millis(1)).await;
        let shared = lab.users.0.shared.as_ref().unwrap();
        let state = shared.inspect(&lab.key("ada"), &lab.users.0.ttls).await.state;
        let expected = if unreadable { SharedState::Unreadable } else { SharedState::NotCached };
        assert_eq!(state, expected, "after {age} min");
        assert_eq!(lab.ask("ada").await.unwrap().freshness().source, Source::Cognito);
        let count = shared.metrics().unreadable.get(UnreadableReason::Key).get();
        assert_eq!(count > 0, unreadable, "after {age} min");
        assert_eq!(fleet.store.users().len(), 1, "the store has it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_is_not_cached_even_if_the_event_is_late() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(|request| (Duration::from_millis(300), Lab::user(request, true, Some("old"))));
    let changing = async {
        sleep(Duration::from_millis(100)).await;
        fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
        fleet.invalidate_silently(1, "ada").await;
    };
    let (before, ()) = tokio::join!(fleet.lab(0).ask("ada"), changing);
    assert_eq!(plan(&before.unwrap()), "old", "it asked before");
    assert_eq!(plan(&fleet.lab(0).ask("ada").await.unwrap()), "new");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_an_invalidation_does_not_bring_the_old_user_back() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("old"))));
    fleet.lab(0).ask("ada").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
    // The publisher cannot repeat it.
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    fleet.store.failover(Duration::from_millis(500));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(plan(&fleet.lab(1).ask("ada").await.unwrap()), "new");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_a_failover_lost_is_published_again() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("old"))));
    for lab in &fleet.labs {
        lab.ask("ada").await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
    fleet.links[1].change(|faults| faults.is_held = true);
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
    fleet.store.failover(Duration::from_millis(500));
    fleet.links[1].change(|faults| faults.is_held = false);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(plan(&fleet.lab(1).ask("ada").await.unwrap()), "new");
}

#[tokio::test(start_paused = true)]
async fn an_older_entry_of_another_replica_does_not_replace_a_newer_one() {
    let fleet = Fleet::start(2).await;
    fleet.lab(1).ask("ada").await.unwrap();
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    sleep(Duration::from_secs(1)).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, false, None)));
    assert!(!fleet.lab(0).ask("ada").await.unwrap().user().enabled);
    fleet.lab(0).expire("ada");
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    assert!(!fleet.lab(0).ask("ada").await.unwrap().user().enabled, "it was known to be disabled");
}

#[tokio::test(start_paused = true)]
async fn an_erased_user_is_not_served_in_an_outage_although_its_event_was_lost() {
    let fleet = Fleet::start(2).await;
    for lab in &fleet.labs {
        lab.ask("ada").await.unwrap();
    }
    fleet.links[1].change(|faults| faults.is_held = true);
    fleet.invalidate(0, "ada", Invalidation::Erase).await.unwrap();
    fleet.store.trim(0);
    fleet.invalidate(0, "ada", Invalidation::Expire).await.unwrap();
    fleet.links[1].change(|faults| faults.is_held = false);
    sleep(Duration::from_secs(3)).await;
    fleet.lab(0).respond(|_| (NEAR, Reply::Answer(500, "{}".to_owned())));
    assert_eq!(fleet.lab(1).ask("ada").await.unwrap_err(), Failure::Unavailable);
}

fn plan(found: &Found) -> &str {
    found.user().attributes.get("custom:plan").unwrap()
}
