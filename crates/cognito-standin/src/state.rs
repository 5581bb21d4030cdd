//! The state that the serving thread and the [`StandIn`](super::StandIn) share.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use super::{directory::Directory, fault_plan::FaultPlan, keys::Keys, lock::lock, pool::Pool};

pub(super) struct State {
    /// The pool at its start. The directory has the users as they are now.
    pub(super) pool: Pool,
    pub(super) endpoint: String,
    pub(super) issuer: String,
    pub(super) directory: Mutex<Directory>,
    pub(super) keys: Mutex<Keys>,
    pub(super) fault_plan: FaultPlan,
    /// Calls per second by quota category.
    pub(super) quotas: Mutex<HashMap<String, u32>>,
}

impl State {
    pub(super) fn new(pool: Pool, endpoint: &str, keys: Keys) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            issuer: format!("{endpoint}/{}", pool.id),
            directory: Mutex::new(Directory::new(pool.users.clone())),
            keys: Mutex::new(keys),
            fault_plan: FaultPlan::default(),
            quotas: Mutex::new(DEFAULT_QUOTAS.map(|(category, limit)| (category.to_owned(), limit)).into()),
            pool,
        }
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }
}

// Amazon Cognito developer guide, "Quotas in Amazon Cognito".
const DEFAULT_QUOTAS: [(&str, u32); 3] = [("UserRead", 120), ("UserList", 30), ("UserResourceRead", 50)];
