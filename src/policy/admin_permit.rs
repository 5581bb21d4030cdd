//! Leave for an administrator to look after one user's entry.

use super::{Denied, LookupKey, Policy, Subject};
use crate::{
    auth::{Caller, Identity},
    query::Target,
};

/// Leave to have one's hands on what is held of one user; made by [`Policy::mandate`] only.
#[derive(Clone, Debug)]
pub struct AdminPermit(Subject);

impl AdminPermit {
    /// Returns the user it is about, known by `sub`.
    pub fn subject(&self) -> &Subject {
        &self.0
    }
}

impl Policy {
    /// Decides whether `caller` may look after `target`; the only origin of [`AdminPermit`]. A user's own token is no leave to
    /// administer, whatever its scopes: every user of an app client may have those.
    pub fn admin_permit(&self, caller: &Caller, target: Target) -> Result<AdminPermit, Denied> {
        let rule = self.rule(caller.identity())?;
        if !rule.admin || matches!(caller.identity(), Identity::User(_)) {
            return Err(Denied::NotAdmin);
        }
        let Target { sub, pool } = target;
        Ok(AdminPermit(Subject { pool: self.pool(pool.as_ref())?, sub, lookup_key: LookupKey::Sub }))
    }
}
