use std::{collections::BTreeSet, time::Duration};

use cognito_lookup::shared_cache::{
    Call, EventKeys, Invalidate, LeaseState, LeaseToken, Look, LookOutcome, Looked, NewLease, Publish,
    Published, Put, Reply, ServerTime, StreamEnd, StreamPosition, ValueKind,
};

use super::tour::{KEY, TTL, lead, peek, put, status, tour};
use crate::store::{
    client::{Client, list},
    cluster::Cluster,
    pair::Pair,
    server::{Engine, Server, wait_for},
};

#[tokio::test]
async fn every_reply_of_a_script_can_be_read() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        let [first, second] = [LeaseToken::random(), LeaseToken::random()];
        let leased = looked(&mut client, lead(&first, None)).await;
        let LookOutcome::Leased { since, old: None } = leased.outcome else { panic!("{leased:?}") };
        assert_eq!((leased.now, leased.invalidated), (since, ServerTime::ZERO));
        let busy = looked(&mut client, lead(&second, None)).await;
        let LookOutcome::Busy { token, since: began, left } = busy.outcome else { panic!("{busy:?}") };
        assert_eq!(
            (token, began, left),
            (first.clone(), since, TTL - busy.now.saturating_duration_since(since))
        );
        let put_reply = client.call(&put(&first, b"sealed")).await.unwrap();
        assert_eq!(LeaseState::parse(put_reply), Ok(LeaseState::Held));
        assert_eq!(looked(&mut client, peek()).await.outcome, LookOutcome::Value(b"sealed".into()));

        let reply = client
            .call(&Invalidate { erase: false, least_age: Duration::ZERO, ttl: TTL }.call(KEY))
            .await
            .unwrap();
        let invalidated = Invalidate::invalidated(reply).unwrap();
        let nothing = looked(&mut client, peek()).await;
        let LookOutcome::Nothing { old: Some(old) } = nothing.outcome else { panic!("{nothing:?}") };
        assert_eq!((&*old.sealed, old.since, nothing.invalidated), (&b"sealed"[..], since, invalidated));
        let leased = looked(&mut client, lead(&second, None)).await;
        assert_eq!(leased.outcome, LookOutcome::Leased { since: leased.now, old: Some(old) });
        assert!(since < invalidated && invalidated < leased.now);
    }
}

/// What was fetched after a change stays, though its event comes late. The fetch in flight does not.
#[tokio::test]
async fn an_invalidation_may_leave_what_is_younger() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        let token = LeaseToken::random();
        let leased = looked(&mut client, lead(&token, None)).await;
        client.call(&put(&token, b"sealed")).await.unwrap();
        for (least_age, is_valid) in [(TTL, true), (Duration::from_micros(1), false), (TTL, false)] {
            let groups = Look { kind: ValueKind::Groups, ..unbounded() };
            let lease = Some(NewLease { token: &token, lasts: TTL, ttl: TTL });
            client.call(&Look { lease, ..groups }.call(KEY)).await.unwrap();
            let invalidate = Invalidate { erase: false, least_age, ttl: TTL };
            let until = Invalidate::invalidated(client.call(&invalidate.call(KEY)).await.unwrap()).unwrap();
            assert_eq!(until < leased.now, is_valid, "{least_age:?}");
            let outcome = looked(&mut client, peek()).await.outcome;
            assert_eq!(matches!(outcome, LookOutcome::Value(_)), is_valid, "{least_age:?}: {outcome:?}");
            let late = Put { kind: ValueKind::Groups, token: &token, sealed: b"", ttl: TTL, absent: false };
            assert_eq!(status(client.call(&late.call(KEY)).await.unwrap()), "GONE");
        }
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over_and_its_value_refused() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        let [first, second] = [LeaseToken::random(), LeaseToken::random()];
        let lasts = Duration::from_micros(1);
        for (token, expected) in [(&first, "LEASED"), (&second, "LEASED")] {
            let look = Look { lease: Some(NewLease { token, lasts, ttl: TTL }), ..unbounded() };
            assert_eq!(status(client.call(&look.call(KEY)).await.unwrap()), expected);
        }
        assert_eq!(status(client.call(&put(&first, b"old")).await.unwrap()), "GONE");
        // Nobody took over this one, which ran out too.
        assert_eq!(status(client.call(&put(&second, b"new")).await.unwrap()), "OK");
        assert_eq!(looked(&mut client, peek()).await.outcome, LookOutcome::Value(b"new".into()));
    }
}

#[tokio::test]
async fn a_value_must_be_as_young_as_the_caller_demands() {
    let server = Server::start(Engine::Valkey).await;
    let mut client = server.client().await;
    let token = LeaseToken::random();
    let began = looked(&mut client, lead(&token, None)).await.now;
    client.call(&put(&token, b"sealed")).await.unwrap();
    let before = ServerTime::from_micros(began.as_micros() - 1);
    for (case, max_age, newer_than, is_usable) in [
        ("no demand", Duration::MAX, ServerTime::ZERO, true),
        ("old enough", TTL, before, true),
        ("not younger", TTL, began, false),
        ("too old", Duration::ZERO, ServerTime::ZERO, false),
    ] {
        let look = Look { max_age, newer_than, ..unbounded() };
        let outcome = looked(&mut client, look.call(KEY)).await.outcome;
        assert_eq!(matches!(outcome, LookOutcome::Value(_)), is_usable, "{case}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_write_extends_the_ttl_and_never_shortens_it() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        let token = &LeaseToken::random();
        let mut expected = Duration::ZERO;
        for seconds in [100, 50, 200, 150, 400, 300] {
            let ttl = Duration::from_secs(seconds);
            expected = expected.max(ttl);
            let lease = Some(NewLease { token, lasts: TTL, ttl });
            for call in [
                Look { lease, max_age: Duration::ZERO, ..unbounded() }.call(KEY),
                Put { kind: ValueKind::Profile, token, sealed: b"sealed", ttl, absent: false }.call(KEY),
                Invalidate { erase: false, least_age: Duration::ZERO, ttl }.call(KEY),
            ] {
                client.call(&call).await.unwrap();
                let Reply::Int(left) = client.command(&format!("PTTL {KEY}")).await.unwrap() else {
                    panic!()
                };
                let left = Duration::from_millis(left.try_into().unwrap());
                assert!(left <= expected && left > expected - Duration::from_secs(40), "{call:?}: {left:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_stream_keeps_neither_old_nor_too_many_events() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        let keys = EventKeys::new("cl");
        let mut removed = 0;
        for number in 1..=350 {
            let published = publish(&mut client, TTL, 100).await;
            assert_eq!(published.number, number);
            removed += published.removed;
        }
        let Reply::Int(kept) = client.command(&format!("XLEN {}", keys.stream())).await.unwrap() else {
            panic!()
        };
        // The server removes whole nodes of a hundred events.
        assert!((100..=200).contains(&kept), "{kept}");
        assert_eq!(removed as i64, 350 - kept, "each that is missing was reported");
        let last = publish(&mut client, TTL, 100).await;
        let end = StreamEnd::parse(client.call(&StreamEnd::call(&keys)).await.unwrap()).unwrap();
        assert_eq!((end.number, &end.position), (351, &last.position));
        assert_eq!(end.run.len(), 40);

        let keep = Duration::from_millis(500);
        tokio::time::sleep(keep).await;
        let published = publish(&mut client, keep, 100).await;
        let range = client.command(&format!("XRANGE {} - +", keys.stream())).await.unwrap();
        // The whole range is one event: its id, and two fields with their values.
        assert_eq!(list(range)[..3], [published.position.0.as_bytes(), b"n", b"352"]);
        tokio::time::sleep(keep).await;
        let end = StreamEnd::parse(client.call(&StreamEnd::call(&keys)).await.unwrap()).unwrap();
        assert_eq!((end.number, end.position), (352, StreamPosition("0-0".into())));
        // The next event is still after those that are gone.
        let next = publish(&mut client, TTL, 100).await;
        let command = format!("XREAD STREAMS {} {}", keys.stream(), published.position.0);
        assert!(list(client.command(&command).await.unwrap()).contains(&next.position.0.into_bytes()));
    }
}

/// What is no longer needed, and what grew too old, is removed without a word.
#[tokio::test]
async fn only_an_event_that_is_needed_is_reported_when_it_is_removed() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        for (needed_for, reported) in [(TTL, 100), (Duration::from_millis(1), 0), (Duration::ZERO, 0)] {
            let mut client = server.client().await;
            client.text("FLUSHALL").await;
            for _ in 0..150 {
                assert_eq!(publish(&mut client, TTL, 1_000).await.removed, 0);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let last = Publish { sealed: b"event", keep: TTL, max_len: 10, needed_for };
            let last = client.call(&last.call(&EventKeys::new("cl"))).await.unwrap();
            assert_eq!(Published::parse(last).unwrap().removed, reported, "{engine:?}, {needed_for:?}");
        }
        let old = Duration::from_millis(5);
        tokio::time::sleep(old).await;
        assert_eq!(publish(&mut server.client().await, old, 1_000).await.removed, 0, "too old");
    }
}

#[tokio::test]
async fn a_replica_has_the_same_data() {
    for engine in Engine::ALL {
        let pair = Pair::start(engine).await;
        let [mut primary, mut replica] = [pair.primary.client().await, pair.replica.client().await];
        let tour = tour();
        for count in 1..=tour.len() {
            primary.text("FLUSHALL").await;
            for (call, _) in &tour[..count] {
                primary.call(call).await.unwrap();
            }
            primary.text(&format!("SET marker {count}")).await;
            wait_for(&mut replica, "GET marker", &count.to_string()).await;
            for command in ["HGETALL cl:1:{user}", "GET cl:e1:{e}:n", "XRANGE cl:e1:{e}:s - +"] {
                let [there, here] = [primary.command(command).await, replica.command(command).await]
                    .map(|answer| list(answer.unwrap()).into_iter().collect::<BTreeSet<_>>());
                assert_eq!(there, here, "{command} after {count} calls");
            }
        }
    }
}

#[tokio::test]
async fn every_script_runs_in_a_cluster() {
    for engine in Engine::ALL {
        let cluster = Cluster::start(engine).await;
        for (call, expected) in tour() {
            assert_eq!(
                cluster.call(&call).await.map(status),
                Ok(expected.to_owned()),
                "{engine:?}: {call:?}"
            );
        }
    }
}

async fn publish(client: &mut Client, keep: Duration, max_len: u32) -> Published {
    let publish = Publish { sealed: b"event", keep, max_len, needed_for: TTL };
    Published::parse(client.call(&publish.call(&EventKeys::new("cl"))).await.unwrap()).unwrap()
}

async fn looked(client: &mut Client, call: Call) -> Looked {
    Looked::parse(client.call(&call).await.unwrap()).unwrap()
}

fn unbounded() -> Look<'static> {
    Look {
        kind: ValueKind::Profile,
        lease: None,
        max_age: Duration::MAX,
        newer_than: ServerTime::ZERO,
        waited_for: None,
    }
}
