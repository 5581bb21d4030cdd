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
    cable::Plug,
    failure::Failure,
    faults::{self, Fault, Verdict},
    oauth, operations,
    reply::Reply,
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
    ConnectInfo(plug): ConnectInfo<Plug>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(operation) = target(&headers) else {
        return query(&state, &plug, headers, body).await;
    };
    let mut input: Value = match serde_json::from_slice(&body) {
        Ok(input) => input,
        Err(error) => {
            return Failure::Serialization(error.to_string()).reply().into_response();
        }
    };
    let call = match faults::meet(state.script.arrive(operation, input.clone()), &plug).await {
        Verdict::Answer(call) => call,
        Verdict::Instead(response) => return response,
    };
    if let Some(Fault::Lie(username)) = call.fault() {
        faults::twist(&mut input, username);
    }
    if !sts::may_call(state.pool.role.as_ref(), &headers) {
        return Failure::AccessDenied.reply().into_response();
    }
    match operations::answer(&state, operation, &input) {
        Ok(output) => Reply::amazon(200, &output).into_response(),
        Err(failure) => failure.reply().into_response(),
    }
}

/// What is not of the JSON protocol: AWS STS, which takes a form.
async fn query(state: &State, plug: &Plug, headers: HeaderMap, body: Bytes) -> Response {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    let form = Form::<HashMap<String, String>>::from_request(request, state).await;
    let form = form.map(|Form(fields)| fields).unwrap_or_default();
    let Some(action) = form.get("Action") else {
        return Failure::UnknownOperation.reply().into_response();
    };
    match faults::meet(state.script.arrive(action, json!(form)), plug).await {
        Verdict::Answer(_call) => sts::answer(state.pool.role.as_ref(), &form).into_response(),
        Verdict::Instead(response) => response,
    }
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(plug): ConnectInfo<Plug>,
    headers: HeaderMap,
    form: Result<Form<HashMap<String, String>>, FormRejection>,
) -> Response {
    let form = form.map(|Form(fields)| fields).unwrap_or_default();
    let verdict = faults::meet(state.script.arrive("token", json!(form)), &plug).await;
    match verdict {
        Verdict::Answer(_call) => oauth::answer(&state, &headers, &form).into_response(),
        Verdict::Instead(response) => response,
    }
}

async fn jwks(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(plug): ConnectInfo<Plug>,
    Path(pool): Path<String>,
) -> Response {
    document(&state, "jwks", &pool, &plug, || lock(&state.keys).jwks()).await
}

async fn discovery(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(plug): ConnectInfo<Plug>,
    Path(pool): Path<String>,
) -> Response {
    document(&state, "openid-configuration", &pool, &plug, || oauth::discovery(&state)).await
}

async fn document(
    state: &State,
    name: &str,
    pool: &str,
    plug: &Plug,
    body: impl FnOnce() -> Value,
) -> Response {
    if pool != state.pool.id {
        return StatusCode::NOT_FOUND.into_response();
    }
    match faults::meet(state.script.arrive(name, Value::Null), plug).await {
        Verdict::Answer(_call) => Reply::json(200, &body()).into_response(),
        Verdict::Instead(response) => response,
    }
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-target")?.to_str().ok()?.strip_prefix("AWSCognitoIdentityProviderService.")
}
