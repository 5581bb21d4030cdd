use std::{path::PathBuf, sync::Arc, time::Duration};

use cognito_lookup::shared_cache::{Address, CallError, Event, Mode, Reply, Script, Target, Transport as _};
use tokio::{task::JoinSet, time::timeout};

use super::linked::{Linked, STREAM, call, password, standalone, target, written};
use crate::store::server::{Engine, Server};

#[tokio::test]
async fn scripts_run_and_events_are_read() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let linked = Linked::connected(standalone(server.address.port())).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        assert_eq!(linked.metric("open"), 0.0);
        let wait = Duration::from_millis(50);
        assert_eq!(linked.read(wait).await.unwrap().0, [], "the time is up");
        let (read, published) = tokio::join!(linked.read(Duration::from_secs(10)), linked.publish("7"));
        let (events, _) = (read.unwrap().0, published.unwrap());
        assert!(
            matches!(&events[..], [Event { number: 7, sealed, .. }] if sealed == b"sealed"),
            "{events:?}"
        );
        let after = &events[0].position;
        assert_eq!(linked.link.read(STREAM, after, wait).await.unwrap().0, []);
        assert!(matches!(linked.publish_on_events("8").await, Ok(Reply::Bytes(_))));
        assert_eq!(linked.link.read(STREAM, after, wait).await.unwrap().0.len(), 1);
        assert!(!linked.log.text().contains("WARN"), "{}", linked.log.text());
    }
}

#[tokio::test]
async fn a_call_on_the_connection_of_the_events_waits_for_the_read_before_it() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    linked.reads_again().await;
    // Longer than the time limit of a call.
    let (read, published) =
        tokio::join!(linked.read(Duration::from_millis(400)), linked.publish_on_events("1"));
    assert_eq!((read.unwrap().0.len(), published.is_ok()), (0, true));
}

#[tokio::test]
async fn a_unix_socket_works_as_an_address() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(target(Mode::Standalone(Address::Unix(server.socket())))).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    let missing = Linked::start(target(Mode::Standalone(Address::Unix(PathBuf::from("/no/such/socket")))));
    missing.logged("/no/such/socket of shared_cache.url is unreachable").await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_a_script_gets_it_again() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let linked = Linked::connected(standalone(server.address.port())).await;
        for _ in 0..3 {
            assert_eq!(linked.write("cl:1:{a}").await, written());
            server.client().await.text("SCRIPT FLUSH").await;
        }
        assert_eq!(linked.metric(r#"calls_total{script="write",outcome="Ok"}"#), 3.0);
    }
}

#[tokio::test]
async fn an_error_of_a_script_is_logged_once_and_leaves_the_breaker_closed() {
    static BROKEN: Script = Script { name: "broken", source: "return nothing.at.all" };
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    for _ in 0..50 {
        assert_eq!(linked.link.call(call(&BROKEN, "cl:1:{a}", &["secret"])).await, Err(CallError::Script));
    }
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric(r#"calls_total{script="broken",outcome="ScriptError"}"#), 50.0);
    let log = linked.log.text();
    assert_eq!(log.matches("a script of the shared cache failed").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn an_acl_user_with_few_commands_is_enough() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let (auth, _folder) = password(Some("cl"), "secret");
        let allow = async |commands: &str| {
            let rules = format!("ACL SETUSER cl reset on >secret ~cl:* resetchannels -@all {commands}");
            assert_eq!(server.client().await.text(&rules).await, "OK");
        };
        // The probe's, those of the scripts of this test, and that of the reader.
        allow("+eval +evalsha +hset +pexpire +xadd +xread").await;
        let connect = || Target { auth: auth.clone(), ..standalone(server.address.port()) };
        let linked = Linked::connected(connect()).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        linked.publish_on_events("1").await.unwrap();
        assert_eq!(linked.read(Duration::from_millis(10)).await.unwrap().0.len(), 1);
        assert_eq!(linked.write("other:1:{a}").await, Err(CallError::Script), "a key of somebody else");
        assert!(linked.link.is_available());
        drop(linked);
        allow("+eval +evalsha +hset").await;
        let linked = Linked::start(connect());
        linked.logged("cannot connect to the shared cache").await;
        assert!(!linked.link.is_available(), "{}", linked.log.text());
    }
}

#[tokio::test]
async fn cancelled_calls_leave_the_breaker_closed() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    server.freeze();
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(1), linked.write("cl:1:{a}")).await.is_err());
    }
    server.thaw();
    assert!(linked.link.is_available(), "{}", linked.log.text());
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    server.freeze();
    let mut calls = JoinSet::new();
    for _ in 0..1100 {
        let linked = Arc::clone(&linked.link);
        calls.spawn(async move { linked.call(call(&super::linked::WRITE, "cl:1:{a}", &["x"])).await });
    }
    let results = calls.join_all().await;
    server.thaw();
    let count = |wanted| results.iter().filter(|result| **result == Err(wanted)).count();
    assert_eq!((count(CallError::Unavailable), count(CallError::Timeout)), (76, 1024));
}
