//! Finds the user a [`Permit`] names, fresh enough for its demand: from the store, or by a fetch shared by all who wait.

mod cognito;
mod flight;
mod found;
mod snapshot;
mod store;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{runtime::Handle, time::timeout};

pub use self::found::{Failure, Found};
use self::{
    cognito::Cognito,
    flight::{Failed, Flights, Landing},
    snapshot::{Asked, Content, Lifetimes, Snapshot, Verdict},
    store::{Key, Store},
};
use crate::{
    config::CacheSettings,
    freshness::{Demand, Moment, Source},
    policy::{Known, Permit, Subject},
    pool::{PoolId, Pools},
    user::User,
};

/// The users of the configured pools: what is held of them, and the way to ask for more; cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cognito: HashMap<PoolId, Cognito>,
    flights: Flights,
    lifetimes: Lifetimes,
    store: Store,
}

impl Users {
    /// Prepares to ask every pool's Cognito, with credentials of the usual AWS chain, on the runtime `upstream`, in which
    /// this must run too.
    pub async fn connect(pools: Pools, settings: CacheSettings, upstream: Handle) -> Self {
        let mut cognito = HashMap::new();
        for pool in pools.iter() {
            cognito.insert(pool.id.clone(), Cognito::connect(Arc::clone(pool)).await);
        }
        let lifetimes =
            Lifetimes { fresh: settings.fresh_for, usable: settings.usable_for, absent: settings.absent_for };
        let store = Store::new(settings.max_bytes, settings.max_absent_bytes, lifetimes);
        Self(Arc::new(Inner { cognito, flights: Flights::new(upstream), lifetimes, store }))
    }

    /// Returns when credentials were found for every pool, however long that takes; must run in the runtime `upstream`.
    pub async fn ready(&self) {
        join_all(self.0.cognito.values().map(Cognito::ready)).await;
    }

    /// Returns the user the permit names, as fresh as it demands or not at all. Cancel safe: a fetch that is under way
    /// goes on, bounded in time, and what it brings is held.
    pub async fn find(&self, permit: &Permit) -> Result<Found, Failure> {
        let question = Question::of(permit);
        let failure = match self.held(&question) {
            Held::Served(found) => return found,
            Held::Nothing => return self.fetched(&question).await,
            Held::Usable => match timeout(BRIEFLY, self.fetched(&question)).await {
                Ok(Err(failure)) => failure,
                Ok(found) => return found,
                Err(_) => Failure::Unavailable,
            },
        };
        let Some(reason) = failure.stale_reason() else { return Err(failure) };
        self.0.store.note_failure(&question.key, reason);
        match self.held(&question) {
            Held::Served(found) => found,
            Held::Nothing | Held::Usable => Err(failure),
        }
    }

    /// Waits for Cognito. The fetch that is under way may have begun too early for the demand, or may have asked in the
    /// less conclusive way; the one after it did not, unless somebody else's came first.
    async fn fetched(&self, question: &Question<'_>) -> Result<Found, Failure> {
        // Not what is stale: that would be taken for what a fetch has just brought.
        let landed = || {
            let verdict = |held: &Snapshot| self.verdict(question, held, Moment::now());
            let fresh = |held: &Snapshot| matches!(verdict(held), Verdict::Serve | Verdict::ServeAndRefresh);
            self.0.store.latest(&question.key).filter(fresh)
        };
        for _ in 0..MAX_TRIES {
            let fetch = || self.clone().fetch(question.subject.clone());
            match self.0.flights.join(question.key.clone(), landed, fetch).await {
                Ok(snapshot) if snapshot.answers(question.asked, question.demand) => {
                    return Found::of(&snapshot, Source::Cognito, None, Moment::now());
                }
                Err(failed) if failed.asked.is_none_or(|other| other == question.asked) => {
                    return Err(failed.failure);
                }
                Ok(_) | Err(_) => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// Looks at what is held; only a hit here causes a refresh, so that nobody is asked for whom nobody asks (a user that
    /// is looked up is a billed one).
    fn held(&self, question: &Question<'_>) -> Held {
        let (now, latest) = (Moment::now(), self.0.store.latest(&question.key));
        let Some(held) = latest else { return Held::Nothing };
        let stale_reason = match self.verdict(question, &held, now) {
            Verdict::Fetch => return Held::Nothing,
            Verdict::FetchBriefly => return Held::Usable,
            Verdict::Serve => None,
            Verdict::ServeAndRefresh => {
                let fetch = || self.clone().fetch(question.subject.clone());
                self.0.flights.refresh(question.key.clone(), fetch);
                None
            }
            Verdict::ServeStale(reason) => Some(reason),
        };
        Held::Served(Found::of(&held, Source::Cache, stale_reason, now))
    }

    fn verdict(&self, question: &Question<'_>, held: &Snapshot, now: Moment) -> Verdict {
        self.0.lifetimes.judge(held, question.asked, question.demand, now)
    }

    async fn fetch(self, subject: Subject) -> Landing {
        let (began, asked) = (Moment::now(), Asked::from(&subject.known));
        let key = Key { pool: subject.pool.id.clone(), sub: subject.sub.clone() };
        let content = match self.ask(&subject).await {
            Ok(None) => Content::Absent(asked),
            Ok(Some(user)) => Content::Present(Arc::new(user)),
            Err(failure) => {
                match failure.stale_reason() {
                    Some(reason) => self.0.store.note_failure(&key, reason),
                    // The name is somebody else's now, so the one that is held is gone.
                    None if failure == Failure::Mismatch => self.0.store.forget(&key),
                    None => {}
                }
                return Err(Failed { failure, asked: Some(asked) });
            }
        };
        let snapshot = Snapshot { content, began, failed: None, pace: fastrand::u8(90..=110) };
        self.0.store.put(key, snapshot.clone());
        Ok(snapshot)
    }

    async fn ask(&self, subject: &Subject) -> Result<Option<User>, Failure> {
        let cognito = self.0.cognito.get(&subject.pool.id).ok_or(Failure::Lost)?;
        match &subject.known {
            Known::BySub => cognito.by_sub(&subject.sub).await,
            Known::ByToken(username) => cognito.by_username(username, &subject.sub).await,
        }
    }
}

/// What the store has for a question.
enum Held {
    /// Nothing that may be served.
    Nothing,
    /// What is to be answered at once.
    Served(Result<Found, Failure>),
    /// What may be served if Cognito cannot answer.
    Usable,
}

/// A permit in the terms of the store and the flights.
struct Question<'a> {
    subject: &'a Subject,
    key: Key,
    asked: Asked,
    demand: Demand,
}

impl<'a> Question<'a> {
    fn of(permit: &'a Permit) -> Self {
        let subject = permit.subject();
        let key = Key { pool: subject.pool.id.clone(), sub: subject.sub.clone() };
        Self { subject, key, asked: Asked::from(&subject.known), demand: permit.demand() }
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
// Cognito answers within a fraction of it, and callers with an answer at hand should not wait out a hanging one.
const BRIEFLY: Duration = Duration::from_millis(500);

#[cfg(test)]
pub(crate) fn test_user(sub: &str) -> User {
    User {
        sub: sub.parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: std::collections::BTreeMap::new(),
        account: crate::user::Account::Confirmed,
        enabled: true,
        created_at: None,
        updated_at: None,
    }
}
