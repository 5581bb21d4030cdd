//! The queue, over the AWS SDK.

use std::{fmt::Debug, time::Duration};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{
    Client,
    config::{self, IdentityCache, StalledStreamProtectionConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName},
};
use thiserror::Error;

use super::{config::EventsConfig, queue_url::QueueUrl};
use crate::{
    aws_credentials::{self, CredentialSource, RenewedCredentials},
    outgoing::{Outgoing, sdk_error_kind, unsent_cause},
    telemetry::error_chain,
};

/// The queue of changes.
#[derive(Debug)]
pub(super) struct Queue {
    client: Client,
    url: String,
    /// None in a test without a network.
    credentials: Option<RenewedCredentials>,
}

/// A message that this process has received. It returns to the queue unless it is deleted in time.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) body: String,
    /// What deletes it.
    pub(super) receipt: String,
    /// How often it was received, this time included.
    pub(super) receives: u32,
}

/// A call that failed. It never quotes a message.
#[derive(Debug, Error)]
#[error("{code}")]
pub(super) struct QueueError {
    /// The code of AWS, or of the SDK if there was no answer.
    pub(super) code: String,
    /// Why no request was sent; empty if one was.
    pub(super) cause: String,
}

impl Queue {
    /// Prepares the client, and starts to look for credentials. Must be called in the runtime that
    /// makes the calls.
    pub(super) async fn connect(config: &EventsConfig, outgoing: &Outgoing) -> Self {
        let source = CredentialSource {
            credentials: config.credentials,
            region: config.region.clone(),
            role: None,
            pool: None,
        };
        let http = outgoing.aws_client(MAX_BODY_BYTES);
        let endpoint = config.endpoint_url.as_deref();
        let (shared, credentials) = aws_credentials::configure(source, endpoint, http).await;
        Self { credentials: Some(credentials), ..Self::over(&shared, &config.queue_url) }
    }

    /// As [`connect`](Self::connect), with the given SDK configuration.
    pub(super) fn over(shared: &SdkConfig, url: &QueueUrl) -> Self {
        let config = config::Builder::from(shared)
            .timeout_config(time_limit(RECEIVE_TIMEOUT))
            // The consumer repeats a receive, and an undeleted message returns.
            .retry_config(RetryConfig::disabled())
            // A long poll sends no byte for 20 s. After 5 s the SDK takes that for a stalled
            // upload.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // The credentials are a cache themselves.
            .identity_cache(IdentityCache::no_cache());
        let client = Client::from_conf(config.build());
        Self { client, url: url.as_str().to_owned(), credentials: None }
    }

    /// Waits, without a time limit, until credentials are found. Cancel safe.
    pub(super) async fn ready(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.ready().await;
        }
    }

    /// Receives up to `most` messages, at most 10. Waits up to `wait` seconds for the first, at
    /// most [`WAIT_SECONDS`], and fails after 25 s. If the call is dropped, its messages return
    /// after the visibility timeout of the queue.
    pub(super) async fn receive(&self, most: i32, wait: i32) -> Result<Vec<Received>, QueueError> {
        let receive = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(most)
            .wait_time_seconds(wait)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let received = receive.send().await.map_err(|error| self.failure(&error))?;
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(Received::read).collect())
    }

    /// Deletes messages, 10 at most. Fails after 5 s, and if any of them could not be deleted.
    pub(super) async fn delete(&self, receipts: Vec<String>) -> Result<(), QueueError> {
        let entry = |(n, receipt): (usize, String)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt);
            entry.build().ok()
        };
        let entries = receipts.into_iter().enumerate().filter_map(entry).collect();
        let delete = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let quick = config::Config::builder().timeout_config(time_limit(DELETE_TIMEOUT));
        let deleted = delete.customize().config_override(quick).send().await;
        let deleted = deleted.map_err(|error| self.failure(&error))?;
        match deleted.failed.first() {
            None => Ok(()),
            Some(failed) => Err(QueueError { code: failed.code.clone(), cause: String::new() }),
        }
    }

    fn failure<E: ProvideErrorMetadata + Debug>(&self, error: &SdkError<E>) -> QueueError {
        QueueError::of(error, self.credentials.as_ref())
    }
}

impl QueueError {
    /// Reads an error of the SDK. Credentials that AWS refuses are renewed.
    pub(super) fn of<E: ProvideErrorMetadata + Debug>(
        error: &SdkError<E>,
        credentials: Option<&RenewedCredentials>,
    ) -> Self {
        let code = error.code().unwrap_or_else(|| sdk_error_kind(error)).to_owned();
        if let Some(credentials) = credentials.filter(|_| is_of_credentials(&code)) {
            credentials.refused();
        }
        let cause = unsent_cause(error).map(|error| error_chain(error));
        Self { code, cause: cause.unwrap_or_default() }
    }
}

impl Received {
    fn read(message: Message) -> Option<Self> {
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let receives = message.attributes.as_ref().and_then(|attributes| attributes.get(&count));
        let receives = receives.and_then(|count| count.parse().ok()).unwrap_or(1);
        Some(Self { receives, body: message.body.unwrap_or_default(), receipt: message.receipt_handle? })
    }
}

/// Returns the time limit of a call, and that of a connection.
pub(super) fn time_limit(limit: Duration) -> TimeoutConfig {
    let limits = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT);
    limits.operation_attempt_timeout(limit).operation_timeout(limit).build()
}

/// Returns whether AWS refused the credentials themselves, which others might replace (Amazon SQS API
/// reference, "Common Errors").
fn is_of_credentials(code: &str) -> bool {
    const CODES: [&str; 7] = [
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "UnrecognizedClientException",
    ];
    CODES.contains(&code)
}

/// The longest that SQS allows.
pub(super) const WAIT_SECONDS: i32 = 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(25);
const DELETE_TIMEOUT: Duration = Duration::from_secs(5);
// Ten of the longest events of EventBridge, with what JSON escapes. Applications may send longer
// messages, of which the consumer then receives one at a time.
const MAX_BODY_BYTES: usize = 4 << 20;

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_poll_is_no_stalled_stream() {
        let queue = Queue::before(std::sync::Arc::new(|_, _| Box::pin(std::future::pending())));
        let protection = queue.client.config().stalled_stream_protection();
        assert!(protection.is_some_and(|protection| !protection.is_enabled()), "{protection:?}");
    }
}
