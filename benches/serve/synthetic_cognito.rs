//! A minimal Cognito that makes up a user for every `sub`. The stand-in keeps its users in a list
//! and would be too slow.

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

/// A running server. It stops on drop.
pub(crate) struct SyntheticCognito {
    pub(crate) url: String,
    user_reads: Arc<AtomicUsize>,
    _serving: oneshot::Sender<()>,
}

impl SyntheticCognito {
    /// Starts it with the JWKS of another issuer, since it signs no tokens.
    pub(crate) fn start(jwks: Value) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let user_reads = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/{pool}/.well-known/jwks.json", get(async move || Json(jwks)))
            .route("/", post(answer))
            .with_state(Arc::clone(&user_reads));
        let (serving, held) = oneshot::channel::<()>();
        thread::spawn(move || {
            let end = async { drop(held.await) };
            runtime.block_on(async {
                tokio::select! { served = axum::serve(listener, router) => served.unwrap(), () = end => {} }
            });
        });
        Self { url, user_reads, _serving: serving }
    }

    /// Returns how many users were read until now.
    pub(crate) fn user_reads(&self) -> usize {
        self.user_reads.load(Ordering::Relaxed)
    }

    pub(crate) fn sub(number: usize) -> String {
        format!("{number:08x}-0000-4000-8000-{number:012x}")
    }

    /// Returns the names of all attributes, as a TOML array.
    pub(crate) fn attributes() -> String {
        format!("{:?}", (0..ATTRIBUTES).map(name).collect::<Vec<_>>())
    }
}

async fn answer(State(user_reads): State<Arc<AtomicUsize>>, headers: HeaderMap, body: String) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if operation != Some("AWSCognitoIdentityProviderService.AdminGetUser") {
        let unknown = json!({"__type": "UnknownOperationException"});
        return (StatusCode::BAD_REQUEST, Json(unknown)).into_response();
    }
    user_reads.fetch_add(1, Ordering::Relaxed);
    let input: Value = serde_json::from_str(&body).unwrap();
    let user = user(input["Username"].as_str().unwrap());
    ([("content-type", "application/x-amz-json-1.1")], user.to_string()).into_response()
}

/// Makes a user of ten attributes, each with 25 bytes of name and value.
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
