//! An in-memory network below the SDK, so that a test's paused clock is the only clock.

#![cfg_attr(not(test), allow(dead_code, reason = "fuzz targets use a part of it"))]
#![allow(clippy::expect_used, clippy::panic, reason = "it runs in tests only")]

use std::{fmt, future::pending, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cognitoidentityprovider::config::{
    Credentials, SharedCredentialsProvider, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};

use super::{Cognito, RateLimiter};
use crate::{pool::Pool, telemetry::metrics::upstream::UpstreamMetrics};

/// One call as the peer receives it.
pub(in crate::users) struct Request {
    pub(in crate::users) operation: String,
    pub(in crate::users) input: serde_json::Value,
}

/// The peer's reply.
pub(in crate::users) enum Reply {
    /// A whole answer: status and body.
    Answer(u16, String),
    /// A part of a body, and then a reset.
    Cut(String),
    /// No response, ever.
    Nothing,
    /// A bug in the code that reads the response.
    Panic,
    Reset,
}

pub(in crate::users) type Peer = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

impl Cognito {
    /// Makes a client of `peer`.
    pub(in crate::users) fn before(peer: &Peer, pool: Arc<Pool>, limiter: Arc<RateLimiter>) -> Self {
        let connector = SharedHttpConnector::new(Connector(Arc::clone(peer)));
        let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        let word = "placeholder";
        let credentials = Credentials::new(word, word, None, None, word);
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(client);
        Self::over(&shared.build(), pool, limiter, &UpstreamMetrics::default())
    }
}

struct Connector(Peer);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let input = request.body().bytes().and_then(|body| serde_json::from_slice(body).ok());
        let reply = (self.0)(Request { operation, input: input.unwrap_or_default() });
        HttpConnectorFuture::new(async move {
            match reply.await {
                Reply::Answer(status, body) => response(status, SdkBody::from(body)),
                Reply::Cut(body) => {
                    let part = Full::new(Bytes::from(body)).map_err(|_| "impossible");
                    response(200, SdkBody::from_body_1_x(part.with_trailers(async { Some(Err("reset")) })))
                }
                Reply::Nothing => pending().await,
                Reply::Panic => panic!("the peer is scripted to"),
                Reply::Reset => Err(ConnectorError::io("reset".into())),
            }
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

fn response(status: u16, body: SdkBody) -> Result<HttpResponse, ConnectorError> {
    Ok(HttpResponse::new(status.try_into().expect("a status"), body))
}
