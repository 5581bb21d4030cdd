//! The HTTP side: which request is which operation.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        ConnectInfo, Form, FromRequest as _, Path, Request, State as Shared, rejection::FormRejection,
    },
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    api_error::ApiError,
    faults::{self, Fault, FaultOutcome},
    http_response::HttpResponse,
    oauth, operations,
    resettable::ResetHandle,
    state::{State, lock},
    sts,
};

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", post(api))
        .route("/oauth2/token", post(token))
        .route("/{pool}/.well-known/jwks.json", get(jwks))
        .route("/{pool}/.well-known/openid-configuration", get(discovery))
        .with_state(state)
}

async fn api(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(operation) = target(&headers) else {
        return query(&state, &reset_handle, headers, body).await;
    };
    let mut input: Value = match serde_json::from_slice(&body) {
        Ok(input) => input,
        Err(error) => {
            return ApiError::Serialization(error.to_string()).response().into_response();
        }
    };
    let call = match faults::apply_fault(state.fault_plan.begin_call(operation, input.clone()), &reset_handle)
        .await
    {
        FaultOutcome::Proceed(call) => call,
        FaultOutcome::Respond(response) => return response,
    };
    if let Some(Fault::WrongUser(username)) = call.fault() {
        faults::redirect(&mut input, username);
    }
    if !sts::is_authorized(state.pool.role.as_ref(), &headers) {
        return ApiError::AccessDenied.response().into_response();
    }
    match operations::execute(&state, operation, &input) {
        Ok(output) => HttpResponse::aws_json(200, &output).into_response(),
        Err(error) => error.response().into_response(),
    }
}

/// What is not of the JSON protocol: AWS STS, which takes a form.
async fn query(state: &State, reset_handle: &ResetHandle, headers: HeaderMap, body: Bytes) -> Response {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    let form = Form::<HashMap<String, String>>::from_request(request, state).await;
    let form = form.map(|Form(fields)| fields).unwrap_or_default();
    let Some(action) = form.get("Action") else {
        return ApiError::UnknownOperation.response().into_response();
    };
    match faults::apply_fault(state.fault_plan.begin_call(action, json!(form)), reset_handle).await {
        FaultOutcome::Proceed(_call) => sts::assume_role(state.pool.role.as_ref(), &form).into_response(),
        FaultOutcome::Respond(response) => response,
    }
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    headers: HeaderMap,
    form: Result<Form<HashMap<String, String>>, FormRejection>,
) -> Response {
    let form = form.map(|Form(fields)| fields).unwrap_or_default();
    let outcome = faults::apply_fault(state.fault_plan.begin_call("token", json!(form)), &reset_handle).await;
    match outcome {
        FaultOutcome::Proceed(_call) => oauth::token(&state, &headers, &form).into_response(),
        FaultOutcome::Respond(response) => response,
    }
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
    match faults::apply_fault(state.fault_plan.begin_call(name, Value::Null), reset_handle).await {
        FaultOutcome::Proceed(_call) => HttpResponse::json(200, &body()).into_response(),
        FaultOutcome::Respond(response) => response,
    }
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-target")?.to_str().ok()?.strip_prefix("AWSCognitoIdentityProviderService.")
}
