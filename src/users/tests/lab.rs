//! `Users` in front of a scripted Cognito, on one clock.

use std::sync::Mutex;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::sleep;

use super::super::{
    cognito::fixtures::{Peer, Reply, Request},
    *,
};
use crate::{
    pool::{BareSubLookup, Pool},
    shared_cache::SharedCache,
    user::Sub,
};

/// The latency of a healthy Cognito.
pub(super) const NEAR: Duration = Duration::from_millis(20);

/// `Users` in front of a scripted Cognito.
pub(super) struct Lab {
    pub(super) users: Users,
    pub(super) pool: Arc<Pool>,
    world: Arc<Mutex<World>>,
}

type Responder = Box<dyn Fn(&Request) -> (Duration, Reply) + Send>;

struct World {
    responder: Responder,
    calls: Vec<(Instant, String)>,
}

impl Lab {
    pub(super) fn start(change: impl FnOnce(&mut CacheSettings, &mut BudgetSettings)) -> Self {
        Self::of(BareSubLookup::AdminGetUser, change)
    }

    pub(super) fn of(
        bare_sub: BareSubLookup,
        change: impl FnOnce(&mut CacheSettings, &mut BudgetSettings),
    ) -> Self {
        let (mut cache, mut budget) = (CacheSettings::default(), BudgetSettings::default());
        change(&mut cache, &mut budget);
        let world = Arc::new(Mutex::new(World { responder: Box::new(Self::found), calls: Vec::new() }));
        Self::before(world, bare_sub, &cache, &budget, None)
    }

    /// Another replica in front of the same Cognito.
    pub(super) fn replica(&self, shared: SharedCache) -> Self {
        let (cache, budget) = (CacheSettings::default(), BudgetSettings::default());
        Self::before(Arc::clone(&self.world), self.pool.bare_sub, &cache, &budget, Some(shared))
    }

    fn before(
        world: Arc<Mutex<World>>,
        bare_sub: BareSubLookup,
        cache: &CacheSettings,
        budget: &BudgetSettings,
        shared: Option<SharedCache>,
    ) -> Self {
        let pool = Arc::new(test_pool(bare_sub));
        let seen = Arc::clone(&world);
        let peer: Peer = Arc::new(move |request| {
            let mut world = seen.lock().unwrap();
            world.calls.push((Instant::now(), request.operation.clone()));
            let (time, reply) = (world.responder)(&request);
            async move {
                sleep(time).await;
                reply
            }
            .boxed()
        });
        let metrics = Metrics::new();
        let budget = Arc::new(RateLimiter::new(budget, &metrics.upstream));
        let cognito = Cognito::before(&peer, Arc::clone(&pool), budget);
        let cognito = HashMap::from([(pool.id.clone(), cognito)]);
        let users = Users::new(cognito, cache, 1, no_tokens(), shared, metrics.cache);
        Self { users, pool, world }
    }

    /// Sets how Cognito responds from now on, and how long each call takes.
    pub(super) fn respond(&self, responder: impl Fn(&Request) -> (Duration, Reply) + Send + 'static) {
        self.world.lock().unwrap().responder = Box::new(responder);
    }

    pub(super) async fn ask(&self, sub: &str) -> Result<Found, Failure> {
        self.ask_with(sub, FreshnessRequirement::Any, account(0, None), Duration::from_secs(3)).await
    }

    pub(super) async fn ask_owned(&self, sub: String) -> Result<Found, Failure> {
        self.ask(&sub).await
    }

    pub(super) async fn ask_known(&self, sub: &str, lookup_key: LookupKey) -> Result<Found, Failure> {
        let subject = Subject { pool: Arc::clone(&self.pool), sub: sub.parse().unwrap(), lookup_key };
        let request = self.users.request(&subject, FreshnessRequirement::Any, account(0, None));
        self.users.find_user(&request, Instant::now() + Duration::from_secs(3)).await
    }

    pub(super) async fn ask_with_groups(&self, sub: &str) -> Result<Found, Failure> {
        self.ask_with_groups_as_fresh(sub, FreshnessRequirement::Any).await
    }

    pub(super) async fn ask_with_groups_as_fresh(
        &self,
        sub: &str,
        requirement: FreshnessRequirement,
    ) -> Result<Found, Failure> {
        let (pool, lookup_key) = (Arc::clone(&self.pool), LookupKey::Sub);
        let subject = Subject { pool, sub: sub.parse().unwrap(), lookup_key };
        let request = self.users.request(&subject, requirement, account(0, None));
        self.users.find_with_groups(&request, Instant::now() + Duration::from_secs(3)).await
    }

    pub(super) async fn ask_with(
        &self,
        sub: &str,
        requirement: FreshnessRequirement,
        account: Account,
        time: Duration,
    ) -> Result<Found, Failure> {
        let sub: Sub = sub.parse().unwrap();
        let subject = Subject { pool: Arc::clone(&self.pool), sub, lookup_key: LookupKey::Sub };
        self.users.find_user(&self.users.request(&subject, requirement, account), Instant::now() + time).await
    }

    pub(super) fn erase(&self, sub: &str) -> Invalidated {
        self.users.invalidate_entries(&self.pool.id, &sub.parse().unwrap(), Invalidation::Erase)
    }

    /// Returns whether anything was cached.
    pub(super) fn expire(&self, sub: &str) -> bool {
        self.users.invalidate_entries(&self.pool.id, &sub.parse().unwrap(), Invalidation::Expire).entry
    }

    pub(super) fn key(&self, sub: &str) -> Key {
        Key { pool: self.pool.id.clone(), sub: sub.parse().unwrap(), kind: EntryKind::Profile }
    }

    /// Asserts that no window of one second holds more calls of the operation.
    pub(super) fn assert_operation_within(&self, operation: &str, most: usize) {
        let world = self.world.lock().unwrap();
        let calls: Vec<_> =
            world.calls.iter().filter(|(_, called)| called == operation).map(|(at, _)| *at).collect();
        let mut pairs = calls.iter().zip(calls.iter().skip(most));
        assert!(pairs.all(|(first, last)| *last - *first >= Duration::from_secs(1)), "more than {most}");
    }

    /// The operations called, in order.
    pub(super) fn operations(&self) -> Vec<String> {
        self.world.lock().unwrap().calls.iter().map(|(_, operation)| operation.clone()).collect()
    }

    pub(super) fn calls(&self) -> usize {
        self.world.lock().unwrap().calls.len()
    }

    /// Asserts that no window of one second holds more calls.
    pub(super) fn assert_within(&self, most: usize) {
        let world = self.world.lock().unwrap();
        let mut pairs = world.calls.iter().zip(world.calls.iter().skip(most));
        let over = pairs.find(|((first, _), (last, _))| *last - *first < Duration::from_secs(1));
        assert!(over.is_none(), "more than {most} calls in a second");
    }

    /// The user looked up.
    pub(super) fn found(request: &Request) -> (Duration, Reply) {
        (NEAR, Self::user(request, true, None))
    }

    pub(super) fn found_as(username: &str, sub: &str) -> Reply {
        let attributes = json!([{"Name": "sub", "Value": sub}]);
        let body = json!({"Username": username, "Enabled": true, "UserAttributes": attributes});
        Reply::Answer(200, body.to_string())
    }

    /// The user looked up, whose username is its `sub`.
    pub(super) fn user(request: &Request, enabled: bool, plan: Option<&str>) -> Reply {
        let filter = || request.input["Filter"].as_str()?.strip_prefix("sub = \"")?.strip_suffix('"');
        let sub = request.input["Username"].as_str().or_else(filter).unwrap();
        let attribute = |(name, value): (&str, &str)| json!({"Name": name, "Value": value});
        let plan = plan.map(|plan| ("custom:plan", plan));
        let attributes: Vec<_> = [("sub", sub)].into_iter().chain(plan).map(attribute).collect();
        let body = match request.operation.as_str() {
            "ListUsers" => {
                json!({"Users": [{"Username": sub, "Enabled": enabled, "Attributes": attributes}]})
            }
            _ => json!({"Username": sub, "Enabled": enabled, "UserAttributes": attributes}),
        };
        Reply::Answer(200, body.to_string())
    }

    pub(super) fn error(code: &str) -> Reply {
        Reply::Answer(400, json!({"__type": code, "message": "what Cognito says"}).to_string())
    }
}
