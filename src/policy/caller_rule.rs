//! The rule of one authenticated caller, which turns its queries into permits.

use std::sync::Arc;

use super::{
    AdminPermit, CallerRateLimit, Denied, LookupKey, Permit, Subject, WatchPermit, permit::GroupsSource,
    rule::Rule,
};
use crate::{
    attribute::AttributeName,
    auth::{Caller, Identity, Principal, TokenUser},
    changes::WatchFilter,
    config::Reads,
    pool::{Pool, PoolId, Pools},
    query::{Query, Target, WatchQuery},
};

/// A caller and the rule that matches it.
#[derive(Clone, Copy, Debug)]
pub struct CallerRule<'a> {
    pub(super) rule: &'a Rule,
    pub(super) pools: &'a Pools,
    pub(super) caller: &'a Caller,
}

impl<'a> CallerRule<'a> {
    /// Returns the configured name of the caller.
    pub fn name(&self) -> &'a Arc<str> {
        &self.rule.name
    }

    /// Returns the principal that identified the caller.
    pub fn principal(&self) -> &'a Principal {
        &self.rule.principal
    }

    /// Returns whether the caller may read only users whose access token it presents.
    pub fn requires_user_token(&self) -> bool {
        self.rule.reads == Reads::Token
    }

    /// Returns the caller, and the rate limit of the calls to Cognito that are made for it.
    pub fn caller_limit(&self) -> CallerRateLimit {
        self.rule.caller_limit
    }

    /// Takes this many answers from the caller's limit, if it has one.
    pub fn take_answers(&self, answers: usize) -> Result<(), Denied> {
        let Some(limit) = &self.rule.answer_limit else { return Ok(()) };
        limit.take(answers).map_err(Denied::AnswersExhausted)
    }

    /// Decides, before anything is fetched, whether the caller may read what `query` requests.
    pub fn permit(&self, query: Query) -> Result<Permit, Denied> {
        self.check_scope()?;
        let subject = self.subject(&query)?;
        let groups = self.groups_source(&query)?;
        let attributes = self.rule.attributes.narrow(query.attributes).map_err(|names| {
            Denied::AttributesNotAllowed(names.iter().map(AttributeName::as_str).map(Into::into).collect())
        })?;
        let (freshness, caller_limit) = (query.freshness, self.rule.caller_limit);
        Ok(Permit { subject, attributes, groups, freshness, caller_limit })
    }

    /// Decides whether the caller may administer `target`. A user's own token is refused whatever
    /// its scopes: every user of the app client can get the same ones.
    pub fn admin_permit(&self, target: Target) -> Result<AdminPermit, Denied> {
        self.check_scope()?;
        if !self.rule.admin || matches!(self.caller.identity(), Identity::User(_)) {
            return Err(Denied::NotAdmin);
        }
        let Target { sub, pool } = target;
        Ok(AdminPermit(Subject { pool: self.pool(pool.as_ref())?, sub, lookup_key: LookupKey::Sub }))
    }

    /// Decides whether the caller may watch, and which users. A caller that presents a user's token
    /// may watch that user only, as it may read only that user.
    pub fn watch_permit(&self, query: &WatchQuery) -> Result<WatchPermit, Denied> {
        self.check_scope()?;
        if !self.rule.watch {
            return Err(Denied::NotWatcher);
        }
        let WatchQuery { subs, kinds, .. } = query;
        let token_user = self.caller.token_users().next();
        let (pool, subs) = match token_user {
            Some(TokenUser { pool, sub, .. }) => {
                let other_pool = query.pool.as_ref().is_some_and(|id| *id != pool.id);
                if other_pool || subs.iter().any(|other| other != sub) {
                    return Err(Denied::SubjectAmbiguous);
                }
                (Some(pool.id.clone()), vec![sub.clone()])
            }
            None if subs.is_empty() && query.pool.is_none() => (None, Vec::new()),
            None => (Some(self.pool(query.pool.as_ref())?.id.clone()), subs.clone()),
        };
        Ok(WatchPermit(WatchFilter { pool, subs, kinds: *kinds }))
    }

    fn check_scope(&self) -> Result<(), Denied> {
        if self.rule.has_scope(self.caller.identity()) { Ok(()) } else { Err(Denied::ScopeMissing) }
    }

    /// Returns the pool that the request names, or the only one.
    fn pool(&self, id: Option<&PoolId>) -> Result<Arc<Pool>, Denied> {
        let pool = match id {
            Some(id) => self.pools.by_id(id).ok_or(Denied::PoolUnknown)?,
            None => self.pools.only().ok_or(Denied::PoolMissing)?,
        };
        Ok(Arc::clone(pool))
    }

    fn subject(&self, query: &Query) -> Result<Subject, Denied> {
        let mut users = self.caller.token_users();
        let Some(user) = users.next() else { return self.subject_by_sub(query) };
        let other_sub = query.sub.as_ref().is_some_and(|sub| *sub != user.sub);
        let other_pool = query.pool.as_ref().is_some_and(|pool| *pool != user.pool.id);
        let other_user = users.any(|other| other.sub != user.sub || other.pool.id != user.pool.id);
        if other_sub || other_pool || other_user {
            return Err(Denied::SubjectAmbiguous);
        }
        let lookup_key = LookupKey::Username(user.username.clone());
        Ok(Subject { pool: Arc::clone(&user.pool), sub: user.sub.clone(), lookup_key })
    }

    fn subject_by_sub(&self, query: &Query) -> Result<Subject, Denied> {
        let sub = match (self.rule.reads, &query.sub) {
            (Reads::Token, None) if matches!(self.caller.identity(), Identity::Machine(_)) => {
                return Err(Denied::MachineTokenAlone);
            }
            (Reads::Token, None) => return Err(Denied::UserTokenMissing),
            (Reads::Token, Some(_)) => return Err(Denied::SubjectNotAllowed),
            (Reads::Any, None) => return Err(Denied::SubjectMissing),
            (Reads::Any, Some(sub)) => sub.clone(),
        };
        Ok(Subject { pool: self.pool(query.pool.as_ref())?, sub, lookup_key: LookupKey::Sub })
    }

    /// Prefers the groups in the token, if they can be read: they date from its issue, but cost no
    /// call to Cognito.
    fn groups_source(&self, query: &Query) -> Result<GroupsSource, Denied> {
        match (query.include_groups, self.caller.token_users().next()) {
            (false, _) => Ok(GroupsSource::NotRequested),
            (true, _) if !self.rule.groups => Err(Denied::AttributesNotAllowed(vec!["groups".into()])),
            (true, user) => {
                let of_token = user.and_then(|user| Some((user.groups.clone()?, user.issued_at)));
                let source = |(groups, issued_at)| GroupsSource::Token { groups, issued_at };
                Ok(of_token.map_or(GroupsSource::Cognito, source))
            }
        }
    }
}
