use cognito_standin::{Fault, HttpResponse};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{App, assert_failure};

#[tokio::test]
async fn throttling_halves_the_rate_and_is_not_retried_however_it_is_spelt() {
    let code =
        |status, code: &str| HttpResponse::json(status, &json!({"__type": code, "message": "Rate exceeded"}));
    let html = |status| HttpResponse::new(status, "text/html", "<html>Too many requests</html>");
    let empty = |status| HttpResponse::new(status, "application/x-amz-json-1.1", "");
    let header = "x-amzn-errortype";
    let table = [
        code(400, "TooManyRequestsException"),
        code(429, "TooManyRequestsException"),
        code(400, "LimitExceededException"),
        code(400, "ThrottlingException"),
        code(400, "RequestLimitExceeded"),
        code(503, "SlowDown"),
        code(503, "ThrottledException"),
        code(500, "RequestThrottled"),
        code(429, "SomethingNewException"),
        code(400, "com.amazonaws.cognito#TooManyRequestsException"),
        code(400, "TooManyRequestsException:http://internal.amazon.com/coral/com.amazon.coral.service/"),
        HttpResponse::json(400, &json!({"code": "TooManyRequestsException", "message": 7})),
        HttpResponse::json(429, &json!({"message": "Too Many Requests"})),
        HttpResponse::json(429, &json!([])),
        html(429),
        HttpResponse::new(429, "text/plain", "x".repeat(2 << 20)),
        empty(429),
        empty(400).header(header, "TooManyRequestsException"),
        html(400).header(header, "LimitExceededException:"),
        html(503).header(header, "aws#ThrottlingException:http://internal.amazon.com/"),
    ];
    for response in table {
        let case = format!("{response:?}").chars().take(200).collect::<String>();
        let app = App::start_with_config(|config| config.budget.user_reads_per_second = Some(80)).await;
        app.cognito.inject("AdminGetUser", Fault::Respond(response));
        let answer = app.get_by_sub("somebody").await;
        assert!(answer.is_err(), "{case}");
        let status = assert_failure(answer, Code::Unavailable, "UPSTREAM_THROTTLED");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{case}");
        assert_eq!(app.cognito_lookups(), 1, "{case}");
        assert_eq!(outcomes(&app).await, [0.0, 0.0, 1.0], "{case}");
        let rate = "cognito_lookup_upstream_budget_per_second{account=\"\",region=\"eu-west-1\",category=\"UserRead\"}";
        // It recovers within two seconds.
        assert!((40.0..80.0).contains(&app.metric(rate).await), "{case}: {}", app.metric(rate).await);
    }
}

#[tokio::test]
async fn a_refusal_without_a_code_is_denied_and_a_failure_is_retried_once() {
    let code = |status, code: &str| HttpResponse::json(status, &json!({"__type": code}));
    let html = |status| HttpResponse::new(status, "text/html", "<html>no</html>");
    let (denied, failed) = ([1.0, 0.0, 0.0], [0.0, 2.0, 0.0]);
    let table = [
        (html(401), denied),
        (html(403), denied),
        (html(407), denied),
        (code(400, "UnrecognizedClientException"), denied),
        (code(400, "ExpiredTokenException"), denied),
        (code(400, "ResourceNotFoundException"), denied),
        (code(403, "ForbiddenException"), denied),
        (html(400), failed),
        (html(408), failed),
        (html(500), failed),
        (html(502), failed),
        (html(503), failed),
        (html(504), failed),
        (code(400, "InternalErrorException"), failed),
        (code(400, "RequestTimeoutException"), failed),
        (code(500, "InternalErrorException"), failed),
        (code(503, "ServiceUnavailable"), failed),
    ];
    for (response, expected) in table {
        let case = format!("{response:?}");
        let app = App::start().await;
        app.cognito.inject("AdminGetUser", Fault::Respond(response));
        let answer = app.get_by_sub("somebody").await;
        assert!(answer.is_err(), "{case}");
        let status = assert_failure(answer, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(status.get_details_retry_info().is_some(), "{case}");
        assert_eq!(outcomes(&app).await, expected, "{case}");
    }
}

/// A message that the SDK cannot read does not hide the code.
#[tokio::test]
async fn a_user_that_is_not_found_is_not_found_whatever_the_message() {
    for message in [json!(null), json!(7), json!({}), json!("User does not exist.")] {
        let app = App::start().await;
        let body = json!({"__type": "ns#UserNotFoundException:", "message": message});
        app.cognito.inject("AdminGetUser", Fault::Respond(HttpResponse::json(400, &body)));
        assert_failure(app.get_by_sub("nobody").await, Code::NotFound, "USER_NOT_FOUND");
        assert_eq!(outcomes(&app).await, [0.0; 3], "{message}");
    }
}

/// Returns how many calls of AdminGetUser were denied, failed and throttled.
async fn outcomes(app: &App) -> [f64; 3] {
    let mut counts = [0.0; 3];
    for (count, outcome) in counts.iter_mut().zip(["Denied", "Failed", "Throttled"]) {
        let labels = format!("{{operation=\"AdminGetUser\",outcome=\"{outcome}\"}}");
        *count = app.metric(&format!("cognito_lookup_upstream_calls_total{labels}")).await;
    }
    counts
}
