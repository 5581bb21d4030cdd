//! Decides what a caller may see: ([`Caller`], [`Query`]) → [`Permit`], and [`Permit`] + what was found → [`Disclosure`].
//! Deny by default: what no rule releases is refused.

mod batch;
mod disclosure;
mod explanation;
mod admin_permit;
mod network;
mod permit;
mod rule;

use std::sync::Arc;

use thiserror::Error;

pub use self::{
    admin_permit::AdminPermit,
    disclosure::Disclosure,
    explanation::{Access, Explanation},
    permit::{CallerRateLimit, LookupKey, Permit, Subject},
};
use self::{
    permit::GroupsSource,
    rule::{Reads, Rule},
};
use crate::{
    attribute::AttributeName,
    auth::{Caller, Identity},
    config::{Config, ErrorCollector},
    pool::{Pool, PoolId, Pools},
    query::Query,
};

/// The configured rules. No two match the same caller.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    pools: Pools,
}

impl Policy {
    /// Reads the `callers` of the settings; none if anything is wrong, which `errors` then says.
    /// Without `pools`, which are then at fault themselves, the rules are read for their own faults only.
    pub fn read(config: &Config, pools: Option<&Pools>, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let rules = rule::read(config, pools, errors)?;
        Some(Self { rules, pools: pools?.clone() })
    }

    /// Returns the names of the callers whose network is wider than this machine, which an operator should be told of.
    pub fn callers_on_remote_networks(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.accepts_remote_networks()).map(|rule| &*rule.name)
    }

    /// Returns the name of the one rule about `caller`, whether or not it lets it in.
    pub fn name(&self, caller: &Caller) -> Option<&Arc<str>> {
        self.matching_rule(caller.identity()).ok().map(|rule| &rule.name)
    }

    /// Decides, before anything is fetched, whether `caller` may ask `query`; the only origin of [`Permit`].
    pub fn permit(&self, caller: &Caller, query: Query) -> Result<Permit, Denied> {
        self.permit_by(self.rule(caller.identity())?, caller, query)
    }

    /// By the rule about the caller.
    fn permit_by(&self, rule: &Rule, caller: &Caller, query: Query) -> Result<Permit, Denied> {
        let subject = self.subject(rule, caller, &query)?;
        let groups = groups_source(rule, caller, &query)?;
        let attributes = rule.attributes.narrow(query.attributes).map_err(|names| {
            Denied::AttributesNotAllowed(
                names.iter().map(AttributeName::as_str).map(ToOwned::to_owned).collect(),
            )
        })?;
        let (demand, caller_limit) = (query.demand, rule.caller_limit.clone());
        Ok(Permit { subject, attributes, groups, demand, caller_limit })
    }

    fn rule(&self, identity: &Identity) -> Result<&Rule, Denied> {
        let rule = self.matching_rule(identity)?;
        if rule.lacks_scope(identity) { Err(Denied::ScopeMissing) } else { Ok(rule) }
    }

    fn matching_rule(&self, identity: &Identity) -> Result<&Rule, Denied> {
        let mut matching = self.rules.iter().filter(|rule| rule.matches(identity));
        let rule = matching.next().ok_or(match identity {
            Identity::Address(_) => Denied::CredentialMissing,
            Identity::Certificate(_) | Identity::Machine(_) | Identity::User(_) => Denied::CallerNotAllowed,
        })?;
        // A certificate may have several names; one that names two callers is neither.
        if matching.next().is_some() {
            return Err(Denied::CallerNotAllowed);
        }
        Ok(rule)
    }

    fn subject(&self, rule: &Rule, caller: &Caller, query: &Query) -> Result<Subject, Denied> {
        let mut users = caller.token_users();
        let Some(user) = users.next() else { return self.subject_by_sub(rule, query) };
        let other_sub = query.sub.as_ref().is_some_and(|sub| *sub != user.sub);
        let other_pool = query.pool.as_ref().is_some_and(|pool| *pool != user.pool.id);
        let other_user = users.any(|other| other.sub != user.sub || other.pool.id != user.pool.id);
        if other_sub || other_pool || other_user {
            return Err(Denied::SubjectAmbiguous);
        }
        Ok(Subject::of(user))
    }

    fn subject_by_sub(&self, rule: &Rule, query: &Query) -> Result<Subject, Denied> {
        let sub = match (rule.reads, &query.sub) {
            (Reads::Token, None) => return Err(Denied::CredentialMissing),
            (Reads::Token, Some(_)) => return Err(Denied::SubjectNotAllowed),
            (Reads::Any, None) => return Err(Denied::SubjectMissing),
            (Reads::Any, Some(sub)) => sub.clone(),
        };
        Ok(Subject { pool: self.pool(query.pool.as_ref())?, sub, lookup_key: LookupKey::Sub })
    }

    fn pool(&self, named: Option<&PoolId>) -> Result<Arc<Pool>, Denied> {
        let pool = match named {
            Some(id) => self.pools.by_id(id).ok_or(Denied::PoolUnknown)?,
            None => self.pools.only().ok_or(Denied::PoolMissing)?,
        };
        Ok(Arc::clone(pool))
    }
}

/// A token tells the groups as they were when it was issued, at no cost.
fn groups_source(rule: &Rule, caller: &Caller, query: &Query) -> Result<GroupsSource, Denied> {
    match (query.include_groups, caller.token_users().next()) {
        (false, _) => Ok(GroupsSource::NotRequested),
        (true, _) if !rule.groups => Err(Denied::AttributesNotAllowed(vec!["groups".to_owned()])),
        (true, Some(user)) => Ok(GroupsSource::Token(user.groups.clone())),
        (true, None) => Ok(GroupsSource::Cognito),
    }
}

/// Why the policy refuses.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Denied {
    /// The tokens, `sub` and `user_pool_id` given name different users.
    #[error("the tokens and fields given name different users")]
    SubjectAmbiguous,
    /// There is no credential where one is needed.
    #[error("no credential was presented where one is needed")]
    CredentialMissing,
    /// These attributes, sorted, were named and are not released.
    // Not which: a caller may write anything into a name.
    #[error("{} attributes were asked for that the caller may not read", .0.len())]
    AttributesNotAllowed(Vec<String>),
    /// No rule names the caller.
    #[error("no rule names the caller")]
    CallerNotAllowed,
    /// No rule has the name that was asked about.
    #[error("no rule has the name that was asked about")]
    CallerNameUnknown,
    /// The user whose token was presented is disabled.
    #[error("the user whose token was presented is disabled")]
    UserDisabled,
    /// The caller is no administrator.
    #[error("the caller is no administrator")]
    NotAdmin,
    /// Neither a token nor `sub` was given.
    #[error("neither a token nor a sub was given")]
    SubjectMissing,
    /// Several pools are configured and none was named.
    #[error("several pools are configured and none was named")]
    PoolMissing,
    /// The pool named is not configured.
    #[error("the pool named is not configured")]
    PoolUnknown,
    /// The caller's token lacks the scope that its rule demands.
    #[error("the caller's token lacks the scope that its rule demands")]
    ScopeMissing,
    /// The caller may read only users whose token it presents.
    #[error("the caller may read only users whose token it presents")]
    SubjectNotAllowed,
}

#[cfg(test)]
mod tests;
