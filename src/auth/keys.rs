//! A pool's signing keys. An unknown key id causes at most one fetch in 10 s; a known one never
//! waits. One task a pool fetches, so a request can neither start a second fetch nor cancel one.

mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
mod fixtures;
mod set;

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

pub(super) use self::set::Key;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::set::fuzzing::key_set;
use self::{
    fetch::{FetchError, fetch},
    set::KeySet,
};
use super::{InvalidReason, Rejected};
use crate::{
    clock::BootTime,
    outgoing::HttpClient,
    pool::Pool,
    telemetry::metrics::{JwksFetchOutcome, JwksMetrics},
};

/// The keys of one pool. Dropping it ends the task that fetches them.
#[derive(Debug)]
pub(super) struct Keys {
    state: watch::Sender<State>,
    fetch_requested: Arc<Notify>,
    task: AbortHandle,
}

impl Keys {
    /// Starts the task that fetches the keys of `pool` with `client`, now and every 10 min. Until then
    /// those of `previous` are used, if it is of the same URL.
    pub(super) fn start(
        pool: &Pool,
        metrics: JwksMetrics,
        client: HttpClient,
        previous: Option<&Self>,
    ) -> Self {
        let previous = previous.map(|keys| keys.state.borrow().clone()).filter(|state| !state.is_retired);
        let state = watch::Sender::new(previous.unwrap_or_default());
        let fetch_requested = Arc::new(Notify::new());
        let refresh = RefreshTask {
            client,
            metrics,
            urls: [pool.jwks_url.clone()].into_iter().chain(pool.other_jwks_url.clone()).collect(),
            state: state.clone(),
            fetch_requested: Arc::clone(&fetch_requested),
        };
        // Not joined: it ends with `Keys`. After a panic the keys are used for their time.
        #[expect(clippy::disallowed_methods, reason = "this is the owner of the key task")]
        let task = tokio::spawn(refresh.run()).abort_handle();
        Self { state, fetch_requested, task }
    }

    /// Returns the key with this id. If it is unknown and the last fetch ended more than 10 s ago,
    /// waits up to 1.5 s for a fetch. An id that is unknown after a successful fetch is invalid;
    /// after a failed one it may be new, so the keys are unavailable. The id of a published key that
    /// cannot be used is invalid. Cancel safe.
    pub(super) async fn key(&self, id: &str) -> Result<Arc<Key>, Rejected> {
        let mut state = self.state.subscribe();
        if let Some(known) = state.borrow_and_update().key(id) {
            return known;
        }
        if state.borrow().is_in_cool_down() {
            return state.borrow().key(id).unwrap_or(Err(Rejected::KeysUnavailable));
        }
        self.fetch_requested.notify_one();
        let fetched = timeout(UNKNOWN_KEY_WAIT, state.changed()).await;
        let state = state.borrow();
        match state.key(id) {
            Some(known) => known,
            None if !matches!(fetched, Ok(Ok(()))) || state.failed => Err(Rejected::KeysUnavailable),
            None => Err(Rejected::Invalid(InvalidReason::Key)),
        }
    }

    /// Returns whether the pool still publishes `key`, by the last good fetch within 24 h.
    pub(super) fn is_current(&self, key: &Arc<Key>) -> bool {
        self.state.borrow().current().is_some_and(|set| set.contains(key))
    }

    /// Forgets all keys, for good. No token that they verified is valid any more.
    pub(super) fn retire(&self) {
        self.task.abort();
        // A fetch that ends at this moment must not bring them back: the task ends at its next wait only.
        self.state.send_replace(State { is_retired: true, ..State::default() });
    }

    /// Waits until there are keys.
    pub(super) async fn loaded(&self) {
        let mut state = self.state.subscribe();
        // It cannot close, because this is its sender.
        let _keys = state.wait_for(|state| state.current().is_some()).await;
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The results of the last fetches.
#[derive(Clone, Debug, Default)]
struct State {
    /// The last key set, and when it was fetched.
    good: Option<(KeySet, BootTime)>,
    /// When the last fetch ended, successful or not.
    last_attempt: Option<BootTime>,
    failed: bool,
    /// Whether no key may be held any more.
    is_retired: bool,
}

impl State {
    fn current(&self) -> Option<&KeySet> {
        self.good.as_ref().filter(|(_, fetched)| fetched.elapsed() < MAX_KEY_AGE).map(|(set, _)| set)
    }

    /// Returns the key with this id, or why it cannot be used; none if the id is unknown.
    fn key(&self, id: &str) -> Option<Result<Arc<Key>, Rejected>> {
        let set = self.current()?;
        let unusable = || set.has_unusable(id).then_some(Err(Rejected::Invalid(InvalidReason::UnusableKey)));
        set.key(id).map(Ok).or_else(unusable)
    }

    fn is_in_cool_down(&self) -> bool {
        self.last_attempt.is_some_and(|last_attempt| last_attempt.elapsed() < MIN_FETCH_INTERVAL)
    }

    /// Records a fetch that ended now, and its key set, if it was successful.
    fn record_fetch(&mut self, fetched: Option<KeySet>) {
        let now = BootTime::now();
        (self.last_attempt, self.failed) = (Some(now), fetched.is_none());
        if let Some(set) = fetched {
            let previous = self.good.take().map(|(previous, _)| previous);
            self.good = Some((set.keeping_keys_of(previous.as_ref()), now));
        }
    }

    fn next_fetch(&self) -> BootTime {
        let wait = match (self.current(), self.failed) {
            (None, _) => RETRY_WITHOUT_KEYS,
            (Some(_), true) => MIN_FETCH_INTERVAL,
            (Some(_), false) => REFRESH_INTERVAL,
        };
        self.last_attempt.map_or_else(BootTime::now, |last_attempt| last_attempt + wait)
    }
}

/// The task that fetches at intervals, and earlier if a request names an unknown key.
struct RefreshTask {
    client: HttpClient,
    metrics: JwksMetrics,
    /// Where the keys may be; the one that had them last comes first.
    urls: Vec<Uri>,
    state: watch::Sender<State>,
    fetch_requested: Arc<Notify>,
}

impl RefreshTask {
    async fn run(mut self) {
        loop {
            self.wait_until_due().await;
            let (url, fetched) = self.fetch().await;
            match &fetched {
                Ok(set) => {
                    info!(jwks.url = %url, keys = set.len(), "signing keys fetched");
                    self.metrics.set_keys(set.len());
                }
                // One warning an outage, because the attempts may be many.
                Err(error) if self.state.borrow().failed => {
                    debug!(jwks.url = %url, %error, "signing keys still could not be fetched")
                }
                Err(error) => warn!(jwks.url = %url, %error, "signing keys could not be fetched"),
            }
            self.metrics
                .fetch_ended(fetched.as_ref().map_or_else(FetchError::outcome, |_| JwksFetchOutcome::Ok));
            self.record(fetched.ok());
        }
    }

    fn record(&self, fetched: Option<KeySet>) {
        self.state.send_if_modified(|state| {
            if !state.is_retired {
                state.record_fetch(fetched);
            }
            !state.is_retired
        });
    }

    /// Fetches the keys from the first URL that has them. If none has, the first failure counts.
    async fn fetch(&mut self) -> (Uri, Result<KeySet, FetchError>) {
        let mut failure = None;
        for (n, url) in self.urls.iter().enumerate() {
            match fetch(&self.client, url).await.and_then(|body| Ok(KeySet::parse(&body)?)) {
                Ok(set) => {
                    let url = url.clone();
                    self.urls.rotate_left(n);
                    return (url, Ok(set));
                }
                Err(error) => {
                    failure.get_or_insert((url.clone(), Err(error)));
                }
            }
        }
        failure.unwrap_or_else(|| (Uri::default(), Err(FetchError::TimedOut)))
    }

    async fn wait_until_due(&self) {
        let next = self.state.borrow().next_fetch();
        loop {
            let left = next - BootTime::now();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                // Briefly, because a timer stands still while the machine sleeps.
                () = sleep(left.min(MIN_FETCH_INTERVAL)) => continue,
                () = self.fetch_requested.notified() => {}
            }
            // A request that arrived during the last fetch already has its result.
            if !self.state.borrow().is_in_cool_down() {
                return;
            }
        }
    }
}

// An unknown key id causes at most one fetch in this time, as in the penalty box of aws-jwt-verify.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
// Less than the deadline of 2 s that clients should have, so that they get the reason and not a
// timeout.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_millis(1500);
// Short, because no token can be verified without keys.
const RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(1);
// The time after which a key that Cognito withdrew is refused at the latest.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
// How long the last key set is used while its server is down.
const MAX_KEY_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
pub(super) use self::tests::test_keys;

#[cfg(test)]
mod tests;
