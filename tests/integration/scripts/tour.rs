use std::time::Duration;

use cognito_lookup::shared_cache::{
    Call, EventKeys, Invalidate, LeaseToken, Look, NewLease, Publish, Put, Release, Renew, Reply, ServerTime,
    StreamEnd, ValueKind,
};

use crate::store::client::list;

pub(super) const KEY: &str = "cl:1:{user}";
pub(super) const TTL: Duration = Duration::from_secs(100);

/// Calls of all scripts for one user and one event, and the status that each returns.
pub(super) fn tour() -> Vec<(Call, &'static str)> {
    let tokens = [(); 3].map(|()| LeaseToken::random());
    let [first, second, third] = &tokens;
    let keys = EventKeys::new("cl");
    vec![
        (lead(first, None), "LEASED"),
        (lead(second, None), "BUSY"),
        (Renew { kind: ValueKind::Profile, token: first, lasts: TTL }.call(KEY), "OK"),
        (put(second, b"late"), "GONE"),
        (put(first, b"sealed"), "OK"),
        (peek(), "VALUE"),
        (Invalidate { erase: false, least_age: Duration::ZERO, ttl: TTL }.call(KEY), ""),
        (peek(), "NOTHING"),
        (lead(second, None), "LEASED"),
        (release(second, Some("reason")), "OK"),
        (lead(third, Some(second)), "FAILED"),
        (lead(third, None), "LEASED"),
        (release(third, None), "OK"),
        (Invalidate { erase: true, least_age: Duration::ZERO, ttl: TTL }.call(KEY), ""),
        (Publish { sealed: b"event", keep: TTL, max_len: 100, needed_for: TTL }.call(&keys), ""),
        (StreamEnd::call(&keys), ""),
    ]
}

/// The status in a reply, or nothing.
pub(super) fn status(reply: Reply) -> String {
    let is_status = |part: &Vec<u8>| !part.is_empty() && part.iter().all(u8::is_ascii_uppercase);
    let status = list(reply).into_iter().find(is_status);
    String::from_utf8(status.unwrap_or_default()).unwrap()
}

pub(super) fn lead(token: &LeaseToken, waited_for: Option<&LeaseToken>) -> Call {
    let lease = Some(NewLease { token, lasts: TTL, ttl: TTL });
    Look { lease, waited_for, ..LOOK }.call(KEY)
}

pub(super) fn peek() -> Call {
    LOOK.call(KEY)
}

pub(super) fn put(token: &LeaseToken, sealed: &[u8]) -> Call {
    Put { kind: ValueKind::Profile, token, sealed, ttl: TTL, absent: false }.call(KEY)
}

fn release(token: &LeaseToken, reason: Option<&str>) -> Call {
    Release { kind: ValueKind::Profile, token, reason, forget: true }.call(KEY)
}

const LOOK: Look<'static> = Look {
    kind: ValueKind::Profile,
    lease: None,
    max_age: Duration::MAX,
    newer_than: ServerTime::ZERO,
    waited_for: None,
};
