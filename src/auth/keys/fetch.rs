//! Fetches a key set over HTTP: one GET of at most 64 KiB and 3 s. Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use thiserror::Error;
use tokio::time::timeout;

use super::set::InvalidSet;
use crate::{
    outgoing::{HttpClient, SendError},
    telemetry::{error_chain, metrics::JwksFetchOutcome},
};

/// Returns the body of `url`. Any status but 200 is an error.
pub(super) async fn fetch(client: &HttpClient, url: &Uri) -> Result<Bytes, FetchError> {
    let response = timeout(TOTAL_TIMEOUT, client.get(url, MAX_BODY_BYTES));
    let response = response.await.map_err(|_| FetchError::TimedOut)??;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(FetchError::Status(status)),
    }
}

/// Why a fetch failed.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("{}", error_chain(.0))]
    Send(#[from] SendError),
    #[error(transparent)]
    Set(#[from] InvalidSet),
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error("no response within {TOTAL_TIMEOUT:?}")]
    TimedOut,
}

impl FetchError {
    pub(super) fn outcome(&self) -> JwksFetchOutcome {
        match self {
            Self::Send(SendError::Body(_) | SendError::TooLarge(_)) => JwksFetchOutcome::Body,
            Self::Send(SendError::Connection(_)) => JwksFetchOutcome::Connection,
            Self::Set(_) => JwksFetchOutcome::Keys,
            Self::Status(_) => JwksFetchOutcome::Status,
            Self::TimedOut => JwksFetchOutcome::Timeout,
        }
    }
}

const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BODY_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::*;
    use crate::outgoing::Outgoing;

    #[tokio::test(start_paused = true)]
    async fn a_fetch_from_a_server_that_never_answers_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let client = Outgoing::default().http_client();
        let begun = Instant::now();
        assert!(fetch(&client, &url).await.is_err());
        assert!(begun.elapsed() <= TOTAL_TIMEOUT);
    }
}
