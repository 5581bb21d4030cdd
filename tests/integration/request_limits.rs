//! The limits of one request: its message, its deadline, and what its client cancels.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use cognito_lookup::proto::Source;
use cognito_standin::User;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, header::CONTENT_TYPE};
use tokio::time::{Instant, interval, timeout};
use tonic::Code;

use crate::support::{
    ADA, GET_USER_STARTED, about,
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
async fn a_message_is_bounded_before_and_after_it_is_inflated() {
    let app = single_worker(|_| {}).await;
    let asked = app.cognito_lookups();
    let invalid = (Code::InvalidArgument, "FIELD_INVALID");
    let too_large = (Code::ResourceExhausted, "OVERLOADED");
    let unimplemented = (Code::Unimplemented, "UNSPECIFIED");
    let large = frames::message(&about(&"x".repeat(64 * 1024)));
    let empty = zipped(&[]);
    let bomb = zipped(&vec![0; 64 << 20]);
    assert!(bomb.len() < 70_000, "{}", bomb.len());
    for (case, encoding, message, (code, reason)) in [
        ("announced as 4 GiB", None, &[0, 255, 255, 255, 255][..], too_large),
        ("announced as 64 KiB and a byte", None, &large[..5], too_large),
        ("too large", None, &large, too_large),
        ("no protobuf", None, &[0, 0, 0, 0, 1, 255], invalid),
        ("followed by another", None, &[0; 10], invalid),
        ("compressed by another method", Some("zstd"), &empty, unimplemented),
        ("compressed without a word", None, &empty, invalid),
        ("compressed, and no gzip", Some("gzip"), &[1, 0, 0, 0, 1, 255], invalid),
        ("too large once inflated", Some("gzip"), &zipped(&large[5..]), too_large),
        ("a bomb", Some("gzip"), &bomb, too_large),
    ] {
        let mut request = app.get_user_head();
        request.headers_mut().extend(encoding.map(|name| (GRPC_ENCODING, HeaderValue::from_static(name))));
        let attack = async {
            let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
            body.send_data(Bytes::copy_from_slice(message), false).unwrap();
            response.await.unwrap()
        };
        let response = while_calling(&app, attack).await;
        let status = status(&response);
        assert_eq!(failure(&status), (code, reason.to_owned()), "{case}");
        assert!(!status.metadata().contains_key("grpc-retry-pushback-ms"), "{case}");
        assert_eq!(response.headers()["grpc-accept-encoding"], "identity,gzip", "{case}");
    }
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn compressed_requests_are_read_by_every_service() {
    use cognito_lookup::proto::{
        BatchGetUsersRequest,
        health::{HealthCheckRequest, health_client::HealthClient},
        user_service_client::UserServiceClient,
    };
    use tonic::codec::CompressionEncoding::Gzip;

    let app = single_worker(|_| {}).await;
    let mut users = UserServiceClient::new(app.channel.clone()).send_compressed(Gzip);
    let response = users.get_user(about(ADA)).await.unwrap();
    assert_eq!(response.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip");
    let subs = vec![ADA.to_owned(); 100];
    let batch = users.batch_get_users(BatchGetUsersRequest { subs, ..Default::default() }).await.unwrap();
    assert_eq!(batch.into_inner().results.len(), 100);
    let mut health = HealthClient::new(app.channel.clone()).send_compressed(Gzip);
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    // A message that is not compressed is read whatever the header says.
    for encoding in ["gzip", "zstd"] {
        for (service, message) in [
            ("userlookup.v1.UserService/GetUser", frames::message(&about(ADA))),
            ("grpc.health.v1.Health/Check", vec![0; 5]),
        ] {
            let mut request = app.get_user_head();
            *request.uri_mut() = format!("http://{}/{service}", app.address).parse().unwrap();
            request.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static(encoding));
            let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
            body.send_data(message.into(), true).unwrap();
            let response = response.await.unwrap();
            assert!(!response.headers().contains_key("grpc-status"), "{service} {encoding}: {response:?}");
        }
    }
    let mut request = app.get_user_head();
    *request.uri_mut() = format!("http://{}/grpc.health.v1.Health/Check", app.address).parse().unwrap();
    request.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static("zstd"));
    let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(&[1, 0, 0, 0, 1, 0]), true).unwrap();
    assert_eq!(status(&response.await.unwrap()).code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_is_not_grpc_is_refused_by_its_http_status_and_not_executed() {
    let app = single_worker(|_| {}).await;
    let (asked, started) = (app.cognito_lookups(), app.metric(GET_USER_STARTED).await);
    for (method, content_type, expected) in [
        ("POST", None, 415),
        ("POST", Some("application/json"), 415),
        ("POST", Some("application/grpc-web"), 415),
        ("POST", Some("application/grpc+json"), 415),
        ("GET", Some("application/grpc"), 405),
        ("GET", None, 405),
        ("PUT", Some("application/grpc"), 405),
        ("DELETE", None, 405),
        ("POST", Some("APPLICATION/GRPC"), 200),
        ("POST", Some("application/grpc+proto"), 200),
        ("POST", Some("application/grpc;charset=utf-8"), 200),
    ] {
        let mut request = app.get_user_head();
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().remove("content-type");
        let content_type = content_type.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)));
        request.headers_mut().extend(content_type.clone());
        let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
        body.send_data(frames::message(&about(ADA)).into(), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), expected, "{method} {content_type:?}");
        assert!(expected == 200 || !response.headers().contains_key("grpc-status"), "{response:?}");
        assert_eq!(response.headers().contains_key("allow"), expected == 405, "{response:?}");
    }
    assert_eq!(app.cognito_lookups(), asked);
    assert_eq!(app.metric(GET_USER_STARTED).await, started + 3.0, "of the last three, which are gRPC");
}

fn zipped(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    let zipped = encoder.finish().unwrap();
    [&[1], &u32::try_from(zipped.len()).unwrap().to_be_bytes()[..], &zipped].concat()
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
