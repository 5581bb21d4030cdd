//! What a message does to cached users, tokens and groups.

use std::{sync::Arc, time::UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::{
    auth::{Revocation, RevokedTokens},
    config::RevocationSettings,
    pool::PoolId,
    users::{EntryState, test_pool},
};

mod properties;
mod memory;

/// A message of an application about a user, this long after a base time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Sent {
    user: usize,
    change: &'static str,
    /// In seconds.
    at: i64,
    is_garbled: bool,
}

impl Sent {
    /// Returns its body, about the user with the `sub` of this beginning.
    fn body(&self, base: SystemTime, pool: &PoolId, beginning: &str) -> String {
        let detail = json!({
            "userPoolId": pool.as_str(), "sub": format!("{beginning}{}", self.user), "change": self.change,
            "time": humantime::format_rfc3339_millis(self.time(base)).to_string(),
        });
        let text = json!({"detail-type": "User Change", "detail": detail}).to_string();
        if self.is_garbled { text.chars().take(text.len() / 2).collect() } else { text }
    }

    /// Half a second later than `at`, so that no fetch begins at a limit.
    fn time(&self, base: SystemTime) -> SystemTime {
        moved(base, self.at) + Duration::from_millis(500)
    }
}

fn moved(base: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { base - by } else { base + by }
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn applier(users: &Users, pools: impl IntoIterator<Item = Arc<Pool>>) -> Applier {
    Applier {
        users: users.clone(),
        pools: watch::channel(Pools::of(pools)).1,
        audit: Recorder::off(),
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
        self.pools.borrow().iter().next().unwrap().id.clone()
    }
}

fn pool() -> Arc<Pool> {
    Arc::new(test_pool(BareSubLookup::AdminGetUser))
}

fn nobody() -> Users {
    Users::with_cached(&pool().id, &[])
}

/// The event of a call now that names no pool.
fn own_call(name: &str, sub: &str, region: &str) -> String {
    let time = humantime::format_rfc3339_seconds(now()).to_string();
    let detail = json!({
        "eventSource": "cognito-idp.amazonaws.com", "eventName": name, "eventTime": time, "awsRegion": region,
        "additionalEventData": {"sub": sub},
    });
    json!({"source": "aws.cognito-idp", "detail-type": "AWS API Call via CloudTrail", "detail": detail})
        .to_string()
}

/// The event of a call of an administrator now.
fn admin_call(name: &str, sub: &str, pool: &PoolId) -> String {
    let mut event: serde_json::Value = serde_json::from_str(&own_call(name, sub, "eu-west-1")).unwrap();
    event["detail"]["requestParameters"] = json!({"userPoolId": pool.as_str()});
    event.to_string()
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_deleted_after_six_receives() {
    let applier = applier(&nobody(), [pool()]);
    for (receives, is_deleted) in [(1, false), (5, false), (6, true), (7, true)] {
        assert_eq!(applier.handle("{", receives).await, is_deleted, "{receives}");
    }
}

#[tokio::test]
async fn a_call_that_names_no_pool_is_about_every_pool_of_its_region() {
    let other = |id: &str, region: &str| {
        Arc::new(Pool {
            id: id.parse().unwrap(),
            region: region.into(),
            ..test_pool(BareSubLookup::AdminGetUser)
        })
    };
    let pools = [pool(), other("eu-west-1_B", "eu-west-1"), other("us-east-1_C", "us-east-1")];
    let (users, sub) = (nobody(), "ada".parse::<Sub>().unwrap());
    let applier = applier(&users, pools.clone());
    let states = || pools.each_ref().map(|pool| users.state_of(&pool.id, &sub));
    let cache = || pools.iter().for_each(|pool| users.cache_fetched(&pool.id, &sub, now()));
    let [fresh, stale] = [EntryState::Fresh, EntryState::Stale];
    cache();
    assert!(applier.handle(&own_call("UpdateUserAttributes", "ada", "eu-west-1"), 1).await);
    assert_eq!(states(), [stale, stale, fresh]);
    cache();
    assert!(applier.handle(&own_call("UpdateUserAttributes", "ada", "ap-south-1"), 1).await);
    assert_eq!(states(), [fresh; 3], "no pool of that Region");
    assert!(applier.handle(&admin_call("AdminUpdateUserAttributes", "ada", &pools[1].id), 1).await);
    assert_eq!(states(), [fresh, stale, fresh]);
}

/// What each kind does. A token that was issued before the change may be refused, or its groups not
/// be believed.
#[tokio::test]
async fn every_kind_of_event_has_its_effect() {
    let (stale, none, fresh) = (EntryState::Stale, EntryState::NotCached, EntryState::Fresh);
    let table = [
        ("UpdateUserAttributes", stale, [false, false]),
        ("AdminUpdateUserAttributes", stale, [false, false]),
        ("DeleteUserAttributes", stale, [false, false]),
        ("AdminDeleteUserAttributes", stale, [false, false]),
        ("VerifyUserAttribute", stale, [false, false]),
        ("AdminLinkProviderForUser", stale, [false, false]),
        ("AdminDisableProviderForUser", stale, [false, false]),
        ("SignUp", stale, [false, false]),
        ("AdminCreateUser", stale, [false, false]),
        ("ConfirmSignUp", stale, [false, false]),
        ("AdminConfirmSignUp", stale, [false, false]),
        ("AdminEnableUser", stale, [false, false]),
        ("AdminSetUserPassword", stale, [false, false]),
        ("AdminResetUserPassword", stale, [false, false]),
        ("ConfirmForgotPassword", stale, [false, false]),
        ("ChangePassword", stale, [false, false]),
        ("AdminAddUserToGroup", stale, [false, true]),
        ("AdminRemoveUserFromGroup", stale, [false, true]),
        ("DeleteGroup", fresh, [false, true]),
        ("AdminDisableUser", none, [true, false]),
        ("DeleteUser", none, [true, false]),
        ("AdminDeleteUser", none, [true, false]),
        ("GlobalSignOut", fresh, [true, false]),
        ("AdminUserGlobalSignOut", fresh, [true, false]),
        ("RevokeToken", fresh, [false, false]),
    ];
    for (name, state, doubts) in table {
        let (users, sub) = (nobody(), "ada".parse::<Sub>().unwrap());
        let applier = applier(&users, [pool()]);
        let id = applier.pool_id();
        users.cache_fetched(&id, &sub, now());
        assert!(applier.handle(&admin_call(name, "ada", &id), 1).await, "{name}");
        assert_eq!(users.state_of(&id, &sub), state, "{name}");
        let issued = now() - Duration::from_secs(60);
        assert_eq!(users.doubts(&id, &sub, issued), doubts, "{name}");
        let later = now() + Duration::from_secs(5);
        assert_eq!(users.doubts(&id, &sub, later), [false; 2], "{name}: a token of a later sign-in");
        let is_about_all = name == "DeleteGroup";
        let other = users.doubts(&id, &"bob".parse().unwrap(), issued);
        assert_eq!(other, [false, is_about_all], "{name}: of another user");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_of_a_pool_read_by_list_users_expires_again_after_five_seconds() {
    let (pool, sub) = (test_pool(BareSubLookup::ListUsers), "user-0".parse::<Sub>().unwrap());
    let users = Users::with_cached(&pool.id, &[(sub.clone(), now())]);
    let (repeats, pending) = Repeats::channel();
    let applier = Applier { repeats, ..applier(&users, [Arc::new(pool)]) };
    let sent = Sent { user: 0, change: "ATTRIBUTES", at: -60, is_garbled: false };
    assert!(applier.handle(&sent.body(now(), &applier.pool_id(), "user-"), 1).await);
    assert_eq!(users.state_of(&applier.pool_id(), &sub), EntryState::Stale, "whenever it was fetched");
    // A fetch that reads the old state, and caches it.
    let id = applier.pool_id();
    users.cache_fetched(&id, &sub, now());
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
            let applier = Applier { revoke_on: on.to_vec(), ..applier(&users, [pool()]) };
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
        "eventTime": humantime::format_rfc3339_millis(at).to_string(), "awsRegion": "eu-west-1",
        "requestParameters": {"userPoolId": pool.as_str()}, "additionalEventData": {"sub": sub.as_str()},
    });
    let kind = "AWS API Call via CloudTrail";
    json!({"detail-type": kind, "source": "aws.cognito-idp", "detail": detail}).to_string()
}

/// A burst of events about one user costs the store what one costs.
#[tokio::test(start_paused = true)]
async fn with_a_shared_cache_a_change_is_applied_once_however_often_it_is_reported() {
    let store = crate::shared_cache::model::ModelStore::new();
    let link = Arc::new(store.link());
    let applier = applier(&Users::replica(&link), [pool()]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let base = now() - Duration::from_secs(60);
    let body = |at| {
        let sent = Sent { user: 0, change: "ATTRIBUTES", at, is_garbled: false };
        sent.body(base, &applier.pool_id(), "user-")
    };
    for at in [0, 0, -5, 0, 7, 7, 0] {
        assert!(applier.handle(&body(at), 1).await);
    }
    assert_eq!(store.calls("invalidate"), 2);
    let counted = [EventOutcome::Applied, EventOutcome::Late]
        .map(|outcome| applier.metrics.counted("UserChange", outcome));
    assert_eq!(counted, [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_confirm_it_a_message_stays_in_the_queue() {
    let store = crate::shared_cache::model::ModelStore::new();
    let link = Arc::new(store.link());
    let users = Users::replica(&link);
    let applier = applier(&users, [pool()]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let id = applier.pool_id();
    for (name, revokes) in [
        ("AdminUpdateUserAttributes", false),
        ("AdminDisableUser", true),
        ("AdminDeleteUser", true),
        ("GlobalSignOut", true),
        ("DeleteGroup", false),
    ] {
        let sub = format!("user-of-{name}");
        let message = admin_call(name, &sub, &id);
        link.change(|faults| faults.dropped_replies = 100);
        assert!(!applier.handle(&message, 1).await, "{name}");
        // The tokens do not wait for the store.
        let tokens = RevokedTokens::OfUser(sub.parse().unwrap());
        let earlier = now() - Duration::from_secs(60);
        let revocation = Revocation { pool: id.clone(), tokens, at: earlier };
        assert_eq!(users.has_revoked(&revocation), revokes, "{name}");
        link.change(|faults| faults.dropped_replies = 0);
        assert!(applier.handle(&message, 2).await, "{name}: again");
    }
}
