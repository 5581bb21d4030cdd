//! The limits of one request: its message, its deadline, and what its client cancels.

use std::time::Duration;

use bytes::Bytes;
use cognito_lookup::proto::Source;
use cognito_standin::User;
use http::HeaderValue;
use tokio::time::{Instant, interval, timeout};
use tonic::Code;

use crate::support::{
    about,
    attack::{LONG, single_worker, status, stream_id, while_calling},
    failure,
    frames::{self, CANCEL, FrameConnection, RST_STREAM, frame},
    source,
};

#[tokio::test]
async fn a_message_that_arrives_too_slowly_ends_with_the_deadline() {
    let app = single_worker(|config| config.limits.request_timeout = Duration::from_millis(300)).await;
    let asked = app.cognito_lookups();
    let attack = async {
        let (mut response, mut body) = app.begin_get_user().await;
        // The head of a message of 255 bytes, not compressed.
        body.send_data(Bytes::from_static(&[0, 0, 0, 0, 255]), false).unwrap();
        let mut pace = interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                response = &mut response => return status(&response.unwrap()),
                // The server may end the stream at any time.
                _ = pace.tick() => drop(body.send_data(Bytes::from_static(&[0]), false)),
            }
        }
    };
    let status = while_calling(&app, attack).await;
    assert_eq!(failure(&status), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let app = single_worker(|_| {}).await;
    for path in [
        "/userlookup.v1.UserService/Nope",
        "/userlookup.v1.AdminService/Nope",
        "/grpc.health.v1.Health/Nope",
        "/grpc.reflection.v1.ServerReflection/Nope",
        "/nobody.knows/It",
        "/",
    ] {
        let mut request = app.get_user_head();
        *request.uri_mut() = format!("http://{}{path}", app.address).parse().unwrap();
        let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let status = status(&response.await.unwrap());
        assert_eq!(failure(&status), (Code::Unimplemented, "UNSPECIFIED".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_message_is_bounded_and_not_compressed() {
    let app = single_worker(|_| {}).await;
    let asked = app.cognito_lookups();
    let invalid = (Code::InvalidArgument, "FIELD_INVALID");
    let unimplemented = (Code::Unimplemented, "UNSPECIFIED");
    let large = frames::message(&about(&"x".repeat(64 * 1024)));
    // An empty gzip stream.
    let zipped = [1, 0, 0, 0, 20, 31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (case, encoding, message, (code, reason)) in [
        ("announced as 4 GiB", None, &[0, 255, 255, 255, 255][..], invalid),
        ("announced as 64 KiB and a byte", None, &large[..5], invalid),
        ("too large", None, &large, invalid),
        ("no protobuf", None, &[0, 0, 0, 0, 1, 255], invalid),
        ("compressed", Some("gzip"), &zipped, unimplemented),
        ("compressed without a word", None, &zipped, invalid),
        ("followed by another", None, &[0; 10], invalid),
    ] {
        let mut request = app.get_user_head();
        request.headers_mut().extend(encoding.map(|name| (GRPC_ENCODING, HeaderValue::from_static(name))));
        let attack = async {
            let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
            body.send_data(Bytes::copy_from_slice(message), false).unwrap();
            status(&response.await.unwrap())
        };
        let status = while_calling(&app, attack).await;
        assert_eq!(failure(&status), (code, reason.to_owned()), "{case}");
    }
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn the_clients_deadline_shortens_the_request_timeout_and_never_extends_it() {
    let app = single_worker(|config| config.limits.request_timeout = Duration::from_millis(100)).await;
    let held = app.cognito.hold("AdminGetUser");
    let asked = app.cognito.calls("AdminGetUser");
    let sub = || User::local("nobody", "").sub;
    let ends = async |deadline: &'static str| {
        let mut request = app.get_user_head();
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(deadline));
        let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
        body.send_data(frames::message(&about(&sub())).into(), true).unwrap();
        let answer = timeout(LONG, response).await.expect("ours ends it").unwrap();
        assert_eq!(failure(&status(&answer)), (Code::DeadlineExceeded, "DEADLINE".to_owned()), "{deadline}");
    };
    for none in ["0n", "1n", "99999n"] {
        while_calling(&app, ends(none)).await;
    }
    assert_eq!(app.cognito.calls("AdminGetUser"), asked, "no time is left to call Cognito");
    drop(held);
    let long_ones = ["99999999H", "99999999S", "99999999m", "99999u"];
    let no_deadlines = ["-1S", "1X", "", "1", "H", "1 S", "12345678901234567890S"];
    for ours in long_ones.into_iter().chain(no_deadlines) {
        let asked = app.cognito.calls("AdminGetUser");
        let held = app.cognito.hold("AdminGetUser");
        while_calling(&app, ends(ours)).await;
        let reached = app.cognito.wait_for_calls("AdminGetUser", asked + 1);
        timeout(LONG, reached).await.expect("there was time to call Cognito");
        held.release();
        app.cognito.wait_until_idle("AdminGetUser").await;
    }
}

#[tokio::test]
async fn a_thousand_cancelled_calls_cause_no_more_fetches() {
    let app = single_worker(|_| {}).await;
    let asked = app.cognito.calls("AdminGetUser");
    let held = app.cognito.hold("AdminGetUser");
    let eve = User::local("eve", "secret");
    let sub = eve.sub.clone();
    app.cognito.put_user(eve);
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        for n in (0..1000).step_by(10) {
            let calls = n..n + 10;
            wire.send(
                &calls.clone().flat_map(|n| frames::call(stream_id(n), &about(&sub))).collect::<Vec<_>>(),
            )
            .await;
            wire.ping().await.unwrap();
            let reset = |n| frame(RST_STREAM, 0, stream_id(n), &CANCEL.to_be_bytes());
            wire.send(&calls.flat_map(reset).collect::<Vec<_>>()).await;
            wire.ping().await.unwrap();
        }
    };
    let begun = Instant::now();
    while_calling(&app, attack).await;
    held.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
    // This call may still join the fetch. The next one finds its result in the cache.
    assert!(app.get_by_sub(&sub).await.is_ok());
    assert_eq!(source(&app.get_by_sub(&sub).await.unwrap()), Source::Cache);
    // Fetches follow each other, and each waits for at least a second.
    let most = 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    let calls = app.cognito.calls("AdminGetUser") - asked;
    assert!(calls <= most, "{calls} calls, {most} at most");
}

const GRPC_ENCODING: http::HeaderName = http::HeaderName::from_static("grpc-encoding");
