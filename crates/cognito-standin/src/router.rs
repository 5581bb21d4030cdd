//! The HTTP endpoints: the AWS JSON protocol of Cognito, SQS and CloudTrail, STS, OAuth's token
//! endpoint, the two well-known documents, and those that control the stand-in.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    api_error::ApiError,
    apply_fault::{apply_fault, redirect},
    call::Call,
    cloudtrail, http_control,
    http_response::HttpResponse,
    lock::lock,
    oauth, operations,
    resettable::ResetHandle,
    sqs,
    state::State,
    sts,
};

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", post(api))
        .route("/oauth2/token", post(token))
        .route("/{pool}/.well-known/jwks.json", get(jwks))
        .route("/{pool}/.well-known/openid-configuration", get(discovery))
        .merge(http_control::routes())
        .with_state(state)
}

/// The AWS JSON protocol names its operation in a header; STS has none and sends a form.
async fn api(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some((service, operation)) = target(&headers) else {
        return query(&state, &reset_handle, &body).await;
    };
    let mut input: Value = match serde_json::from_slice(&body) {
        Ok(input) => input,
        Err(error) => return ApiError::Serialization(error.to_string()).response().into_response(),
    };
    let call = match begin(&state, &reset_handle, operation, input.clone()).await {
        Ok(call) => call,
        Err(response) => return response,
    };
    redirect(&call, &mut input);
    let response = if sts::is_authorized(state.pool.role.as_ref(), &headers) {
        execute(&state, service, operation, &input).await
    } else {
        ApiError::UnrecognizedClient.response()
    };
    response.into_response()
}

async fn execute(state: &State, service: Service, operation: &str, input: &Value) -> HttpResponse {
    let result = match service {
        Service::Cognito => operations::execute(state, operation, input),
        Service::CloudTrail => cloudtrail::execute(state, operation, input),
        Service::Sqs => return sqs::execute(state, operation, input).await,
    };
    result.map_or_else(|error| error.response(), |output| HttpResponse::aws_json(200, &output))
}

async fn query(state: &State, reset_handle: &ResetHandle, body: &Bytes) -> Response {
    let form = form(body);
    let Some(action) = form.get("Action") else {
        return ApiError::UnknownOperation.response().into_response();
    };
    respond(state, reset_handle, action, json!(form), |_| sts::assume_role(state.pool.role.as_ref(), &form))
        .await
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = form(&body);
    respond(&state, &reset_handle, "token", json!(form), |_| oauth::token(&state, &headers, &form)).await
}

async fn jwks(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    Path(pool): Path<String>,
) -> Response {
    document(&state, "jwks", &pool, &reset_handle, || lock(&state.keys).jwks()).await
}

async fn discovery(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    Path(pool): Path<String>,
) -> Response {
    document(&state, "openid-configuration", &pool, &reset_handle, || oauth::discovery(&state)).await
}

async fn document(
    state: &State,
    name: &str,
    pool: &str,
    reset_handle: &ResetHandle,
    body: impl FnOnce() -> Value,
) -> Response {
    if pool != state.pool.id {
        return StatusCode::NOT_FOUND.into_response();
    }
    respond(state, reset_handle, name, Value::Null, |_| HttpResponse::json(200, &body())).await
}

/// Records the call, and applies its fault or executes it.
async fn respond(
    state: &State,
    reset_handle: &ResetHandle,
    operation: &str,
    input: Value,
    execute: impl FnOnce(&Call) -> HttpResponse,
) -> Response {
    match begin(state, reset_handle, operation, input).await {
        Ok(call) => execute(&call).into_response(),
        Err(response) => response,
    }
}

/// Records a call, and returns it if it is to be executed, or the response of its fault.
async fn begin(
    state: &State,
    reset_handle: &ResetHandle,
    operation: &str,
    input: Value,
) -> Result<Call, Response> {
    let travel_time = state.fault_plan.travel_time();
    if !travel_time.is_zero() {
        sleep(travel_time).await;
    }
    apply_fault(state.fault_plan.begin_call(operation, input), reset_handle).await
}

/// The services of the AWS JSON protocol.
#[derive(Clone, Copy)]
enum Service {
    Cognito,
    CloudTrail,
    Sqs,
}

fn target(headers: &HeaderMap) -> Option<(Service, &str)> {
    let (service, operation) = headers.get("x-amz-target")?.to_str().ok()?.rsplit_once('.')?;
    let service = match service {
        "AWSCognitoIdentityProviderService" => Service::Cognito,
        // The first is that of the newer SDKs.
        "CloudTrail_20131101" | "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101" => {
            Service::CloudTrail
        }
        "AmazonSQS" => Service::Sqs,
        _ => return None,
    };
    Some((service, operation))
}

/// Reads a form. An unreadable one is empty, so that the endpoint refuses it as incomplete.
fn form(body: &[u8]) -> HashMap<String, String> {
    serde_urlencoded::from_bytes(body).unwrap_or_default()
}
