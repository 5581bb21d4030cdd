//! Leave for an administrator to look after one user's entry.

use super::{Denied, Known, Policy, Subject};
use crate::{
    auth::{Caller, Identity},
    query::Target,
};

/// Leave to have one's hands on what is held of one user; made by [`Policy::mandate`] only.
#[derive(Clone, Debug)]
pub struct Mandate(Subject);

impl Mandate {
    /// Returns the user it is about, known by `sub`.
    pub fn subject(&self) -> &Subject {
        &self.0
    }
}

impl Policy {
    /// Decides whether `caller` may look after `target`; the only origin of [`Mandate`]. A user's own token is no leave to
    /// administer, whatever its scopes: every user of an app client may have those.
    pub fn mandate(&self, caller: &Caller, target: Target) -> Result<Mandate, Denied> {
        let rule = self.rule(caller.identity())?;
        if !rule.admin || matches!(caller.identity(), Identity::User(_)) {
            return Err(Denied::NotAdmin);
        }
        let Target { sub, pool } = target;
        Ok(Mandate(Subject { pool: self.pool(pool.as_ref())?, sub, known: Known::BySub }))
    }
}
