use std::{
    fs,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    time::{Duration, SystemTime},
};

use cognito_lookup::{
    clock::BootTime,
    freshness::FreshnessRequirement,
    proto::{
        BatchGetUsersRequest, Freshness, GetUserRequest, Source, StaleReason, batch_get_users_request,
        batch_get_users_result::Result as Item, get_user_request, user_service_client::UserServiceClient,
    },
};
use cognito_standin::Fault;
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::{
    support::frames,
    support::process::Process,
    support::{
        ADA, App, BOB, Components, GET_USER_STARTED, about, assert_failure, connect, default_deadline,
        failure, max_age, source, standin,
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
async fn a_fetch_that_started_before_the_request_does_not_satisfy_it() {
    let app = App::start().await;
    let hold = app.cognito.hold("AdminGetUser");
    let early = app.get_by_sub(ADA);
    let late = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        let call = app.get_user(request(max_age(0)));
        let release = async {
            // The first fetch started before the request, so its response is not new enough.
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
    let any = components.permit(ADA, "", FreshnessRequirement::Any).await;
    let mut early = pin!(components.users.find(&any, default_deadline()));
    assert!(early.as_mut().now_or_never().is_none());
    components.cognito.wait_for_calls("AdminGetUser", 1).await;
    let now = BootTime::now();
    let new = components.permit(ADA, "", FreshnessRequirement::FetchedSince(now)).await;
    let mut late = pin!(components.users.find(&new, default_deadline()));
    assert!(late.as_mut().now_or_never().is_none());
    hold.release();
    assert!(early.await.unwrap().freshness().began.boot <= now);
    assert!(late.await.unwrap().freshness().began.boot >= now);
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

#[tokio::test]
async fn max_age_bounds_a_user_that_ages_while_its_groups_are_listed() {
    let app = App::start_with_config(|config| config.callers[1].groups = true).await;
    app.get_by_sub(ADA).await.unwrap();
    sleep(Duration::from_millis(1600)).await;
    app.cognito.inject_next("AdminListGroupsForUser", 1, Fault::Delay(Duration::from_millis(800)));
    let call = GetUserRequest { include_groups: true, freshness: max_age(2), ..about(ADA) };
    let answer = app.get_user(Request::new(call)).await.unwrap();
    assert_age(answer.freshness.unwrap(), Duration::from_secs(2));
    assert_eq!(answer.user.unwrap().groups, ["engineers"]);
}

#[tokio::test]
async fn max_age_bounds_every_user_of_a_batch() {
    let app = App::start().await;
    app.get_by_sub(ADA).await.unwrap();
    sleep(Duration::from_millis(1600)).await;
    app.cognito.inject_next("AdminGetUser", 1, Fault::Delay(Duration::from_millis(800)));
    for bound in [2, 60] {
        let age = prost_types::Duration { seconds: bound, nanos: 0 };
        let freshness = Some(batch_get_users_request::Freshness::MaxAge(age));
        let subs = vec![ADA.to_owned(), BOB.to_owned()];
        let call = BatchGetUsersRequest { subs, freshness, ..Default::default() };
        let answer = UserServiceClient::new(app.channel.clone()).batch_get_users(call).await.unwrap();
        for item in answer.into_inner().results {
            let Some(Item::Found(found)) = item.result else { panic!("{item:?}") };
            assert_age(found.freshness.unwrap(), Duration::from_secs(bound.unsigned_abs()));
        }
    }
}

#[tokio::test]
async fn a_max_age_that_cognito_is_too_slow_for_is_an_error() {
    let app = App::start_with_config(|config| config.callers[1].groups = true).await;
    app.cognito.inject("AdminGetUser", Fault::Delay(Duration::from_millis(200)));
    let age = prost_types::Duration { seconds: 0, nanos: 100_000_000 };
    let freshness = Some(get_user_request::Freshness::MaxAge(age));
    for include_groups in [false, true] {
        let call = GetUserRequest { include_groups, freshness, ..about(ADA) };
        assert_failure(app.get_user(Request::new(call)).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
}

/// Asserts the age of an answer that has just arrived: at most `max`, and that of its `fetched_at`.
fn assert_age(freshness: Freshness, max: Duration) {
    let age = age(&freshness);
    let fetched_at = SystemTime::try_from(freshness.fetched_at.unwrap()).unwrap();
    let real = SystemTime::now().duration_since(fetched_at).unwrap();
    assert!(age <= max && real >= age, "{freshness:?}");
    // It travelled for a moment.
    assert!(real < age + Duration::from_millis(500), "{age:?} is told of {real:?}");
}

fn age(freshness: &Freshness) -> Duration {
    freshness.age.unwrap().try_into().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_time_asleep_ages_an_entry_and_a_step_of_the_system_clock_does_not() {
    let (clocks, cognito) = (Clocks::compiled(), standin());
    let environment = [("LD_PRELOAD", clocks.path("clocks.so")), ("CLOCKS", clocks.path("now"))];
    let environment = environment.each_ref().map(|(name, path)| (*name, path.to_str().unwrap()));
    let process =
        Process::serve_with_shell("exec \"$0\" \"$@\"", &cognito, "listen = \"127.0.0.1:0\"", &environment);
    let users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    let ask = async || users.clone().get_user(about(ADA)).await.map(tonic::Response::into_inner);
    assert_eq!(source(&ask().await.unwrap()), Source::Cognito);
    for step in [7200, -7200, 0] {
        clocks.set(step, 0);
        let stepped = ask().await.unwrap().freshness.unwrap();
        assert_eq!(stepped.source(), Source::Cache, "{step}");
        assert!(age(&stepped) < Duration::from_secs(60), "{step}: {stepped:?}");
    }
    cognito.stop().unwrap();
    clocks.set(600, 600);
    let stale = ask().await.unwrap().freshness.unwrap();
    assert_eq!(stale.stale_reason(), StaleReason::UpstreamUnavailable);
    assert!((600..660).contains(&age(&stale).as_secs()), "{stale:?}");
    clocks.set(7200, 7200);
    assert_eq!(failure(&ask().await.unwrap_err()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned()));
    cognito.resume().unwrap();
    cognito.update_user("ada", |ada| ada.enabled = false).unwrap();
    let awake = ask().await.unwrap();
    assert_eq!((source(&awake), awake.user.unwrap().enabled), (Source::Cognito, false));
}

/// The clocks of a process, which a test can move.
struct Clocks(TempDir);

impl Clocks {
    fn compiled() -> Self {
        let clocks = Self(TempDir::new().unwrap());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/clocks.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).args([&clocks.path("clocks.so"), &source]);
        assert!(compiler.status().unwrap().success());
        clocks.set(0, 0);
        clocks
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Sets the seconds by which the system clock, and the clock that counts the time asleep, are
    /// ahead.
    fn set(&self, system: i64, boot: i64) {
        fs::write(self.path("next"), format!("{system} {boot}")).unwrap();
        fs::rename(self.path("next"), self.path("now")).unwrap();
    }
}
