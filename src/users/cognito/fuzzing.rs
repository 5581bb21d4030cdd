//! The targets `admin_get_user` and `list_users`: answers of Cognito, through the SDK.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Runtime};

use super::{
    Cognito, RateLimiter,
    fixtures::Reply,
    response::{as_listed, linked, user},
};
use crate::{
    config::BudgetSettings,
    oracle::Json,
    pool::Pool,
    telemetry::metrics::upstream::UpstreamMetrics,
    user::{Sub, User, UserStatus},
};

/// A user that is read from an answer of `AdminGetUser` is the one looked up: all that is read is in
/// the answer, which names no other `sub`.
pub(crate) fn admin_get_user(input: &[u8]) {
    let Ok(body) = str::from_utf8(input) else { return };
    let found = LAB.with(|lab| {
        lab.answer(body);
        let call = lab.cognito.client.admin_get_user().user_pool_id("eu-west-1_A").username(SUB).send();
        let output = lab.runtime.block_on(call).ok()?;
        user(as_listed(output), &sub()).ok()
    });
    if let Some(found) = found
        && let Some(answer) = second_reading(body)
    {
        check(&found, &answer, "UserAttributes");
    }
}

/// A user that is chosen from an answer of `ListUsers` is one of the list. No entry has another `sub`,
/// and an entry of an external provider is chosen only if there is no other.
pub(crate) fn list_users(input: &[u8]) {
    let Ok(body) = str::from_utf8(input) else { return };
    let found = LAB.with(|lab| {
        lab.answer(body);
        let call = lab.cognito.client.list_users().user_pool_id("eu-west-1_A").send();
        let records = lab.runtime.block_on(call).ok()?.users?.into_iter();
        let entries: Result<Vec<_>, _> = records.map(|record| user(record, &sub())).collect();
        linked(entries.ok()?).ok().flatten()
    });
    let Some(found) = found else { return };
    let Some(answer) = second_reading(body) else { return };
    let entries = answer.member("Users").unwrap().items().iter().filter(|entry| **entry != Json::Null);
    let entries: Vec<_> = entries.collect();
    assert!(entries.iter().any(|entry| is_named(entry, &found)), "no such entry");
    for entry in &entries {
        assert_eq!(subs(entry, "Attributes"), [SUB], "another user's entry");
        let is_local = entry.text("UserStatus") != Some("EXTERNAL_PROVIDER");
        assert!(!is_local || found.status != UserStatus::ExternalProvider, "the local user is not chosen");
    }
    if let [entry] = entries.as_slice() {
        check(&found, entry, "Attributes");
    }
}

/// Parses the answer strictly; none if it is not JSON. The SDK also accepts `NaN` and `Infinity`, and
/// control characters in strings; panics if it accepted a body with none of these that is not JSON.
fn second_reading(body: &str) -> Option<Json> {
    let has_word = ["NaN", "Infinity"].iter().any(|word| body.contains(word));
    let answer = Json::parse(body.as_bytes());
    assert!(
        answer.is_some() || has_word || body.bytes().any(|byte| byte < b' '),
        "the SDK accepted what is not JSON"
    );
    answer
}

fn check(found: &User, record: &Json, list: &str) {
    assert_eq!((found.sub.as_str(), subs(record, list)), (SUB, vec![SUB]));
    assert!(is_named(record, found), "another username");
    if let Some(Json::Bool(enabled)) = record.member("Enabled") {
        assert_eq!(found.enabled, *enabled);
    }
    let attributes = record.member(list).unwrap().items();
    for (name, value) in found.attributes.iter() {
        let is_it = |attribute: &&Json| attribute.member("Name").and_then(scalar).as_deref() == Some(name);
        let values = attributes.iter().filter(is_it).filter_map(|attribute| attribute.member("Value"));
        // A list or an object is kept as it is written.
        let is_structure = value.starts_with(['[', '{']);
        let mut values = values.map(|own| scalar(own).unwrap_or_default());
        assert!(is_structure || values.any(|own| own == value), "{name} has another value");
    }
}

/// Returns the different `sub`s of a user, as texts.
fn subs<'a>(record: &'a Json, list: &str) -> Vec<&'a str> {
    let attributes = record.member(list).map_or(&[][..], Json::items).iter();
    let mut subs: Vec<_> = attributes
        .filter(|attribute| attribute.text("Name") == Some("sub"))
        .filter_map(|attribute| attribute.text("Value"))
        .collect();
    subs.sort_unstable();
    subs.dedup();
    subs
}

fn is_named(record: &Json, found: &User) -> bool {
    record.member("Username").and_then(scalar).as_deref() == Some(found.username.as_str())
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) | Json::Number(text) => Some(text.clone()),
        Json::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn sub() -> Sub {
    SUB.parse().unwrap()
}

/// A client of Cognito on an in-memory network, where every call gets the body that was set last.
struct Lab {
    runtime: Runtime,
    cognito: Cognito,
    body: Arc<Mutex<String>>,
}

impl Lab {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let body = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&body);
        let reply = move || Reply::Answer(200, told.lock().unwrap().clone());
        let peer: super::fixtures::Peer = Arc::new(move |_| std::future::ready(reply()).boxed());
        let metrics = UpstreamMetrics::default();
        let limiter = Arc::new(RateLimiter::new(&BudgetSettings::default(), &metrics));
        let entered = runtime.enter();
        let cognito = Cognito::before(&peer, Pool::for_test("eu-west-1_A"), limiter);
        drop(entered);
        Self { runtime, cognito, body }
    }

    fn answer(&self, body: &str) {
        body.clone_into(&mut self.body.lock().unwrap());
    }
}

thread_local! {
    static LAB: Lab = Lab::new();
}

const SUB: &str = "ada00000-5a4d-4b0c-8000-000000000001";
