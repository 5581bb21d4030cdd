//! A valid query: which user, which attributes, and how fresh. `policy` decides whether it is
//! permitted.

use std::time::Duration;

use thiserror::Error;

use crate::{
    attribute::{AttributeName, Selection},
    changes::ChangeKinds,
    freshness::FreshnessRequirement,
    pool::PoolId,
    user::Sub,
};

/// A query whose every field is valid. `wire` makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// The user, if named.
    pub sub: Option<Sub>,
    /// The pool, if named.
    pub pool: Option<PoolId>,
    /// The attributes to return.
    pub attributes: Selection,
    /// Whether to return the user's groups.
    pub include_groups: bool,
    /// How fresh the result must be.
    pub freshness: FreshnessRequirement,
}

/// One query about each of several users. `wire` makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchQuery {
    /// The users, each once: 1 to 100.
    pub subs: Vec<Sub>,
    /// For each item of the request, in order, the index of its user in `subs`.
    pub order: Vec<usize>,
    /// The query for each of them, without a `sub`.
    pub query: Query,
}

impl BatchQuery {
    /// Returns the query for each user, in the order of `subs`.
    pub fn queries(&self) -> impl Iterator<Item = Query> {
        self.subs.iter().map(|sub| Query { sub: Some(sub.clone()), ..self.query.clone() })
    }
}

/// The user that an administrator names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The user.
    pub sub: Sub,
    /// The user's pool, if named.
    pub pool: Option<PoolId>,
}

/// Which changes of users a caller watches. `wire` makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchQuery {
    /// The users, each once and in order: at most 1,000; none for all that the caller may read.
    pub subs: Vec<Sub>,
    /// The pool, if named.
    pub pool: Option<PoolId>,
    /// The kinds of change.
    pub kinds: ChangeKinds,
    /// The resume token; empty to begin now.
    pub resume_token: String,
    /// The longest time between two checkpoints: 10 s to 5 min.
    pub checkpoint_interval: Duration,
}

/// An administrator's query about the rule of one caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessQuery {
    /// The caller's configured name.
    pub caller: String,
    /// The attributes; empty for all that any rule names.
    pub attributes: Vec<AttributeName>,
}

/// Why a query is invalid, in the caller's terms.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InvalidQuery {
    #[error("{field} {problem}")]
    Field {
        /// The field's path in the message, such as `attributes[3]`.
        field: String,
        /// The requirement, worded to follow the field's path.
        problem: &'static str,
    },
    /// The `sub` at this path, such as `subs[3]`, is malformed.
    #[error("{0} is malformed")]
    Sub(String),
}

impl InvalidQuery {
    /// Makes the error for a field.
    pub fn field(field: impl Into<String>, problem: &'static str) -> Self {
        Self::Field { field: field.into(), problem }
    }
}
