use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::Instant,
};

use super::{
    fixtures::{document, held, set, state},
    *,
};
use crate::{clock::tests::suspend, telemetry::metrics::TokenMetrics};

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_requests_no_fetch_in_the_cool_down() {
    let (keys, state) = held(Some("old"));
    fetched(&state, Ok("old"));
    tokio::time::advance(MIN_FETCH_INTERVAL - Duration::from_millis(1)).await;
    let before = Instant::now();
    assert_eq!(rejected(&keys, "new").await, Some(Rejected::KeysUnavailable));
    assert_eq!(before.elapsed(), Duration::ZERO, "it waited");
    assert_eq!(rejected(&keys, "old").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_waits_for_one_fetch_and_is_unavailable_if_it_fails() {
    let unavailable = Some(Rejected::KeysUnavailable);
    for (case, brought, expected) in [
        ("its key", Some(Ok("new")), None),
        ("other keys", Some(Ok("other")), Some(Rejected::Invalid(InvalidReason::Key))),
        ("a failure", Some(Err(())), unavailable),
        ("nothing in time", None, unavailable),
    ] {
        let (keys, state) = held(Some("old"));
        fetched(&state, Ok("old"));
        tokio::time::advance(MIN_FETCH_INTERVAL).await;
        let fetch = async {
            keys.fetch_requested.notified().await;
            if let Some(brought) = brought {
                fetched(&state, brought);
            }
        };
        let (rejected, ()) = tokio::join!(rejected(&keys, "new"), fetch);
        assert_eq!(rejected, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_key_that_cannot_be_used_is_invalid_at_once() {
    let (keys, state) = held(Some("old"));
    let n = URL_SAFE_NO_PAD.encode([0x81; 128]);
    let weak = format!(r#",{{"kty":"RSA","kid":"weak","n":"{n}","e":"AQAB"}}]"#);
    let set = KeySet::parse(document("old").replace(']', &weak).as_bytes()).unwrap();
    state.send_modify(|state| state.record_fetch(Some(set)));
    for _ in 0..2 {
        assert_eq!(rejected(&keys, "weak").await, Some(Rejected::Invalid(InvalidReason::UnusableKey)));
        assert_eq!(rejected(&keys, "old").await, None);
        tokio::time::advance(MIN_FETCH_INTERVAL).await;
    }
    assert_eq!(keys.fetch_requested.notified().now_or_never(), None, "no fetch is requested");
    fetched(&state, Ok("weak"));
    assert_eq!(rejected(&keys, "weak").await, None, "a usable key of this id is published later");
}

/// A failed fetch starts a cool-down too, so a flapping key server may need several.
#[tokio::test(start_paused = true)]
async fn a_new_key_id_is_unavailable_until_the_first_successful_fetch() {
    let (keys, state) = held(Some("old"));
    fetched(&state, Ok("old"));
    for brought in [Err(()), Err(()), Ok("new")] {
        tokio::time::advance(MIN_FETCH_INTERVAL).await;
        let fetch = async {
            keys.fetch_requested.notified().await;
            fetched(&state, brought);
        };
        assert_eq!(rejected(&keys, "old").await, None);
        let (rejected, ()) = tokio::join!(rejected(&keys, "new"), fetch);
        assert_eq!(rejected, brought.err().map(|()| Rejected::KeysUnavailable));
    }
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_the_last_key_set_is_used_for_a_day() {
    let begun = Instant::now();
    let (keys, mut told) = before_nobody(Some("old"));
    told.changed().await.unwrap();
    assert!(told.borrow_and_update().failed);
    assert_eq!(rejected(&keys, "old").await, None);
    told.changed().await.unwrap();
    assert_eq!(rejected(&keys, "old").await, None);
    let left = MAX_KEY_AGE - begun.elapsed();
    tokio::time::advance(left / 2).await;
    assert_eq!(rejected(&keys, "old").await, None);
    suspend(left / 2 + Duration::from_secs(1));
    assert_eq!(rejected(&keys, "old").await, Some(Rejected::KeysUnavailable));
}

#[tokio::test]
async fn a_fetch_that_ends_with_the_keys_brings_none_back() {
    let (keys, state) = held(Some("old"));
    let refresh = refresh(Vec::new(), state);
    refresh.record(Some(set("old")));
    assert_eq!(rejected(&keys, "old").await, None);
    keys.retire();
    refresh.record(Some(set("old")));
    assert_eq!(rejected(&keys, "old").await, Some(Rejected::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_current_until_it_is_withdrawn_or_a_day_old() {
    let (keys, state) = held(Some("old"));
    let old = keys.key("old").await.unwrap();
    for (case, brought, counts) in [
        ("it is fetched again", Ok("old"), true),
        ("a fetch fails", Err(()), true),
        ("it is withdrawn", Ok("other"), false),
        ("it comes back", Ok("old"), false),
    ] {
        fetched(&state, brought);
        assert_eq!(keys.is_current(&old), counts, "{case}");
    }
    let old = keys.key("old").await.unwrap();
    tokio::time::advance(MAX_KEY_AGE - Duration::from_millis(1)).await;
    assert!(keys.is_current(&old));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!keys.is_current(&old), "the set is a day old");
}

#[tokio::test(start_paused = true)]
async fn the_fetch_interval_depends_on_the_last_result() {
    // The timeout of a fetch.
    let longest = Duration::from_secs(3);
    let begun = Instant::now();
    let (_keys, mut told) = before_nobody(Some("old"));
    told.changed().await.unwrap();
    let first = Instant::now();
    assert!((REFRESH_INTERVAL..=REFRESH_INTERVAL + longest).contains(&(first - begun)));
    told.changed().await.unwrap();
    assert!((MIN_FETCH_INTERVAL..=MIN_FETCH_INTERVAL + longest).contains(&first.elapsed()));

    let (_keys, mut told) = before_nobody(None);
    told.changed().await.unwrap();
    let first = Instant::now();
    told.changed().await.unwrap();
    assert!((RETRY_WITHOUT_KEYS..=RETRY_WITHOUT_KEYS + longest).contains(&first.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn requests_in_the_cool_down_cause_no_fetch() {
    let begun = Instant::now();
    let (keys, mut told) = before_nobody(Some("old"));
    let wishing = async {
        loop {
            keys.fetch_requested.notify_one();
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        changed = told.changed() => changed.unwrap(),
        () = wishing => {}
    }
    assert!(begun.elapsed() >= MIN_FETCH_INTERVAL);
}

/// The host of the issuer that a pool does not use answers with 403 (awslabs/aws-jwt-verify#279).
#[tokio::test]
async fn an_issuer_whose_host_refuses_does_not_spoil_the_keys_of_the_other() {
    for is_first_refused in [false, true] {
        let (keys, refusal) = (serve(200, document("old")).await, serve(403, "Forbidden".to_owned()).await);
        let [first, other] = if is_first_refused { [&refusal, &keys] } else { [&keys, &refusal] };
        let (fetched, _) = before(vec![first.url.clone(), other.url.clone()], None);
        timeout(Duration::from_secs(30), fetched.loaded()).await.expect("one of them has the keys");
        assert_eq!(rejected(&fetched, "old").await, None, "the first refuses: {is_first_refused}");
        let refusals = usize::from(is_first_refused);
        assert_eq!(
            (keys.requests(), refusal.requests()),
            (1, refusals),
            "the other is asked only if it must be"
        );
    }
}

#[tokio::test]
async fn the_host_that_had_the_keys_is_asked_first_the_next_time() {
    let (keys, refusal) = (serve(200, document("old")).await, serve(403, "Forbidden".to_owned()).await);
    let urls = vec![refusal.url.clone(), keys.url.clone()];
    let mut refresh = refresh(urls, watch::channel(state(None)).0);
    for _ in 0..3 {
        let (url, fetched) = refresh.fetch().await;
        assert!(url == keys.url && fetched.is_ok());
    }
    assert_eq!((keys.requests(), refusal.requests()), (3, 1));
    refresh.urls = vec![refusal.url.clone(), Uri::from_static("http://127.0.0.1:1/")];
    let (url, failed) = refresh.fetch().await;
    assert!(url == refusal.url && matches!(failed, Err(FetchError::Status(_))), "the first failure counts");
}

/// A server that answers every request with this.
struct Host {
    url: Uri,
    requests: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Host {
    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(status: u16, body: String) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (requests, length) = (Arc::new(AtomicUsize::new(0)), body.len());
    let response =
        format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let counted = Arc::clone(&requests);
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            // The client sends its request at once.
            if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                counted.fetch_add(1, Relaxed);
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "ends with its host")]
    let task = tokio::spawn(serving).abort_handle();
    Host { url, requests, task }
}

/// Returns keys, the published one, and a function that replaces it.
pub(in crate::auth) fn test_keys() -> (Arc<Keys>, Arc<Key>, impl Fn()) {
    let (keys, state) = held(Some("old"));
    let key = keys.any_key();
    (Arc::new(keys), key, move || fetched(&state, Ok("new")))
}

/// Returns keys whose server refuses every connection, and the state of their fetch task.
fn before_nobody(kid: Option<&str>) -> (Keys, watch::Receiver<State>) {
    before(vec![Uri::from_static("http://127.0.0.1:1/")], kid)
}

/// Returns keys that these servers may have, and the state of their fetch task.
fn before(urls: Vec<Uri>, kid: Option<&str>) -> (Keys, watch::Receiver<State>) {
    let (sender, state) = watch::channel(state(kid));
    let keys = sender.clone();
    let refresh = refresh(urls, sender);
    let fetch_requested = Arc::clone(&refresh.fetch_requested);
    #[expect(clippy::disallowed_methods, reason = "ends with its keys")]
    let task = tokio::spawn(refresh.run()).abort_handle();
    (Keys { state: keys, fetch_requested, task }, state)
}

fn refresh(urls: Vec<Uri>, state: watch::Sender<State>) -> RefreshTask {
    let client = crate::outgoing::Outgoing::default().http_client();
    let metrics = TokenMetrics::default().jwks("eu-west-1_A");
    RefreshTask { client, metrics, urls, state, fetch_requested: Arc::default() }
}

fn fetched(state: &watch::Sender<State>, brought: Result<&str, ()>) {
    state.send_modify(|state| state.record_fetch(brought.ok().map(set)));
}

async fn rejected(keys: &Keys, id: &str) -> Option<Rejected> {
    keys.key(id).await.err()
}
