//! The release policy: what a caller may read. What no rule releases is denied.
//!
//! [`Policy::rule`] finds the rule of a [`Caller`], [`CallerRule::permit`] turns a query into a
//! [`Permit`], and [`Permit::disclose`] cuts what was found down to a [`Disclosure`].

mod answer_limit;
mod caller_rule;
mod disclosure;
mod explanation;
mod network;
mod permit;
mod rule;

use std::time::Duration;

use thiserror::Error;

use self::rule::Rule;
pub use self::{
    caller_rule::CallerRule,
    disclosure::Disclosure,
    explanation::{Access, Explanation},
    permit::{AdminPermit, CallerRateLimit, LookupKey, Permit, Subject, WatchPermit},
    rule::Risk,
};
use crate::{
    auth::{Caller, Identity},
    config::{Config, ErrorCollector},
    pool::Pools,
};

/// The configured rules. No two match the same caller.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    pools: Pools,
}

impl Policy {
    /// Reads `callers` from the settings. Returns none after adding to `errors`. Without `pools`,
    /// whose settings are then invalid, only the rules themselves are checked.
    pub fn read(config: &Config, pools: Option<&Pools>, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let rules = rule::read(config, pools, errors)?;
        Some(Self { rules, pools: pools?.clone() })
    }

    /// Returns the pools that the rules are about.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Returns what is risky about each rule that requires no credential, with the rule's name.
    pub fn risks(&self) -> impl Iterator<Item = (&str, Risk)> {
        self.rules.iter().flat_map(|rule| rule.risks().map(|risk| (&*rule.name, risk)))
    }

    /// Returns the one rule that matches `caller`, without checking its scope.
    pub fn rule<'a>(&'a self, caller: &'a Caller) -> Result<CallerRule<'a>, Denied> {
        let identity = caller.identity();
        let mut matching = self.rules.iter().filter(|rule| rule.matches(identity));
        let rule = matching.next().ok_or_else(|| match identity {
            Identity::Address { address, is_proxied } if *is_proxied || network::is_sidecar(*address) => {
                Denied::Proxied
            }
            Identity::Address { .. } => Denied::CredentialMissing,
            Identity::Certificate(_) | Identity::Machine(_) | Identity::User(_) => Denied::CallerNotAllowed,
        })?;
        // A certificate with several names may match two rules. Then neither applies.
        if matching.next().is_some() {
            return Err(Denied::CallerNotAllowed);
        }
        Ok(CallerRule { rule, pools: &self.pools, caller })
    }
}

/// Why the policy refuses a call. The text is for the log; callers get the constant of its reason.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Denied {
    #[error("the tokens and fields name different users")]
    SubjectAmbiguous,
    #[error("the caller exceeds its answers_per_second")]
    AnswersExhausted(Duration),
    #[error("the call has no credential")]
    CredentialMissing,
    #[error(
        "the call has no credential and came through a proxy, and no rule with proxied = true matches it"
    )]
    Proxied,
    #[error("the call presents no user's access token, which the caller's rule requires")]
    UserTokenMissing,
    #[error(
        "the token is a machine's and names no user, and the caller's rule requires a user's access token"
    )]
    MachineTokenAlone,
    #[error("a user was found other than the one permitted")]
    OtherUserFound,
    // The text leaves the names out: a caller may write personal data into them.
    #[error("the rule does not release {} of the requested attributes", .0.len())]
    AttributesNotAllowed(Vec<String>),
    #[error("no rule matches the caller")]
    CallerNotAllowed,
    #[error("no rule has the requested caller name")]
    CallerNameUnknown,
    #[error("the user of the presented token is disabled")]
    UserDisabled,
    #[error("the caller is not an administrator")]
    NotAdmin,
    #[error("the caller may not watch users")]
    NotWatcher,
    #[error("the request has neither a user's token nor sub")]
    SubjectMissing,
    #[error("the request names no pool although several are configured")]
    PoolMissing,
    #[error("the requested pool is not configured")]
    PoolUnknown,
    #[error("the token lacks the scope that the rule requires")]
    ScopeMissing,
    #[error("the rule allows only the user whose token is presented")]
    SubjectNotAllowed,
}

impl Denied {
    /// Returns whether the refusal is about one user only, so that a batch goes on with the others.
    pub fn is_about_one_user(&self) -> bool {
        matches!(self, Self::SubjectAmbiguous | Self::SubjectNotAllowed | Self::UserDisabled)
    }
}

#[cfg(test)]
mod tests;
