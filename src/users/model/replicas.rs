//! Replicas on a store that delays, drops, freezes, fails over and forgets.

use std::sync::Mutex;

use super::{
    super::shared::follow,
    oracle::ever,
    world::{PEOPLE, Truth, World},
    *,
};
use crate::shared_cache::{
    ServerTime, SharedCache, UserKey, ValueKind,
    fixtures::{index_key, sealer},
    model::{LinkFaults, ModelLink, ModelStore},
};

/// So few that most steps are about the same ones.
const USERS: usize = 3;

#[test]
fn no_replica_serves_what_it_heard_was_invalidated() {
    every_seed(150, play);
}

async fn play() {
    let fleet = Fleet::start();
    tokio::task::yield_now().await;
    let mut tasks = JoinSet::new();
    for _ in 0..fastrand::usize(40..120) {
        // Most steps come while fetches and events of the last ones are under way.
        let pause = if fastrand::u8(0..6) == 0 { fleet.ttls.fresh } else { Duration::from_millis(60) };
        sleep(random(pause)).await;
        match fastrand::u8(0..20) {
            0 if fastrand::bool() => fleet.world.change_weather(),
            0 => fleet.world.clear(),
            1 | 2 => fleet.world.change_somebody(),
            3 => fleet.change_store(),
            4 => fleet.change_link(),
            5..=9 => {
                let invalidating = fleet.clone().invalidate(fastrand::usize(..USERS));
                tasks.spawn(invalidating);
            }
            _ => {
                let who = fastrand::usize(..USERS);
                for _ in 0..fastrand::usize(1..6) {
                    tasks.spawn(fleet.clone().ask(fastrand::usize(..fleet.replicas.len()), who));
                }
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    fleet.heal();
    while let Some(ended) =
        timeout(Duration::from_secs(30), tasks.join_next()).await.expect("every task ends")
    {
        ended.unwrap();
    }
    fleet.recover().await;
}

/// The replicas of one seed.
#[derive(Clone)]
struct Fleet {
    replicas: Arc<Vec<Replica>>,
    store: ModelStore,
    world: Arc<World>,
    pool: Arc<Pool>,
    ttls: Ttls,
    invalidations: Arc<Mutex<Vec<Invalidating>>>,
}

struct Replica {
    users: Users,
    link: Arc<ModelLink>,
}

/// An invalidation that a replica completed.
#[derive(Clone, Copy, Debug)]
struct Invalidating {
    who: usize,
    began: BootTime,
    at: ServerTime,
}

impl Fleet {
    fn start() -> Self {
        let pool = Arc::new(test_pool(BareSubLookup::AdminGetUserThenListUsers));
        let per_second = fastrand::usize(10..60);
        let fresh_for = Duration::from_millis(fastrand::u64(500..20_000));
        let cache = CacheSettings {
            fresh_for,
            usable_for: fresh_for * fastrand::u32(1..10),
            absent_for: fresh_for / 2,
            ..CacheSettings::default()
        };
        let (store, world) = (ModelStore::new(), Arc::new(World::new(per_second)));
        let replica = |n| Replica::start(n, &store, &world, &pool, &cache, per_second);
        let replicas: Vec<_> = (0..fastrand::usize(2..5)).map(replica).collect();
        let ttls = replicas[0].users.0.ttls;
        Self { replicas: Arc::new(replicas), store, world, pool, ttls, invalidations: Arc::default() }
    }

    /// A request, and the checks of its answer.
    async fn ask(self, replica: usize, who: usize) {
        let users = &self.replicas[replica].users;
        let begun = BootTime::now();
        let requirement = match fastrand::u8(0..8) {
            0 => FreshnessRequirement::max_age(random(self.ttls.fresh * 2), begun),
            1 => FreshnessRequirement::FetchedSince(begun),
            _ => FreshnessRequirement::Any,
        };
        let subject = Subject { pool: Arc::clone(&self.pool), sub: sub(who), lookup_key: LookupKey::Sub };
        let request = users.request(&subject, requirement, account(0, None));
        let (heard, groups) = (self.heard(replica, who), fastrand::u8(0..3) == 0);
        let deadline = Instant::now() + random(Duration::from_secs(4));
        let answer = async {
            match groups {
                true => users.find_with_groups(&request, deadline).await,
                false => users.find_user(&request, deadline).await,
            }
        };
        let Ok(Ok(found)) = timeout_at(deadline, answer).await else { return };
        self.check(replica, who, &found, requirement, heard, begun);
    }

    fn check(
        &self,
        replica: usize,
        who: usize,
        found: &Found,
        requirement: FreshnessRequirement,
        heard: Option<ServerTime>,
        begun: BootTime,
    ) {
        let (now, freshness, user) = (BootTime::now(), found.freshness(), found.user());
        let began = now - freshness.age;
        let about = || format!("replica {replica}, user {who}, {freshness:?}, {}", self.world.tale(who));
        assert_eq!(user.sub, sub(who), "another user's data: {}", about());
        assert!(requirement.is_satisfied(began, now), "older than required: {}", about());
        let mut since = began;
        for old in self.invalidations.lock().unwrap().iter().filter(|old| old.who == who) {
            let is_heard = heard.is_some_and(|heard| old.at <= heard);
            if is_heard && freshness.stale_reason.is_none() {
                since = since.max(old.began);
            }
        }
        let told = user.attributes.get("custom:truth").unwrap();
        let was_so = |truth: Truth| {
            let text = format!("{who} {} {}", truth.version, truth.enabled);
            truth.exists && truth.enabled == user.enabled && text == told
        };
        let known = self.world.known_gone(replica, who, begun).filter(|_| user.enabled);
        let since = known.map_or(since, |known| known.max(since));
        assert!(
            ever(&self.world.history(who), since, now, was_so),
            "not a state since {known:?}: {}",
            about()
        );
    }

    async fn invalidate(self, who: usize) {
        self.world.change(who);
        let (began, replica) = (BootTime::now(), fastrand::usize(..self.replicas.len()));
        let invalidation = [Invalidation::Expire, Invalidation::Erase][fastrand::usize(..2)];
        let users = &self.replicas[replica].users;
        let shared = users.0.shared.as_ref().unwrap();
        let Ok(at) = shared.invalidate(&self.pool.id, &sub(who), invalidation).await else { return };
        users.invalidate_entries(&self.pool.id, &sub(who), invalidation);
        self.invalidations.lock().unwrap().push(Invalidating { who, began, at });
        self.check_store(who, invalidation);
        let told = (invalidation, invalidation.change());
        let _published = shared.publish(&self.pool.id, &sub(who), told, at).await;
    }

    /// Asserts that the store has nothing of an erased user that was fetched before.
    fn check_store(&self, who: usize, invalidation: Invalidation) {
        let key = self.key(who);
        for kind in [ValueKind::Profile, ValueKind::Groups] {
            let Some((_, since)) = self.store.value(key.as_str(), kind) else { continue };
            let is_old = since <= self.store.invalidated(key.as_str());
            assert!(!is_old || invalidation != Invalidation::Erase, "an erased user is in the store");
        }
    }

    /// The last invalidation of a user that the replica has heard of.
    fn heard(&self, replica: usize, who: usize) -> Option<ServerTime> {
        self.replicas[replica].users.0.shared.as_ref()?.heard(&self.pool.id, &sub(who))
    }

    fn key(&self, who: usize) -> UserKey {
        self.replicas[0].users.0.shared.as_ref().unwrap().user_key(&self.pool.id, &sub(who))
    }

    fn change_store(&self) {
        match fastrand::u8(0..8) {
            0 => self.store.freeze(),
            1 | 2 => self.store.thaw(),
            3 => self.store.failover(random(Duration::from_millis(600))),
            4 => self.store.restart_empty(),
            5 => self.store.trim(fastrand::usize(0..3)),
            6 => self.store.set_full(true),
            _ => self.store.set_full(false),
        }
    }

    fn change_link(&self) {
        let link = &self.replicas[fastrand::usize(..self.replicas.len())].link;
        let delay = Duration::ZERO..=random(Duration::from_millis(30));
        let percent = || [0, 0, 10, 50, 100][fastrand::usize(..5)];
        let (dropped_requests, dropped_replies) = (percent(), percent());
        let (is_held, is_cut_off) = (fastrand::u8(0..8) == 0, fastrand::u8(0..6) == 0);
        link.change(|faults| {
            *faults = LinkFaults {
                delay,
                dropped_requests,
                dropped_replies,
                is_held,
                is_cut_off,
                ..LinkFaults::default()
            };
        });
    }

    fn heal(&self) {
        self.store.thaw();
        self.store.set_full(false);
        self.replicas
            .iter()
            .for_each(|replica| replica.link.change(|faults| *faults = LinkFaults::default()));
    }

    /// Without faults, every replica hears of an invalidation at once, and has the truth.
    async fn recover(&self) {
        self.world.clear();
        sleep(Duration::from_secs(20)).await;
        for who in 0..PEOPLE {
            let (users, began) = (&self.replicas[0].users, BootTime::now());
            let invalidated = users.invalidate(&self.pool.id, &sub(who), Invalidation::Expire).await;
            assert!(invalidated.unwrap().reached_all_replicas);
            sleep(Duration::from_millis(1)).await;
            for (n, replica) in self.replicas.iter().enumerate() {
                let at = replica.users.0.shared.as_ref().unwrap().heard(&self.pool.id, &sub(who));
                assert!(
                    at.is_some_and(|at| at >= self.store.invalidated(self.key(who).as_str())),
                    "{n} heard"
                );
                let subject =
                    Subject { pool: Arc::clone(&self.pool), sub: sub(who), lookup_key: LookupKey::Sub };
                let request = replica.users.request(&subject, FreshnessRequirement::Any, account(0, None));
                let found = replica.users.find_user(&request, Instant::now() + Duration::from_secs(3)).await;
                match found {
                    Ok(found) => assert!(BootTime::now() - found.freshness().age >= began, "{n}"),
                    Err(failure) => {
                        assert!(matches!(failure, Failure::NoSuchUser | Failure::WrongUser), "{failure:?}");
                    }
                }
            }
            // In the middle of the second for which the replicas wait for the next event: between two waits they
            // ask for the end of the stream, which takes a millisecond of this clock.
            sleep(Duration::from_millis(1_500)).await;
        }
    }
}

impl Replica {
    fn start(
        n: usize,
        store: &ModelStore,
        world: &Arc<World>,
        pool: &Arc<Pool>,
        cache: &CacheSettings,
        per_second: usize,
    ) -> Self {
        let rate = Some(per_second);
        let budget = BudgetSettings {
            user_reads_per_second: rate,
            lists_per_second: rate,
            group_reads_per_second: rate,
            ..BudgetSettings::default()
        };
        let limiter = Arc::new(RateLimiter::new(&budget, &UpstreamMetrics::default()));
        let cognito = Cognito::before(&World::peer(world, n), Arc::clone(pool), limiter);
        let cognito = HashMap::from([(pool.id.clone(), cognito)]);
        let link = Arc::new(store.link());
        let transport: Arc<ModelLink> = Arc::clone(&link);
        let shared = SharedCache::new(
            transport,
            ("cl".parse().unwrap(), index_key("index"), sealer("cl", &["value"])),
            None,
            Metrics::new().shared_entries,
        );
        let users = Users::new(cognito, cache, 1, no_tokens(), Some(shared), CacheMetrics::default());
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(follow(Arc::downgrade(&users.0)));
        Self { users, link }
    }
}
