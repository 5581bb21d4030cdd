//! Events of the stream, also those that this version does not understand.

use futures_util::FutureExt as _;
use prost::Message as _;
use tokio::time::sleep;

use super::{super::*, replicas::Fleet};
use crate::{
    shared_cache::{Binding, SharedCache, stored},
    telemetry::metrics::shared_entries::EventKind,
};

#[tokio::test(start_paused = true)]
async fn what_an_event_does_not_say_must_be_confirmed() {
    let fleet = Fleet::start(2).await;
    let [ours, other] =
        ["value", "another value"].map(|key| fleet.shared_cache(Arc::new(fleet.store.link()), key));
    let event = |change: fn(&mut stored::Event)| {
        let mut event = stored::Event {
            kind: stored::EventKind::Expire.into(),
            pool: "eu-west-1_A".to_owned(),
            sub: "bob".to_owned(),
            invalidated_us: 1,
            origin: vec![1; 16],
            least_age_us: 0,
            change: None,
        };
        change(&mut event);
        event
    };
    let sealed =
        |by: &SharedCache, event: stored::Event| by.seal(Binding::Event, &event.encode_to_vec()).unwrap();
    let table = [
        ("of another user", sealed(&ours, event(|_| {})), false),
        ("of another pool", sealed(&ours, event(|event| event.pool = "eu-west-1_B".to_owned())), false),
        ("of a later kind", sealed(&ours, event(|event| event.kind = 99)), true),
        ("without a user", sealed(&ours, event(|event| event.sub.clear())), true),
        ("without a pool", sealed(&ours, event(|event| event.pool.clear())), true),
        ("without a time", sealed(&ours, event(|event| event.invalidated_us = -1)), true),
        ("no message", ours.seal(Binding::Event, b"\xff").unwrap(), true),
        ("of another key", sealed(&other, event(|_| {})), true),
        ("not sealed", b"event".to_vec(), true),
    ];
    for (case, sealed, must_be_confirmed) in table {
        fleet.lab(1).ask("ada").await.unwrap();
        fleet.lab(1).ask("ada").now_or_never().expect("a hit").unwrap();
        ours.publish(&sealed).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        let hit = fleet.lab(1).ask("ada").now_or_never();
        assert_eq!(hit.is_none(), must_be_confirmed, "{case}");
    }
    assert_eq!(fleet.lab(1).calls(), 1, "nothing was invalidated");
}

#[tokio::test(start_paused = true)]
async fn a_replica_does_not_apply_its_own_events() {
    let fleet = Fleet::start(2).await;
    let applied = || {
        let of = |lab: &super::lab::Lab| lab.users.0.shared.as_ref().unwrap().metrics().clone();
        let count = |lab| {
            [EventKind::Erase, EventKind::Expire, EventKind::Forget]
                .map(|kind| of(lab).applied.get(kind).get())
                .iter()
                .sum::<u64>()
        };
        [count(fleet.lab(0)), count(fleet.lab(1))]
    };
    for invalidation in [Invalidation::Expire, Invalidation::Erase, Invalidation::Forget] {
        fleet.invalidate(0, "ada", invalidation).await.unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(applied(), [0, 3]);
}
