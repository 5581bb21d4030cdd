//! Decides what a caller may see: ([`Caller`], [`Query`]) → [`Permit`], and [`Permit`] + what was found → [`Disclosure`].
//! Deny by default: what no rule releases is refused.

mod rule;

use std::{sync::Arc, time::SystemTime};

use thiserror::Error;

use self::rule::{Reads, Rule};
use crate::{
    attribute::{AttributeName, CREATED_AT, Selection, UPDATED_AT, USERNAME},
    auth::{Caller, Identity, Person},
    config::{Collector, Config},
    freshness::{Demand, Freshness},
    pool::{Pool, PoolId, Pools},
    query::Query,
    user::{Account, Sub, User, Username},
};

/// The configured rules. No two match the same caller.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    pools: Pools,
}

impl Policy {
    /// Reads the `callers` of the settings; none if anything is wrong, which `faults` then says.
    /// Without `pools`, which are then at fault themselves, the rules are read for their own faults only.
    pub fn read(config: &Config, pools: Option<&Pools>, faults: &mut Collector<'_>) -> Option<Self> {
        let rules = rule::read(config, pools, faults)?;
        Some(Self { rules, pools: pools?.clone() })
    }

    /// Returns the names of the callers whose network is wider than this machine, which an operator should be told of.
    pub fn open_networks(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.is_open()).map(|rule| &*rule.name)
    }

    /// Decides, before anything is fetched, whether `caller` may ask `query`; the only origin of [`Permit`].
    pub fn permit(&self, caller: &Caller, query: Query) -> Result<Permit, Denied> {
        let rule = self.rule(caller.identity())?;
        let subject = self.subject(rule, caller, &query)?;
        if query.include_groups {
            return Err(Denied::Attributes(vec!["groups".to_owned()]));
        }
        let attributes = rule.attributes.narrow(query.attributes).map_err(|names| {
            Denied::Attributes(names.iter().map(AttributeName::as_str).map(ToOwned::to_owned).collect())
        })?;
        Ok(Permit { caller: Arc::clone(&rule.name), subject, attributes, demand: query.demand })
    }

    fn rule(&self, identity: &Identity) -> Result<&Rule, Denied> {
        let denied = match identity {
            Identity::Machine(_) | Identity::Person(_) => Denied::Caller,
            Identity::Peer(_) => Denied::Anonymous,
        };
        self.rules.iter().find(|rule| rule.matches(identity)).ok_or(denied)
    }

    fn subject(&self, rule: &Rule, caller: &Caller, query: &Query) -> Result<Subject, Denied> {
        let mut persons = caller.persons();
        let Some(person) = persons.next() else { return self.bare(rule, query) };
        let other_sub = query.sub.as_ref().is_some_and(|sub| *sub != person.sub);
        let other_pool = query.pool.as_ref().is_some_and(|pool| *pool != person.pool.id);
        let other_person = persons.any(|other| other.sub != person.sub || other.pool.id != person.pool.id);
        if other_sub || other_pool || other_person {
            return Err(Denied::Ambiguous);
        }
        Ok(Subject::of(person))
    }

    fn bare(&self, rule: &Rule, query: &Query) -> Result<Subject, Denied> {
        let sub = match (rule.reads, &query.sub) {
            (Reads::Token, None) => return Err(Denied::Anonymous),
            (Reads::Token, Some(_)) => return Err(Denied::Subject),
            (Reads::Any, None) => return Err(Denied::Nobody),
            (Reads::Any, Some(sub)) => sub.clone(),
        };
        let pool = match &query.pool {
            Some(id) => self.pools.by_id(id).ok_or(Denied::PoolUnknown)?,
            None => self.pools.only().ok_or(Denied::PoolMissing)?,
        };
        Ok(Subject { pool: Arc::clone(pool), sub, username: None })
    }
}

/// Leave to look up one user and to disclose some of what is found; made by [`Policy::permit`] only.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Arc<str>,
    subject: Subject,
    attributes: Selection,
    demand: Demand,
}

impl Permit {
    /// Returns the configured name of the caller.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// Returns the user to look up.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns how fresh the answer must be.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Cuts a user to what this permit allows; the only origin of [`Disclosure`]. A disabled user's own token
    /// discloses nothing.
    pub fn disclose(&self, user: &User, freshness: Freshness) -> Result<Disclosure, Denied> {
        if !user.enabled && self.subject.username.is_some() {
            return Err(Denied::Disabled);
        }
        let allowed = |name: &str| self.attributes.contains(name);
        let attributes = user.attributes.iter().filter(|(name, _)| allowed(name.as_str()));
        Ok(Disclosure {
            sub: user.sub.clone(),
            pool: self.subject.pool.id.clone(),
            username: allowed(USERNAME).then(|| user.username.clone()),
            attributes: attributes
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            account: user.account,
            enabled: user.enabled,
            created_at: user.created_at.filter(|_| allowed(CREATED_AT)),
            updated_at: user.updated_at.filter(|_| allowed(UPDATED_AT)),
            freshness,
        })
    }
}

/// Whom a permit is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The user's pool.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// The pool's name for the user, known if and only if the user's own token was presented.
    pub username: Option<Username>,
}

impl Subject {
    fn of(person: &Person) -> Self {
        Self {
            pool: Arc::clone(&person.pool),
            sub: person.sub.clone(),
            username: Some(person.username.clone()),
        }
    }
}

/// What may leave about one user: nothing in it was withheld by a rule. Its parts are personal, so it has no `Debug`.
#[expect(missing_debug_implementations, reason = "everything in it is personal")]
pub struct Disclosure {
    /// The user.
    pub sub: Sub,
    /// The user's pool.
    pub pool: PoolId,
    /// The pool's name for the user, if released.
    pub username: Option<Username>,
    /// The released attributes, name and value.
    pub attributes: Vec<(String, String)>,
    /// Where the user stands in the sign-up and password flows.
    pub account: Account,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the user was created, if released.
    pub created_at: Option<SystemTime>,
    /// When the user was last modified, if released.
    pub updated_at: Option<SystemTime>,
    /// How fresh all of it is.
    pub freshness: Freshness,
}

/// Why the policy refuses.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Denied {
    /// The tokens, `sub` and `user_pool_id` given name different users.
    #[error("the tokens and fields given name different users")]
    Ambiguous,
    /// There is no credential where one is needed.
    #[error("no credential was presented, and no rule names the caller's network")]
    Anonymous,
    /// These attributes, sorted, were named and are not released.
    // Not which: a caller may write anything into a name.
    #[error("{} attributes were asked for that the caller may not read", .0.len())]
    Attributes(Vec<String>),
    /// No rule names the caller.
    #[error("no rule names the caller")]
    Caller,
    /// The user whose token was presented is disabled.
    #[error("the user whose token was presented is disabled")]
    Disabled,
    /// Neither a token nor `sub` was given.
    #[error("neither a token nor a sub was given")]
    Nobody,
    /// Several pools are configured and none was named.
    #[error("several pools are configured and none was named")]
    PoolMissing,
    /// The pool named is not configured.
    #[error("the pool named is not configured")]
    PoolUnknown,
    /// The caller may read only users whose token it presents.
    #[error("the caller may read only users whose token it presents")]
    Subject,
}

#[cfg(test)]
mod tests;
