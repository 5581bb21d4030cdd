//! A pool's signing keys: known ones without waiting, unknown ones after at most one fetch per 10 s.
//! One task a pool owns every fetch, so no request can start two or cancel one.

mod fetch;
mod set;

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

pub(super) use self::{fetch::FetcherError, set::Key};
use self::{
    fetch::{FetchError, Fetcher},
    set::KeySet,
};
use super::{InvalidReason, Rejected};
use crate::{
    pool::Pool,
    telemetry::metrics::{JwksFetchOutcome, JwksMetrics},
};

/// The keys of one pool. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Keys {
    state: watch::Receiver<State>,
    fetch_requested: Arc<Notify>,
    task: AbortHandle,
}

impl Keys {
    /// Starts to fetch, and to fetch again, the keys that `pool` publishes. Fails only where HTTPS cannot be spoken.
    pub(super) fn start(pool: &Pool, metrics: JwksMetrics) -> Result<Self, FetcherError> {
        let (sender, state) = watch::channel(State::default());
        let fetch_requested = Arc::new(Notify::new());
        let refresh = RefreshTask {
            fetcher: Fetcher::new(&pool.jwks_url)?,
            metrics,
            url: pool.jwks_url.clone(),
            state: sender,
            fetch_requested: Arc::clone(&fetch_requested),
        };
        // Never joined: it ends with `Keys`, and a panic in it ends the channel, which reads as keys unavailable.
        #[expect(clippy::disallowed_methods, reason = "this is the owner of the key task")]
        let task = tokio::spawn(refresh.run()).abort_handle();
        Ok(Self { state, fetch_requested, task })
    }

    /// Returns the key named `id`. If it is unknown and no fetch was last_attempt in the last 10 s, waits for one, at most 2 s.
    /// Unknown after that it is no key of this pool; unknown without that it may be a new one, and nobody is to be
    /// logged out over it. Cancel safe: a caller that leaves changes nothing.
    pub(super) async fn key(&self, id: &str) -> Result<Arc<Key>, Rejected> {
        let mut state = self.state.clone();
        if let Some(key) = state.borrow_and_update().key(id) {
            return Ok(key);
        }
        if state.borrow().last_attempt.is_some_and(|last_attempt| last_attempt.elapsed() < MIN_FETCH_INTERVAL)
        {
            return state.borrow().key(id).ok_or(Rejected::KeysUnavailable);
        }
        self.fetch_requested.notify_one();
        let fetched = timeout(UNKNOWN_KEY_WAIT, state.changed()).await;
        let state = state.borrow();
        match state.key(id) {
            Some(key) => Ok(key),
            None if !matches!(fetched, Ok(Ok(()))) || state.failed => Err(Rejected::KeysUnavailable),
            None => Err(Rejected::Invalid(InvalidReason::Key)),
        }
    }

    /// Returns true if and only if `key` is still one of this pool's: not withdrawn, not replaced under its name, and
    /// fetched within the last 24 h.
    pub(super) fn is_current(&self, key: &Arc<Key>) -> bool {
        self.state.borrow().current().is_some_and(|set| set.contains(key))
    }

    /// Returns when there are keys; at once if there are.
    pub(super) async fn loaded(&self) {
        // An error means that the task is gone, and then there will be no keys.
        if self.state.clone().wait_for(|state| state.current().is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the last fetches brought.
#[derive(Debug, Default)]
struct State {
    /// The last good set and when it was fetched.
    good: Option<(KeySet, Instant)>,
    /// When the last fetch ended, well or not.
    last_attempt: Option<Instant>,
    /// Whether it failed.
    failed: bool,
}

impl State {
    fn current(&self) -> Option<&KeySet> {
        self.good.as_ref().filter(|(_, fetched)| fetched.elapsed() < MAX_KEY_AGE).map(|(set, _)| set)
    }

    fn key(&self, id: &str) -> Option<Arc<Key>> {
        self.current()?.key(id)
    }

    /// Notes that a fetch ended now, and the set that it brought, if it did.
    fn record_fetch(&mut self, fetched: Option<KeySet>) {
        let now = Instant::now();
        (self.last_attempt, self.failed) = (Some(now), fetched.is_none());
        if let Some(set) = fetched {
            let previous = self.good.take().map(|(previous, _)| previous);
            self.good = Some((set.keeping_keys_of(previous.as_ref()), now));
        }
    }

    fn next_fetch(&self) -> Instant {
        let wait = match (self.current(), self.failed) {
            (None, _) => RETRY_WITHOUT_KEYS,
            (Some(_), true) => MIN_FETCH_INTERVAL,
            (Some(_), false) => REFRESH_INTERVAL,
        };
        self.last_attempt.map_or_else(Instant::now, |last_attempt| last_attempt + wait)
    }
}

/// The task: fetches when it is time, or when an unknown key was asked for after the cool-down.
struct RefreshTask {
    fetcher: Fetcher,
    metrics: JwksMetrics,
    url: Uri,
    state: watch::Sender<State>,
    fetch_requested: Arc<Notify>,
}

impl RefreshTask {
    async fn run(self) {
        loop {
            self.wait_until_due().await;
            let fetched = self.fetcher.fetch(&self.url).await.and_then(|body| Ok(KeySet::parse(&body)?));
            match &fetched {
                Ok(set) => info!(jwks.url = %self.url, keys = set.len(), "signing keys fetched"),
                // Once an outage, for the tries may be many.
                Err(error) if self.state.borrow().failed => {
                    debug!(jwks.url = %self.url, %error, "still no signing keys")
                }
                Err(error) => warn!(jwks.url = %self.url, %error, "signing keys could not be fetched"),
            }
            self.metrics
                .fetch_ended(fetched.as_ref().map_or_else(FetchError::outcome, |_| JwksFetchOutcome::Ok));
            self.state.send_modify(|state| state.record_fetch(fetched.ok()));
        }
    }

    async fn wait_until_due(&self) {
        let next = self.state.borrow().next_fetch();
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                () = self.fetch_requested.notified() => {}
            }
            // A wish that was made while the last fetch was under way has been answered by it.
            if self
                .state
                .borrow()
                .last_attempt
                .is_none_or(|last_attempt| last_attempt.elapsed() >= MIN_FETCH_INTERVAL)
            {
                return;
            }
        }
    }
}

// An unknown key id causes at most one fetch in this time (aws-jwt-verify's penalty box holds as long).
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
// Less than a caller waits by default, so that it is told what is missing.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(2);
// While there are no keys nobody is served, so the return of the key server is looked for often.
const RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(1);
// A key that Cognito withdrew is refused at the latest after this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
// The last good set outlives an outage, but not for ever.
const MAX_KEY_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
pub(super) use self::tests::{test_key, test_keys};

#[cfg(test)]
mod tests;
