//! Finds the user a [`Permit`] names, fresh enough for its demand: from the store, or by a fetch shared by all who wait.

mod cognito;
mod flight;
mod snapshot;
mod store;

use std::{collections::HashMap, sync::Arc};

use thiserror::Error;

use self::{
    cognito::Cognito,
    flight::{Failed, Flights, Landing},
    snapshot::{Asked, Content, Lifetimes, Snapshot},
    store::{Key, Store},
};
use crate::{
    config::CacheSettings,
    freshness::{Freshness, Moment, Source},
    policy::{Permit, Subject},
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
    /// Prepares to ask every pool's Cognito, with credentials of the usual AWS chain, which are first needed and looked
    /// for by the first fetch.
    pub async fn connect(pools: &Pools, settings: &CacheSettings) -> Self {
        let mut cognito = HashMap::new();
        for pool in pools.iter() {
            cognito.insert(pool.id.clone(), Cognito::connect(Arc::clone(pool)).await);
        }
        let lifetimes = Lifetimes { fresh: settings.fresh_for, absent: settings.absent_for };
        let store = Store::new(settings.max_bytes, settings.max_absent_bytes, lifetimes);
        Self(Arc::new(Inner { cognito, flights: Flights::default(), lifetimes, store }))
    }

    /// Returns the user the permit names, as fresh as it demands or not at all. Cancel safe: a fetch that is under way
    /// goes on, bounded in time, and what it brings is held.
    pub async fn find(&self, permit: &Permit) -> Result<Found, Failure> {
        let subject = permit.subject();
        let key = Key { pool: subject.pool.id.clone(), sub: subject.sub.clone() };
        let asked = asked(subject);
        let held = |now| {
            let held = self.0.store.latest(&key)?;
            self.0.lifetimes.allow(&held, asked, permit.demand(), now).then_some(held)
        };
        let now = Moment::now();
        if let Some(snapshot) = held(now) {
            return Found::of(&snapshot, Source::Cache, now);
        }
        // The fetch that is under way may have begun too early for the demand, or may have asked in the less conclusive
        // way; the one after it did not, unless somebody else's came first.
        for _ in 0..MAX_FLIGHTS {
            let fetch = || self.clone().fetch(subject.clone());
            match self.0.flights.join(key.clone(), || held(Moment::now()), fetch).await {
                Ok(snapshot) if snapshot.answers(asked, permit.demand()) => {
                    return Found::of(&snapshot, Source::Cognito, Moment::now());
                }
                Err(failed) if failed.asked.is_none_or(|other| other == asked) => return Err(failed.failure),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Failure::Unavailable)
    }

    async fn fetch(self, subject: Subject) -> Landing {
        let (began, asked) = (Moment::now(), asked(&subject));
        let failed = |failure| Failed { failure, asked: Some(asked) };
        let content = match self.ask(&subject).await.map_err(failed)? {
            None => Content::Absent(asked),
            Some(user) => Content::Present(Arc::new(user)),
        };
        let snapshot = Snapshot { content, began };
        self.0.store.put(Key { pool: subject.pool.id.clone(), sub: subject.sub }, snapshot.clone());
        Ok(snapshot)
    }

    async fn ask(&self, subject: &Subject) -> Result<Option<User>, Failure> {
        let cognito = self.0.cognito.get(&subject.pool.id).ok_or(Failure::Lost)?;
        match &subject.username {
            Some(username) => cognito.by_username(username, &subject.sub).await,
            None => cognito.by_sub(&subject.sub).await,
        }
    }
}

/// A user and how fresh what is known of it is; made by [`Users::find`] only.
#[derive(Debug)]
pub struct Found {
    user: Arc<User>,
    freshness: Freshness,
}

impl Found {
    fn of(snapshot: &Snapshot, source: Source, now: Moment) -> Result<Self, Failure> {
        let Content::Present(user) = &snapshot.content else { return Err(Failure::NoSuchUser) };
        let age = now.steady.saturating_duration_since(snapshot.began.steady);
        let freshness = Freshness { source, fetched_at: snapshot.began.wall, age };
        Ok(Self { user: Arc::clone(user), freshness })
    }

    /// Returns the user, uncut: only a permit may disclose it.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Returns how fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }
}

/// Why no user was found; the text is for the log, callers get a constant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Failure {
    /// Cognito's answer is no user.
    #[error("Cognito's answer could not be read as a user")]
    Garbled,
    /// The fetch ended without a result: a fault of ours.
    #[error("a fetch ended without a result")]
    Lost,
    /// Cognito answered with somebody else, or with several users.
    #[error("Cognito answered with another user than the one asked for")]
    Mismatch,
    /// Cognito knows no such user.
    #[error("Cognito knows no such user")]
    NoSuchUser,
    /// Too many other users are being fetched.
    #[error("too many users are being fetched at once")]
    Overloaded,
    /// Cognito refuses this service: credentials, permissions or the pool are wrong. An operator must act.
    #[error("Cognito refuses this service: check its credentials, its IAM permissions and the pool id")]
    Refused,
    /// Cognito throttles this service.
    #[error("Cognito throttles this service")]
    Throttled,
    /// Cognito failed, or did not answer in time.
    #[error("Cognito failed or did not answer in time")]
    Unavailable,
}

fn asked(subject: &Subject) -> Asked {
    match subject.username {
        Some(_) => Asked::ByUsername,
        None => Asked::BySub,
    }
}

const MAX_FLIGHTS: usize = 3;

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
