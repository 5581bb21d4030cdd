use std::time::Duration;

use cognito_lookup::{
    config::Config,
    proto::{
        EntryState, EraseUserRequest, EraseUserResponse, ExpireUserRequest, GetUserRequest,
        InspectUserRequest, InspectUserResponse, Source, admin_service_client::AdminServiceClient,
    },
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, about, assert_failure, failure, max_age, source, with_token};

#[tokio::test]
async fn inspect_returns_no_values_and_makes_no_call() {
    let app = App::start_with_config(allow_admin).await;
    let nothing = inspect(&app, ADA).await.unwrap();
    assert_eq!(nothing, InspectUserResponse::default());
    app.get_user(Request::new(GetUserRequest { include_groups: true, ..about(ADA) })).await.unwrap();
    app.get_by_sub("nobody").await.unwrap_err();
    let asked = app.cognito_lookups();

    let held = inspect(&app, ADA).await.unwrap();
    assert_eq!((held.state(), held.groups_held, held.fetch_in_flight), (EntryState::Fresh, true, false));
    let names = ["custom:plan", "email", "email_verified", "family_name", "given_name", "locale", "name"];
    assert_eq!(held.attribute_names, names);
    assert!((500..5000).contains(&held.size_bytes), "{}", held.size_bytes);
    let freshness = held.freshness.unwrap();
    assert_eq!((freshness.source(), freshness.fetched_at.is_some()), (Source::Cache, true));
    assert!(!format!("{:?}", inspect(&app, ADA).await.unwrap()).contains("ada@example.com"));

    let absent = inspect(&app, "nobody").await.unwrap();
    assert_eq!((absent.state(), absent.attribute_names.len()), (EntryState::Absent, 0));
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn inspect_shows_an_in_flight_fetch_and_a_stale_entry() {
    let app = App::start_with_config(|config| {
        allow_admin(config);
        config.cache.fresh_for = Duration::from_millis(50);
    })
    .await;
    let held = app.cognito.hold("AdminGetUser");
    let asking = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        assert!(inspect(&app, ADA).await.unwrap().fetch_in_flight);
        held.release();
    };
    let (answer, ()) = tokio::join!(app.get_by_sub(ADA), asking);
    answer.unwrap();
    while inspect(&app, ADA).await.unwrap().state() != EntryState::Stale {}
}

#[tokio::test]
async fn a_user_found_disabled_during_an_expiry_is_not_served_as_enabled() {
    let app = App::start_with_config(allow_admin).await;
    let own = |freshness| with_token(&app.token("ada"), GetUserRequest { freshness, ..about("") });
    app.get_user(own(None)).await.unwrap();
    let hold = app.cognito.hold("AdminGetUser");
    let disabling = async {
        app.cognito.wait_for_calls("AdminGetUser", 2).await;
        app.cognito.update_user("ada", |ada| ada.enabled = false).unwrap();
        assert!(expire(&app, ADA).await.unwrap());
        hold.release();
    };
    let (answer, ()) = tokio::join!(app.get_user(own(max_age(0))), disabling);
    assert_failure(answer, Code::PermissionDenied, "USER_DISABLED");
    app.cognito.stop().unwrap();
    assert_failure(app.get_user(own(None)).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn an_expired_user_is_fetched_again() {
    let app = App::start_with_config(allow_admin).await;
    assert!(!expire(&app, ADA).await.unwrap(), "nothing is cached");
    app.get_by_sub(ADA).await.unwrap();
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
    assert!(expire(&app, ADA).await.unwrap());
    assert_eq!(inspect(&app, ADA).await.unwrap().state(), EntryState::Stale);
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cognito);
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn an_erasure_removes_everything_about_one_user_and_returns_a_receipt() {
    let app = App::start_with_config(allow_admin).await;
    for token in [app.token("ada"), app.token("ada")] {
        app.get_by_token(&token).await.unwrap();
    }
    app.get_by_token(&app.token("Google_1034567890")).await.unwrap();
    let receipt = erase(&app, ADA).await.unwrap();
    assert_eq!((receipt.entries, receipt.absences, receipt.fetches), (1, 0, 0));
    assert!((1..=2).contains(&receipt.verdicts), "{}", receipt.verdicts);
    assert_eq!((receipt.receipt_id.len(), receipt.erased_at.is_some()), (36, true));
    assert_eq!(inspect(&app, ADA).await.unwrap(), InspectUserResponse::default());
    let again = erase(&app, ADA).await.unwrap();
    assert_eq!((again.entries, again.verdicts), (0, 0));
    assert_ne!(again.receipt_id, receipt.receipt_id);
    assert_eq!(source(&app.get_by_token(&app.token("ada")).await.unwrap()), Source::Cognito);
    assert_eq!(app.cognito_lookups(), 3, "Grace is still cached");

    app.get_by_sub("nobody").await.unwrap_err();
    let receipt = erase(&app, "nobody").await.unwrap();
    assert_eq!((receipt.entries, receipt.absences), (0, 1));
}

#[tokio::test]
async fn an_in_flight_fetch_does_not_bring_back_an_erased_user() {
    let app = App::start_with_config(allow_admin).await;
    let held = app.cognito.hold("AdminGetUser");
    let erasing = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        assert_eq!(erase(&app, ADA).await.unwrap().fetches, 1);
        held.release();
    };
    let (before, ()) = tokio::join!(app.get_by_sub(ADA), erasing);
    assert_eq!(source(&before.unwrap()), Source::Cognito, "the earlier caller gets its reply");
    assert_eq!(inspect(&app, ADA).await.unwrap(), InspectUserResponse::default());
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cognito);
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn only_an_administrator_is_permitted() {
    let app = App::start().await;
    app.get_by_sub(ADA).await.unwrap();
    let refused = [
        inspect(&app, ADA).await.unwrap_err(),
        expire(&app, ADA).await.unwrap_err(),
        erase(&app, ADA).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(failure(&status), (Code::PermissionDenied, "CALLER_NOT_ALLOWED".into()));
    }
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);

    // A user's token is refused even if the caller it names may administer.
    let app = App::start_with_config(allow_admin).await;
    let mut request = Request::new(EraseUserRequest { sub: ADA.into(), ..EraseUserRequest::default() });
    *request.metadata_mut() = with_token(&app.token("ada"), GetUserRequest::default()).metadata().clone();
    let status = admin(&app).erase_user(request).await.unwrap_err();
    assert_eq!(failure(&status), (Code::PermissionDenied, "CALLER_NOT_ALLOWED".into()));
}

#[tokio::test]
async fn an_invalid_request_names_its_field() {
    let app = App::start_with_config(allow_admin).await;
    for (sub, pool, reason, field) in [
        ("a b", "", "SUB_MALFORMED", "sub"),
        ("", "", "SUB_MALFORMED", "sub"),
        (ADA, "x", "FIELD_INVALID", "user_pool_id"),
        (ADA, "eu-west-1_Other", "FIELD_INVALID", "user_pool_id"),
    ] {
        let (sub, user_pool_id) = (sub.to_owned(), pool.to_owned());
        let mut admin = admin(&app);
        let statuses = [
            admin
                .inspect_user(InspectUserRequest { sub: sub.clone(), user_pool_id: user_pool_id.clone() })
                .await
                .unwrap_err(),
            admin
                .expire_user(ExpireUserRequest { sub: sub.clone(), user_pool_id: user_pool_id.clone() })
                .await
                .unwrap_err(),
            admin.erase_user(EraseUserRequest { sub, user_pool_id }).await.unwrap_err(),
        ];
        for status in statuses {
            assert_eq!(failure(&status), (Code::InvalidArgument, reason.into()));
            assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        }
    }
}

/// Lets callers from this machine administer, and read groups.
fn allow_admin(config: &mut Config) {
    config.callers[1].admin = true;
    config.callers[1].groups = true;
}

fn admin(app: &App) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(app.channel.clone())
}

async fn inspect(app: &App, sub: &str) -> Result<InspectUserResponse, Status> {
    let message = InspectUserRequest { sub: sub.into(), ..InspectUserRequest::default() };
    admin(app).inspect_user(message).await.map(tonic::Response::into_inner)
}

async fn expire(app: &App, sub: &str) -> Result<bool, Status> {
    let message = ExpireUserRequest { sub: sub.into(), ..ExpireUserRequest::default() };
    admin(app).expire_user(message).await.map(|response| response.into_inner().held)
}

async fn erase(app: &App, sub: &str) -> Result<EraseUserResponse, Status> {
    let message = EraseUserRequest { sub: sub.into(), ..EraseUserRequest::default() };
    admin(app).erase_user(message).await.map(tonic::Response::into_inner)
}
