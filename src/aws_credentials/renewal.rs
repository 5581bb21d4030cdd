//! Searches for something that AWS credentials sign with, and searches again before it ends.

use std::{sync::Arc, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// A search that is repeated.
pub trait Search: Send + Sync + 'static {
    /// What it finds.
    type Found: Send;
    /// Why it found nothing.
    type Error: From<CredentialsError> + Send;

    /// Searches once. It creates every provider again, so that all files are read again.
    fn search(&self) -> impl Future<Output = Result<Self::Found, Self::Error>> + Send;

    /// Returns when to search again.
    fn renew_in(&self, found: &Self::Found) -> Duration;

    /// Puts the result to use. Old credentials should stay in use after an error, as AWS may have
    /// extended them.
    fn publish(&self, result: Result<Self::Found, Self::Error>);
}

/// Runs searches of up to 30 s until it is dropped. It repeats one when it is time, or when `renewal`
/// is notified, but at most one in 5 s; and one that found nothing after 0.5 s, doubling to 30 s.
pub async fn keep_renewed(search: impl Search, renewal: Arc<Notify>) {
    let mut wait = FIRST_WAIT;
    loop {
        // Boxed, because the futures of the SDK are large.
        let searched = timeout(SEARCH_TIMEOUT, Box::pin(search.search())).await;
        let result =
            searched.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(SEARCH_TIMEOUT).into()));
        let renew_in = result.as_ref().ok().map(|found| search.renew_in(found));
        search.publish(result);
        match renew_in {
            Some(renew_in) => {
                wait = FIRST_WAIT;
                sleep(MIN_INTERVAL).await;
                // Either is a reason to renew.
                drop(timeout(renew_in.saturating_sub(MIN_INTERVAL), renewal.notified()).await);
            }
            None => {
                sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        }
    }
}

// A process that asks for credentials may itself call AWS several times.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);
// The credential endpoints of containers and instances may answer late while a machine starts.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(5);
