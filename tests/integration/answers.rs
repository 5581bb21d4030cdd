use std::{slice::from_ref, time::SystemTime};

use cognito_lookup::{
    config::{BareSub, CallerSettings},
    proto::{
        BatchGetUsersRequest, GetUserRequest, batch_get_users_result::Result as Item,
        user_service_client::UserServiceClient,
    },
};
use cognito_standin::{Fault, HttpResponse, User};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{
    ADA, App, GRACE, about, assert_failure, connect, max_age, process::Process, standin, with_token,
};

#[tokio::test]
async fn an_odd_answer_is_read_where_its_meaning_is_clear() {
    let attributes = r#"[
        {"Name": "sub", "Value": "SUB"}, {"Name": "family_name", "Value": "Lovelace"},
        {"Name": "family_name", "Value": ""}, {"Name": "email_verified", "Value": true},
        {"Name": "custom:level", "Value": 12345678901234567890.10}, {"Name": "nickname"},
        {"Name": "gender", "Value": null}, {"Name": "locale", "Value": ""}, null, {"Value": "nameless"}
    ]"#;
    let rest = r#"
        "Username": "ada", "UserStatus": "FROZEN", "UserCreateDate": "2024-11-29T00:00:00.5+00:00",
        "UserLastModifiedDate": 1.7328384e9, "MFAOptions": "SMS", "PreferredMfaSetting": 5, "UserMFASettingList": [NaN]
    "#;
    let attributes = attributes.replace("SUB", ADA);
    let admin_get_user = format!(r#"{{"UserAttributes": {attributes}, {rest}}}"#);
    let list_users = format!(
        r#"{{"Users": [null, {{"Attributes": {attributes}, "Enabled": null, {rest}}}], "PaginationToken": null}}"#
    );
    for (operation, body) in [("AdminGetUser", admin_get_user), ("ListUsers", list_users)] {
        let app = app(operation == "ListUsers").await;
        app.cognito.inject(operation, Fault::Respond(HttpResponse::new(200, "text/plain", body)));
        let user = app.get_by_sub(ADA).await.unwrap().user.unwrap();
        let expected = [
            ("custom:level", "12345678901234567890.10"),
            ("email_verified", "true"),
            ("family_name", "Lovelace"),
            ("locale", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(user.attributes, expected.into_iter().collect(), "{operation}");
        assert!(user.enabled, "{operation}");
        assert_eq!((user.username.as_str(), user.status), ("ada", 0), "{operation}");
        assert_eq!(user.created_at, timestamp(1_732_838_400, 500_000_000), "{operation}");
        assert_eq!(user.updated_at, timestamp(1_732_838_400, 0), "{operation}");
        assert_eq!(app.cognito.calls(operation), 1);
    }
}

#[tokio::test]
async fn a_date_outside_the_years_of_a_timestamp_is_absent() {
    let table = [
        ("-62135596800", timestamp(-62_135_596_800, 0)),
        ("253402300799", timestamp(253_402_300_799, 0)),
        ("-1.25", timestamp(-2, 750_000_000)),
        ("-62135596801", None),
        ("253402300800", None),
        ("1732838400000", None),
        ("9.3e18", None),
        ("-1e300", None),
        ("1e999", None),
        ("NaN", None),
        ("-Infinity", None),
        ("null", None),
        (r#""""#, None),
        (r#""NaN""#, None),
        (r#""0000-01-01T00:00:00Z""#, None),
        ("{}", None),
        ("[1]", None),
    ];
    let app = app(false).await;
    for (date, expected) in table {
        let body = json!({"Username": "ada", "UserAttributes": [sub(ADA)], "UserCreateDate": "DATE"});
        let body = body.to_string().replace(r#""DATE""#, date);
        app.cognito.inject("AdminGetUser", Fault::Respond(HttpResponse::new(200, "application/json", body)));
        let now = GetUserRequest { freshness: max_age(0), ..about(ADA) };
        let user = app.get_user(Request::new(now)).await.unwrap().user.unwrap();
        assert_eq!(user.created_at, expected, "{date}");
    }
}

#[tokio::test]
async fn lists_that_are_null_are_empty() {
    let app = app(true).await;
    app.cognito.inject("ListUsers", ok(&json!({"Users": null})));
    assert_failure(app.get_by_sub("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    app.cognito.clear_faults("ListUsers");
    for groups in [json!({"Groups": null}), json!({"Groups": [null], "NextToken": null})] {
        app.cognito.inject("AdminListGroupsForUser", ok(&groups));
        let message = GetUserRequest { include_groups: true, freshness: max_age(0), ..about(ADA) };
        assert!(app.get_user(Request::new(message)).await.unwrap().user.unwrap().groups.is_empty());
    }
}

/// Retries are for what ends by itself.
#[tokio::test]
async fn an_answer_that_no_retry_makes_readable_says_so() {
    let user = |change: Value| {
        let mut user = json!({"Username": "ada", "Enabled": true, "UserAttributes": [sub(ADA)]});
        for (name, value) in change.as_object().unwrap() {
            user[name] = value.clone();
        }
        user
    };
    let long = "x".repeat(1 << 20);
    let table = [
        user(json!({"Username": null})),
        user(json!({"Username": {}})),
        user(json!({"UserAttributes": null})),
        user(json!({"UserAttributes": {"sub": ADA}})),
        user(json!({"Enabled": "perhaps"})),
        user(json!({"UserAttributes": [sub(ADA), {"Name": "name", "Value": long}]})),
        json!([]),
    ];
    for body in table {
        let app = app(false).await;
        app.cognito.inject("AdminGetUser", ok(&body));
        let answer = app.get_by_sub(ADA).await;
        let status = assert_failure(answer, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        let body = body.to_string().chars().take(200).collect::<String>();
        assert!(status.get_details_retry_info().is_none(), "{body}");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1", "{body}");
        assert_eq!(app.cognito_lookups(), 1, "{body}");
        let garbled = app.metric("cognito_lookup_upstream_unusable_answers_total{flaw=\"Garbled\"}").await;
        assert_eq!(garbled, 1.0, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_read_is_logged_once() {
    let cognito = standin();
    let odd = json!({"Username": "ada", "UserAttributes": [sub(ADA)], "UserCreateDate": "canary-date"});
    let unreadable = json!({"Username": "ada", "UserAttributes": [sub(ADA)], "Enabled": "canary-flag"});
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"");
    let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    let now = || GetUserRequest { freshness: max_age(0), ..about(ADA) };
    for _ in 0..3 {
        cognito.inject("AdminGetUser", ok(&odd));
        users.get_user(now()).await.unwrap();
        cognito.inject("AdminGetUser", ok(&unreadable));
        users.get_user(now()).await.unwrap_err();
    }
    process.signal("TERM");
    let lines = process.log_until("stopped");
    let fields = lines.iter().filter_map(|line| Some((line["level"].as_str()?, line["aws.field"].as_str()?)));
    assert_eq!(fields.collect::<Vec<_>>(), [("WARN", "UserCreateDate"), ("ERROR", "Enabled")]);
    assert!(lines.iter().all(|line| !line.to_string().contains("canary-")), "no value is logged");
}

#[tokio::test]
async fn one_users_unreadable_answer_fails_no_other_user_of_a_batch() {
    let app = app(false).await;
    let people: Vec<_> = (0..50).map(|n| User::local(format!("person-{n}"), "x")).collect();
    let subs: Vec<_> = people.iter().map(|person| person.sub.clone()).collect();
    people.into_iter().for_each(|person| app.cognito.put_user(person));
    app.cognito.inject_next("AdminGetUser", 1, ok(&json!({"Username": "x", "Enabled": {}})));
    let message = BatchGetUsersRequest { subs, ..BatchGetUsersRequest::default() };
    let mut users = UserServiceClient::new(app.channel.clone());
    let response = users.batch_get_users(message).await.unwrap().into_inner();
    let failed: Vec<_> = response
        .results
        .iter()
        .filter_map(|item| match item.result.as_ref().unwrap() {
            Item::Error(status) => Some(Code::from(status.code)),
            Item::Found(_) => None,
        })
        .collect();
    assert_eq!((response.results.len(), failed), (50, vec![Code::Unavailable]));
}

/// A username belongs to whoever was created with it last.
#[tokio::test]
async fn a_user_that_was_deleted_and_made_anew_is_another() {
    let app = app(false).await;
    let token = app.token("ada");
    assert!(app.get_by_token(&token).await.is_ok());
    app.cognito.delete_user("ada").unwrap();
    app.cognito.put_user(User::local("ada", "x"));
    let now = GetUserRequest { freshness: max_age(0), ..GetUserRequest::default() };
    let gone = app.get_user(with_token(&token, now)).await;
    assert_failure(gone, Code::NotFound, "USER_NOT_FOUND");
    let calls = app.cognito_lookups();
    for answer in [app.get_by_token(&token).await, app.get_by_sub(ADA).await] {
        assert_failure(answer, Code::NotFound, "USER_NOT_FOUND");
    }
    assert_eq!(app.cognito_lookups(), calls, "the absence is cached");
    assert_eq!(unusable(&app).await, [1.0, 0.0, 0.0]);
    assert!(app.get_by_token(&app.token("ada")).await.is_ok(), "the new user");
}

#[tokio::test]
async fn a_username_sent_as_a_sub_is_not_found() {
    let app = app(false).await;
    for _ in 0..2 {
        assert_failure(app.get_by_sub("ada").await, Code::NotFound, "USER_NOT_FOUND");
    }
    assert_eq!(app.cognito.calls("AdminGetUser"), 1);
    assert_eq!(unusable(&app).await, [1.0, 0.0, 0.0]);
    // It may be the sub of a federated user all the same.
    let federated = User { sub: "bob".into(), ..User::federated("Google_1") };
    app.cognito.put_user(federated);
    assert_eq!(app.get_by_sub("bob").await.unwrap().user.unwrap().username, "Google_1");
}

#[tokio::test]
async fn of_linked_users_the_local_one_is_found() {
    let google =
        User { sub: ADA.into(), created_at: SystemTime::UNIX_EPOCH, ..User::federated("Google_105") };
    for google_first in [true, false] {
        let app = app(true).await;
        if google_first {
            let ada = app.cognito.delete_user("ada").unwrap();
            app.cognito.put_user(google.clone());
            app.cognito.put_user(ada);
        } else {
            app.cognito.put_user(google.clone());
        }
        let second = User { username: "Facebook_7".into(), ..google.clone() };
        app.cognito.put_user(second);
        let user = app.get_by_sub(ADA).await.unwrap().user.unwrap();
        assert_eq!(user.username, "ada", "Google first: {google_first}");
        let groups = GetUserRequest { include_groups: true, ..about(ADA) };
        assert_eq!(app.get_user(Request::new(groups)).await.unwrap().user.unwrap().groups, ["engineers"]);
        assert_eq!(unusable(&app).await, [0.0; 3]);
    }
}

/// ListUsers may return the entries of one `sub` on several pages.
#[tokio::test]
async fn a_local_user_is_looked_for_on_further_pages() {
    let page = |users: &[Value], token: Option<&str>| ok(&json!({"Users": users, "PaginationToken": token}));
    let local = entry("ada", "CONFIRMED", 9);
    let (google, facebook) =
        (entry("Google_1", "EXTERNAL_PROVIDER", 5), entry("Facebook_2", "EXTERNAL_PROVIDER", 4));
    let table = [
        (
            vec![page(from_ref(&google), Some("a")), page(&[], Some("b")), page(from_ref(&local), Some("c"))],
            "ada",
            3,
        ),
        (vec![page(from_ref(&local), Some("a"))], "ada", 1),
        (vec![page(from_ref(&google), Some("a")), page(from_ref(&facebook), Some(""))], "Facebook_2", 2),
    ];
    for (pages, expected, calls) in table {
        let app = app(true).await;
        pages.into_iter().for_each(|page| app.cognito.inject_next("ListUsers", 1, page));
        assert_eq!(app.get_by_sub(GRACE).await.unwrap().user.unwrap().username, expected);
        assert_eq!(app.cognito.calls("ListUsers"), calls);
    }
    // The local user, which may be disabled, may be on a later page.
    let app = app(true).await;
    app.cognito.inject("ListUsers", page(&[google], Some("a")));
    assert_failure(app.get_by_sub(GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
}

/// Only this pages an operator.
#[tokio::test]
async fn an_answer_that_contradicts_itself_is_an_internal_error() {
    let other = json!({"Username": "bob", "UserStatus": "CONFIRMED", "Attributes": [sub(ADA)]});
    let two_subs = json!({"Username": "ada", "Attributes": [sub(GRACE), sub(ADA)]});
    let table = [
        json!([other]),
        json!([entry("Google_1", "EXTERNAL_PROVIDER", 1), other]),
        json!([entry("ada", "CONFIRMED", 1), entry("bob", "CONFIRMED", 2)]),
        json!([two_subs]),
    ];
    for users in table {
        let app = app(true).await;
        app.cognito.inject("ListUsers", ok(&json!({"Users": users})));
        assert_failure(app.get_by_sub(GRACE).await, Code::Internal, "INTERNAL");
        assert_eq!(unusable(&app).await, [0.0, 0.0, 1.0], "{users}");
    }
}

/// Returns the counts of `AnotherUser`, `Garbled` and `Mismatch`.
async fn unusable(app: &App) -> [f64; 3] {
    let mut counts = [0.0; 3];
    for (count, flaw) in counts.iter_mut().zip(["AnotherUser", "Garbled", "Mismatch"]) {
        let series = format!("cognito_lookup_upstream_unusable_answers_total{{flaw=\"{flaw}\"}}");
        *count = app.metric(&series).await;
    }
    counts
}

fn entry(username: &str, status: &str, created: u64) -> Value {
    json!({"Username": username, "UserStatus": status, "UserCreateDate": created, "Attributes": [sub(GRACE)]})
}

fn sub(sub: &str) -> Value {
    json!({"Name": "sub", "Value": sub})
}

fn ok(body: &Value) -> Fault {
    Fault::Respond(HttpResponse::json(200, body))
}

#[expect(clippy::unnecessary_wraps, reason = "compared with an optional field")]
fn timestamp(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

/// A server whose sidecar reads everything, by ListUsers or by AdminGetUser first.
async fn app(list_users: bool) -> App {
    App::start_with_config(|config| {
        if list_users {
            config.pools[0].bare_sub = BareSub::ListUsers;
        }
        config.callers[0].attributes = vec!["*".into()];
        config.callers[1] =
            CallerSettings { attributes: vec!["*".into()], groups: true, ..config.callers[1].clone() };
    })
    .await
}
