use cognito_lookup::{
    config::{CallerSettings, ClientCertificate, Config},
    proto::{
        BatchGetUsersRequest, BatchGetUsersResult, EraseUserRequest, ExpireUserRequest, ExplainAccessRequest,
        InspectUserRequest, admin_service_client::AdminServiceClient, batch_get_users_result::Result as Item,
        user_service_client::UserServiceClient,
    },
};
use cognito_standin::Fault;
use serde_json::Value;
use tonic::Request;

use crate::{
    audit::Trail,
    batch::{allow_all_attributes, put_large_user},
    pools::{OTHER, two_pools_with},
    support::certificates::{Authority, Files, client_config},
    support::tls_client::connect,
    support::{ADA, App, BOB, standin},
};

#[tokio::test]
async fn an_admin_call_with_a_users_token_records_the_subject_of_the_call() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(), &clients);
    let (set_tls, trail) = (files.set(ClientCertificate::Required), Trail::new());
    let mut app = App::start_unready(
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
    app.wait_until_ready().await;
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
    app.wait_until_stopped().await;
    let records = trail.records();
    assert_eq!(records.len(), 5);
    for record in &records[..4] {
        assert_eq!((&record["sub_hash"], &record["caller"]), (&trail.hash(&pool, BOB), &"desk".into()));
    }
    assert_eq!((&records[4]["sub_hash"], &records[4]["outcome"]), (&Value::Null, &"SUB_MALFORMED".into()));
}

#[tokio::test]
async fn a_user_of_a_batch_is_recorded_with_the_pool_of_the_token() {
    let trail = Trail::new();
    let (mut app, _other) = two_pools_with(trail.set(|_| {})).await;
    let message = BatchGetUsersRequest { subs: vec![ADA.into()], ..Default::default() };
    batch(&app, with(&app.token("ada"), message.clone())).await;
    let elsewhere = BatchGetUsersRequest { user_pool_id: OTHER.into(), ..message };
    batch(&app, Request::new(elsewhere)).await;
    let pool = app.cognito.pool_id().to_owned();
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    assert_eq!(trail.outcomes(), ["released", "released"]);
    for (record, pool) in records.iter().zip([&*pool, OTHER]) {
        assert_eq!((&record["pool"], &record["sub_hash"]), (&pool.into(), &trail.hash(pool, ADA)));
    }
}

#[tokio::test]
async fn every_user_of_a_cancelled_batch_is_recorded() {
    let trail = Trail::new();
    let app = App::start_with_config(trail.set(|_| {})).await;
    app.cognito.inject("AdminGetUser", Fault::Hang);
    let message = BatchGetUsersRequest { subs: vec![ADA.into(), BOB.into()], ..Default::default() };
    let message = prost::Message::encode_to_vec(&message);
    let framed = [&[0, 0, 0, 0, message.len().try_into().unwrap()], &message[..]].concat();
    let (mut parts, ()) = app.get_user_head().into_parts();
    parts.uri = format!("http://{}/userlookup.v1.UserService/BatchGetUsers", app.address).parse().unwrap();
    let head = http::Request::from_parts(parts, ());
    let (_answer, mut stream) = app.connect_h2().await.send_request(head, false).unwrap();
    stream.send_data(framed.into(), true).unwrap();
    app.cognito.wait_for_calls("AdminGetUser", 2).await;
    stream.send_reset(h2::Reason::CANCEL);
    trail.holds(2).await;
    assert_eq!(trail.outcomes(), ["cancelled", "cancelled"]);
    for (record, sub) in trail.records().iter().zip([ADA, BOB]) {
        assert_eq!(record["sub_hash"], trail.hash(app.cognito.pool_id(), sub));
    }
}

/// Otherwise a caller could fill the audit log with made-up users.
#[tokio::test]
async fn a_caller_that_may_not_read_by_sub_causes_one_record_for_its_whole_batch() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(|_| {})).await;
    let made_up = (1..100).map(|n| format!("user-{n}"));
    let subs: Vec<_> = made_up.chain([ADA.into()]).collect();
    let message = BatchGetUsersRequest { subs, ..Default::default() };
    batch(&app, with(&app.token("ada"), message.clone())).await;
    let wanting = BatchGetUsersRequest { attributes: vec!["custom:plan".into()], ..message };
    let mut users = UserServiceClient::new(app.channel.clone());
    users.batch_get_users(wanting).await.unwrap_err();
    let hash = trail.hash(app.cognito.pool_id(), ADA);
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    assert_eq!(trail.outcomes(), ["released", "SUBJECT_NOT_ALLOWED", "ATTRIBUTE_NOT_ALLOWED"]);
    assert_eq!(
        (&records[0]["sub_hash"], &records[1]["sub_hash"], &records[2]["sub_hash"]),
        (&hash, &hash, &Value::Null)
    );
    assert_eq!(
        (&records[0]["users"], &records[1]["users"], &records[2]["users"]),
        (&Value::Null, &99.into(), &100.into())
    );
}

#[tokio::test]
async fn a_user_that_exceeds_the_reply_size_is_recorded_as_refused() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(allow_all_attributes)).await;
    let subs: Vec<_> = (0..60).map(|n| format!("allow_all_attributes-{n}")).collect();
    subs.iter().for_each(|sub| put_large_user(&app, sub));
    let mut users = UserServiceClient::new(app.channel.clone());
    let message = BatchGetUsersRequest { subs, ..Default::default() };
    let results = users.batch_get_users(message).await.unwrap().into_inner().results;
    app.stop();
    app.wait_until_stopped().await;
    let found = |result: &BatchGetUsersResult| matches!(result.result, Some(Item::Found(_)));
    let expected: Vec<_> =
        results.iter().map(|result| if found(result) { "released" } else { "OVERLOADED" }).collect();
    assert_eq!(trail.outcomes(), expected);
    assert_eq!((expected[0], expected[59]), ("released", "OVERLOADED"));
}

async fn batch(app: &App, request: Request<BatchGetUsersRequest>) {
    UserServiceClient::new(app.channel.clone()).batch_get_users(request).await.unwrap();
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
