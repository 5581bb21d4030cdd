//! A pool's signing keys: known ones without waiting, unknown ones after at most one fetch per 10 s.
//! One task a pool owns every fetch, so no request can start two or cancel one.

mod fetch;
mod set;

use std::{sync::Arc, time::Duration};

use http::Uri;
use jsonwebtoken::DecodingKey;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::fetch::Fetcher;
pub(super) use self::fetch::FetcherError;
use self::set::KeySet;
use super::{Fault, Rejected};
use crate::pool::Pool;

/// The keys of one pool. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Keys {
    state: watch::Receiver<State>,
    wanted: Arc<Notify>,
    task: AbortHandle,
}

impl Keys {
    /// Starts to fetch, and to fetch again, the keys that `pool` publishes. Fails only where HTTPS cannot be spoken.
    pub(super) fn start(pool: &Pool) -> Result<Self, FetcherError> {
        let (sender, state) = watch::channel(State::default());
        let wanted = Arc::new(Notify::new());
        let refresh = Refresh {
            fetcher: Fetcher::new(&pool.jwks_url)?,
            url: pool.jwks_url.clone(),
            state: sender,
            wanted: Arc::clone(&wanted),
        };
        // Never joined: it ends with `Keys`, and a panic in it ends the channel, which reads as keys unavailable.
        #[expect(clippy::disallowed_methods, reason = "this is the owner of the key task")]
        let task = tokio::spawn(refresh.run()).abort_handle();
        Ok(Self { state, wanted, task })
    }

    /// Returns the key named `id`. If it is unknown and no fetch was tried in the last 10 s, waits for one, at most 2 s.
    /// Unknown after that it is no key of this pool; unknown without that it may be a new one, and nobody is to be
    /// logged out over it. Cancel safe: a caller that leaves changes nothing.
    pub(super) async fn key(&self, id: &str) -> Result<Arc<DecodingKey>, Rejected> {
        let mut state = self.state.clone();
        if let Some(key) = state.borrow_and_update().key(id) {
            return Ok(key);
        }
        if state.borrow().tried.is_some_and(|tried| tried.elapsed() < COOL_DOWN) {
            return state.borrow().key(id).ok_or(Rejected::KeysUnavailable);
        }
        self.wanted.notify_one();
        let fetched = timeout(PATIENCE, state.changed()).await;
        let state = state.borrow();
        match state.key(id) {
            Some(key) => Ok(key),
            None if !matches!(fetched, Ok(Ok(()))) || state.failed => Err(Rejected::KeysUnavailable),
            None => Err(Rejected::Invalid(Fault::Key)),
        }
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
    good: Option<(Arc<KeySet>, Instant)>,
    /// When the last fetch ended, well or not.
    tried: Option<Instant>,
    /// Whether it failed.
    failed: bool,
}

impl State {
    fn current(&self) -> Option<&KeySet> {
        self.good.as_ref().filter(|(_, fetched)| fetched.elapsed() < MAX_AGE).map(|(set, _)| &**set)
    }

    fn key(&self, id: &str) -> Option<Arc<DecodingKey>> {
        self.current()?.key(id)
    }

    fn next_fetch(&self) -> Instant {
        let wait = match (self.current(), self.failed) {
            (None, _) => FIRST_RETRY,
            (Some(_), true) => COOL_DOWN,
            (Some(_), false) => REFRESH,
        };
        self.tried.map_or_else(Instant::now, |tried| tried + wait)
    }
}

/// The task: fetches when it is time, or when an unknown key was asked for after the cool-down.
struct Refresh {
    fetcher: Fetcher,
    url: Uri,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
}

impl Refresh {
    async fn run(self) {
        loop {
            self.due().await;
            let fetched = self.fetcher.fetch(&self.url).await.and_then(|body| Ok(KeySet::parse(&body)?));
            match &fetched {
                Ok(set) => info!(jwks.url = %self.url, keys = set.len(), "signing keys fetched"),
                // Once an outage, for the tries may be many.
                Err(error) if self.state.borrow().failed => {
                    debug!(jwks.url = %self.url, %error, "still no signing keys")
                }
                Err(error) => warn!(jwks.url = %self.url, %error, "signing keys could not be fetched"),
            }
            let now = Instant::now();
            self.state.send_modify(|state| {
                state.tried = Some(now);
                state.failed = fetched.is_err();
                if let Ok(set) = fetched {
                    state.good = Some((Arc::new(set), now));
                }
            });
        }
    }

    async fn due(&self) {
        let next = self.state.borrow().next_fetch();
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                () = self.wanted.notified() => {}
            }
            // A wish that was made while the last fetch was under way has been answered by it.
            if self.state.borrow().tried.is_none_or(|tried| tried.elapsed() >= COOL_DOWN) {
                return;
            }
        }
    }
}

// An unknown key id causes at most one fetch in this time (aws-jwt-verify's penalty box holds as long).
const COOL_DOWN: Duration = Duration::from_secs(10);
// Less than a caller waits by default, so that it is told what is missing.
const PATIENCE: Duration = Duration::from_secs(2);
// While there are no keys nobody is served, so the return of the key server is looked for often.
const FIRST_RETRY: Duration = Duration::from_secs(1);
// A key that Cognito withdrew is refused at the latest after this time.
const REFRESH: Duration = Duration::from_secs(10 * 60);
// The last good set outlives an outage, but not for ever.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_in_the_cool_down_is_no_wish_for_a_fetch() {
        let (keys, state) = held(Some("old"));
        fetched(&state, Ok("old"));
        tokio::time::advance(COOL_DOWN - Duration::from_millis(1)).await;
        let before = Instant::now();
        assert_eq!(rejected(&keys, "new").await, Some(Rejected::KeysUnavailable));
        assert_eq!(before.elapsed(), Duration::ZERO, "it waited");
        assert_eq!(rejected(&keys, "old").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_waits_for_one_fetch_and_a_failed_one_says_nothing_about_it() {
        let unavailable = Some(Rejected::KeysUnavailable);
        for (case, brought, expected) in [
            ("its key", Some(Ok("new")), None),
            ("other keys", Some(Ok("other")), Some(Rejected::Invalid(Fault::Key))),
            ("a failure", Some(Err(())), unavailable),
            ("nothing in time", None, unavailable),
        ] {
            let (keys, state) = held(Some("old"));
            fetched(&state, Ok("old"));
            tokio::time::advance(COOL_DOWN).await;
            let fetch = async {
                keys.wanted.notified().await;
                if let Some(brought) = brought {
                    fetched(&state, brought);
                }
            };
            let (rejected, ()) = tokio::join!(rejected(&keys, "new"), fetch);
            assert_eq!(rejected, expected, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_set_outlives_an_outage_for_a_day() {
        let begun = Instant::now();
        let (keys, mut told) = before_nobody(Some("old"));
        told.changed().await.unwrap();
        assert!(told.borrow_and_update().failed);
        assert_eq!(rejected(&keys, "old").await, None);
        told.changed().await.unwrap();
        assert_eq!(rejected(&keys, "old").await, None);
        tokio::time::advance(MAX_AGE - begun.elapsed()).await;
        assert_eq!(rejected(&keys, "old").await, Some(Rejected::KeysUnavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn fetches_are_as_far_apart_as_what_is_held_allows() {
        // The time a fetch takes is at most its own limit.
        let longest = Duration::from_secs(3);
        let begun = Instant::now();
        let (_keys, mut told) = before_nobody(Some("old"));
        told.changed().await.unwrap();
        let first = Instant::now();
        assert!((REFRESH..=REFRESH + longest).contains(&(first - begun)));
        told.changed().await.unwrap();
        assert!((COOL_DOWN..=COOL_DOWN + longest).contains(&first.elapsed()));

        let (_keys, mut told) = before_nobody(None);
        told.changed().await.unwrap();
        let first = Instant::now();
        told.changed().await.unwrap();
        assert!((FIRST_RETRY..=FIRST_RETRY + longest).contains(&first.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn wishes_in_the_cool_down_are_not_granted() {
        let begun = Instant::now();
        let (keys, mut told) = before_nobody(Some("old"));
        let wishing = async {
            loop {
                keys.wanted.notify_one();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            changed = told.changed() => changed.unwrap(),
            () = wishing => {}
        }
        assert!(begun.elapsed() >= COOL_DOWN);
    }

    /// Keys that no task fetches, and the hand that changes them.
    fn held(kid: Option<&str>) -> (Keys, watch::Sender<State>) {
        let (sender, state) = watch::channel(state(kid));
        #[expect(clippy::disallowed_methods, reason = "it ends at once")]
        let task = tokio::spawn(async {}).abort_handle();
        (Keys { state, wanted: Arc::default(), task }, sender)
    }

    /// Keys whose server refuses every connection, and what their task tells.
    fn before_nobody(kid: Option<&str>) -> (Keys, watch::Receiver<State>) {
        let url = Uri::from_static("http://127.0.0.1:1/");
        let (sender, state) = watch::channel(state(kid));
        let wanted = Arc::new(Notify::new());
        let fetcher = Fetcher::new(&url).unwrap();
        let refresh = Refresh { fetcher, url, state: sender, wanted: Arc::clone(&wanted) };
        #[expect(clippy::disallowed_methods, reason = "ends with its keys")]
        let task = tokio::spawn(refresh.run()).abort_handle();
        (Keys { state: state.clone(), wanted, task }, state)
    }

    fn state(kid: Option<&str>) -> State {
        let now = Instant::now();
        State { good: kid.map(|kid| (set(kid), now)), tried: kid.map(|_| now), failed: false }
    }

    fn fetched(state: &watch::Sender<State>, brought: Result<&str, ()>) {
        state.send_modify(|state| {
            state.tried = Some(Instant::now());
            state.failed = brought.is_err();
            if let Ok(kid) = brought {
                state.good = Some((set(kid), Instant::now()));
            }
        });
    }

    fn set(kid: &str) -> Arc<KeySet> {
        let n = URL_SAFE_NO_PAD.encode([0x81; 256]);
        let document = format!(r#"{{"keys":[{{"kty":"RSA","kid":"{kid}","n":"{n}","e":"AQAB"}}]}}"#);
        Arc::new(KeySet::parse(document.as_bytes()).unwrap())
    }

    async fn rejected(keys: &Keys, id: &str) -> Option<Rejected> {
        keys.key(id).await.err()
    }
}
