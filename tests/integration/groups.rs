use cognito_lookup::{
    config::Config,
    proto::{GetUserRequest, GetUserResponse, Source},
};
use cognito_standin::Fault;
use tonic::{Code, Request};

use crate::support::{ADA, App, GRACE, about, assert_failure, source, with_token};

#[tokio::test]
async fn groups_are_told_to_those_who_may_ask_and_do() {
    let app = App::start_with_config(sidecar_reads_groups).await;
    let answer = app.get_by_sub(ADA).await.unwrap();
    assert!(groups(&answer).is_empty(), "nobody asked");
    assert_eq!(app.cognito.calls("AdminListGroupsForUser"), 0);
    let answer = app.get_user(with_groups(about(ADA))).await.unwrap();
    assert_eq!((groups(&answer), source(&answer)), (vec!["engineers"], Source::Cache), "as old as the user");
    // The name of a federated user is one that only ListUsers finds.
    let answer = app.get_user(with_groups(about(GRACE))).await.unwrap();
    assert_eq!(groups(&answer), ["eu-west-1_Sandbox01_Google"]);

    let asked = (app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser"));
    assert_eq!(asked.1, 2);
    for _ in 0..10 {
        let answer = app.get_user(with_groups(about(ADA))).await.unwrap();
        assert_eq!((groups(&answer), source(&answer)), (vec!["engineers"], Source::Cache));
    }
    let own = with_token(&app.token("ada"), GetUserRequest { include_groups: true, ..about("") });
    let refused = assert_failure(app.get_user(own).await, Code::PermissionDenied, "ATTRIBUTE_NOT_ALLOWED");
    assert!(refused.message().contains("may not read"));
    assert_eq!(
        (app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser")),
        asked,
        "held, or refused before"
    );
}

#[tokio::test]
async fn a_token_tells_its_own_groups_at_no_cost() {
    let app = App::start_with_config(|config| config.callers[0].groups = true).await;
    let token = app.token("ada");
    let answer =
        app.get_user(with_token(&token, GetUserRequest { include_groups: true, ..about("") })).await.unwrap();
    assert_eq!(groups(&answer), ["engineers"]);
    assert!(groups(&app.get_by_token(&token).await.unwrap()).is_empty(), "nobody asked");
    assert_eq!((app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser")), (1, 0));
    // This machine may not read groups, whoever cached the user.
    assert_failure(
        app.get_user(with_groups(about(ADA))).await,
        Code::PermissionDenied,
        "ATTRIBUTE_NOT_ALLOWED",
    );
}

#[tokio::test]
async fn where_groups_may_not_be_listed_users_are_still_found() {
    let app = App::start_with_config(sidecar_reads_groups).await;
    app.cognito.inject("AdminListGroupsForUser", Fault::AccessDenied);
    assert_failure(app.get_user(with_groups(about(ADA))).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert_failure(app.get_user(with_groups(about("nobody"))).await, Code::NotFound, "USER_NOT_FOUND");
}

fn sidecar_reads_groups(config: &mut Config) {
    config.callers[1].groups = true;
}

fn with_groups(message: GetUserRequest) -> Request<GetUserRequest> {
    Request::new(GetUserRequest { include_groups: true, ..message })
}

fn groups(answer: &GetUserResponse) -> Vec<&str> {
    answer.user.as_ref().unwrap().groups.iter().map(String::as_str).collect()
}
