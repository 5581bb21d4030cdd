use cognito_lookup::{
    config::Config,
    proto::{GetUserRequest, GetUserResponse, Source},
};
use cognito_standin::Fault;
use tonic::{Code, Request};

use crate::support::{ADA, App, GRACE, about, assert_failure, source, with_token};

#[tokio::test]
async fn groups_are_returned_to_callers_that_may_read_and_request_them() {
    let app = App::start_with_config(sidecar_reads_groups).await;
    let response = app.get_by_sub(ADA).await.unwrap();
    assert!(groups(&response).is_empty(), "groups were not requested");
    assert_eq!(app.cognito.calls("AdminListGroupsForUser"), 0);
    let response = app.get_user(with_groups(about(ADA))).await.unwrap();
    assert_eq!(
        (groups(&response), source(&response)),
        (vec!["engineers"], Source::Cache),
        "cached with the user"
    );
    // Only ListUsers finds the username of a federated user by its sub.
    let response = app.get_user(with_groups(about(GRACE))).await.unwrap();
    assert_eq!(groups(&response), ["eu-west-1_Sandbox01_Google"]);

    let calls_before = (app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser"));
    assert_eq!(calls_before.1, 2);
    for _ in 0..10 {
        let response = app.get_user(with_groups(about(ADA))).await.unwrap();
        assert_eq!((groups(&response), source(&response)), (vec!["engineers"], Source::Cache));
    }
    let own = with_token(&app.token("ada"), GetUserRequest { include_groups: true, ..about("") });
    let status = assert_failure(app.get_user(own).await, Code::PermissionDenied, "ATTRIBUTE_NOT_ALLOWED");
    assert!(status.message().contains("may not read"));
    assert_eq!(
        (app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser")),
        calls_before,
        "cached, or denied before any call"
    );
}

#[tokio::test]
async fn the_groups_in_a_token_cost_no_call() {
    let app = App::start_with_config(|config| config.callers[0].groups = true).await;
    let token = app.token("ada");
    let response =
        app.get_user(with_token(&token, GetUserRequest { include_groups: true, ..about("") })).await.unwrap();
    assert_eq!(groups(&response), ["engineers"]);
    assert!(groups(&app.get_by_token(&token).await.unwrap()).is_empty(), "groups were not requested");
    assert_eq!((app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser")), (1, 0));
    // The sidecar rule has no groups, although another caller cached them.
    assert_failure(
        app.get_user(with_groups(about(ADA))).await,
        Code::PermissionDenied,
        "ATTRIBUTE_NOT_ALLOWED",
    );
}

#[tokio::test]
async fn users_are_found_even_if_listing_groups_is_denied() {
    let app = App::start_with_config(sidecar_reads_groups).await;
    app.cognito.inject("AdminListGroupsForUser", Fault::AccessDenied);
    assert_failure(app.get_user(with_groups(about(ADA))).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert_failure(app.get_user(with_groups(about("nobody"))).await, Code::NotFound, "USER_NOT_FOUND");
}

#[tokio::test]
async fn a_user_found_disabled_while_its_groups_are_listed_is_known_to_be_disabled() {
    let app = App::start_with_config(sidecar_reads_groups).await;
    assert!(app.get_by_sub(ADA).await.unwrap().user.unwrap().enabled);
    app.cognito.update_user("ada", |ada| ada.enabled = false).unwrap();
    let answer = app.get_user(with_groups(about(ADA))).await.unwrap();
    assert_eq!((groups(&answer), answer.user.as_ref().unwrap().enabled), (vec!["engineers"], false));
    assert_failure(app.get_by_token(&app.token("ada")).await, Code::PermissionDenied, "USER_DISABLED");
}

fn sidecar_reads_groups(config: &mut Config) {
    config.callers[1].groups = true;
}

fn with_groups(message: GetUserRequest) -> Request<GetUserRequest> {
    Request::new(GetUserRequest { include_groups: true, ..message })
}

fn groups(response: &GetUserResponse) -> Vec<&str> {
    response.user.as_ref().unwrap().groups.iter().map(String::as_str).collect()
}
