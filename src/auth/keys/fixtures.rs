//! Keys without a server.

#![allow(clippy::unwrap_used, reason = "the keys are valid")]

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::sync::watch;

use super::{Key, KeySet, Keys, State};
use crate::clock::BootTime;

impl Keys {
    /// Returns keys that are never replaced.
    pub(in crate::auth) fn for_test() -> Arc<Self> {
        Arc::new(held(Some("old")).0)
    }

    /// Returns a key that is current.
    pub(in crate::auth) fn any_key(&self) -> Arc<Key> {
        self.state.borrow().key("old").unwrap().unwrap()
    }
}

/// Returns keys without a fetch task, and the sender of their state.
pub(super) fn held(kid: Option<&str>) -> (Keys, watch::Sender<State>) {
    let state = watch::Sender::new(state(kid));
    // Not every test is in a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let task = runtime.spawn(async {}).abort_handle();
    runtime.shutdown_background();
    (Keys { state: state.clone(), fetch_requested: Arc::default(), task }, state)
}

pub(super) fn state(kid: Option<&str>) -> State {
    let now = BootTime::now();
    let good = kid.map(|kid| (set(kid), now));
    State { good, last_attempt: kid.map(|_| now), ..State::default() }
}

pub(super) fn set(kid: &str) -> KeySet {
    KeySet::parse(document(kid).as_bytes()).unwrap()
}

pub(super) fn document(kid: &str) -> String {
    let n = URL_SAFE_NO_PAD.encode([0x81; 256]);
    format!(r#"{{"keys":[{{"kty":"RSA","kid":"{kid}","n":"{n}","e":"AQAB"}}]}}"#)
}
