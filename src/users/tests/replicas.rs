//! Replicas in front of one Cognito, which share a model of the store.

use futures_util::{FutureExt as _, future::join_all};
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, shared::follow, *},
    groups::with_groups,
    lab::{Lab, NEAR},
};
use crate::{
    freshness::Freshness,
    shared_cache::{
        CallError, SharedCache,
        fixtures::{index_key, sealer},
        model::{ModelLink, ModelStore},
    },
};

#[tokio::test(start_paused = true)]
async fn what_one_replica_fetched_the_others_serve() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("gold"))));
    let fetched = fleet.lab(0).ask("ada").await.unwrap();
    sleep(Duration::from_secs(20)).await;
    for replica in [1, 2] {
        let found = fleet.lab(replica).ask("ada").await.unwrap();
        assert_eq!(found.user(), fetched.user());
        let Freshness { source, age, .. } = found.freshness();
        assert_eq!(source, Source::SharedCache);
        assert!((20_000..20_100).contains(&age.as_millis()), "{age:?}");
        let again = fleet.lab(replica).ask("ada").now_or_never().expect("a hit").unwrap();
        assert_eq!(again.freshness().source, Source::Cache);
    }
    assert_eq!(fleet.lab(0).calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_reads_over_all_replicas_make_one_call() {
    let fleet = Fleet::start(3).await;
    let asks = (0..1000).map(|n| fleet.lab(n % 3).ask("ada"));
    assert!(join_all(asks).await.iter().all(Result::is_ok));
    assert_eq!(fleet.lab(0).calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_and_its_groups_are_shared_and_so_is_that_there_is_no_user() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(with_groups(2));
    let first = fleet.lab(0).ask_with_groups("ada").await.unwrap();
    let second = fleet.lab(1).ask_with_groups("ada").await.unwrap();
    assert_eq!((first.user(), first.groups()), (second.user(), second.groups()));
    assert_eq!(fleet.lab(0).calls(), 3);
    fleet.lab(0).respond(|_| (NEAR, Lab::error("UserNotFoundException")));
    for lab in &fleet.labs {
        assert_eq!(lab.ask("nobody").await.unwrap_err(), Failure::NoSuchUser);
    }
    assert_eq!(fleet.lab(0).calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_requirement_holds_over_all_replicas() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).ask("ada").await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let seconds = Duration::from_secs;
    let since = |ago| FreshnessRequirement::FetchedSince(BootTime::now() - ago);
    let table: [(&str, &dyn Fn() -> FreshnessRequirement, Source); 4] = [
        ("young enough", &|| FreshnessRequirement::MaxAge(seconds(11)), Source::SharedCache),
        ("written before", &|| since(seconds(11)), Source::SharedCache),
        ("too old", &|| FreshnessRequirement::MaxAge(seconds(5)), Source::Cognito),
        ("written since", &|| since(Duration::ZERO), Source::Cognito),
    ];
    for (case, requirement, source) in table {
        let lab = fleet.join().await;
        let request = lab.ask_with("ada", requirement(), account(0, None), NEAR * 50);
        assert_eq!(request.await.map(|found| found.freshness().source), Ok(source), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_refreshes_of_all_replicas_are_those_of_one() {
    let fleet = Fleet::start(3).await;
    for _ in 0..600 {
        for lab in &fleet.labs {
            lab.ask("ada").await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    // One fetch in 27 to 33 s.
    assert!((18..=23).contains(&fleet.lab(0).calls()), "{} calls", fleet.lab(0).calls());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_those_who_waited_for_it_only() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).respond(|_| (NEAR, Lab::error("NotAuthorizedException")));
    let failed = join_all(fleet.labs.iter().map(|lab| lab.ask("ada"))).await;
    assert!(failed.iter().all(|failed| *failed.as_ref().unwrap_err() == Failure::AccessDenied), "{failed:?}");
    assert_eq!(fleet.lab(0).calls(), 1);
    sleep(Duration::from_millis(100)).await;
    fleet.lab(1).ask("ada").await.unwrap_err();
    assert_eq!(fleet.lab(0).calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_every_replica() {
    for invalidation in [Invalidation::Expire, Invalidation::Erase] {
        let fleet = Fleet::start(3).await;
        for lab in &fleet.labs {
            lab.ask("ada").await.unwrap();
        }
        fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
        let invalidated = fleet.invalidate(1, "ada", invalidation).await.unwrap();
        assert!(invalidated.entry && invalidated.reached_all_replicas, "{invalidation:?}");
        sleep(Duration::from_millis(1)).await;
        for lab in &fleet.labs {
            let state = lab.users.entry_info(&lab.key("ada")).state;
            assert!(matches!(state, EntryState::NotCached | EntryState::Stale), "{state:?}");
            let found = lab.ask("ada").await.unwrap();
            assert_eq!(found.user().attributes.get("custom:plan"), Some("new"), "{invalidation:?}");
        }
        assert_eq!(fleet.lab(0).calls(), 2, "{invalidation:?}");
    }
}

/// The event of a change that all replicas but one have already seen.
#[tokio::test(start_paused = true)]
async fn an_expiry_of_what_is_older_leaves_what_is_younger_on_every_replica() {
    let fleet = Fleet::start(3).await;
    let old = fleet.lab(0);
    old.ask("ada").await.unwrap();
    sleep(Duration::from_secs(10)).await;
    fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
    let since = FreshnessRequirement::FetchedSince(BootTime::now());
    for lab in &fleet.labs[1..] {
        lab.ask_with("ada", since, account(0, None), NEAR * 50).await.unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    let calls = old.calls();
    let older = |seconds| Invalidation::ExpireOlder(Duration::from_secs(seconds));
    // Of the change, and of an earlier one that comes later.
    for (by, age) in [(1, 8), (2, 60)] {
        assert!(fleet.invalidate(by, "ada", older(age)).await.unwrap().reached_all_replicas);
        sleep(Duration::from_millis(1)).await;
    }
    let states = || fleet.labs.iter().map(|lab| lab.users.entry_info(&lab.key("ada")).state);
    let [fresh, stale] = [EntryState::Fresh, EntryState::Stale];
    assert_eq!(states().collect::<Vec<_>>(), [stale, fresh, fresh]);
    let found = old.ask("ada").await.unwrap();
    assert_eq!(found.user().attributes.get("custom:plan"), Some("new"));
    assert_eq!((found.freshness().source, old.calls()), (Source::SharedCache, calls), "nobody fetches again");
    // Its own event ends all of them.
    fleet.invalidate(0, "ada", older(1)).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(states().all(|state| state == stale));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_an_invalidation_is_cached_nowhere() {
    let fleet = Fleet::start(3).await;
    fleet.lab(0).respond(|request| (Duration::from_millis(500), Lab::user(request, true, Some("old"))));
    let changing = async {
        sleep(Duration::from_millis(250)).await;
        fleet.lab(0).respond(|request| (NEAR, Lab::user(request, true, Some("new"))));
        fleet.invalidate(2, "ada", Invalidation::Expire).await.unwrap();
    };
    let (before, ()) = tokio::join!(fleet.lab(0).ask("ada"), changing);
    assert_eq!(before.unwrap().user().attributes.get("custom:plan"), Some("old"), "it asked before");
    for lab in &fleet.labs {
        let found = lab.ask("ada").await.unwrap();
        assert_eq!(found.user().attributes.get("custom:plan"), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_that_one_replica_found_disabled_or_deleted_is_gone_on_all() {
    for reply in [None, Some("UserNotFoundException")] {
        let fleet = Fleet::start(3).await;
        for lab in &fleet.labs {
            lab.ask("ada").await.unwrap();
        }
        fleet.lab(0).respond(move |request| match reply {
            None => (NEAR, Lab::user(request, false, None)),
            Some(error) => (NEAR, Lab::error(error)),
        });
        let since = FreshnessRequirement::FetchedSince(BootTime::now());
        let found = fleet.lab(0).ask_with("ada", since, account(0, None), NEAR * 50).await;
        assert!(found.is_ok_and(|found| !found.user().enabled) == reply.is_none());
        sleep(Duration::from_millis(1)).await;
        for lab in &fleet.labs {
            let found = lab.ask("ada").await;
            assert!(found.as_ref().is_err() || !found.as_ref().unwrap().user().enabled, "{found:?}");
        }
        assert_eq!(fleet.lab(0).calls(), 2, "the others find it in the store");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_in_an_outage_of_cognito_serves_what_is_shared_as_stale() {
    let fleet = Fleet::start(2).await;
    fleet.lab(0).ask("ada").await.unwrap();
    sleep(Duration::from_secs(300)).await;
    fleet.lab(0).respond(|_| (NEAR, Reply::Answer(500, "{}".to_owned())));
    let Freshness { stale_reason, age, .. } = fleet.lab(1).ask("ada").await.unwrap().freshness();
    assert_eq!(stale_reason, Some(StaleReason::UpstreamUnavailable));
    assert!(age >= Duration::from_secs(300), "{age:?}");
}

/// Replicas and their store.
pub(super) struct Fleet {
    pub(super) store: ModelStore,
    pub(super) links: Vec<Arc<ModelLink>>,
    pub(super) labs: Vec<Lab>,
}

impl Fleet {
    /// Starts replicas, and waits until each follows the events.
    pub(super) async fn start(replicas: usize) -> Self {
        let mut fleet = Self { store: ModelStore::new(), links: Vec::new(), labs: Vec::new() };
        let first = Lab::start(|_, _| {});
        for _ in 0..replicas {
            let (link, lab) = fleet.connect(&first, "value");
            fleet.links.push(link);
            fleet.labs.push(lab);
        }
        sleep(Duration::from_millis(1)).await;
        fleet
    }

    /// Adds a replica.
    pub(super) async fn join(&self) -> Lab {
        let (_, lab) = self.connect(&self.labs[0], "value");
        sleep(Duration::from_millis(1)).await;
        lab
    }

    /// Makes a replica with this value key.
    pub(super) fn connect(&self, first: &Lab, value_key: &str) -> (Arc<ModelLink>, Lab) {
        let link = Arc::new(self.store.link());
        let lab = first.replica(self.shared_cache(Arc::clone(&link), value_key));
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(follow(Arc::downgrade(&lab.users.0)));
        (link, lab)
    }

    pub(super) fn shared_cache(&self, link: Arc<ModelLink>, value_key: &str) -> SharedCache {
        let (namespace, metrics) = ("cl".parse().unwrap(), Metrics::new().shared_entries);
        let keys = (namespace, index_key("index"), sealer("cl", &[value_key]));
        SharedCache::new(link, keys, None, metrics)
    }

    pub(super) fn lab(&self, replica: usize) -> &Lab {
        &self.labs[replica]
    }

    /// Invalidates a user in the store, and tells no other replica.
    pub(super) async fn invalidate_silently(&self, replica: usize, sub: &str) {
        let lab = self.lab(replica);
        let shared = lab.users.0.shared.as_ref().unwrap();
        shared.invalidate(&lab.pool.id, &sub.parse().unwrap(), Invalidation::Expire).await.unwrap();
    }

    pub(super) async fn invalidate(
        &self,
        replica: usize,
        sub: &str,
        invalidation: Invalidation,
    ) -> Result<Invalidated, InvalidationFailure> {
        let lab = self.lab(replica);
        lab.users.invalidate(&lab.pool.id, &sub.parse().unwrap(), invalidation).await
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_an_invalidation_fails_after_the_local_part() {
    let fleet = Fleet::start(2).await;
    for lab in &fleet.labs {
        lab.ask("ada").await.unwrap();
    }
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    let failed = fleet.invalidate(0, "ada", Invalidation::Erase).await.unwrap_err();
    let here = Invalidated { entry: true, ..Invalidated::default() };
    assert_eq!(failed, InvalidationFailure::SharedCache { here, error: CallError::Unavailable });
    let states: Vec<_> = fleet.labs.iter().map(|lab| lab.users.entry_info(&lab.key("ada")).state).collect();
    assert_eq!(states, [EntryState::NotCached, EntryState::Fresh]);
    fleet.links[0].change(|faults| faults.is_cut_off = false);
    assert!(fleet.invalidate(0, "ada", Invalidation::Erase).await.unwrap().reached_all_replicas);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fleet.lab(1).users.entry_info(&fleet.lab(1).key("ada")).state, EntryState::NotCached);
}
