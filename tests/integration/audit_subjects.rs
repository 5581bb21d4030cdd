use cognito_lookup::{
    config::{CallerSettings, ClientCertificate, Config},
    wire::proto::{
        BatchGetUsersRequest, EraseUserRequest, ExpireUserRequest, ExplainAccessRequest, InspectUserRequest,
        admin_service_client::AdminServiceClient, user_service_client::UserServiceClient,
    },
};
use serde_json::Value;
use tonic::Request;

use crate::{
    audit::Trail,
    certificates::{Authority, Files, client_config},
    pools::{OTHER, two_pools_with},
    support::{ADA, App, BOB, standin},
    tls::connect,
};

#[tokio::test]
async fn an_administrator_with_a_persons_token_is_recorded_by_whom_it_asks_about() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(), &clients);
    let (set_tls, trail) = (files.set(ClientCertificate::Required), Trail::new());
    let mut app = App::not_ready(
        standin(),
        trail.set(|config: &mut Config| {
            set_tls(config);
            config.callers.push(CallerSettings {
                name: "desk".into(),
                certificate: Some("desk.example.com".into()),
                attributes: vec!["name".into()],
                admin: true,
                ..CallerSettings::default()
            });
        }),
    )
    .await;
    app.ready().await;
    let desk = client_config(&[&servers], Some(&clients.client("desk.example.com")));
    let mut admin = AdminServiceClient::new(connect(app.address, desk).await.unwrap());
    let token = app.token("ada");
    let sub = || BOB.to_owned();
    admin.inspect_user(with(&token, InspectUserRequest { sub: sub(), ..Default::default() })).await.unwrap();
    admin.expire_user(with(&token, ExpireUserRequest { sub: sub(), ..Default::default() })).await.unwrap();
    admin.erase_user(with(&token, EraseUserRequest { sub: sub(), ..Default::default() })).await.unwrap();
    let explain = ExplainAccessRequest { sub: sub(), caller: "web".into(), ..Default::default() };
    admin.explain_access(with(&token, explain)).await.unwrap();
    admin
        .erase_user(with(&token, EraseUserRequest { sub: "a b".into(), ..Default::default() }))
        .await
        .unwrap_err();
    let pool = app.cognito.pool_id().to_owned();
    app.stop();
    app.stopped().await;
    let records = trail.records();
    assert_eq!(records.len(), 5);
    for record in &records[..4] {
        assert_eq!((&record["sub_hash"], &record["caller"]), (&trail.hash(&pool, BOB), &"desk".into()));
    }
    assert_eq!((&records[4]["sub_hash"], &records[4]["outcome"]), (&Value::Null, &"SUB_MALFORMED".into()));
}

#[tokio::test]
async fn a_user_of_a_batch_is_recorded_in_the_pool_of_the_token() {
    let trail = Trail::new();
    let (mut app, _other) = two_pools_with(trail.set(|_| {})).await;
    let message = BatchGetUsersRequest { subs: vec![ADA.into()], ..Default::default() };
    batch(&app, with(&app.token("ada"), message.clone())).await;
    let elsewhere = BatchGetUsersRequest { user_pool_id: OTHER.into(), ..message };
    batch(&app, Request::new(elsewhere)).await;
    let pool = app.cognito.pool_id().to_owned();
    app.stop();
    app.stopped().await;
    let records = trail.records();
    assert_eq!(trail.outcomes(), ["released", "released"]);
    for (record, pool) in records.iter().zip([&*pool, OTHER]) {
        assert_eq!((&record["pool"], &record["sub_hash"]), (&pool.into(), &trail.hash(pool, ADA)));
    }
}

async fn batch(app: &App, request: Request<BatchGetUsersRequest>) {
    UserServiceClient::new(app.channel.clone()).batch_get_users(request).await.unwrap();
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
