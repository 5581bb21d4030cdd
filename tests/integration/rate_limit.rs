use std::time::Duration;

use cognito_lookup::proto::user_service_client::UserServiceClient;
use cognito_standin::User;
use futures_util::future::join_all;
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, about, connect, failure};

#[tokio::test]
async fn of_a_burst_of_cold_users_only_those_whose_fetch_starts_before_the_deadline_are_fetched() {
    let app = App::start_with_config(|config| config.budget.user_reads_per_second = Some(20)).await;
    let people = put_cold_users(&app, 400);
    let channels = join_all((0..4).map(|_| connect(app.address))).await;
    let asking = people.iter().enumerate().map(|(n, sub)| {
        let mut users = UserServiceClient::new(channels[n % 4].clone());
        async move { users.get_user(about(sub)).await }
    });
    let begun = Instant::now();
    let answers = join_all(asking).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    for status in &refused {
        assert_eq!(failure(status), (Code::ResourceExhausted, "BUDGET_EXHAUSTED".to_owned()));
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::from_millis(500) && wait < Duration::from_secs(8), "{wait:?}");
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    }
    let arrivals = app.cognito.call_times("AdminGetUser");
    assert_eq!(arrivals.len(), answers.len() - refused.len(), "a refused user costs no call");
    // A call arrives after it started, so arrivals are at most the starts that the limit allows. A
    // test on a paused clock checks each second.
    let seconds = usize::try_from((*arrivals.last().unwrap() - begun).as_secs()).unwrap() + 1;
    assert!((20..=20 * seconds).contains(&arrivals.len()), "{} calls in {seconds} s", arrivals.len());
}

#[tokio::test]
async fn a_caller_beyond_its_own_rate_limit_is_refused_and_others_are_not() {
    let app = App::start_with_config(|config| {
        config.callers[1].misses_per_second = Some(1);
        config.limits.request_timeout = Duration::from_millis(900);
    })
    .await;
    let people = put_cold_users(&app, 10);
    let first = app.get_by_sub(&people[0]).await;
    assert!(first.is_ok());
    let more = join_all(people[1..].iter().map(|sub| app.get_by_sub(sub))).await;
    let refused = more
        .iter()
        .filter(|answer| answer.as_ref().is_err_and(|status| failure(status).1 == "BUDGET_EXHAUSTED"));
    assert!(refused.count() >= 8, "one more may begin within the time");
    assert!(app.get_by_token(&app.token("ada")).await.is_ok());
    assert!(app.get_by_sub(ADA).await.is_ok(), "a hit is no miss");
    assert!(app.metric("cognito_lookup_upstream_refusals_total{category=\"UserRead\"}").await >= 8.0);
}

#[tokio::test]
async fn the_quota_is_read_from_cognito() {
    let app = App::start().await;
    app.cognito.wait_for_calls("GetProvisionedLimit", 3).await;
    let asked = app.cognito.last_input("GetProvisionedLimit").unwrap();
    assert_eq!(asked["LimitDefinition"]["LimitClass"], "API_CATEGORY");
    assert_eq!(asked["LimitDefinition"]["Attributes"]["Category"], "UserResourceRead");
    let arrivals = app.cognito.call_times("GetProvisionedLimit");
    assert!(arrivals.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)), "once a second");
}

/// Adds users that are not cached, and returns their `sub`s.
fn put_cold_users(app: &App, size: usize) -> Vec<String> {
    let people: Vec<_> = (0..size).map(|n| User::local(format!("person-{n}"), "x")).collect();
    let subs = people.iter().map(|person| person.sub.clone()).collect();
    people.into_iter().for_each(|person| app.cognito.put_user(person));
    subs
}
