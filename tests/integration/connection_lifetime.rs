//! Connections that start slowly, stay silent, or exceed their age.

use std::{future::pending, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{interval, timeout},
};

use crate::{
    support::tls_client,
    support::{
        ADA, GRACE, about,
        attack::{
            LONG, ReconnectingClient, SHORT, cut, end_after, short_lived_connections, single_worker,
            single_worker_tls, while_calling, while_repeating,
        },
        certificates::{Authority, client_config},
        frames::{
            self, ACK, ConnectionEnd, END_STREAM, FrameConnection, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE,
            frame,
        },
    },
};

#[tokio::test]
async fn a_connection_without_a_preface_is_cut() {
    let app = single_worker(|config| config.limits.handshake_timeout = SHORT).await;
    let beginnings = [&b""[..], b"P", b"PRI * HTTP/2.0", &PREFACE[..PREFACE.len() - 1]];
    let ends = while_calling(&app, join_all((0..100).map(|n| end_after(&app, beginnings[n % 4])))).await;
    assert!(ends.iter().all(|end| *end == ConnectionEnd::Cut), "{ends:?}");
    assert_eq!(app.metric(&cut("Handshake")).await, 100.0);
}

#[tokio::test]
async fn an_unfinished_tls_handshake_is_cut() {
    let authority = Authority::new("servers");
    let (app, mut good) =
        single_worker_tls(&authority, |config| config.limits.handshake_timeout = SHORT).await;
    // The start of a ClientHello of 512 bytes.
    let partial = [&[22, 3, 1, 2, 0][..], &[1; 400]].concat();
    let beginnings = [&b""[..], &partial[..1], &partial[..5], &partial];
    let attack = join_all((0..100).map(|n| end_after(&app, beginnings[n % 4])));
    let attack = async {
        // After the TLS handshake, the preface must still come in time.
        let stream = TcpStream::connect(app.address).await.unwrap();
        let stream = tls_client::handshake_over(stream, client_config(&[&authority], None)).await.unwrap();
        let (mut incoming, _outgoing) = tokio::io::split(stream);
        tokio::join!(attack, frames::end(&mut incoming, |_| {}))
    };
    let ask = async || assert!(good.get_user(about(ADA)).await.is_ok());
    let (ends, end) = while_repeating(ask, attack).await;
    assert!(ends.iter().all(|end| *end == ConnectionEnd::Cut), "{ends:?}");
    assert_eq!(end, ConnectionEnd::Cut);
    assert_eq!(app.metric(&cut("Handshake")).await, 101.0);
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_cut() {
    let app = single_worker(|config| {
        config.limits.keepalive_interval = Duration::from_millis(200);
        config.limits.keepalive_timeout = SHORT;
    })
    .await;
    // A client that sends a frame byte by byte cannot answer a PING before its end.
    for (case, begun, more) in
        [("idle", &b""[..], &b""[..]), ("dribbling headers", &frames::open_stream(1)[..10], &[0])]
    {
        let attack = async {
            let mut wire = FrameConnection::open(app.address, &[]).await;
            wire.send(begun).await;
            let (mut incoming, mut outgoing) = wire.0.split();
            let dribble = async {
                let mut pace = interval(Duration::from_millis(50));
                while outgoing.write_all(more).await.is_ok() {
                    pace.tick().await;
                }
                pending().await
            };
            tokio::select! {
                end = frames::end(&mut incoming, |_| {}) => end,
                end = dribble => end,
            }
        };
        assert_eq!(while_calling(&app, attack).await, ConnectionEnd::GoAway(NO_ERROR), "{case}");
    }
}

#[tokio::test]
async fn a_connection_that_answers_pings_is_kept() {
    let app = single_worker(|config| {
        config.limits.keepalive_interval = Duration::from_millis(20);
        config.limits.keepalive_timeout = LONG;
    })
    .await;
    let mut wire = FrameConnection::open(app.address, &[]).await;
    for _ in 0..10 {
        let ping = wire.next_of_kind(PING).await.unwrap();
        wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
    }
    assert!(wire.ping().await.is_ok());
}

#[tokio::test]
async fn a_connection_past_its_age_gets_a_goaway() {
    let app = short_lived_connections(|limits| {
        limits.connection_age = Duration::from_millis(300);
        // The drain of a connection waits for the sum of both.
        limits.request_timeout = SHORT;
        limits.stall_timeout = SHORT;
    })
    .await;
    let mut good = ReconnectingClient::new(&app);
    let polite = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        wire.next_of_kind(GOAWAY).await.unwrap();
        let ping = wire.next_of_kind(PING).await.unwrap();
        wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
        wire.ended().await
    };
    let end = while_repeating(async || good.get_user().await, polite).await;
    assert_eq!(end, ConnectionEnd::GoAway(NO_ERROR));
    assert_eq!(app.metric(&cut("Drain")).await, 0.0);
    let deaf = async { FrameConnection::open(app.address, &[]).await.ended().await };
    let end = while_repeating(async || good.get_user().await, deaf).await;
    assert_eq!(end, ConnectionEnd::GoAway(NO_ERROR));
    assert_eq!(app.metric(&cut("Drain")).await, 1.0);
}

#[tokio::test]
async fn a_call_outlives_the_age_of_its_connection() {
    let app = short_lived_connections(|limits| limits.connection_age = Duration::from_millis(100)).await;
    let held = app.cognito.hold("AdminGetUser");
    let mut wire = FrameConnection::open(app.address, &[]).await;
    wire.send(&frames::call(1, &about(GRACE))).await;
    let first = wire.next_of_kind(GOAWAY).await.unwrap();
    let ping = wire.next_of_kind(PING).await.unwrap();
    // A call sent before the client had read the GOAWAY.
    wire.send(&frames::call(3, &about(GRACE))).await;
    wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
    let second = wire.next_of_kind(GOAWAY).await.unwrap();
    let [first, second] = [first, second].map(|said| frames::code(&said.payload[..4]));
    assert_eq!((first, second), (i32::MAX as u32, 3), "the last call that is taken");
    held.release();
    let mut answered = Vec::new();
    let end = frames::end(&mut wire.0, |frame| {
        if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
            answered.push(frame.stream);
        }
    });
    end.await;
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

#[tokio::test]
async fn the_age_of_connections_fails_no_call() {
    let app = short_lived_connections(|limits| limits.connection_age = Duration::from_millis(50)).await;
    let callers = (0..4).map(|_| async {
        let mut client = ReconnectingClient::new(&app);
        while client.connections <= 20 {
            client.get_user().await;
        }
    });
    timeout(LONG, join_all(callers)).await.expect("connections end");
    assert_eq!(app.metric(&cut("Drain")).await, 0.0);
}
