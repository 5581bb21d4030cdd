use std::time::Duration;

use cognito_lookup::{
    config::{CallerSettings, Config, Reads},
    proto::{
        BatchGetUsersRequest, BatchGetUsersResponse, BatchGetUsersResult, Source,
        batch_get_users_request::Freshness, batch_get_users_result::Result as Item,
        user_service_client::UserServiceClient,
    },
};
use cognito_standin::User;
use prost::Message as _;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use crate::support::{ADA, App, BOB, GRACE, WEB, failure};

#[tokio::test]
async fn a_hundred_users_come_in_order_and_only_misses_call_cognito() {
    let app = App::start_with_config(local).await;
    let known: Vec<_> = (0..90).map(|n| format!("known-{n}")).collect();
    for sub in &known {
        put(&app, sub);
    }
    batch(&app, about(&known)).await.unwrap();
    assert_eq!(app.cognito_lookups(), 90);
    let unknown = (0..5).map(|n| format!("unknown-{n}"));
    let mut subs: Vec<_> =
        known.iter().cloned().chain(unknown).chain(known[10..15].iter().cloned()).collect();
    subs.reverse();
    let results = batch(&app, about(&subs)).await.unwrap().results;
    assert_eq!((results.len(), app.cognito_lookups()), (100, 95));
    for (sub, result) in subs.iter().zip(&results) {
        if sub.starts_with("known") {
            let found = found(result);
            assert_eq!((found.user.as_ref().unwrap().sub.as_str(), source(result)), (&**sub, Source::Cache));
        } else {
            assert_eq!(refusal(result), (Code::NotFound, "USER_NOT_FOUND".into()), "{sub}");
        }
    }
    batch(&app, about(&subs)).await.unwrap();
    assert_eq!(app.cognito_lookups(), 95, "unknown users are cached as not found");
}

#[tokio::test]
async fn each_item_fails_alone_with_the_status_of_get_user() {
    let app = App::start_with_config(|config| config.callers[1].groups = true).await;
    let message = BatchGetUsersRequest { include_groups: true, ..about(&[ADA, "nobody", GRACE, BOB]) };
    let results = batch(&app, message).await.unwrap().results;
    assert_eq!(found(&results[0]).user.as_ref().unwrap().groups, ["engineers"]);
    let alone = app.get_by_sub("nobody").await.unwrap_err();
    let (told, expected) = (details(&results[1]), alone.get_error_details());
    let (told_info, expected_info) = (told.error_info().unwrap(), expected.error_info().unwrap());
    assert_eq!((&told_info.reason, &told_info.domain), (&expected_info.reason, &expected_info.domain));
    assert!(told.request_info().is_some_and(|request| request.request_id.len() == 36));
    assert_eq!(found(&results[2]).user.as_ref().unwrap().sub, GRACE);
    assert!(!found(&results[3]).user.as_ref().unwrap().enabled);
}

#[tokio::test]
async fn a_users_token_reads_only_that_user() {
    let app = App::start().await;
    let mut request = Request::new(about(&[BOB, ADA, "nobody"]));
    let token = format!("Bearer {}", app.token("ada"));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    let results = ask(&app, request).await.unwrap().results;
    assert_eq!(found(&results[1]).user.as_ref().unwrap().sub, ADA);
    for other in [&results[0], &results[2]] {
        assert_eq!(refusal(other), (Code::PermissionDenied, "SUBJECT_NOT_ALLOWED".into()));
    }
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn an_error_of_no_single_item_fails_the_call() {
    let app = App::start_with_config(|config| {
        config.pools[0].app_clients.push("sandboxmachine000000000001".into());
        config.callers.push(CallerSettings {
            name: "desk".into(),
            app_client: Some("sandboxmachine000000000001".into()),
            scope: Some("user-lookup/read".into()),
            reads: Reads::Any,
            attributes: vec!["name".into()],
            ..CallerSettings::default()
        });
    })
    .await;
    let (many, malformed) = (vec![ADA; 101], [&[ADA; 17][..], &["a b"]].concat());
    let other_pool = BatchGetUsersRequest { user_pool_id: "eu-west-1_Other".into(), ..about(&[ADA]) };
    for (message, reason, field) in [
        (about::<&str>(&[]), "FIELD_INVALID", "subs"),
        (about(&many), "FIELD_INVALID", "subs"),
        (about(&malformed), "SUB_MALFORMED", "subs[17]"),
        (other_pool, "FIELD_INVALID", "user_pool_id"),
    ] {
        let status = batch(&app, message).await.unwrap_err();
        assert_eq!(failure(&status), (Code::InvalidArgument, reason.into()), "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    for (token, code, reason) in [
        ("x".to_owned(), Code::Unauthenticated, "TOKEN_MALFORMED"),
        (app.cognito.id_token("ada").unwrap(), Code::Unauthenticated, "ID_TOKEN_REFUSED"),
        (
            app.cognito.machine_token("sandboxmachine000000000001", &["x/y"]),
            Code::PermissionDenied,
            "SCOPE_MISSING",
        ),
    ] {
        let mut request = Request::new(about(&[ADA]));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(failure(&ask(&app, request).await.unwrap_err()), (code, reason.into()));
    }
    let wanting = BatchGetUsersRequest { attributes: vec!["email".into()], ..about(&[ADA, BOB]) };
    let grouped = BatchGetUsersRequest { include_groups: true, ..about(&[ADA]) };
    for (message, name) in [(wanting, "email"), (grouped, "groups")] {
        let status = batch(&app, message).await.unwrap_err();
        assert_eq!(failure(&status), (Code::PermissionDenied, "ATTRIBUTE_NOT_ALLOWED".into()));
        assert_eq!(status.get_error_details().error_info().unwrap().metadata["attributes"], name);
    }
    assert_eq!(app.cognito_lookups(), 0);
}

#[tokio::test]
async fn items_beyond_the_rate_limit_are_refused_alone() {
    let app = App::start_with_config(|config| {
        local(config);
        config.budget.user_reads_per_second = Some(4);
        config.limits.request_timeout = Duration::from_millis(500);
    })
    .await;
    let subs: Vec<_> = (0..20).map(|n| format!("user-{n}")).collect();
    for sub in &subs {
        put(&app, sub);
    }
    let results = batch(&app, about(&subs)).await.unwrap().results;
    let refused: Vec<_> = results.iter().filter(|result| is_refused(result)).collect();
    assert_eq!((results.len(), refused.len()), (20, 20 - app.cognito_lookups()));
    assert!((1..=4).contains(&app.cognito_lookups()), "{} calls", app.cognito_lookups());
    for result in refused {
        assert_eq!(refusal(result), (Code::ResourceExhausted, "BUDGET_EXHAUSTED".into()));
        assert!(details(result).retry_info().unwrap().retry_delay.is_some());
    }
}

#[tokio::test]
async fn items_that_miss_the_deadline_fail_beside_those_that_do_not() {
    let app = App::start_with_config(|config| {
        local(config);
        config.limits.request_timeout = Duration::from_millis(500);
    })
    .await;
    batch(&app, about(&[ADA])).await.unwrap();
    let held = app.cognito.hold("AdminGetUser");
    let results = batch(&app, about(&[BOB, ADA, BOB])).await.unwrap().results;
    for late in [&results[0], &results[2]] {
        assert_eq!(refusal(late), (Code::DeadlineExceeded, "DEADLINE".into()));
    }
    assert_eq!(source(&results[1]), Source::Cache);
    // The fetch continues, and the next call gets its result.
    held.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
    assert!(batch(&app, about(&[BOB])).await.is_ok());
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn max_age_applies_to_every_user() {
    let app = App::start_with_config(local).await;
    batch(&app, about(&[ADA, BOB])).await.unwrap();
    let now = Some(Freshness::MaxAge(prost_types::Duration::default()));
    let message = BatchGetUsersRequest { freshness: now, ..about(&[ADA, BOB, ADA]) };
    let results = batch(&app, message).await.unwrap().results;
    assert!(results.iter().all(|result| source(result) == Source::Cognito));
    assert_eq!(app.cognito_lookups(), 4);
}

#[tokio::test]
async fn a_reply_stays_within_the_message_size_of_clients() {
    let app = App::start_with_config(allow_all_attributes).await;
    put_large_user(&app, "allow_all_attributes");
    put(&app, "narrow");
    let subs = [&["allow_all_attributes"; 98][..], &["narrow", "nobody"]].concat();
    let reply = batch(&app, about(&subs)).await.unwrap();
    let bytes = reply.encoded_len();
    assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes} bytes");
    let told = reply.results.iter().filter(|result| !is_refused(result)).count();
    assert!((30..60).contains(&told), "{told}");
    let full = &reply.results[97];
    assert_eq!(refusal(full), (Code::ResourceExhausted, "OVERLOADED".into()));
    assert!(details(full).retry_info().is_none(), "a retry would exceed the size again");
    assert_eq!(found(&reply.results[98]).user.as_ref().unwrap().sub, "narrow", "a smaller user still fits");
    assert_eq!(refusal(&reply.results[99]).1, "USER_NOT_FOUND");
    assert_eq!(app.cognito_lookups(), 3);
}

/// Lets callers from this machine read every attribute.
pub(crate) fn allow_all_attributes(config: &mut Config) {
    local(config);
    config.callers[1].attributes = (0..50).map(|n| format!("custom:{n}")).collect();
}

/// Adds a user of 100 KB.
pub(crate) fn put_large_user(app: &App, sub: &str) {
    put(app, sub);
    let values = (0..50).map(|n| (format!("custom:{n}"), "x".repeat(2_048)));
    app.cognito.update_user(sub, |person| person.attributes.extend(values)).unwrap();
}

/// Makes a miss one call to Cognito: no search for federated users.
fn local(config: &mut Config) {
    config.pools[0].federated = false;
    assert_eq!(config.callers[0].app_client.as_deref(), Some(WEB));
}

fn put(app: &App, sub: &str) {
    app.cognito.put_user(User { sub: sub.into(), ..User::local(sub, "Password-1") });
}

fn about<S: ToString>(subs: &[S]) -> BatchGetUsersRequest {
    let subs = subs.iter().map(ToString::to_string).collect();
    BatchGetUsersRequest { subs, ..BatchGetUsersRequest::default() }
}

async fn batch(app: &App, message: BatchGetUsersRequest) -> Result<BatchGetUsersResponse, Status> {
    ask(app, Request::new(message)).await
}

async fn ask(app: &App, request: Request<BatchGetUsersRequest>) -> Result<BatchGetUsersResponse, Status> {
    let mut users = UserServiceClient::new(app.channel.clone());
    users.batch_get_users(request).await.map(tonic::Response::into_inner)
}

fn found(result: &BatchGetUsersResult) -> &cognito_lookup::proto::GetUserResponse {
    match result.result.as_ref().unwrap() {
        Item::Found(found) => found,
        Item::Error(error) => panic!("{error:?}"),
    }
}

fn error(result: &BatchGetUsersResult) -> &pb::Status {
    match result.result.as_ref().unwrap() {
        Item::Found(_) => panic!("found"),
        Item::Error(error) => error,
    }
}

fn is_refused(result: &BatchGetUsersResult) -> bool {
    matches!(result.result, Some(Item::Error(_)))
}

fn source(result: &BatchGetUsersResult) -> Source {
    found(result).freshness.as_ref().unwrap().source()
}

fn details(result: &BatchGetUsersResult) -> ErrorDetails {
    use tonic_types::RpcStatusExt as _;
    error(result).get_error_details()
}

fn refusal(result: &BatchGetUsersResult) -> (Code, String) {
    let reason = details(result).error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (error(result).code.into(), reason)
}
