use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance, sleep};

use super::{link::TIMEOUT, *};
use crate::{
    shared_cache::{
        EventKeys, Invalidate, LeaseState, LeaseToken, Look, LookOutcome, Looked, MarkStream, NewLease,
        Publish, Published, Put, SharedCache, StreamEnd,
        fixtures::{index_key, sealer},
    },
    telemetry::metrics::{
        Metrics,
        shared_entries::DroppedMark::{GroupChange, Revocation},
    },
};

const KEY: &str = "cl:1:{user}";
const TTL: Duration = Duration::from_secs(1_000);
const LEASE: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_value_is_shared_until_the_user_is_invalidated() {
    let store = ModelStore::new();
    let [a, b] = [store.link(), store.link()];
    let token = LeaseToken::random();
    let leased = lead(&a, &token).await;
    let LookOutcome::Leased { since, old: None } = leased.outcome else { panic!("{leased:?}") };
    let busy = lead(&b, &LeaseToken::random()).await.outcome;
    assert!(matches!(busy, LookOutcome::Busy { token: other, .. } if other == token));
    assert_eq!(put(&a, &token).await, LeaseState::Held);
    assert_eq!(lead(&b, &LeaseToken::random()).await.outcome, LookOutcome::Value(b"sealed".into()));
    assert_eq!(store.value(KEY, ValueKind::Profile), Some((b"sealed".into(), since)));

    let late = LeaseToken::random();
    lead_for(&b, &late, Duration::ZERO).await;
    let reply =
        a.call(Invalidate { erase: false, least_age: Duration::ZERO, ttl: TTL }.call(KEY)).await.unwrap();
    assert_eq!(Invalidate::invalidated(reply).unwrap(), store.invalidated(KEY));
    assert_eq!(put(&b, &late).await, LeaseState::Gone);
    let looked = lead(&b, &late).await.outcome;
    assert!(matches!(looked, LookOutcome::Leased { old: Some(old), .. } if old.since == since));
    assert_eq!((store.users(), store.calls("put")), (vec![KEY.to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_times_out_may_have_had_its_effect() {
    let store = ModelStore::new();
    let link = store.link();
    type Fault = fn(&mut LinkFaults);
    let cases: [(&str, Fault, usize); 3] = [
        ("the request is dropped", |faults| faults.dropped_requests = 100, 0),
        ("the reply is dropped", |faults| faults.dropped_replies = 100, 1),
        ("both are slow", |faults| faults.delay = 30 * MILLI..=30 * MILLI, 1),
    ];
    for (case, fault, effects) in cases {
        let (before, started) = (store.calls("invalidate"), Instant::now());
        link.change(fault);
        assert_eq!(link.call(expire()).await, Err(CallError::Timeout), "{case}");
        assert_eq!(started.elapsed(), TIMEOUT, "{case}");
        assert_eq!(store.calls("invalidate") - before, effects, "{case}");
        link.change(|faults| *faults = LinkFaults::default());
        assert!(link.call(expire()).await.is_ok(), "{case}");
    }
    link.change(|faults| faults.is_cut_off = true);
    assert_eq!((link.is_available(), link.call(expire()).await), (false, Err(CallError::Unavailable)));
}

#[tokio::test(start_paused = true)]
async fn what_was_held_arrives_in_order() {
    let store = ModelStore::new();
    let link = store.link();
    for frozen in [true, false] {
        let before = store.now();
        if frozen {
            store.freeze()
        } else {
            link.change(|faults| faults.is_held = true)
        }
        assert_eq!(link.call(expire()).await, Err(CallError::Timeout));
        assert!(store.invalidated(KEY) < before);
        if frozen {
            store.thaw()
        } else {
            link.change(|faults| faults.is_held = false)
        }
        let position = link.call(StreamEnd::call(&events())).await.unwrap();
        assert!(store.invalidated(KEY) > before);
        assert!(store.invalidated(KEY) < StreamEnd::parse(position).unwrap().now);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_loses_the_last_writes_and_ends_the_connections() {
    let store = ModelStore::new();
    let link = store.link();
    let run = async || StreamEnd::parse(link.call(StreamEnd::call(&events())).await.unwrap()).unwrap();
    publish(&link, b"kept").await;
    let first = run().await;
    advance(20 * MILLI).await;
    publish(&link, b"lost").await;
    advance(5 * MILLI).await;
    link.change(|faults| faults.delay = 10 * MILLI..=10 * MILLI);
    let (call, ()) = tokio::join!(link.call(expire()), async {
        sleep(MILLI).await;
        store.failover(20 * MILLI);
    });
    assert_eq!(call, Err(CallError::Failed));
    let second = run().await;
    assert_eq!((first.number, second.number), (1, 1));
    assert_eq!(first.position, second.position);
    assert_ne!(first.run, second.run);
    store.restart_empty();
    let third = run().await;
    assert_eq!((third.number, third.position.0.as_str()), (0, "0-0"));
    assert_ne!(second.run, third.run);
    store.set_skew(-1_000_000);
    assert!(store.now() < third.now);
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_with_the_next_event_or_after_its_wait() {
    let store = ModelStore::new();
    let [reader, writer] = [store.link(), store.link()];
    let (keys, start) = (events(), StreamPosition("0-0".into()));
    let wait = Duration::from_secs(1);
    let started = Instant::now();
    assert_eq!(reader.read(keys.stream(), &start, wait).await, Ok(Events::default()));
    assert_eq!(started.elapsed(), wait);
    let (read, published) = tokio::join!(reader.read(keys.stream(), &start, wait), async {
        sleep(7 * MILLI).await;
        publish(&writer, b"one").await
    });
    assert_eq!(started.elapsed(), wait + 7 * MILLI);
    let [event] = read.unwrap().0.try_into().unwrap();
    assert_eq!((event.number, &*event.sealed, &event.position), (1, &b"one"[..], &published.position));

    publish(&writer, b"two").await;
    publish(&writer, b"three").await;
    let numbers = async |after: &StreamPosition| {
        let events = reader.read(keys.stream(), after, MILLI).await.unwrap().0;
        events.into_iter().map(|event| event.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&event.position).await, [2, 3]);
    store.trim(1);
    assert_eq!(numbers(&event.position).await, [3]);
    store.flush();
    assert_eq!(numbers(&event.position).await, [0; 0]);
    // On the same connection, and so after the read.
    store.freeze();
    assert_eq!(reader.read(keys.stream(), &start, wait).await, Err(CallError::Timeout));
    store.thaw();
    assert!(reader.call_for_events(StreamEnd::call(&keys)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_writes_alone() {
    let store = ModelStore::new();
    let link = store.link();
    let token = LeaseToken::random();
    lead(&link, &token).await;
    store.set_full(true);
    assert_eq!(link.call(put_call(&token)).await, Err(CallError::Failed));
    assert_eq!(link.call(expire()).await, Err(CallError::Failed));
    let busy = lead(&link, &LeaseToken::random()).await.outcome;
    assert!(matches!(busy, LookOutcome::Busy { .. }));
    store.set_full(false);
    assert_eq!(put(&link, &token).await, LeaseState::Held);
}

/// A replica that starts later does not know it, so an operator must.
#[tokio::test(start_paused = true)]
async fn a_mark_that_is_removed_while_it_is_needed_is_counted() {
    let (link, metrics) = (ModelStore::new().link(), Metrics::new().shared_entries);
    let keys = ("cl".parse().unwrap(), index_key("index"), sealer("cl", &["value"]));
    let store = SharedCache::new(Arc::new(link), keys, None, metrics.clone());
    let counts = || [Revocation, GroupChange].map(|kind| metrics.dropped_marks.get(kind).get());
    for (stream, count, expected) in [
        (MarkStream::Revocations, 3, [0, 0]),
        (MarkStream::GroupChanges, 5, [0, 2]),
        (MarkStream::Revocations, 1, [1, 2]),
    ] {
        for _ in 0..count {
            store.publish_mark(stream, b"mark", (3, TTL)).await.unwrap();
        }
        assert_eq!(counts(), expected);
    }
    advance(2 * TTL).await;
    store.publish_mark(MarkStream::Revocations, b"mark", (3, TTL)).await.unwrap();
    assert_eq!(counts(), [1, 2], "nothing needs them any more");
}

async fn lead(link: &ModelLink, token: &LeaseToken) -> Looked {
    lead_for(link, token, TTL).await
}

async fn lead_for(link: &ModelLink, token: &LeaseToken, max_age: Duration) -> Looked {
    let look = Look {
        kind: ValueKind::Profile,
        lease: Some(NewLease { token, lasts: LEASE, ttl: TTL }),
        max_age,
        newer_than: ServerTime::ZERO,
        waited_for: None,
    };
    Looked::parse(link.call(look.call(KEY)).await.unwrap()).unwrap()
}

async fn put(link: &ModelLink, token: &LeaseToken) -> LeaseState {
    LeaseState::parse(link.call(put_call(token)).await.unwrap()).unwrap()
}

fn put_call(token: &LeaseToken) -> Call {
    Put { kind: ValueKind::Profile, token, sealed: b"sealed", ttl: TTL, absent: false }.call(KEY)
}

fn expire() -> Call {
    Invalidate { erase: false, least_age: Duration::ZERO, ttl: TTL }.call(KEY)
}

async fn publish(link: &ModelLink, sealed: &[u8]) -> Published {
    let publish = Publish { sealed, keep: TTL, max_len: 100, needed_for: TTL };
    Published::parse(link.call(publish.call(&events())).await.unwrap()).unwrap()
}

fn events() -> EventKeys {
    EventKeys::new("cl")
}
