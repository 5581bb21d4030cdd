//! The permission of an administrator to inspect or remove the cache entry of one user.

use super::{CallerRule, Denied, LookupKey, Subject};
use crate::{auth::Identity, query::Target};

/// Permission to administer one user.
#[derive(Clone, Debug)]
pub struct AdminPermit(Subject);

impl AdminPermit {
    /// Returns the user, looked up by `sub`.
    pub fn subject(&self) -> &Subject {
        &self.0
    }
}

impl CallerRule<'_> {
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
}
