//! A valid question: about whom, what, and how fresh. Whether it may be asked is `policy`'s business.

use thiserror::Error;

use crate::{
    attribute::{AttributeName, Selection},
    freshness::Demand,
    pool::PoolId,
    user::Sub,
};

/// A question whose every field is valid; made by `wire`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// The user asked about, if named.
    pub sub: Option<Sub>,
    /// The pool asked about, if named.
    pub pool: Option<PoolId>,
    /// The attributes wanted.
    pub attributes: Selection,
    /// Whether the user's groups are wanted.
    pub include_groups: bool,
    /// How fresh the answer must be.
    pub demand: Demand,
}

/// One question about each of several users; made by `wire`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchQuery {
    /// The users, each once: 1 to 100.
    pub subs: Vec<Sub>,
    /// Whom of `subs` each item of the request names, in the order of the items.
    pub order: Vec<usize>,
    /// What is asked of each of them; it names nobody.
    pub query: Query,
}

impl BatchQuery {
    /// Returns the question about each user, in the order of `subs`.
    pub fn queries(&self) -> impl Iterator<Item = Query> {
        self.subs.iter().map(|sub| Query { sub: Some(sub.clone()), ..self.query.clone() })
    }
}

/// Whom an administrator asks about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The user.
    pub sub: Sub,
    /// The user's pool, if named.
    pub pool: Option<PoolId>,
}

/// What an administrator asks of one caller's rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessQuery {
    /// The caller's configured name.
    pub caller: String,
    /// The attributes asked about; empty for all that any rule names.
    pub attributes: Vec<AttributeName>,
}

/// What is wrong with a question, in the caller's terms.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InvalidQuery {
    /// A field does not hold what its description asks for.
    #[error("{field} {problem}")]
    Field {
        /// The field's path in the message, such as `attributes[3]`.
        field: String,
        /// What it must be.
        problem: &'static str,
    },
    /// `sub` is no sub.
    #[error("sub is malformed")]
    Sub,
    /// The item of `subs` in this place is no sub.
    #[error("subs[{0}] is malformed")]
    SubOf(usize),
}

impl InvalidQuery {
    /// Names a field and what is wrong with it.
    pub fn field(field: impl Into<String>, problem: &'static str) -> Self {
        Self::Field { field: field.into(), problem }
    }
}
