use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use cognito_lookup::{
    freshness::{Demand, TimePoint},
    proto::{GetUserRequest, Source, get_user_request},
};
use futures_util::FutureExt as _;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::{
    support::frames,
    support::{
        ADA, App, Components, GET_USER_STARTED, about, assert_failure, default_deadline, max_age, source,
    },
};

fn request(freshness: Option<get_user_request::Freshness>) -> Request<GetUserRequest> {
    Request::new(GetUserRequest { freshness, ..about(ADA) })
}

fn not_older_than(time: SystemTime) -> Option<get_user_request::Freshness> {
    Some(get_user_request::Freshness::NotOlderThan(time.into()))
}

#[tokio::test]
async fn a_response_has_its_source_and_age() {
    let app = App::start().await;
    let before = SystemTime::now();
    let first = app.get_by_sub(ADA).await.unwrap().freshness.unwrap();
    let second = app.get_by_sub(ADA).await.unwrap().freshness.unwrap();
    assert_eq!((first.source(), second.source()), (Source::Cognito, Source::Cache));
    assert_eq!(first.fetched_at, second.fetched_at);
    let fetched_at = SystemTime::try_from(first.fetched_at.unwrap()).unwrap();
    assert!(before <= fetched_at && fetched_at <= SystemTime::now());
    let ages = [first, second].map(|freshness| Duration::try_from(freshness.age.unwrap()).unwrap());
    assert!(ages[0] <= ages[1] && ages[1] < Duration::from_secs(60));
}

#[tokio::test]
async fn a_max_age_of_zero_fetches_the_user() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    let cached = app.get_user(request(max_age(30))).await.unwrap();
    assert_eq!(
        (source(&cached), cached.user.unwrap().attributes["name"].as_str()),
        (Source::Cache, "Ada Lovelace")
    );
    let fetched = app.get_user(request(max_age(0))).await.unwrap();
    assert_eq!(
        (source(&fetched), fetched.user.unwrap().attributes["name"].as_str()),
        (Source::Cognito, "Changed")
    );
    assert_eq!(
        app.get_by_sub(ADA).await.unwrap().user.unwrap().attributes["name"],
        "Changed",
        "the new value is cached"
    );
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn max_age_counts_from_the_end_of_the_request_message() {
    let app = App::start().await;
    let (response, mut message) = app.begin_get_user().await;
    app.wait_for_metric(GET_USER_STARTED, |started| started > 0.0).await;
    // This fetch happens between the head of the request and its message.
    assert!(app.get_by_sub(ADA).await.is_ok());
    let call = GetUserRequest { freshness: max_age(0), ..about(ADA) };
    message.send_data(frames::message(&call).into(), true).unwrap();
    assert_eq!(response.await.unwrap().headers().get("grpc-status"), None);
    assert_eq!(app.cognito_lookups(), 2, "the entry is older than the message");
}

#[tokio::test]
async fn not_older_than_a_write_returns_what_was_written() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    let written = SystemTime::now();
    let response = app.get_user(request(not_older_than(written))).await.unwrap();
    assert_eq!(response.user.unwrap().attributes["name"], "Changed");
    assert_eq!(source(&app.get_user(request(not_older_than(written))).await.unwrap()), Source::Cache);
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn a_fetch_that_started_before_the_demand_does_not_satisfy_it() {
    let app = App::start().await;
    let hold = app.cognito.hold("AdminGetUser");
    let early = app.get_by_sub(ADA);
    let late = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        let call = app.get_user(request(max_age(0)));
        let release = async {
            // The first fetch started before the demand, so its response is not new enough.
            app.cognito
                .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
                .unwrap();
            hold.release();
        };
        tokio::join!(call, release).0
    };
    let (early, late) = tokio::join!(early, late);
    assert!(early.is_ok());
    assert_eq!(late.unwrap().user.unwrap().attributes["name"], "Changed");
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn a_caller_waiting_on_an_earlier_fetch_gets_the_next_one() {
    let components = Components::start().await;
    let hold = components.cognito.hold("AdminGetUser");
    let any = components.permit(ADA, "", Demand::ANY).await;
    let mut early = pin!(components.users.find(&any, default_deadline()));
    assert!(early.as_mut().now_or_never().is_none());
    components.cognito.wait_for_calls("AdminGetUser", 1).await;
    let now = TimePoint::now();
    let new = components.permit(ADA, "", Demand::at_most(Duration::ZERO, now)).await;
    let mut late = pin!(components.users.find(&new, default_deadline()));
    assert!(late.as_mut().now_or_never().is_none());
    hold.release();
    assert!(early.await.unwrap().freshness().fetched_at <= now.system);
    assert!(late.await.unwrap().freshness().fetched_at >= now.system);
    assert_eq!(components.cognito.calls("AdminGetUser"), 2);
}

#[tokio::test]
async fn an_entry_past_its_ttl_is_fetched_again() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_millis(20)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    let mut responses = 0;
    // The TTL has a jitter of a tenth.
    while app.cognito_lookups() < 3 && responses < 100_000 {
        let freshness = app.get_by_sub(ADA).await.unwrap().freshness.unwrap();
        let age = Duration::try_from(freshness.age.unwrap()).unwrap();
        assert!(freshness.source() == Source::Cognito || age < Duration::from_millis(22), "{age:?}");
        responses += 1;
    }
    assert!(
        responses >= 2 && app.cognito_lookups() >= 3,
        "{responses} responses, {} lookups",
        app.cognito_lookups()
    );
}

#[tokio::test]
async fn not_older_than_accepts_at_most_a_few_seconds_of_the_future() {
    let app = App::start().await;
    let soon =
        app.get_user(request(not_older_than(SystemTime::now() + Duration::from_secs(5)))).await.unwrap();
    assert_eq!(source(&soon), Source::Cognito);
    let far = app.get_user(request(not_older_than(SystemTime::now() + Duration::from_secs(60)))).await;
    let status = assert_failure(far, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "not_older_than");
    let negative = app.get_user(request(max_age(-1))).await;
    let status = assert_failure(negative, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "max_age");
}
