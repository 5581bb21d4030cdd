//! An administrator expires or erases a user while a fetch is in flight.

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};

#[tokio::test(start_paused = true)]
async fn a_fetch_in_flight_does_not_restore_an_erased_user() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    assert_eq!(
        lab.erase("ada"),
        Invalidated { entry: true, absence: false, fetches: 0, tokens: 0, ..Invalidated::default() }
    );
    lab.respond(|request| (Duration::from_millis(800), Lab::user(request, true, Some("old"))));
    let before = lab.ask("ada");
    let erasing = async {
        sleep(Duration::from_millis(400)).await;
        let erased = lab.erase("ada");
        assert_eq!(
            erased,
            Invalidated { entry: false, absence: false, fetches: 1, tokens: 0, ..Invalidated::default() }
        );
        lab.respond(|request| (Duration::from_millis(100), Lab::user(request, true, Some("new"))));
        // A later request does not join the earlier fetch, which is still in flight.
        assert_eq!(plan(&lab.ask("ada").await.unwrap()), "new");
    };
    let (before, ()) = tokio::join!(before, erasing);
    assert_eq!(plan(&before.unwrap()), "old", "the request from before is answered");
    let held = lab.ask("ada").now_or_never().expect("a hit").unwrap();
    assert_eq!((plan(&held).as_str(), lab.calls()), ("new", 3));
    assert_eq!(lab.users.0.single_flight.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_fetch_from_before_an_erasure_is_not_cached() {
    let lab = Lab::start(|_, _| {});
    for (case, reply) in [("a user", None), ("an absence", Some("UserNotFoundException"))] {
        lab.respond(move |request| match reply {
            None => (Duration::from_millis(100), Lab::found(request).1),
            Some(error) => (Duration::from_millis(100), Lab::error(error)),
        });
        let erasing = async {
            sleep(Duration::from_millis(50)).await;
            lab.erase("ada")
        };
        let (_, erased) = tokio::join!(lab.ask("ada"), erasing);
        assert_eq!(erased.fetches, 1, "{case}");
        assert_eq!(lab.users.entry_info(&lab.key("ada")).state, EntryState::NotCached, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_user_is_fetched_again_and_served_stale_in_an_outage() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    assert_eq!(lab.users.entry_info(&lab.key("ada")).state, EntryState::Fresh);
    assert!(lab.expire("ada"));
    assert_eq!(lab.users.entry_info(&lab.key("ada")).state, EntryState::Stale);
    assert_eq!(lab.ask("ada").await.unwrap().freshness().source, Source::Cognito);
    assert_eq!((lab.users.entry_info(&lab.key("ada")).state, lab.calls()), (EntryState::Fresh, 2));

    assert!(lab.expire("ada"));
    lab.respond(|_| (NEAR, Lab::error("TooManyRequestsException")));
    let stale = lab.ask("ada").await.unwrap().freshness();
    assert_eq!((stale.stale_reason, lab.calls()), (Some(StaleReason::UpstreamThrottled), 3));
    assert!(!lab.expire("nobody"));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_in_flight_leaves_an_expired_user_expired() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| (Duration::from_millis(800), Lab::found(request).1));
    let expiring = async {
        sleep(Duration::from_millis(400)).await;
        assert!(!lab.expire("ada"), "nothing is cached yet");
    };
    let (before, ()) = tokio::join!(lab.ask("ada"), expiring);
    assert!(before.is_ok());
    assert_eq!(lab.ask("ada").await.unwrap().freshness().source, Source::Cognito);
    assert_eq!(lab.calls(), 2);
}

/// moka measures its time by the real clock, so the entry is still in memory.
#[tokio::test(start_paused = true)]
async fn an_absence_is_not_shown_past_its_ttl() {
    let lab = Lab::start(|cache, _| cache.absent_for = Duration::from_secs(10));
    lab.respond(|_| (NEAR, Lab::error("UserNotFoundException")));
    lab.ask("nobody").await.unwrap_err();
    let info = || lab.users.entry_info(&lab.key("nobody"));
    assert_eq!(info().state, EntryState::Absent);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(info().state, EntryState::Absent, "with the shortest jitter");
    sleep(Duration::from_secs(4)).await;
    assert!(lab.users.0.cache.get(&lab.key("nobody")).is_some(), "it is not freed");
    assert_eq!((info().state, info().freshness, info().bytes), (EntryState::NotCached, None, 0));
}

/// The user is fetched before the erasure, and the groups of the user after it.
#[tokio::test(start_paused = true)]
async fn a_request_from_before_an_erasure_caches_nothing_after_it() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| match request.operation.as_str() {
        "AdminListGroupsForUser" => (NEAR, Reply::Answer(200, r#"{"Groups":[]}"#.into())),
        _ => (Duration::from_millis(100), Lab::found(request).1),
    });
    let erasing = async {
        sleep(Duration::from_millis(50)).await;
        lab.erase("ada")
    };
    let (before, erased) = tokio::join!(lab.ask_with_groups("ada"), erasing);
    assert_eq!(
        (before.is_ok(), erased.fetches, lab.calls()),
        (true, 1, 3),
        "the request from before is answered"
    );
    let held = lab.users.entry_info(&lab.key("ada"));
    assert_eq!((held.state, held.groups, held.in_flight), (EntryState::NotCached, false, false));
    lab.ask_with_groups("ada").await.unwrap();
    let held = lab.users.entry_info(&lab.key("ada"));
    assert_eq!((held.state, held.groups), (EntryState::Fresh, true), "a request after it caches");
}

#[tokio::test(start_paused = true)]
async fn the_rate_limiter_forgets_an_erased_user_after_one_second() {
    let lab = Lab::start(|_, _| {});
    let cognito = lab.users.cognito(&lab.pool.id).unwrap();
    let budget = cognito.limiter();
    lab.ask("ada").await.unwrap();
    lab.ask("bob").await.unwrap();
    lab.erase("ada");
    sleep(Duration::from_millis(900)).await;
    assert!(budget.knows(&lab.key("ada")), "or erasing would allow ten more calls");
    sleep(Duration::from_millis(200)).await;
    assert!(!budget.knows(&lab.key("ada")) && budget.knows(&lab.key("bob")));
    budget.prune();
    assert!(!budget.knows(&lab.key("bob")), "pruning removes every user");
}

/// While a fetch of the groups is in flight, the user is erased and fetched. Nothing says whether
/// the groups' "not found" is from before or after that.
#[tokio::test(start_paused = true)]
async fn a_groups_request_from_before_an_erasure_removes_the_user_that_it_did_not_find() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    lab.respond(|_| (Duration::from_millis(800), Lab::error("UserNotFoundException")));
    let erasing = async {
        sleep(Duration::from_millis(400)).await;
        assert_eq!(lab.erase("ada").fetches, 1);
        lab.respond(Lab::found);
        lab.ask("ada").await.unwrap();
    };
    let (before, ()) = tokio::join!(lab.ask_with_groups("ada"), erasing);
    assert_eq!(before.unwrap_err(), Failure::NoSuchUser, "the request from before is answered");
    assert_eq!(lab.users.entry_info(&lab.key("ada")).state, EntryState::NotCached);
    assert!(lab.ask("ada").await.is_ok());
}

fn plan(found: &Found) -> String {
    found.user().attributes.get("custom:plan").unwrap().to_owned()
}

/// Uses the real clock, because moka does.
#[tokio::test]
async fn an_expired_user_is_freed_without_a_request() {
    let usable = Duration::from_secs(2);
    let lab = Lab::start(|cache, _| (cache.fresh_for, cache.usable_for) = (usable / 2, usable));
    lab.ask("ada").await.unwrap();
    let key = lab.key("ada");
    let entries = || lab.users.0.cache.entries_after_maintenance();
    #[expect(clippy::disallowed_methods, reason = "ends with the users")]
    let maintaining =
        tokio::spawn(maintain(Arc::downgrade(&lab.users.0), Duration::from_millis(10), Inner::maintain));
    assert_eq!(lab.users.entry_info(&key).state, EntryState::Fresh);
    lab.users.0.maintain();
    assert_eq!(entries(), 1);
    let begun = Instant::now();
    while entries() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is still in memory");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lab.users.entry_info(&key).state, EntryState::NotCached);
    drop(lab);
    maintaining.await.unwrap();
}
