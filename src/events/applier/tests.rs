//! Any order and any repetition of messages ends in the same state.

use std::{env, iter, time::UNIX_EPOCH};

use fastrand::Rng;
use humantime::format_rfc3339_millis;
use serde_json::json;

use super::*;
use crate::{
    config::RevocationSettings,
    pool::PoolId,
    users::{EntryState, test_pool},
};

/// A message about a user, by how long after the fetches' time base it happened.
#[derive(Clone, Debug)]
struct Sent {
    user: usize,
    change: &'static str,
    at: i64,
    is_garbled: bool,
}

#[tokio::test]
async fn any_order_and_repetition_ends_in_the_same_state() {
    #[expect(clippy::disallowed_methods, reason = "an option of tests, no setting of the service")]
    let sets = env::var("EVENT_SETS").ok().and_then(|sets| sets.parse().ok()).unwrap_or(1_000);
    let mut seen = [0; 3];
    for seed in 0..sets {
        let (mut rng, base) = (Rng::with_seed(seed), SystemTime::now());
        let began: Vec<i64> = iter::repeat_with(|| rng.i64(-60..=0)).take(3).collect();
        let count = rng.usize(1..10);
        let messages: Vec<_> = iter::repeat_with(|| message(&mut rng)).take(count).collect();
        let mut shuffled: Vec<_> = messages.iter().chain(&messages).cloned().collect();
        rng.shuffle(&mut shuffled);
        let expected: Vec<_> = (0..3).map(|user| expected(user, began[user], &messages)).collect();
        for order in [messages, shuffled] {
            assert_eq!(states(base, &began, &order).await, expected, "seed {seed}: {began:?}, {order:#?}");
        }
        for state in expected {
            seen[usize::from(state == EntryState::Stale)
                + 2 * usize::from(state == EntryState::NotCached)] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "fresh, stale and not cached: {seen:?}");
}

/// The times are in seconds and a half, so that no fetch begins at the limit.
fn message(rng: &mut Rng) -> Sent {
    let changes = ["ATTRIBUTES", "GROUPS", "STATUS", "SIGNED_OUT", "DISABLED", "ERASED", "ATTRIBUTES"];
    let change = rng.choice(changes).unwrap_or("ATTRIBUTES");
    Sent { user: rng.usize(0..3), change, at: rng.i64(-70..=-10), is_garbled: rng.u8(0..8) == 0 }
}

/// What the state of a user must be, whatever the order: a fetch from before the change, its rounding
/// and the skew does not count.
fn expected(user: usize, began: i64, messages: &[Sent]) -> EntryState {
    let of_user = messages.iter().filter(|message| message.user == user && !message.is_garbled);
    let invalidations = of_user.filter(|message| message.change == "ERASED" || began <= message.at + 3);
    invalidations.fold(EntryState::Fresh, |state, message| match (message.change, state) {
        ("ERASED" | "DISABLED", _) => EntryState::NotCached,
        ("SIGNED_OUT", state) | (_, state @ EntryState::NotCached) => state,
        _ => EntryState::Stale,
    })
}

async fn states(base: SystemTime, began: &[i64], messages: &[Sent]) -> Vec<EntryState> {
    let pool = Arc::new(test_pool(BareSubLookup::AdminGetUser));
    let subs: Vec<Sub> = (0..began.len()).map(|user| format!("user-{user}").parse().unwrap()).collect();
    let cached: Vec<_> = subs.iter().cloned().zip(began.iter().map(|began| moved(base, *began))).collect();
    let users = Users::with_cached(&pool.id, &cached);
    let applier = applier(&users, pool);
    for message in messages {
        let body = body(base, &applier.pool_id(), message);
        assert_eq!(applier.handle(&body, 1).await, !message.is_garbled);
    }
    subs.iter().map(|sub| users.state_of(&applier.pool_id(), sub)).collect()
}

fn body(base: SystemTime, pool: &PoolId, message: &Sent) -> String {
    let time = moved(base, message.at) + Duration::from_millis(500);
    let detail = json!({
        "userPoolId": pool.as_str(), "sub": format!("user-{}", message.user),
        "change": message.change, "time": format_rfc3339_millis(time).to_string(),
    });
    let text = json!({"detail-type": "User Change", "detail": detail}).to_string();
    if message.is_garbled { text.chars().take(text.len() / 2).collect() } else { text }
}

fn moved(base: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { base - by } else { base + by }
}

fn applier(users: &Users, pool: Arc<Pool>) -> Applier {
    Applier {
        users: users.clone(),
        pools: Pools::of([pool]),
        skew: Duration::from_secs(2),
        revoke_on: RevocationSettings::default().on,
        metrics: EventMetrics::default(),
        applied: Applied::default(),
        notices: Notices::default(),
        repeats: Repeats::channel().0,
    }
}

impl Applier {
    fn pool_id(&self) -> PoolId {
        self.pools.iter().next().unwrap().id.clone()
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_deleted_after_six_receives() {
    let applier = applier(&Users::with_cached(&"eu-west-1_A".parse().unwrap(), &[]), pool());
    for (receives, is_deleted) in [(1, false), (5, false), (6, true), (7, true)] {
        assert_eq!(applier.handle("{", receives).await, is_deleted, "{receives}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_of_a_pool_read_by_list_users_expires_again_after_five_seconds() {
    let (pool, sub) = (test_pool(BareSubLookup::ListUsers), "user-0".parse::<Sub>().unwrap());
    let users = Users::with_cached(&pool.id, &[(sub.clone(), SystemTime::now())]);
    let (repeats, pending) = Repeats::channel();
    let applier = Applier { repeats, ..applier(&users, Arc::new(pool)) };
    let sent = Sent { user: 0, change: "ATTRIBUTES", at: -60, is_garbled: false };
    assert!(applier.handle(&body(SystemTime::now(), &applier.pool_id(), &sent), 1).await);
    assert_eq!(users.state_of(&applier.pool_id(), &sub), EntryState::Stale, "whenever it was fetched");
    // A fetch that reads the old state, and caches it.
    let id = applier.pool_id();
    users.cache_fetched(&id, &sub, SystemTime::now());
    assert_eq!(users.state_of(&id, &sub), EntryState::Fresh);
    drop(applier);
    pending.run(users.clone()).await;
    assert_eq!(users.state_of(&id, &sub), EntryState::Stale);
}

#[tokio::test]
async fn the_changes_in_revocation_on_revoke_the_tokens_issued_until_then() {
    use RevocationCause::{Disabled, Erased, Password, SignedOut};
    let by_default = RevocationSettings::default().on;
    assert_eq!(by_default, [SignedOut, Disabled, Erased]);
    let names = |cause| match cause {
        SignedOut => ["GlobalSignOut", "AdminUserGlobalSignOut"].as_slice(),
        Disabled => &["AdminDisableUser"],
        Erased => &["DeleteUser", "AdminDeleteUser"],
        Password => {
            &["ChangePassword", "ConfirmForgotPassword", "AdminSetUserPassword", "AdminResetUserPassword"]
        }
    };
    let causes = [SignedOut, Disabled, Erased, Password];
    let never = ["AdminEnableUser", "AdminUpdateUserAttributes", "AdminAddUserToGroup", "RevokeToken"];
    let (sub, at) = ("user-0".parse::<Sub>().unwrap(), moved(SystemTime::now(), -60));
    let at = moved(UNIX_EPOCH, i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap());
    for on in [&[][..], &by_default, &[Password], &causes] {
        let of_causes =
            causes.iter().flat_map(|cause| names(*cause).iter().map(move |name| (Some(*cause), *name)));
        for (cause, name) in of_causes.chain(never.map(|name| (None, name))) {
            let users = Users::with_cached(&pool().id, &[]);
            let applier = Applier { revoke_on: on.to_vec(), ..applier(&users, pool()) };
            assert!(applier.handle(&cloudtrail_event(name, &applier.pool_id(), &sub, at), 1).await);
            let refused = [-1, 0, 1].map(|after| users.refuses(&applier.pool_id(), &sub, moved(at, after)));
            let is_on = cause.is_some_and(|cause| on.contains(&cause));
            assert_eq!(refused, [is_on, is_on, false], "{name}, {on:?}");
        }
    }
}

fn cloudtrail_event(name: &str, pool: &PoolId, sub: &Sub, at: SystemTime) -> String {
    let detail = json!({
        "eventSource": "cognito-idp.amazonaws.com", "eventName": name,
        "eventTime": format_rfc3339_millis(at).to_string(), "awsRegion": "eu-west-1",
        "requestParameters": {"userPoolId": pool.as_str()}, "additionalEventData": {"sub": sub.as_str()},
    });
    let kind = "AWS API Call via CloudTrail";
    json!({"detail-type": kind, "source": "aws.cognito-idp", "detail": detail}).to_string()
}

fn pool() -> Arc<Pool> {
    Arc::new(test_pool(BareSubLookup::AdminGetUser))
}
