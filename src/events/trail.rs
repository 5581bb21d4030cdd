//! CloudTrail's `LookupEvents`, over the AWS SDK.

use std::time::{Duration, SystemTime};

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_cloudtrail::{
    Client,
    config::{self, IdentityCache},
    types::{LookupAttribute, LookupAttributeKey},
};

use super::queue::{QueueError, time_limit};
use crate::{
    aws_credentials::{self, CredentialSource, RenewedCredentials},
    outgoing::Outgoing,
};

/// The events of one account and Region.
#[derive(Debug)]
pub(super) struct Trail {
    client: Client,
    /// None in a test without a network.
    credentials: Option<RenewedCredentials>,
}

/// Some of the events that were looked up.
#[derive(Debug)]
pub(super) struct Page {
    /// The records of CloudTrail, as JSON.
    pub(super) records: Vec<String>,
    /// What continues with older events; none if these are the oldest.
    pub(super) next: Option<String>,
}

impl Trail {
    /// Prepares the client, at `endpoint_url` if it is not that of the Region, and starts to look for
    /// credentials. Must be called in the runtime that makes the calls.
    pub(super) async fn connect(
        source: CredentialSource,
        endpoint_url: Option<&str>,
        outgoing: &Outgoing,
    ) -> Self {
        let http = outgoing.aws_client(MAX_BODY_BYTES);
        let (shared, credentials) = aws_credentials::configure(source, endpoint_url, http).await;
        Self { credentials: Some(credentials), ..Self::over(&shared) }
    }

    /// As [`connect`](Self::connect), with the given SDK configuration.
    pub(super) fn over(shared: &SdkConfig) -> Self {
        let config = config::Builder::from(shared)
            .timeout_config(time_limit(CALL_TIMEOUT))
            // A repetition must keep to the pace too.
            .retry_config(RetryConfig::disabled())
            // The credentials are a cache themselves.
            .identity_cache(IdentityCache::no_cache());
        Self { client: Client::from_conf(config.build()), credentials: None }
    }

    /// Makes a client for a test in which it is not called.
    #[cfg(test)]
    pub(super) fn unused() -> Self {
        let version = aws_config::BehaviorVersion::v2026_01_12();
        Self::over(&SdkConfig::builder().behavior_version(version).build())
    }

    /// Waits, without a time limit, until credentials are found. Cancel safe.
    pub(super) async fn ready(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.ready().await;
        }
    }

    /// Looks up the events of this name since a time, the newest first, 50 at a time. Fails after 5 s.
    pub(super) async fn look_up(
        &self,
        event: &str,
        since: SystemTime,
        next: Option<String>,
    ) -> Result<Page, QueueError> {
        let name = LookupAttribute::builder()
            .attribute_key(LookupAttributeKey::EventName)
            .attribute_value(event)
            .build()
            .map_err(|_| QueueError { code: "ConstructionFailure".to_owned(), cause: String::new() })?;
        let lookup = self.client.lookup_events().lookup_attributes(name).start_time(since.into());
        let sent = lookup.max_results(PAGE).set_next_token(next).send().await;
        let page = sent.map_err(|error| QueueError::of(&error, self.credentials.as_ref()))?;
        let events = page.events.unwrap_or_default().into_iter();
        let records = events.filter_map(|event| event.cloud_trail_event).collect();
        Ok(Page { records, next: page.next_token.filter(|token| !token.is_empty()) })
    }
}

// The most that CloudTrail returns.
const PAGE: i32 = 50;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
// A page has some 100 KB.
const MAX_BODY_BYTES: usize = 16 << 20;
