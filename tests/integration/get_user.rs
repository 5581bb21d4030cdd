use std::time::Duration;

use cognito_lookup::{
    config::BareSub,
    proto::{GetUserRequest, Source, StaleReason, UserStatus},
};
use cognito_standin::{Fault, Pool, StandIn};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, BOB, GRACE, about, assert_failure, max_age, names, with_token};

#[tokio::test]
async fn a_token_reads_the_released_attributes_of_its_user_only() {
    let app = App::start().await;
    let response = app.get_by_token(&app.token("ada")).await.unwrap();
    assert_eq!(names(&response), ["email", "name"]);
    let user = response.user.unwrap();
    assert_eq!(user.sub, ADA);
    assert_eq!(user.user_pool_id, app.cognito.pool_id());
    assert_eq!(user.attributes["email"], "ada@example.com");
    assert_eq!((user.status(), user.enabled), (UserStatus::Confirmed, true));
    assert_eq!((user.username.as_str(), user.created_at, user.updated_at), ("", None, None));
    assert!(user.groups.is_empty());
    assert_eq!(app.cognito.last_input("AdminGetUser").unwrap()["Username"], "ada");
}

#[tokio::test]
async fn a_network_caller_reads_any_user_by_sub() {
    let app = App::start().await;
    let response = app.get_by_sub(ADA).await.unwrap();
    assert_eq!(names(&response), ["name"]);
    assert_eq!(response.user.unwrap().sub, ADA);
    let status = app.get_user(Request::new(GetUserRequest::default())).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "sub");
}

#[tokio::test]
async fn a_cached_user_is_filtered_for_each_caller() {
    let app = App::start().await;
    for _ in 0..2 {
        assert_eq!(names(&app.get_by_token(&app.token("ada")).await.unwrap()), ["email", "name"]);
        assert_eq!(names(&app.get_by_sub(ADA).await.unwrap()), ["name"]);
    }
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_federated_user_is_found_by_token_and_by_sub() {
    let app = App::start().await;
    let response = app.get_by_token(&app.token("Google_1034567890")).await.unwrap();
    assert_eq!(response.user.unwrap().status(), UserStatus::ExternalProvider);
    assert_eq!((app.cognito.calls("AdminGetUser"), app.cognito.calls("ListUsers")), (1, 0));

    let app = App::start().await;
    assert_eq!(app.get_by_sub(GRACE).await.unwrap().user.unwrap().sub, GRACE);
    assert_eq!((app.cognito.calls("AdminGetUser"), app.cognito.calls("ListUsers")), (1, 1));
    assert_eq!(app.cognito.last_input("ListUsers").unwrap()["Filter"], format!("sub = \"{GRACE}\""));
}

#[tokio::test]
async fn a_pool_can_be_looked_up_by_list_users_only() {
    let app = App::start_with_config(|config| config.pools[0].bare_sub = BareSub::ListUsers).await;
    assert_eq!(app.get_by_sub(ADA).await.unwrap().user.unwrap().sub, ADA);
    assert_eq!((app.cognito.calls("AdminGetUser"), app.cognito.calls("ListUsers")), (0, 1));
}

#[tokio::test]
async fn requested_attributes_must_be_among_the_released_ones() {
    let app = App::start().await;
    let request_for = |names: &[&str]| GetUserRequest {
        attributes: names.iter().map(ToString::to_string).collect(),
        ..GetUserRequest::default()
    };
    let token = app.token("ada");
    let response = app.get_user(with_token(&token, request_for(&["email", "sub"]))).await.unwrap();
    assert_eq!(names(&response), ["email"]);

    let before = app.cognito_lookups();
    let app2 = App::start().await;
    let refused = app2
        .get_user(with_token(&app2.token("ada"), request_for(&["phone_number", "email", "custom:plan"])))
        .await;
    let status = assert_failure(refused, Code::PermissionDenied, "ATTRIBUTE_NOT_ALLOWED");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["attributes"], "custom:plan,phone_number");
    assert_eq!((before, app2.cognito_lookups()), (1, 0), "the policy check precedes any fetch");
}

#[tokio::test]
async fn groups_are_not_released_by_default() {
    let app = App::start().await;
    let request = GetUserRequest { include_groups: true, ..GetUserRequest::default() };
    assert_failure(
        app.get_user(with_token(&app.token("ada"), request)).await,
        Code::PermissionDenied,
        "ATTRIBUTE_NOT_ALLOWED",
    );
}

#[tokio::test]
async fn pseudo_attributes_are_released_by_their_names() {
    let app = App::start_with_config(|config| {
        config.callers[0].attributes = vec!["username".into(), "created_at".into()]
    })
    .await;
    let user = app.get_by_token(&app.token("ada")).await.unwrap().user.unwrap();
    assert_eq!(user.username, "ada");
    assert!(user.created_at.is_some() && user.updated_at.is_none() && user.attributes.is_empty());
}

#[tokio::test]
async fn an_unknown_user_is_not_found_and_cached_as_such() {
    let app = App::start().await;
    for _ in 0..3 {
        assert_failure(app.get_by_sub("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    }
    assert_eq!((app.cognito.calls("AdminGetUser"), app.cognito.calls("ListUsers")), (1, 1));
}

#[tokio::test]
async fn a_negative_entry_by_sub_does_not_hide_the_user_of_a_verified_token() {
    let app = App::start_with_config(|config| config.pools[0].federated = false).await;
    assert_failure(app.get_by_sub(GRACE).await, Code::NotFound, "USER_NOT_FOUND");
    let response = app.get_by_token(&app.token("Google_1034567890")).await.unwrap();
    assert_eq!(response.user.unwrap().sub, GRACE);
    assert_eq!(
        app.get_by_sub(GRACE).await.unwrap().user.unwrap().sub,
        GRACE,
        "the newer entry replaces the negative one"
    );
}

#[tokio::test]
async fn a_deleted_user_with_a_valid_token_is_not_found() {
    let app = App::start().await;
    let token = app.token("ada");
    app.cognito.delete_user("ada").unwrap();
    assert_failure(app.get_by_token(&token).await, Code::NotFound, "USER_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_user_does_not_reappear_when_its_negative_entry_expires() {
    let app = App::start_with_config(|config| config.cache.absent_for = Duration::from_millis(1)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.delete_user("ada").unwrap();
    let now = GetUserRequest { freshness: max_age(0), ..about(ADA) };
    assert_failure(app.get_user(Request::new(now)).await, Code::NotFound, "USER_NOT_FOUND");
    for _ in 0..20 {
        assert_failure(app.get_by_sub(ADA).await, Code::NotFound, "USER_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_failed_fetch_by_sub_does_not_fail_a_call_by_token() {
    let app = App::start().await;
    let token = app.token("Google_1034567890");
    app.cognito.inject("ListUsers", Fault::AccessDenied);
    let hold = app.cognito.hold("ListUsers");
    let by_token = async {
        app.cognito.wait_for_calls("ListUsers", 1).await;
        let call = app.get_by_token(&token);
        let release = async {
            app.cognito.wait_until_idle("AdminGetUser").await;
            hold.release();
        };
        tokio::join!(call, release).0
    };
    let (by_sub, by_token) = tokio::join!(app.get_by_sub(GRACE), by_token);
    assert_failure(by_sub, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(by_token.unwrap().user.unwrap().sub, GRACE);
}

#[tokio::test]
async fn a_failed_fetch_by_sub_leaves_stale_responses_labelled() {
    let app = App::start_with_config(|config| {
        config.cache.fresh_for = Duration::from_millis(1);
        config.pools[0].bare_sub = BareSub::ListUsers;
    })
    .await;
    let token = app.token("Google_1034567890");
    let before = app.get_by_token(&token).await.unwrap();
    app.cognito.inject("ListUsers", Fault::AccessDenied);
    let hold = app.cognito.hold("ListUsers");
    let search = async {
        // Until the entry is past its TTL, so that a fetch by sub starts.
        loop {
            tokio::select! {
                biased;
                () = app.cognito.wait_for_calls("ListUsers", 1) => return,
                response = app.get_by_sub(GRACE) => assert!(response.is_ok()),
            }
        }
    };
    search.await;
    let release = async {
        tokio::task::yield_now().await;
        hold.release();
    };
    let (after, ()) = tokio::join!(app.get_by_token(&token), release);
    let [before, after] = [before, after.unwrap()].map(|response| response.freshness.unwrap());
    let labelled = after.stale_reason() != StaleReason::Unspecified && after.source() == Source::Cache;
    assert!(
        labelled || before.fetched_at != after.fetched_at,
        "an earlier fetch is labelled stale: {after:?}"
    );
}

#[tokio::test]
async fn a_disabled_user_is_refused_by_token_and_returned_by_sub() {
    let app = App::start().await;
    assert_failure(app.get_by_token(&app.token("bob")).await, Code::PermissionDenied, "USER_DISABLED");
    assert!(!app.get_by_sub(BOB).await.unwrap().user.unwrap().enabled);
}

#[tokio::test]
async fn a_list_of_the_wrong_user_is_an_internal_error_and_not_cached() {
    let app = App::start().await;
    app.cognito.inject("ListUsers", Fault::WrongUser("bob".into()));
    for _ in 0..2 {
        assert_failure(app.get_by_sub(GRACE).await, Code::Internal, "INTERNAL");
    }
    assert_eq!(app.cognito_lookups(), 4);
    app.cognito.clear_faults("ListUsers");
    assert_eq!(app.get_by_sub(GRACE).await.unwrap().user.unwrap().sub, GRACE);
}

#[tokio::test]
async fn a_malformed_request_is_refused_before_any_fetch() {
    let app = App::start().await;
    for sub in ["a b", "\" or sub ^= \"", "é", &"s".repeat(129)] {
        let status = assert_failure(app.get_by_sub(sub).await, Code::InvalidArgument, "SUB_MALFORMED");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "sub");
    }
    let unknown_pool = GetUserRequest { user_pool_id: "eu-west-1_Other".into(), ..about(ADA) };
    let status = assert_failure(
        app.get_user(Request::new(unknown_pool)).await,
        Code::InvalidArgument,
        "FIELD_INVALID",
    );
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "user_pool_id");
    assert_eq!(app.cognito_lookups(), 0);
}

#[tokio::test]
async fn all_parts_of_a_request_must_name_the_same_user() {
    let app = App::start().await;
    let (ada, grace) = (app.token("ada"), app.token("Google_1034567890"));
    let presented = |token: &str| GetUserRequest { access_token: token.into(), ..GetUserRequest::default() };
    for ambiguous in [with_token(&ada, about(BOB)), with_token(&ada, presented(&grace))] {
        assert_failure(app.get_user(ambiguous).await, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    }
    assert_eq!(app.cognito_lookups(), 0);
    for one in
        [with_token(&ada, about(ADA)), with_token(&ada, presented(&ada)), Request::new(presented(&ada))]
    {
        assert_eq!(app.get_user(one).await.unwrap().user.unwrap().sub, ADA);
    }
}

#[tokio::test]
async fn the_same_sub_in_two_pools_is_cached_separately() {
    let other = StandIn::start(Pool { id: "eu-west-1_Sandbox02".into(), ..Pool::sandbox() }).unwrap();
    other.update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Another Ada".into()))).unwrap();
    let app = App::start_with_config(|config| {
        let mut pool = crate::support::config(&other).pools.remove(0);
        pool.app_clients = vec!["sandboxwebclient0000000002".into()];
        config.pools.push(pool);
    })
    .await;
    let in_pool = |id: &str| Request::new(GetUserRequest { user_pool_id: id.into(), ..about(ADA) });
    for _ in 0..2 {
        let one = app.get_user(in_pool("eu-west-1_Sandbox01")).await.unwrap().user.unwrap();
        let two = app.get_user(in_pool("eu-west-1_Sandbox02")).await.unwrap().user.unwrap();
        assert_eq!(
            (one.attributes["name"].as_str(), two.attributes["name"].as_str()),
            ("Ada Lovelace", "Another Ada")
        );
    }
    assert_failure(app.get_by_sub(ADA).await, Code::InvalidArgument, "FIELD_INVALID");
}

#[tokio::test]
async fn the_request_id_is_returned_with_responses_and_errors() {
    let app = App::start().await;
    let mut users = cognito_lookup::proto::user_service_client::UserServiceClient::new(app.channel.clone());
    let mut request = Request::new(about(ADA));
    request.metadata_mut().insert("x-request-id", "my-request.1".parse().unwrap());
    let response = users.get_user(request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "my-request.1");
    let status = app.get_by_sub("nobody").await.unwrap_err();
    let id = status.get_details_request_info().unwrap().request_id;
    assert_eq!(status.metadata().get("x-request-id").unwrap(), id.as_str());
}

#[tokio::test]
async fn attribute_values_arrive_byte_for_byte() {
    let app = App::start_with_config(|config| config.callers[1].attributes = vec!["*".into()]).await;
    let emoji = "\u{1f600}".repeat(512);
    let values = [
        "\0",
        "\r\n",
        "\u{1b}[31m",
        "\u{202e}abc",
        &emoji,
        r#"{"sub":"b0b00000-5a4d-4b0c-8000-000000000003"}"#,
        "__proto__",
        "\r\n$3\r\n",
        "\u{8}\u{1}\u{12}\u{3}abc",
        "{} {0} %s %n ${x}",
        "\u{feff}",
        "\"; drop",
    ];
    let attribute_name = |n: usize| format!("custom:a{n}");
    app.cognito
        .update_user("ada", |ada| {
            ada.attributes
                .extend(values.iter().enumerate().map(|(n, value)| (attribute_name(n), (*value).to_owned())));
        })
        .unwrap();
    // The first call fetches, the second one hits the cache.
    for source in [Source::Cognito, Source::Cache] {
        let response = app.get_by_sub(ADA).await.unwrap();
        assert_eq!(crate::support::source(&response), source);
        let user = response.user.unwrap();
        assert_eq!(user.sub, ADA);
        for (n, value) in values.iter().enumerate() {
            assert_eq!(user.attributes[&attribute_name(n)], *value);
        }
    }
}
