use std::time::Duration;

use cognito_lookup::proto::GetUserResponse;
use cognito_standin::{Fault, User};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, about, assert_failure, failure, relay::Relay, standin};

/// A client with the documented deadline learns the reason before its own timer ends the call.
#[tokio::test(flavor = "multi_thread")]
async fn while_cognito_swallows_calls_clients_learn_the_reason_and_later_ones_at_once() {
    let app = App::start().await;
    app.cognito.inject("AdminGetUser", Fault::Hang);
    let begun = Instant::now();
    for answer in join_all((0..3).map(|n| get(&app, n, "2S"))).await {
        let status = assert_failure(answer, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(pushback(&status), "-1", "no time is left for a retry");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    app.wait_for_metric(&circuit(&app), |open| open == 1.0).await;

    let (begun, calls) = (Instant::now(), app.cognito.calls("AdminGetUser"));
    for n in 0..20 {
        let status = assert_failure(get(&app, n, "10S").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
        assert!(pushback(&status).parse::<u64>().unwrap() > 0, "there is time for a retry");
        let status = assert_failure(get(&app, n, "200m").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(pushback(&status), "-1");
    }
    let (took, made) = (begun.elapsed(), app.cognito.calls("AdminGetUser") - calls);
    // Each probe takes a second, and there is at most one in that time.
    assert!(made <= 1 + usize::try_from(took.as_secs()).unwrap(), "{made} calls in {took:?}");

    app.cognito.clear_faults("AdminGetUser");
    while let Err(status) = app.get_by_sub(ADA).await {
        assert_eq!(failure(&status), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(30), "it recovers by itself");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.metric(&circuit(&app)).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_request_needs_a_user_no_probe_is_sent() {
    let app = App::start().await;
    app.cognito.inject("AdminGetUser", Fault::Hang);
    drop(join_all((0..3).map(|n| get(&app, n, "2S"))).await);
    app.wait_for_metric(&circuit(&app), |open| open == 1.0).await;
    app.cognito.clear_faults("AdminGetUser");
    let calls = app.cognito.calls("AdminGetUser");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(app.cognito.calls("AdminGetUser"), calls, "a probe would be about a dormant user");
    assert!(app.get_by_sub(ADA).await.is_ok(), "the next request is the probe");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_answers_is_called_while_another_one_hangs() {
    let app = App::start_with_config(|config| config.callers[1].groups = true).await;
    app.cognito.inject("AdminListGroupsForUser", Fault::Hang);
    let groups = |n: usize| {
        let mut request = Request::new(about(&sub(n)));
        request.get_mut().include_groups = true;
        request.metadata_mut().insert("grpc-timeout", "3S".parse().unwrap());
        app.cognito.put_user(User { sub: sub(n), ..User::local(format!("user-{n}"), "x") });
        app.get_user(request)
    };
    assert!(join_all((0..3).map(groups)).await.iter().all(Result::is_err));
    app.wait_for_metric(&circuit_of(&app, "AdminListGroupsForUser"), |open| open == 1.0).await;
    assert_eq!(app.metric(&circuit(&app)).await, 0.0);
    assert!(app.get_by_sub(ADA).await.is_ok());
}

/// A firewall has forgotten all pooled connections. The first caller's retry uses a new one, and so
/// do all later callers.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_silently_delay_one_call_only() {
    let cognito = standin();
    let relay = Relay::start(cognito.address()).await;
    let endpoint = format!("http://{}", relay.address);
    let app = App::start_unready(cognito, |config| config.pools[0].endpoint_url = Some(endpoint)).await;
    app.wait_until_ready().await;
    for n in 0..24 {
        app.cognito.put_user(User { sub: sub(n), ..User::local(format!("user-{n}"), "x") });
    }
    let held = app.cognito.hold("AdminGetUser");
    let warm = join_all((0..8).map(|n| get(&app, n, "10S")));
    let release = async {
        app.cognito.wait_for_calls("AdminGetUser", 8).await;
        held.release();
    };
    let (warm, ()) = tokio::join!(warm, release);
    assert!(warm.iter().all(Result::is_ok));
    assert!(relay.connections() >= 8);

    relay.freeze();
    for n in 8..16 {
        let begun = Instant::now();
        let answer = get(&app, n, "2S").await;
        assert!(answer.is_ok(), "caller {n} after {:?}: {answer:?}", begun.elapsed());
        assert!(n == 8 || begun.elapsed() < Duration::from_millis(900), "caller {n}: {:?}", begun.elapsed());
    }
    // All at once, on connections that are dead again.
    relay.freeze();
    let answers = join_all((16..24).map(|n| get(&app, n, "2S"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(app.metric(&circuit(&app)).await, 0.0, "the retries were answered");
}

async fn get(app: &App, n: usize, timeout: &'static str) -> Result<GetUserResponse, Status> {
    let mut request = Request::new(about(&sub(n)));
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    app.get_user(request).await
}

fn sub(n: usize) -> String {
    format!("c1c00000-5a4d-4b0c-8000-{n:012}")
}

fn pushback(status: &Status) -> &str {
    status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap()
}

fn circuit(app: &App) -> String {
    circuit_of(app, "AdminGetUser")
}

fn circuit_of(app: &App, operation: &str) -> String {
    let pool = app.cognito.pool_id();
    format!("cognito_lookup_upstream_circuit_open{{pool=\"{pool}\",operation=\"{operation}\"}}")
}
