//! Model checking of `Users`: random schedules of faults on a paused clock, and an oracle that
//! judges every answer.
//!
//! A schedule follows from its seed alone. Calls to Cognito are delayed, throttled, reset, denied,
//! garbled or answered with another user. Users change, are deleted, swap names, and are erased or
//! expired. The system clock steps, the machine sleeps, and callers cancel. `MODEL_SEEDS=4711..4712` replays one seed;
//! by default there are 1,000.

mod oracle;
mod replicas;
mod world;

use std::{collections::HashMap, panic, sync::Arc, thread};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout, timeout_at},
};

use self::{
    oracle::{Asking, Outcome},
    world::{Moment, PEOPLE, World},
};
use super::*;
use crate::{
    clock::tests::suspend,
    pool::{BareSubLookup, Pool},
    telemetry::metrics::upstream::UpstreamMetrics,
    user::Sub,
};

#[test]
fn every_answer_was_true_within_its_bounds() {
    every_seed(1000, play);
}

/// A request with a short deadline, whose stale entry becomes unusable while it waits.
#[test]
fn a_brief_wait_goes_on_when_the_stale_entry_becomes_unusable() {
    [2274, 2331].into_iter().for_each(|seed| replay(seed, play));
}

/// Plays each seed of the range in `MODEL_SEEDS`, or as many as `first`, on a runtime and a paused clock of its own.
fn every_seed<F: Future<Output = ()>>(first: u64, play: fn() -> F) {
    let seeds = model_seeds(first);
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    thread::scope(|scope| {
        for lane in 0..lanes {
            let seeds = seeds.clone().filter(move |seed| seed % lanes == lane);
            scope.spawn(move || seeds.for_each(|seed| replay(seed, play)));
        }
    });
}

fn replay<F: Future<Output = ()>>(seed: u64, play: fn() -> F) {
    let played = panic::catch_unwind(|| {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play());
    });
    assert!(played.is_ok(), "replay it with MODEL_SEEDS={seed}..{}", seed + 1);
}

async fn play() {
    let scene = Scene::set();
    let mut askings = JoinSet::new();
    let mut step_of_wall = Duration::ZERO;
    for _ in 0..fastrand::usize(20..60) {
        sleep(random(scene.ttls.fresh / 2)).await;
        scene.check_erased();
        match fastrand::u8(0..12) {
            0 => scene.world.change_weather(),
            10 => {
                // Erases the user while a request is in flight.
                let who = fastrand::usize(..PEOPLE);
                let asked = scene.clone().ask(scene.asking(who, step_of_wall));
                askings.spawn(async move { drop(asked.await) });
                sleep(random(Duration::from_millis(100))).await;
                scene.erase(who);
            }
            11 => scene.expire(fastrand::usize(..PEOPLE)),
            1 | 2 => scene.world.change_somebody(),
            3 => {
                step_of_wall = Duration::from_secs(fastrand::u64(0..7200));
                if step_of_wall.as_secs().is_multiple_of(3) {
                    suspend(step_of_wall);
                    scene.world.note_sleep();
                }
            }
            _ => {
                let who = fastrand::usize(..PEOPLE);
                for _ in 0..fastrand::usize(1..6) {
                    let who = if fastrand::bool() { who } else { fastrand::usize(..PEOPLE) };
                    let asking = scene.asking(who, step_of_wall);
                    let asked = scene.clone().ask(asking);
                    askings.spawn(async move { drop(asked.await) });
                }
            }
        }
        while let Some(ended) = askings.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) =
        timeout(Duration::from_secs(30), askings.join_next()).await.expect("every request ends")
    {
        ended.unwrap();
    }
    scene.recover().await;
    scene.world.check_calls();
}

/// The settings of one seed, the service and the world it serves.
#[derive(Clone)]
struct Scene {
    users: Users,
    world: Arc<World>,
    pool: Arc<Pool>,
    ttls: Ttls,
    /// The limit of one of three callers.
    own_limit: usize,
}

impl Scene {
    fn set() -> Self {
        let bare_sub =
            [BareSubLookup::AdminGetUser, BareSubLookup::AdminGetUserThenListUsers, BareSubLookup::ListUsers];
        let pool = Arc::new(test_pool(bare_sub[fastrand::usize(..3)]));
        let per_second = fastrand::usize(3..60);
        let rate = Some(per_second);
        let budget = BudgetSettings {
            user_reads_per_second: rate,
            lists_per_second: rate,
            group_reads_per_second: rate,
            ..BudgetSettings::default()
        };
        let fresh_for = Duration::from_millis(fastrand::u64(500..20_000));
        let cache = CacheSettings {
            fresh_for,
            usable_for: fresh_for * fastrand::u32(1..10),
            absent_for: Duration::from_millis(fastrand::u64(500..20_000)),
            ..CacheSettings::default()
        };
        let world = Arc::new(World::new(per_second));
        let budget = Arc::new(RateLimiter::new(&budget, &UpstreamMetrics::default()));
        let cognito = Cognito::before(&World::peer(&world, 0), Arc::clone(&pool), budget);
        let users = Users::new(
            HashMap::from([(pool.id.clone(), cognito)]),
            &cache,
            1,
            no_tokens(),
            None,
            CacheMetrics::default(),
        );
        Self { ttls: users.0.ttls, users, world, pool, own_limit: fastrand::usize(1..10) }
    }

    /// A random request about this user: by `sub` or by token, with or without a requirement, with a
    /// random deadline.
    fn asking(&self, who: usize, step_of_wall: Duration) -> Asking {
        let now = TimePoint::now();
        let now = TimePoint { system: now.system + step_of_wall, ..now };
        let age = random(self.ttls.fresh * 2);
        let requirement = match fastrand::u8(0..10) {
            0 | 1 => FreshnessRequirement::max_age(age, now.boot),
            2 => FreshnessRequirement::max_age(Duration::ZERO, now.boot),
            3 => FreshnessRequirement::not_older_than(now.system - age, now).unwrap(),
            _ => FreshnessRequirement::Any,
        };
        let token = self.world.token_of(who).filter(|_| fastrand::bool());
        let lookup_key = token.map_or(LookupKey::Sub, LookupKey::Username);
        let (begun, time) = (Instant::now(), random(Duration::from_secs(4)));
        // Some callers cancel before an answer.
        let leaves = (fastrand::u8(0..4) == 0).then(|| begun + random(Duration::from_secs(1)));
        let groups = fastrand::u8(0..3) == 0;
        let caller = fastrand::usize(0..3);
        let account = account(caller, (caller == 0).then_some(self.own_limit));
        let account =
            Account { priority: [Priority::Batch, Priority::Single][fastrand::usize(0..2)], ..account };
        let deadline = begun + time;
        Asking { who, account, lookup_key, groups, requirement, begun: now.boot, time, deadline, leaves }
    }

    fn erase(&self, who: usize) {
        self.users.invalidate_entries(&self.pool.id, &sub(who), Invalidation::Erase);
        self.world.note_erasure(who);
    }

    /// Asserts that an erased user is not cached until the next request.
    fn check_erased(&self) {
        for who in (0..PEOPLE).filter(|who| self.world.is_erased(*who)) {
            let held = self.users.entry_info(&self.key(who));
            assert_eq!((held.state, held.groups), (EntryState::NotCached, false), "{who} is cached again");
        }
    }

    fn expire(&self, who: usize) {
        self.users.invalidate_entries(&self.pool.id, &sub(who), Invalidation::Expire);
        self.world.note_expiry(who);
    }

    fn key(&self, who: usize) -> Key {
        Key { pool: self.pool.id.clone(), sub: sub(who), kind: EntryKind::Profile }
    }

    /// Sends the request and checks the answer; none if the caller cancelled or its deadline
    /// passed.
    async fn ask(self, asking: Asking) -> Option<Outcome> {
        let subject = Subject {
            pool: Arc::clone(&self.pool),
            sub: sub(asking.who),
            lookup_key: asking.lookup_key.clone(),
        };
        let request = self.users.request(&subject, asking.requirement, asking.account);
        self.world.note_question(asking.who);
        let answer = async {
            match asking.groups {
                true => self.users.find_with_groups(&request, asking.deadline).await,
                false => self.users.find_user(&request, asking.deadline).await,
            }
        };
        let answer = timeout_at(asking.leaves.unwrap_or(asking.deadline), answer).await.ok()?;
        let outcome = Outcome { answer, at: Moment::now() };
        oracle::check(&asking, &outcome, &self.world, &self.ttls, self.pool.bare_sub);
        Some(outcome)
    }

    /// Without faults, every request is answered with the truth.
    async fn recover(&self) {
        self.world.clear();
        sleep(Duration::from_secs(15)).await;
        assert_eq!(self.users.0.single_flight.len(), 0, "a fetch hangs");
        for who in 0..PEOPLE {
            for lookup_key in [Some(LookupKey::Sub), self.world.token_of(who).map(LookupKey::Username)]
                .into_iter()
                .flatten()
            {
                let (begun, time) = (BootTime::now(), Duration::from_secs(3));
                let requirement = FreshnessRequirement::FetchedSince(begun);
                let (groups, leaves, deadline) = (true, None, Instant::now() + time);
                let account = account(1, None);
                let asking =
                    Asking { who, account, lookup_key, groups, requirement, begun, time, deadline, leaves };
                let outcome = self.clone().ask(asking).await.expect("an answer before the deadline");
                let is_well = matches!(outcome.answer, Ok(_) | Err(Failure::NoSuchUser | Failure::WrongUser));
                assert!(is_well, "not recovered: {:?}", outcome.answer);
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn sub(who: usize) -> Sub {
    format!("sub-{who}").parse().unwrap()
}

fn random(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}
