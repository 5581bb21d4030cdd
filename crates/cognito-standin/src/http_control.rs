//! The endpoints below `/sandbox`, by which a test in any language controls the stand-in and the
//! service in front of it.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State as Shared},
    routing::{delete, get, post, put},
};
use serde_json::json;

use super::{
    directory::Directory, http_response::HttpResponse, lock::lock, minting::TokenRequest, scenario::Scenario,
    state::State,
};

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/sandbox", get(document))
        .route("/sandbox/token", post(token))
        .route("/sandbox/fault", get(fault).delete(clear_fault))
        .route("/sandbox/fault/{name}", put(set_fault))
        .route("/sandbox/cache", delete(clear_cache))
        .route("/sandbox/reset", post(reset))
}

async fn document(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    HttpResponse::json(200, &state.document())
}

async fn token(Shared(state): Shared<Arc<State>>, body: Bytes) -> HttpResponse {
    let request: TokenRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return problem(400, error.to_string()),
    };
    match state.mint(&request) {
        Some(token) => HttpResponse::json(200, &json!({"access_token": token, "token_type": "Bearer"})),
        None => problem(404, format!("{:?} is no username, sub or machine client", request.user)),
    }
}

async fn fault(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    current(&state)
}

async fn set_fault(Shared(state): Shared<Arc<State>>, Path(name): Path<String>) -> HttpResponse {
    match name.parse::<Scenario>() {
        Ok(scenario) => state.set_scenario(Some(scenario)),
        Err(error) => return problem(404, format!("{name:?} is no fault: {error}")),
    }
    current(&state)
}

async fn clear_fault(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    state.set_scenario(None);
    current(&state)
}

async fn clear_cache(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    clear(&state, state.subs()).await
}

/// Brings back the users and the faultlessness of the start, and empties the cache.
async fn reset(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    state.set_scenario(None);
    let subs = state.subs();
    *state.directory() = Directory::new(state.pool.users.clone());
    clear(&state, subs).await
}

async fn clear(state: &State, subs: BTreeSet<String>) -> HttpResponse {
    let clearings = lock(&state.clearings).clone();
    match clearings.request(subs).await {
        Ok(()) => HttpResponse::json(200, &json!({})),
        Err(error) => problem(503, error),
    }
}

fn current(state: &State) -> HttpResponse {
    HttpResponse::json(200, &json!({"fault": state.fault()}))
}

fn problem(status: u16, error: String) -> HttpResponse {
    HttpResponse::json(status, &json!({"error": error}))
}
