//! An in-memory network below the SDK, so that a test's paused clock is the only clock.

use std::{fmt, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{
    Credentials, SharedCredentialsProvider,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::Queue;

/// Answers an operation with this input by a status and a body.
pub(in crate::events) type Peer =
    Arc<dyn Fn(String, Value) -> BoxFuture<'static, (u16, Value)> + Send + Sync>;

impl Queue {
    /// Makes a client of `peer`.
    pub(in crate::events) fn before(peer: Peer) -> Self {
        let connector = SharedHttpConnector::new(Connector(peer));
        let word = "placeholder";
        let credentials = Credentials::new(word, word, None, None, word);
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()));
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes".parse().unwrap();
        Self::over(&shared.build(), &url)
    }
}

struct Connector(Peer);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let input = request.body().bytes().and_then(|body| serde_json::from_slice(body).ok());
        let answer = (self.0)(operation, input.unwrap_or_default());
        HttpConnectorFuture::new(async move {
            let (status, body) = answer.await;
            let status = status.try_into().map_err(|_| ConnectorError::other("a status".into(), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
