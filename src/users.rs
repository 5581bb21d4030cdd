//! Finds the user a [`Permit`] names, fresh enough for its demand: from the store, or by a fetch shared by all who wait.

mod budget;
mod cognito;
mod erasure;
mod fence;
mod flight;
mod found;
mod keeping;
#[cfg(test)]
mod model;
mod snapshot;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::error;

use self::{
    budget::{Budget, Category, Claim, Lane},
    cognito::{Cognito, Payer},
    erasure::{Era, Erasures},
    flight::{Failed, Flights, Landing, Ticket},
    found::Answer,
    snapshot::{Asked, Content, Lifetimes, Snapshot, Verdict},
    store::{Key, Store, Topic},
};
pub use self::{
    found::{Failure, Found},
    keeping::{Erased, Holding, State},
};
use crate::{
    config::{BudgetSettings, CacheSettings},
    freshness::{Demand, Moment, Source, StaleReason},
    policy::{Known, Permit, Share, Subject},
    pool::{PoolId, Pools},
    telemetry::metrics::{
        Metrics,
        cache::{Asking, Lookup, Usage},
    },
    user::{User, Username},
};

/// The users of the configured pools: what is held of them, and the way to ask for more; cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cognito: HashMap<PoolId, Cognito>,
    erasures: Erasures,
    flights: Flights,
    lifetimes: Lifetimes,
    store: Store,
    usage: Usage,
}

impl Users {
    /// Prepares to ask every pool's Cognito, with credentials of the usual AWS chain, and begins to ask what it allows.
    /// The runtime this is called in is the one on which Cognito will be asked.
    pub async fn connect(
        pools: &Pools,
        cache: &CacheSettings,
        budget: &BudgetSettings,
        metrics: &Metrics,
    ) -> Self {
        let (mut cognito, mut budgets) = (HashMap::new(), HashMap::new());
        for pool in pools.iter() {
            let payer = (pool.account.as_deref(), pool.region.as_str());
            let known = budgets.get(&payer).map(Arc::clone);
            let budget = known.clone().unwrap_or_else(|| Arc::new(Budget::new(budget, &metrics.upstream)));
            let one = Cognito::connect(Arc::clone(pool), Arc::clone(&budget)).await;
            if known.is_none() {
                budget.show(payer.0.unwrap_or_default(), payer.1, metrics);
                #[expect(clippy::disallowed_methods, reason = "bounded by the time limits of its calls")]
                tokio::spawn(one.clone().learn_limits());
                budgets.insert(payer, budget);
            }
            cognito.insert(pool.id.clone(), one);
        }
        let users = Self::new(cognito, cache, budgets.len(), metrics.cache.clone());
        users.0.store.show(metrics);
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(sweep(Arc::downgrade(&users.0)));
        users
    }

    /// Returns when credentials were found for every pool, however long that takes; to be called in the runtime on which
    /// Cognito is asked.
    pub async fn ready(&self) {
        join_all(self.0.cognito.values().map(Cognito::ready)).await;
    }

    fn new(cognito: HashMap<PoolId, Cognito>, cache: &CacheSettings, budgets: usize, usage: Usage) -> Self {
        let lifetimes =
            Lifetimes { fresh: cache.fresh_for, usable: cache.usable_for, absent: cache.absent_for };
        let store = Store::new(cache.max_bytes, cache.max_absent_bytes, lifetimes, &usage);
        let flights = Flights::new(MAX_FETCHES * budgets.max(1));
        let erasures = Erasures::new();
        Self(Arc::new(Inner { cognito, erasures, flights, lifetimes, store, usage }))
    }

    /// Returns the user the permit names, and its groups where the permit seeks them, as fresh as it demands or not at
    /// all; at once where the budget has no call left that begins before `deadline`. Cancel safe: a fetch that is under
    /// way goes on, bounded in time, and what it brings is held.
    pub async fn find(&self, permit: &Permit, deadline: Instant) -> Result<Found, Failure> {
        let question = self.question(permit.subject(), permit.demand(), permit.share());
        if permit.seeks_groups() {
            Box::pin(self.find_with_groups(&question, deadline)).await
        } else {
            self.find_user(&question, deadline).await
        }
    }

    /// Returns what [`find`](Self::find) would, where that waits for nobody; none where it may, or seeks groups. A lookup is
    /// counted, and a refresh may begin, only where something is returned.
    pub fn glance(&self, permit: &Permit) -> Option<Result<Found, Failure>> {
        if permit.seeks_groups() {
            return None;
        }
        let question = self.question(permit.subject(), permit.demand(), permit.share());
        let Held::Served(lookup, answer) = self.held(&question) else { return None };
        self.0.usage.ask().end(lookup);
        Some(Found::user_of(answer))
    }

    fn question<'a>(&self, subject: &'a Subject, demand: Demand, share: Option<&'a Share>) -> Question<'a> {
        let (key, asked) = (Key::of(subject), Asked::from(&subject.known));
        let era = self.0.erasures.era(&key);
        Question { subject, key, groups_of: None, asked, demand, share, era }
    }

    async fn find_user(&self, question: &Question<'_>, deadline: Instant) -> Result<Found, Failure> {
        Found::user_of(self.answer(question, deadline).await?)
    }

    /// The user first: it has the name by which Cognito tells groups.
    async fn find_with_groups(&self, question: &Question<'_>, deadline: Instant) -> Result<Found, Failure> {
        let found = self.find_user(question, deadline).await?;
        let groups = self.answer(&question.about_groups(found.user()), deadline).await?;
        found.with_groups_of(groups, Instant::now())
    }

    async fn answer(&self, question: &Question<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let asked = self.0.usage.ask();
        match self.held(question) {
            Held::Served(lookup, answer) => {
                asked.end(lookup);
                Ok(answer)
            }
            // Boxed, so that the future of a hit is no larger for what it never does.
            Held::Nothing => Box::pin(self.fetched(question, deadline)).await,
            Held::Usable => Box::pin(self.fetched_or_stale(question, deadline, asked)).await,
        }
    }

    async fn fetched_or_stale(
        &self,
        question: &Question<'_>,
        deadline: Instant,
        asked: Asking<'_>,
    ) -> Result<Answer, Failure> {
        let failure = match self.fetched_briefly(question, deadline).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match failure.stale_reason().map(|reason| self.stale(question, reason)) {
            None => Err(failure),
            Some(Some(answer)) => {
                asked.end(Lookup::Stale);
                Ok(answer)
            }
            // It has outlived its use meanwhile, so there is nothing to be brief for any more.
            Some(None) => self.fetched(question, deadline).await,
        }
    }

    /// Waits for Cognito, but not long: what is held is of use, and half of the caller's time is left to serve it. Half
    /// of the wait may be for the budget, so that our own queue is not taken for Cognito's failing.
    async fn fetched_briefly(&self, question: &Question<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let now = Instant::now();
        let patience = BRIEFLY.min(deadline.saturating_duration_since(now) / 2);
        let fetched = timeout_at(now + patience, self.fetched(question, now + patience / 2)).await;
        fetched.unwrap_or_else(|_| {
            // For the others, who need not find out one by one; but a short deadline says nothing of Cognito.
            if patience == BRIEFLY {
                self.0.store.note_failure(&question.key, StaleReason::UpstreamUnavailable);
            }
            Err(Failure::Unavailable)
        })
    }

    /// Waits for Cognito. The fetch that is under way may have begun too early for the demand, or may have asked in the
    /// less conclusive way; the one after it did not, unless somebody else's came first.
    async fn fetched(&self, question: &Question<'_>, by: Instant) -> Result<Answer, Failure> {
        // Not what is stale: that would be taken for what a fetch has just brought.
        let landed = || {
            let verdict = |held: &Snapshot| self.verdict(question, held, Instant::now());
            let fresh = |held: &Snapshot| matches!(verdict(held), Verdict::Serve | Verdict::ServeAndRefresh);
            self.0.store.latest(&question.key).filter(fresh)
        };
        for _ in 0..MAX_TRIES {
            let book = || self.book(question, Lane::Foreground, by);
            let fetch = |ticket| self.clone().fetch(question.errand(), Lane::Foreground, ticket);
            match self.0.flights.join(question.key.clone(), by, landed, book, fetch).await {
                Ok(snapshot) if snapshot.answers(question.asked, question.demand) => {
                    return Ok(Answer::of(&snapshot, Source::Cognito, None, Instant::now()));
                }
                Err(failed) if failed.is_final_for(question.asked) => return Err(failed.failure),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// Looks at what is held; only a hit here causes a refresh, so that nobody is asked for whom nobody asks (a user that
    /// is looked up is a billed one).
    fn held(&self, question: &Question<'_>) -> Held {
        let (now, latest) = (Instant::now(), self.0.store.latest(&question.key));
        let Some(held) = latest else { return Held::Nothing };
        let (lookup, stale_reason) = match self.verdict(question, &held, now) {
            Verdict::Fetch => return Held::Nothing,
            Verdict::FetchBriefly => return Held::Usable,
            Verdict::Serve if matches!(held.content, Content::Absent(_)) => (Lookup::Absent, None),
            Verdict::Serve => (Lookup::Fresh, None),
            Verdict::ServeAndRefresh => {
                self.refresh(question);
                (Lookup::Refreshing, None)
            }
            Verdict::ServeStale(reason) => (Lookup::Stale, Some(reason)),
        };
        Held::Served(lookup, Answer::of(&held, Source::Cache, stale_reason, now))
    }

    /// What is held once more, now that the fetch for it has failed: it may have changed, and gone.
    fn stale(&self, question: &Question<'_>, reason: StaleReason) -> Option<Answer> {
        let now = Instant::now();
        let held = self.0.store.latest(&question.key)?.failed(now, reason);
        let stale_reason = match self.verdict(question, &held, now) {
            Verdict::Fetch | Verdict::FetchBriefly => return None,
            Verdict::Serve | Verdict::ServeAndRefresh => None,
            Verdict::ServeStale(reason) => Some(reason),
        };
        Some(Answer::of(&held, Source::Cache, stale_reason, now))
    }

    fn refresh(&self, question: &Question<'_>) {
        let book = || self.book(question, Lane::Background, Instant::now());
        let fetch = |ticket| self.clone().fetch(question.errand(), Lane::Background, ticket);
        if self.0.flights.refresh(question.key.clone(), book, fetch) {
            self.0.usage.refreshes.inc();
        }
    }

    fn verdict(&self, question: &Question<'_>, held: &Snapshot, now: Instant) -> Verdict {
        self.0.lifetimes.judge(held, question.asked, question.demand, now)
    }

    fn book(&self, question: &Question<'_>, lane: Lane, by: Instant) -> Result<Ticket, Failure> {
        let cognito = self.cognito(&question.key)?;
        let Payer { lane, share } = Payer::of(lane, question.share);
        let category = match question.groups_of {
            None => cognito.category(&question.subject.known),
            Some(_) => Category::GroupReads,
        };
        let claim = Claim { category, user: &question.key.to(Topic::User), lane, share, is_begun: false };
        let departs = cognito.budget().book(&claim, by)?;
        Ok(Ticket { departs, fence: self.0.erasures.fence(&question.key, question.era) })
    }

    async fn fetch(self, errand: Errand, lane: Lane, ticket: Ticket) -> Landing {
        sleep_until(ticket.departs).await;
        let began = Moment::now();
        let (asked, answer) = match &errand.groups_of {
            None => self.ask(&errand, lane).await,
            Some(name) => (Asked::ByUsername, self.ask_groups(&errand, name, lane).await),
        };
        let content = answer.map_err(|failure| {
            ticket.fence.pass(|| self.note(&errand.key, failure));
            Failed { failure, asked: Some(asked) }
        })?;
        let snapshot =
            Snapshot { content, began, failed: None, expired: false, pace: fastrand::u8(90..=110) };
        ticket.fence.pass(|| self.0.store.put(errand.key, snapshot.clone()));
        Ok(snapshot)
    }

    async fn ask(&self, errand: &Errand, lane: Lane) -> (Asked, Result<Content, Failure>) {
        let (key, known) = (&errand.key, &errand.known);
        let held = self.username(key);
        let cognito = match self.cognito(key) {
            Ok(cognito) => cognito,
            Err(failure) => return (known.into(), Err(failure)),
        };
        let (asked, answer) =
            cognito.ask(key, known, held.as_ref(), Payer::of(lane, errand.share.as_ref())).await;
        let content = |user: Option<User>| match user {
            None => Content::Absent(asked),
            Some(user) => Content::Present(Arc::new(user)),
        };
        (asked, answer.map(content))
    }

    async fn ask_groups(&self, errand: &Errand, name: &Username, lane: Lane) -> Result<Content, Failure> {
        let user = errand.key.to(Topic::User);
        let groups =
            self.cognito(&user)?.ask_groups(&user, name, Payer::of(lane, errand.share.as_ref())).await?;
        groups.map(Content::Groups).ok_or(Failure::NoSuchUser)
    }

    fn note(&self, key: &Key, failure: Failure) {
        match failure.stale_reason() {
            // Ours to say, at no cost, each time anew: others may have more of it.
            Some(StaleReason::BudgetExhausted) => {}
            Some(reason) => self.0.store.note_failure(key, reason),
            // The name is somebody else's now, or nobody's, so the one that is held is gone.
            None if matches!(failure, Failure::Mismatch | Failure::NoSuchUser) => {
                self.0.store.forget(&key.to(Topic::User));
            }
            None => {}
        }
    }

    fn username(&self, key: &Key) -> Option<Username> {
        match self.0.store.latest(key)?.content {
            Content::Absent(_) | Content::Groups(_) => None,
            Content::Present(user) => Some(user.username.clone()),
        }
    }

    fn cognito(&self, key: &Key) -> Result<&Cognito, Failure> {
        self.0.cognito.get(&key.pool).ok_or(Failure::Lost)
    }
}

/// Forgets now and then who is of no use any more.
async fn sweep(users: Weak<Inner>) {
    while let Some(inner) = users.upgrade() {
        let pause = inner.lifetimes.usable.max(SHORTEST_PAUSE);
        // On a thread of its own, for all who wait for Cognito wait for this one.
        let sweeping = spawn_blocking(move || {
            inner.store.sweep(Instant::now());
            inner.cognito.values().for_each(|cognito| cognito.budget().prune());
        });
        if sweeping.await.is_err() {
            error!("a sweep failed: what is of no use is held until the next");
        }
        sleep(pause).await;
    }
}

/// What the store has for a question.
enum Held {
    /// Nothing that may be served.
    Nothing,
    /// What is to be answered at once.
    Served(Lookup, Answer),
    /// What may be served if Cognito cannot answer.
    Usable,
}

/// A permit in the terms of the store and the flights.
struct Question<'a> {
    subject: &'a Subject,
    key: Key,
    /// The user's name, where the groups are in question and not the user.
    groups_of: Option<Username>,
    asked: Asked,
    demand: Demand,
    share: Option<&'a Share>,
    era: Era,
}

impl Question<'_> {
    /// The same about the groups of the user that it found.
    fn about_groups(&self, user: &User) -> Self {
        let (key, groups_of) = (self.key.to(Topic::Groups), Some(user.username.clone()));
        Self { key, groups_of, ..*self }
    }

    fn errand(&self) -> Errand {
        let known = self.subject.known.clone();
        let (groups_of, share) = (self.groups_of.clone(), self.share.cloned());
        Errand { key: self.key.clone(), known, groups_of, share }
    }
}

/// What a fetch, which no question owns, must know of one.
struct Errand {
    key: Key,
    known: Known,
    groups_of: Option<Username>,
    share: Option<Share>,
}

impl Key {
    fn of(subject: &Subject) -> Self {
        Self { pool: subject.pool.id.clone(), sub: subject.sub.clone(), topic: Topic::User }
    }
}

impl From<&Known> for Asked {
    fn from(known: &Known) -> Self {
        match known {
            Known::BySub => Self::BySub,
            Known::ByToken(_) => Self::ByUsername,
        }
    }
}

const MAX_TRIES: usize = 3;
// A sweep looks at everything that is held.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
// As many as Cognito's default quota of 120 reads a second lets begin within the 3 s that a caller waits for one to
// begin and the 2 s that it may last.
const MAX_FETCHES: usize = 600;
// Cognito answers within a fraction of it, and callers with an answer at hand should not wait out a hanging one.
const BRIEFLY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn test_pool(bare_sub: crate::pool::Lookup) -> crate::pool::Pool {
    crate::pool::Pool {
        id: "eu-west-1_A".parse().unwrap(),
        app_clients: ["client1".parse().unwrap()].into(),
        endpoint_url: None,
        issuers: Vec::new(),
        jwks_url: "http://127.0.0.1:1".parse().unwrap(),
        bare_sub,
        credentials: crate::config::Credentials::Placeholder,
        region: "eu-west-1".into(),
        account: None,
        role: None,
    }
}

#[cfg(test)]
pub(crate) fn test_user(sub: &str) -> User {
    User {
        sub: sub.parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: crate::attribute::Attributes::default(),
        account: crate::user::Account::Confirmed,
        enabled: true,
        created_at: None,
        updated_at: None,
    }
}
