//! A small Cognito that makes up its users, as many as are asked for: the stand-in looks through a list of people.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};

/// Serves for as long as it is held.
pub(crate) struct Crowd {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
    _serving: oneshot::Sender<()>,
}

impl Crowd {
    /// Signs nothing, but has these keys.
    pub(crate) fn start(jwks: Value) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/{pool}/.well-known/jwks.json", get(async move || Json(jwks)))
            .route("/", post(answer))
            .with_state(Arc::clone(&asked));
        let (serving, held) = oneshot::channel::<()>();
        thread::spawn(move || {
            let end = async { drop(held.await) };
            runtime.block_on(async {
                tokio::select! { served = axum::serve(listener, router) => served.unwrap(), () = end => {} }
            });
        });
        Self { url, asked, _serving: serving }
    }

    /// Returns how often it was asked for a user.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns who has this number.
    pub(crate) fn sub(number: usize) -> String {
        format!("{number:08x}-0000-4000-8000-{number:012x}")
    }

    /// Returns the names of all attributes, as TOML has lists.
    pub(crate) fn attributes() -> String {
        format!("{:?}", (0..ATTRIBUTES).map(name).collect::<Vec<_>>())
    }
}

async fn answer(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap, body: String) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if operation != Some("AWSCognitoIdentityProviderService.AdminGetUser") {
        let unknown = json!({"__type": "UnknownOperationException"});
        return (StatusCode::BAD_REQUEST, Json(unknown)).into_response();
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let input: Value = serde_json::from_str(&body).unwrap();
    let user = user(input["Username"].as_str().unwrap());
    ([("content-type", "application/x-amz-json-1.1")], user.to_string()).into_response()
}

/// Ten attributes of 25 bytes of name and value each.
fn user(sub: &str) -> Value {
    let (_, number) = sub.rsplit_once('-').unwrap();
    let others = (0..ATTRIBUTES).map(|at| json!({"Name": name(at), "Value": format!("{number:0>16}{at}")}));
    let attributes: Vec<Value> =
        std::iter::once(json!({"Name": "sub", "Value": sub})).chain(others).collect();
    json!({
        "Username": sub,
        "UserAttributes": attributes,
        "UserCreateDate": 1.7e9,
        "UserLastModifiedDate": 1.7e9,
        "Enabled": true,
        "UserStatus": "CONFIRMED",
    })
}

fn name(at: usize) -> String {
    format!("custom:{at}")
}

const ATTRIBUTES: usize = 10;
