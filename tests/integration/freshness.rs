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

fn asking(freshness: Option<get_user_request::Freshness>) -> Request<GetUserRequest> {
    Request::new(GetUserRequest { freshness, ..about(ADA) })
}

fn not_older_than(time: SystemTime) -> Option<get_user_request::Freshness> {
    Some(get_user_request::Freshness::NotOlderThan(time.into()))
}

#[tokio::test]
async fn an_answer_says_how_fresh_it_is() {
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
async fn an_age_of_zero_asks_cognito_now() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    let cached = app.get_user(asking(max_age(30))).await.unwrap();
    assert_eq!(
        (source(&cached), cached.user.unwrap().attributes["name"].as_str()),
        (Source::Cache, "Ada Lovelace")
    );
    let fetched = app.get_user(asking(max_age(0))).await.unwrap();
    assert_eq!(
        (source(&fetched), fetched.user.unwrap().attributes["name"].as_str()),
        (Source::Cognito, "Changed")
    );
    assert_eq!(
        app.get_by_sub(ADA).await.unwrap().user.unwrap().attributes["name"],
        "Changed",
        "and it is kept"
    );
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn a_question_is_as_late_as_its_message() {
    let app = App::start().await;
    let (answer, mut message) = app.begin_get_user().await;
    app.wait_for_metric(GET_USER_STARTED, |begun| begun > 0.0).await;
    // Fetched when the head of the question had come, and not the rest.
    assert!(app.get_by_sub(ADA).await.is_ok());
    let asked = GetUserRequest { freshness: max_age(0), ..about(ADA) };
    message.send_data(frames::message(&asked).into(), true).unwrap();
    assert_eq!(answer.await.unwrap().headers().get("grpc-status"), None);
    assert_eq!(app.cognito_lookups(), 2, "that was not fetched at the time");
}

#[tokio::test]
async fn a_write_is_read_by_whoever_says_when_it_was() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    let written = SystemTime::now();
    let answer = app.get_user(asking(not_older_than(written))).await.unwrap();
    assert_eq!(answer.user.unwrap().attributes["name"], "Changed");
    assert_eq!(source(&app.get_user(asking(not_older_than(written))).await.unwrap()), Source::Cache);
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn a_fetch_begun_before_the_demand_does_not_meet_it() {
    let app = App::start().await;
    let held = app.cognito.hold("AdminGetUser");
    let early = app.get_by_sub(ADA);
    let late = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        let asked = app.get_user(asking(max_age(0)));
        let opened = async {
            // The first answer is about the old name; what is read before it leaves Cognito is not new enough.
            app.cognito
                .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
                .unwrap();
            held.release();
        };
        tokio::join!(asked, opened).0
    };
    let (early, late) = tokio::join!(early, late);
    assert!(early.is_ok());
    assert_eq!(late.unwrap().user.unwrap().attributes["name"], "Changed");
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn whoever_waits_for_a_fetch_begun_before_the_demand_gets_the_next() {
    let parts = Components::start().await;
    let held = parts.cognito.hold("AdminGetUser");
    let any = parts.permit(ADA, "", Demand::ANY).await;
    let mut early = pin!(parts.users.find(&any, default_deadline()));
    assert!(early.as_mut().now_or_never().is_none());
    parts.cognito.wait_for_calls("AdminGetUser", 1).await;
    let now = TimePoint::now();
    let new = parts.permit(ADA, "", Demand::at_most(Duration::ZERO, now)).await;
    let mut late = pin!(parts.users.find(&new, default_deadline()));
    assert!(late.as_mut().now_or_never().is_none());
    held.release();
    assert!(early.await.unwrap().freshness().fetched_at <= now.system);
    assert!(late.await.unwrap().freshness().fetched_at >= now.system);
    assert_eq!(parts.cognito.calls("AdminGetUser"), 2);
}

#[tokio::test]
async fn what_is_past_its_freshness_is_asked_for_again() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_millis(20)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    let mut answered = 0;
    // Its freshness is spread by a tenth.
    while app.cognito_lookups() < 3 && answered < 100_000 {
        let freshness = app.get_by_sub(ADA).await.unwrap().freshness.unwrap();
        let age = Duration::try_from(freshness.age.unwrap()).unwrap();
        assert!(freshness.source() == Source::Cognito || age < Duration::from_millis(22), "{age:?}");
        answered += 1;
    }
    assert!(
        answered >= 2 && app.cognito_lookups() >= 3,
        "{answered} answers, {} lookups",
        app.cognito_lookups()
    );
}

#[tokio::test]
async fn a_time_to_come_is_no_bound() {
    let app = App::start().await;
    let soon =
        app.get_user(asking(not_older_than(SystemTime::now() + Duration::from_secs(5)))).await.unwrap();
    assert_eq!(source(&soon), Source::Cognito);
    let far = app.get_user(asking(not_older_than(SystemTime::now() + Duration::from_secs(60)))).await;
    let status = assert_failure(far, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "not_older_than");
    let negative = app.get_user(asking(max_age(-1))).await;
    let status = assert_failure(negative, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "max_age");
}
