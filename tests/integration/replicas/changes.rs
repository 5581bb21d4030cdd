//! Changes that arrive by the queue, whichever replica receives them.

use std::time::Duration;

use cognito_lookup::proto::{EntryState, GetUserRequest, SharedEntryState, Source};
use cognito_standin::SigningKey;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::{
    fleet::{Fleet, sub},
    replica::{Replica, until},
    settings::Settings,
};
use crate::{
    store::{
        client::list,
        server::{Engine, Server},
    },
    support::{
        about,
        aws::{call, rename},
        failure, source, with_token,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_on_every_replica_and_no_other_user_is_fetched() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::with_events()).await;
    fleet.warm(0..5).await;
    let (mut times, lookups) = (Vec::new(), fleet.lookups());
    for n in 0..CHANGES {
        let name = format!("Name {n}");
        rename(&fleet.cognito, "member-0", &name).await;
        let changed = Instant::now();
        for replica in &fleet.replicas {
            while replica.name(&sub(0)).await != name {
                assert!(changed.elapsed() < Duration::from_secs(30), "change {n} does not arrive");
                sleep(Duration::from_millis(1)).await;
            }
        }
        times.push(changed.elapsed());
    }
    times.sort_unstable();
    println!(
        "from a change in Cognito to its answer on all of three replicas: median {:?}",
        times[CHANGES / 2]
    );
    // Each at least once, and once more for a replica that was quicker than the event.
    assert!((CHANGES..=3 * CHANGES).contains(&(fleet.lookups() - lookups)));
    for replica in &fleet.replicas {
        for n in 1..5 {
            assert_eq!(source(&replica.get(&sub(n)).await.unwrap()), Source::Cache, "member-{n}");
        }
    }
    let received = sum(&fleet, "cognito_lookup_events_total", "AdminUpdateUserAttributes").await;
    assert_eq!(received, CHANGES as f64, "each by one replica");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_ends_the_tokens_on_every_replica_and_on_those_that_start_later() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start(&store, &Settings::with_events()).await;
    let [old, other] = ["member-0", "member-1"].map(|name| token(&fleet, name, -1));
    for replica in &fleet.replicas {
        for token in [&old, &other] {
            replica.get_user(with_token(token, GetUserRequest::default())).await.unwrap();
        }
    }
    call(&fleet.cognito, "AdminUserGlobalSignOut", json!({"Username": "member-0"})).await;
    let new = token(&fleet, "member-0", 2);
    for replica in &fleet.replicas {
        until("refused", async || is_revoked(replica, &old).await).await;
        assert!(!is_revoked(replica, &new).await && !is_revoked(replica, &other).await);
        let answer = replica.get_user(with_token(&new, GetUserRequest::default())).await.unwrap();
        assert_eq!(source(&answer), Source::Cache, "the user stays");
    }
    // A rollout: none of the replicas that heard of it is left.
    fleet.replicas.clear();
    fleet.proxies.clear();
    fleet.join(&Settings::with_events()).await;
    assert!(is_revoked(&fleet.replicas[0], &old).await && !is_revoked(&fleet.replicas[0], &new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_nowhere_and_its_token_is_refused() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::with_events()).await;
    let token = token(&fleet, "member-0", -1);
    for replica in &fleet.replicas {
        replica.get_user(with_groups(about(&sub(0)))).await.unwrap();
        replica.get_user(with_token(&token, GetUserRequest::default())).await.unwrap();
    }
    call(&fleet.cognito, "AdminDeleteUser", json!({"Username": "member-0"})).await;
    for replica in &fleet.replicas {
        until("refused", async || is_revoked(replica, &token).await).await;
        // A replica that had not heard of it yet may have learnt from Cognito that there is no such user.
        let state = async || replica.inspect(&sub(0)).await.state();
        until("gone", async || matches!(state().await, EntryState::Unspecified | EntryState::Absent)).await;
        let shared = replica.shared_state(&sub(0)).await;
        assert!(matches!(shared, SharedEntryState::NotCached | SharedEntryState::Absent), "{shared:?}");
    }
    for replica in &fleet.replicas {
        assert_eq!(replica.get(&sub(0)).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_that_is_enabled_again_must_sign_in_again() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::with_events()).await;
    let old = token(&fleet, "member-0", -1);
    fleet.warm(0..1).await;
    let user = json!({"Username": "member-0"});
    call(&fleet.cognito, "AdminDisableUser", user.clone()).await;
    for replica in &fleet.replicas {
        until("refused", async || is_revoked(replica, &old).await).await;
        let enabled = async || replica.get(&sub(0)).await.unwrap().user.unwrap().enabled;
        until("disabled", async || !enabled().await).await;
    }
    call(&fleet.cognito, "AdminEnableUser", user).await;
    let new = token(&fleet, "member-0", 2);
    for replica in &fleet.replicas {
        let get = async || replica.get_user(with_token(&new, GetUserRequest::default())).await;
        until("enabled", async || get().await.is_ok()).await;
        assert!(is_revoked(replica, &old).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_groups_those_in_an_older_token_are_not_believed() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start(&store, &Settings::with_events()).await;
    let old = ["member-0", "member-1"].map(|name| token(&fleet, name, -1));
    let of = async |replica: &Replica, token: &str| {
        let request = with_token(token, GetUserRequest { include_groups: true, ..GetUserRequest::default() });
        replica.get_user(request).await.unwrap().user.unwrap().groups
    };
    for replica in &fleet.replicas {
        assert_eq!(of(replica, &old[0]).await, ["gardeners"]);
    }
    let listed = || fleet.cognito.calls("AdminListGroupsForUser");
    assert_eq!(listed(), 0, "the tokens have them");
    let change = json!({"Username": "member-0", "GroupName": "cooks"});
    call(&fleet.cognito, "AdminAddUserToGroup", change).await;
    // The groups are outdated first and invalidated then: a read in between would make a call of its own.
    until("handled", async || fleet.cognito.messages() == 0).await;
    for replica in &fleet.replicas {
        until("in both groups", async || of(replica, &old[0]).await == ["gardeners", "cooks"]).await;
        assert_eq!(of(replica, &old[1]).await, ["gardeners"], "of another user");
    }
    assert_eq!(listed(), 1, "once for all replicas");
    let new = token(&fleet, "member-0", 5);
    assert_eq!(of(&fleet.replicas[0], &new).await, ["gardeners", "cooks"]);
    call(&fleet.cognito, "DeleteGroup", json!({"GroupName": "gardeners"})).await;
    for replica in &fleet.replicas {
        until("only a cook", async || of(replica, &old[0]).await == ["cooks"]).await;
        until("in no group", async || of(replica, &old[1]).await.is_empty()).await;
        let by_sub =
            async || replica.get_user(with_groups(about(&sub(0)))).await.unwrap().user.unwrap().groups;
        assert_eq!(by_sub().await, ["cooks"], "those that were cached neither");
    }
    fleet.join(&Settings::with_events()).await;
    assert!(of(&fleet.replicas[3], &old[1]).await.is_empty(), "a replica that starts later");
}

/// A thousand events a second about a user that is read all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_about_one_user_leaves_the_hits_of_the_others_alone() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::with_events()).await;
    fleet.warm(0..10).await;
    let (before, mut others, mut own) = (fleet.cognito.call_times("AdminGetUser").len(), 0, 0);
    let started = Instant::now();
    let flood = async {
        for batch in 1..=FLOOD / 10 {
            for _ in 0..10 {
                fleet
                    .cognito
                    .send_message(fleet.cognito.event("AdminUpdateUserAttributes", &sub(0)).to_string());
            }
            let due = started + Duration::from_millis(10) * u32::try_from(batch).unwrap();
            tokio::time::sleep_until(due).await;
        }
        until("handled", async || fleet.cognito.messages() < 100).await;
    };
    let reads = async {
        for n in 0.. {
            let replica = &fleet.replicas[n % 3];
            let answer = replica.get(&sub(1 + n % 9)).await.expect("a hit of another user");
            assert_eq!(source(&answer), Source::Cache);
            others += 1;
        }
    };
    let reads_of_one = async {
        loop {
            // It may have to wait for its rate limit.
            own += usize::from(fleet.replicas[0].get(&sub(0)).await.is_ok());
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = flood => {}, () = reads => {}, () = reads_of_one => {} }
    let calls = &fleet.cognito.call_times("AdminGetUser")[before..];
    println!(
        "{FLOOD} events in {:?}: {others} hits of others, {own} reads and {} fetches of the one",
        started.elapsed(),
        calls.len()
    );
    assert!(others > 100 && own > 10 && !calls.is_empty());
    let mut windows = calls.iter().zip(calls.iter().skip(10));
    assert!(
        windows.all(|(first, last)| *last - *first >= Duration::from_secs(1)),
        "more than 10 in a second"
    );
    assert_eq!(fleet.cognito.calls("ListUsers"), 0);
}

/// Nothing is made for a replica, so nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn ten_rollouts_leave_nothing_behind_in_the_queue_or_the_store() {
    let store = Server::start(Engine::Valkey).await;
    let settings = Settings::with_events();
    let mut fleet = Fleet::start_some(1, &store, &settings).await;
    let mut client = store.client().await;
    let mut left = Vec::new();
    for n in 0..10 {
        rename(&fleet.cognito, "member-0", &format!("Name {n}")).await;
        until("received", async || fleet.cognito.messages() == 0).await;
        let old = fleet.replicas.remove(0);
        old.stopped();
        fleet.proxies.clear();
        fleet.join(&settings).await;
        fleet.connected().await;
        left.push(list(client.command("KEYS *").await.unwrap()).len());
    }
    assert!(left.iter().all(|keys| *keys == left[0]), "keys in the store after each: {left:?}");
    for operation in
        ["CreateQueue", "SetQueueAttributes", "TagQueue", "Subscribe", "ListQueues", "DeleteQueue"]
    {
        assert_eq!(fleet.cognito.calls(operation), 0, "{operation}");
    }
    assert!(fleet.cognito.calls("ReceiveMessage") >= 10, "the calls of SQS are counted");
}

async fn is_revoked(replica: &Replica, token: &str) -> bool {
    let answer = replica.get_user(with_token(token, GetUserRequest::default())).await;
    answer.is_err_and(|status| failure(&status) == (Code::Unauthenticated, "TOKEN_REVOKED".to_owned()))
}

fn with_groups(message: GetUserRequest) -> GetUserRequest {
    GetUserRequest { include_groups: true, ..message }
}

/// A token that was issued so many seconds from now.
fn token(fleet: &Fleet, username: &str, from_now: i64) -> String {
    let mut claims: Value = fleet.cognito.access_claims(username).unwrap();
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() + from_now);
    fleet.cognito.sign(SigningKey::Access, &fleet.cognito.header(SigningKey::Access), &claims)
}

/// Returns the sum of a metric over all replicas and its series that have the label.
async fn sum(fleet: &Fleet, name: &str, label: &str) -> f64 {
    let mut sum = 0.0;
    for replica in &fleet.replicas {
        let metrics = replica.metrics().await;
        let series = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
        sum += series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>();
    }
    sum
}

const CHANGES: usize = 21;
const FLOOD: usize = 5_000;
