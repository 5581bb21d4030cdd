use std::{pin::pin, time::Duration};

use cognito_lookup::{
    proto::{
        InspectUserRequest,
        admin_service_client::AdminServiceClient,
        health::{
            HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus,
            health_client::HealthClient,
        },
        user_service_client::UserServiceClient,
    },
    server::Server,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tonic::{Code, Request};

use crate::support::{ADA, App, connect, standin};

#[tokio::test]
async fn health_covers_the_server_and_each_service() {
    let app = App::start().await;
    let mut health = HealthClient::new(app.channel.clone());
    for service in ["", "userlookup.v1.UserService", "userlookup.v1.AdminService"] {
        let request = HealthCheckRequest { service: service.into() };
        let response = health.check(request).await.unwrap().into_inner();
        assert_eq!(response.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "userlookup.v1.Nothing".into() };
    assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), Code::NotFound);
    let mut told = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let listed = health.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    assert_eq!(listed.len(), 4, "and the pool");
    assert!(listed.values().all(|response| response.status() == ServingStatus::Serving));
}

#[tokio::test]
async fn a_stopping_server_reports_not_serving_first_and_fails_no_accepted_call() {
    let mut app = App::start_with_config(|config| config.shutdown.delay = Duration::from_millis(200)).await;
    let held = app.cognito.hold("AdminGetUser");
    let mut health = HealthClient::new(app.channel.clone());
    let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let stop = {
        let asked = app.get_by_sub(ADA);
        tokio::pin!(asked);
        tokio::select! {
            answer = &mut asked => panic!("answered while Cognito was held: {answer:?}"),
            () = app.cognito.wait_for_calls("AdminGetUser", 1) => {}
        }
        // Calls from its own task, which does not borrow `app` while it is stopped.
        let mut users = UserServiceClient::new(app.channel.clone());
        #[expect(clippy::disallowed_methods, reason = "joined below")]
        tokio::spawn(async move { users.get_user(crate::support::about(ADA)).await })
    };
    app.stop();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    held.release();
    assert!(stop.await.unwrap().is_ok());
    // The stream ends with the drain, rather than delaying it until the connection is cut.
    let good_bye = timeout(Duration::from_secs(15), told.message()).await.expect("a watcher is let go");
    assert_eq!(good_bye.unwrap(), None);
    drop(health);
    app.wait_until_stopped().await;
}

#[tokio::test]
async fn a_stopping_server_accepts_connections_until_its_delay_is_over() {
    let mut app = App::start_with_config(|config| config.shutdown.delay = Duration::from_secs(60)).await;
    let mut health = HealthClient::new(app.channel.clone());
    let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    app.stop();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    for _ in 0..20 {
        let mut users = UserServiceClient::new(connect(app.address).await);
        assert!(users.get_user(crate::support::about(ADA)).await.is_ok());
    }
}

#[tokio::test]
async fn a_call_in_progress_ends_before_the_server() {
    let mut app = App::start().await;
    let held = app.cognito.hold("AdminGetUser");
    let mut health = HealthClient::new(app.channel.clone());
    let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut users = UserServiceClient::new(app.channel.clone());
    let mut call = pin!(users.get_user(crate::support::about(ADA)));
    tokio::select! {
        answer = &mut call => panic!("answered while Cognito was held: {answer:?}"),
        () = app.cognito.wait_for_calls("AdminGetUser", 1) => {}
    }
    app.stop();
    while told.message().await.unwrap().is_some() {}
    // A server that did not wait would have ended by the time another has started.
    drop(App::start().await);
    assert!(!app.has_ended());
    held.release();
    assert!(call.await.is_ok());
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_stop() {
    let mut app = App::start_with_config(|config| config.shutdown.grace = Duration::from_secs(600)).await;
    let silent = TcpStream::connect(app.address).await.unwrap();
    let mut half = TcpStream::connect(app.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    // The server accepts connections in order, so a reply on this one shows that it has all three.
    let idle = connect(app.address).await;
    let health = HealthClient::new(idle.clone()).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok());
    app.stop();
    let stopped = timeout(Duration::from_secs(60), app.wait_until_stopped()).await;
    assert!(stopped.is_ok(), "held by {silent:?} or {half:?}, or by {idle:?}");
}

#[tokio::test]
async fn a_request_without_its_message_times_out() {
    let app =
        App::start_with_config(|config| config.limits.request_timeout = Duration::from_millis(50)).await;
    let (response, body) = app.begin_get_user().await;
    let response = timeout(Duration::from_secs(30), response).await.expect("no response").unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    drop(body);
}

#[tokio::test]
async fn a_partial_message_is_not_kept_in_memory() {
    let app =
        App::start_with_config(|config| config.limits.request_timeout = Duration::from_millis(50)).await;
    let path = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let request = http::Request::post(format!("http://{}/{path}", app.address));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let (response, mut body) = app.connect_h2().await.send_request(request.body(()).unwrap(), false).unwrap();
    // The head announces 60,000 bytes, of which only ten follow.
    body.send_data([&[0, 0, 0, 0xea, 0x60][..], &[0; 10]].concat().into(), false).unwrap();
    let mut stream = response.await.unwrap().into_body();
    let ended = async { while stream.data().await.is_some() {} };
    timeout(Duration::from_secs(30), ended).await.expect("it is kept for ever");
}

#[tokio::test]
async fn every_service_refuses_a_large_message() {
    let app = App::start().await;
    let large = "x".repeat(65 * 1024);
    let health =
        HealthClient::new(app.channel.clone()).check(HealthCheckRequest { service: large.clone() }).await;
    assert_eq!(health.unwrap_err().code(), Code::ResourceExhausted);
    let user = app.get_user(Request::new(crate::support::about(&large))).await;
    assert_eq!(user.unwrap_err().code(), Code::ResourceExhausted);
    let inspect = InspectUserRequest { sub: large.clone(), ..InspectUserRequest::default() };
    let admin = AdminServiceClient::new(app.channel.clone()).inspect_user(inspect).await;
    assert_eq!(admin.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn reflection_refuses_a_large_message() {
    // The two versions of the protocol differ in the names of their packages only.
    macro_rules! answered {
        ($version:ident, $channel:expr, $host:expr) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
            };
            let request = ServerReflectionRequest {
                host: $host,
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let answer = ServerReflectionClient::new($channel)
                .server_reflection_info(tokio_stream::once(request))
                .await;
            answer.unwrap().into_inner().message().await.unwrap().is_some()
        }};
    }
    let app = App::start().await;
    for (size, taken) in [(60 * 1024, true), (65 * 1024, false)] {
        assert_eq!(answered!(v1, app.channel.clone(), "x".repeat(size)), taken);
        assert_eq!(answered!(v1alpha, app.channel.clone(), "x".repeat(size)), taken);
    }
}

#[tokio::test]
async fn request_headers_fit_two_tokens_and_no_more() {
    let app = App::start().await;
    let with = |size: usize| {
        let mut request = Request::new(crate::support::about(ADA));
        request.metadata_mut().insert("x-filling", "x".repeat(size).parse().unwrap());
        request
    };
    assert!(app.get_user(with(48 * 1024)).await.is_ok());
    assert!(app.get_user(with(80 * 1024)).await.is_err());
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let listing = || {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        tokio_stream::once(request)
    };
    let app = App::start().await;
    let mut reflection = ServerReflectionClient::new(app.channel.clone());
    let mut told = reflection.server_reflection_info(listing()).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        told.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let listed: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in ["grpc.health.v1.Health", "userlookup.v1.AdminService", "userlookup.v1.UserService"] {
        assert!(listed.iter().any(|name| name == service), "{listed:?}");
    }
    let app = App::start_with_config(|config| config.reflection = false).await;
    let status = ServerReflectionClient::new(app.channel.clone()).server_reflection_info(listing()).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn invalid_settings_prevent_the_start() {
    let cognito = standin();
    let mut config = crate::support::config(&cognito);
    config.callers[0].attributes.clear();
    config.pools[0].id = "x".into();
    let error = Server::read(config).unwrap_err().to_string();
    assert!(error.contains("callers[0].attributes") && error.contains("pools[0].id"), "{error}");
    assert_eq!(cognito.calls("jwks"), 0);
}
