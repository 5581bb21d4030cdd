use std::time::Duration;

use cognito_lookup::wire::proto::{
    BatchGetUsersRequest, EraseUserRequest, ExpireUserRequest, ExplainAccessRequest, InspectUserRequest,
    admin_service_client::AdminServiceClient,
    health::{
        HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    user_service_client::UserServiceClient,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::{Code, Status};

use crate::support::{ADA, App, failure, standin};

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
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
    assert_eq!(listed.len(), 3);
    assert!(listed.values().all(|response| response.status() == ServingStatus::Serving));
}

#[tokio::test]
async fn what_is_not_built_is_unimplemented() {
    let app = App::start().await;
    let mut admin = AdminServiceClient::new(app.channel.clone());
    let mut users = UserServiceClient::new(app.channel.clone());
    let statuses: [Status; 5] = [
        users.batch_get_users(BatchGetUsersRequest::default()).await.unwrap_err(),
        admin.inspect_user(InspectUserRequest::default()).await.unwrap_err(),
        admin.expire_user(ExpireUserRequest::default()).await.unwrap_err(),
        admin.erase_user(EraseUserRequest::default()).await.unwrap_err(),
        admin.explain_access(ExplainAccessRequest::default()).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(failure(&status), (Code::Unimplemented, "UNSPECIFIED".to_owned()));
    }
}

#[tokio::test]
async fn a_stopping_server_says_so_first_and_fails_no_call_it_took() {
    let mut app = App::with(|config| config.shutdown.delay = Duration::from_millis(200)).await;
    let held = app.cognito.hold("AdminGetUser");
    let mut health = HealthClient::new(app.channel.clone());
    let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let stop = {
        let asked = app.by_sub(ADA);
        tokio::pin!(asked);
        tokio::select! {
            answer = &mut asked => panic!("answered while Cognito was held: {answer:?}"),
            () = app.cognito.reached("AdminGetUser", 1) => {}
        }
        // The borrow of `app` by the call must end before it can be told to stop, so the call goes on by itself.
        let mut users = UserServiceClient::new(app.channel.clone());
        #[expect(clippy::disallowed_methods, reason = "joined below")]
        tokio::spawn(async move { users.get_user(crate::support::about(ADA)).await })
    };
    app.stop();
    assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    held.release();
    assert!(stop.await.unwrap().is_ok());
    // The watcher is told good-bye rather than holding the drain until it is cut.
    assert_eq!(told.message().await.unwrap(), None);
    drop(health);
    app.stopped().await;
}

#[tokio::test]
async fn an_idle_peer_cannot_hold_a_stopping_server() {
    let mut app = App::with(|config| config.shutdown.grace = Duration::from_secs(600)).await;
    let silent = TcpStream::connect(app.address).await.unwrap();
    let mut half = TcpStream::connect(app.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    // The server takes connections in turn, so with this one's answer it has all three.
    let idle = crate::support::connect(app.address).await;
    let health = HealthClient::new(idle.clone()).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok());
    app.stop();
    let stopped = tokio::time::timeout(Duration::from_secs(60), app.stopped()).await;
    assert!(stopped.is_ok(), "held by {silent:?} or {half:?}, or by {idle:?}");
}

#[tokio::test]
async fn no_service_takes_a_large_message() {
    let app = App::start().await;
    let large = "x".repeat(65 * 1024);
    let health =
        HealthClient::new(app.channel.clone()).check(HealthCheckRequest { service: large.clone() }).await;
    assert_eq!(health.unwrap_err().code(), Code::OutOfRange);
    let user = app.ask(tonic::Request::new(crate::support::about(&large))).await;
    assert_eq!(user.unwrap_err().code(), Code::OutOfRange);
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
    let app = App::with(|config| config.reflection = false).await;
    let status = ServerReflectionClient::new(app.channel.clone()).server_reflection_info(listing()).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn faulty_settings_stop_the_server_before_it_serves() {
    let cognito = standin();
    let mut config = crate::support::config(&cognito);
    config.callers[0].attributes.clear();
    config.pools[0].id = "x".into();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error =
        cognito_lookup::server::run(config, listener, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("callers[0].attributes") && error.contains("pools[0].id"), "{error}");
    assert_eq!(cognito.calls("jwks"), 0);
}
