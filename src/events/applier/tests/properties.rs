//! Whatever the order of the messages, their repetition and their loss: what is applied of them
//! decides the state.

use std::{collections::HashSet, env, iter};

use fastrand::Rng;
use tokio::time::sleep;

use super::*;
use crate::shared_cache::model::ModelStore;

/// What is known of a user in the end.
#[derive(Clone, Debug, Eq, PartialEq)]
struct State {
    entry: EntryState,
    /// For tokens of each time in [`PROBES`]: whether they are refused, and their groups not believed.
    doubts: [[bool; 2]; 9],
}

/// A set of messages and the users that they are about.
struct Set {
    /// When the fetch of each user began.
    began: [i64; USERS],
    /// What arrives, each message once.
    messages: Vec<Sent>,
}

impl Set {
    fn random(rng: &mut Rng) -> Self {
        let began = [(); USERS].map(|()| rng.i64(-50..=0));
        let count = rng.usize(1..8);
        let sent = iter::repeat_with(|| Self::message(rng)).take(count).collect::<Vec<_>>();
        // Some are lost.
        let messages = sent.into_iter().filter(|_| rng.u8(0..6) > 0).collect();
        Self { began, messages }
    }

    fn message(rng: &mut Rng) -> Sent {
        let changes =
            ["ATTRIBUTES", "GROUPS", "STATUS", "SIGNED_OUT", "DISABLED", "ERASED", "ATTRIBUTES", "GROUPS"];
        let change = rng.choice(changes).unwrap_or("ATTRIBUTES");
        Sent { user: rng.usize(0..USERS), change, at: rng.i64(-60..=-5), is_garbled: rng.u8(0..8) == 0 }
    }

    /// Returns the messages in a random order, each once to three times.
    fn delivered(&self, rng: &mut Rng) -> Vec<Sent> {
        let mut all: Vec<_> =
            self.messages.iter().flat_map(|sent| vec![sent.clone(); rng.usize(1..=3)]).collect();
        rng.shuffle(&mut all);
        all
    }

    /// The oracle: what the state of a user must be. A fetch from before the change, its rounding and
    /// the skew does not count. With a shared cache, a disabled user is removed whatever is known here.
    fn expected(&self, user: usize, is_shared: bool) -> State {
        let of_user: Vec<_> =
            self.messages.iter().filter(|sent| sent.user == user && !sent.is_garbled).collect();
        let is = |sent: &&&Sent, changes: &[&str]| changes.contains(&sent.change);
        let is_older = |sent: &Sent| self.began[user] <= sent.at + 3;
        let removes = |sent: &&&Sent| match sent.change {
            "ERASED" => true,
            "DISABLED" => is_shared || is_older(sent),
            _ => false,
        };
        let expires = |sent: &&&Sent| is(sent, &["ATTRIBUTES", "GROUPS", "STATUS"]) && is_older(sent);
        let entry = match () {
            () if of_user.iter().any(|sent| removes(&sent)) => EntryState::NotCached,
            () if of_user.iter().any(|sent| expires(&sent)) => EntryState::Stale,
            () => EntryState::Fresh,
        };
        let latest =
            |changes: &[&str]| of_user.iter().filter(|sent| is(sent, changes)).map(|sent| sent.at).max();
        let (revoked, regrouped) = (latest(&["SIGNED_OUT", "DISABLED", "ERASED"]), latest(&["GROUPS"]));
        let doubts = PROBES.map(|issued| {
            [revoked.is_some_and(|at| issued <= at), regrouped.is_some_and(|at| issued <= at + 3)]
        });
        State { entry, doubts }
    }
}

fn state(users: &Users, pool: &PoolId, base: SystemTime, sub: &Sub) -> State {
    let doubts = PROBES.map(|issued| users.doubts(pool, sub, moved(base, issued)));
    State { entry: users.state_of(pool, sub), doubts }
}

fn subs(beginning: &str) -> [Sub; USERS] {
    std::array::from_fn(|user| format!("{beginning}{user}").parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "an option of tests, no setting of the service")]
fn sets(by_default: u64) -> u64 {
    env::var("EVENT_SETS").ok().and_then(|sets| sets.parse().ok()).unwrap_or(by_default)
}

#[tokio::test]
async fn any_order_and_repetition_ends_in_the_same_state() {
    let mut applier = applier(&nobody(), [pool()]);
    let id = applier.pool_id();
    let (mut seen, mut misled) = (HashSet::new(), 0);
    for seed in 0..sets(10_000) {
        // An erasure takes the longer the more is known.
        if seed % 25 == 0 {
            applier = super::applier(&nobody(), [pool()]);
        }
        let (mut rng, base, users) = (Rng::with_seed(seed), now(), applier.users.clone());
        let set = Set::random(&mut rng);
        for order in ["first", "second"] {
            let beginning = format!("{order}-{seed}-");
            let subs = subs(&beginning);
            for (sub, began) in subs.iter().zip(set.began) {
                users.cache_fetched(&id, sub, moved(base, began));
            }
            let delivered = set.delivered(&mut rng);
            for sent in &delivered {
                assert_eq!(applier.handle(&sent.body(base, &id, &beginning), 1).await, !sent.is_garbled);
            }
            for (user, sub) in subs.iter().enumerate() {
                let expected = set.expected(user, false);
                assert_eq!(state(&users, &id, base, sub), expected, "seed {seed}, {order}: {delivered:#?}");
                misled += usize::from(last_wins(&set, &delivered, user) != expected);
                seen.insert(format!("{:?}", expected.entry));
            }
        }
    }
    assert_eq!(seen.len(), 3, "fresh, stale and not cached: {seen:?}");
    assert!(misled > 100, "only {misled} states tell this from a service that believes the last message");
}

/// What a service would know that believes the last message about a user.
fn last_wins(set: &Set, delivered: &[Sent], user: usize) -> State {
    let last = delivered.iter().rfind(|sent| sent.user == user && !sent.is_garbled);
    let only = Set { began: set.began, messages: last.into_iter().cloned().collect() };
    only.expected(user, false)
}

#[tokio::test(start_paused = true)]
async fn whichever_replica_receives_a_message_all_of_them_end_in_the_same_state() {
    let mut appliers = replicas().await;
    let id = appliers[0].pool_id();
    for seed in 0..sets(10_000) / 10 {
        // The model of the store copies its stream with each event.
        if seed % 10 == 0 {
            appliers = replicas().await;
        }
        let (mut rng, base) = (Rng::with_seed(seed), now());
        let set = Set::random(&mut rng);
        let beginning = format!("user-{seed}-");
        for applier in &appliers {
            for (sub, began) in subs(&beginning).iter().zip(set.began) {
                applier.users.cache_fetched(&id, sub, moved(base, began));
            }
        }
        let delivered = set.delivered(&mut rng);
        for sent in &delivered {
            let receiver = &appliers[rng.usize(0..appliers.len())];
            assert_eq!(receiver.handle(&sent.body(base, &id, &beginning), 1).await, !sent.is_garbled);
        }
        sleep(Duration::from_millis(5)).await;
        for (replica, applier) in appliers.iter().enumerate() {
            for (user, sub) in subs(&beginning).iter().enumerate() {
                let (state, expected) = (state(&applier.users, &id, base, sub), set.expected(user, true));
                assert_eq!(state, expected, "seed {seed}, replica {replica}: {delivered:#?}");
            }
        }
    }
}

/// Three replicas on a store of their own.
async fn replicas() -> [Applier; 3] {
    let store = ModelStore::new();
    let replicas = [(); 3].map(|()| applier(&Users::replica(&Arc::new(store.link())), [pool()]));
    sleep(Duration::from_millis(1)).await;
    replicas
}

const USERS: usize = 3;
/// When tokens were issued, in seconds from the base.
const PROBES: [i64; 9] = [-70, -55, -45, -35, -25, -15, -6, -3, 0];
