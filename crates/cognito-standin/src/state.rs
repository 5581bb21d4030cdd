//! The state that the serving thread and the [`StandIn`](super::StandIn) share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    directory::Directory,
    event_delivery::EventDelivery,
    fault_plan::FaultPlan,
    keys::Keys,
    lock::lock,
    pool::{ACCOUNT, Pool},
    queue::Queue,
    trail::Trail,
};

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
    /// The queue that this stand-in serves.
    pub(super) queue: Arc<Queue>,
    /// The queue that gets the events of this pool: the own one, or that of another stand-in.
    pub(super) event_queue: Mutex<Arc<Queue>>,
    pub(super) event_delivery: Mutex<EventDelivery>,
    pub(super) trail: Mutex<Trail>,
}

impl State {
    pub(super) fn new(pool: Pool, endpoint: &str, keys: Keys) -> Self {
        let queue = Arc::new(Queue::default());
        Self {
            endpoint: endpoint.to_owned(),
            issuer: format!("{endpoint}/{}", pool.id),
            directory: Mutex::new(Directory::new(pool.users.clone())),
            keys: Mutex::new(keys),
            fault_plan: FaultPlan::default(),
            quotas: Mutex::new(DEFAULT_QUOTAS.map(|(category, limit)| (category.to_owned(), limit)).into()),
            event_queue: Mutex::new(Arc::clone(&queue)),
            queue,
            event_delivery: Mutex::default(),
            trail: Mutex::default(),
            pool,
        }
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }

    /// The Region of the pool, which is also that of the queue and the trail.
    pub(super) fn region(&self) -> &str {
        self.pool.id.split('_').next().unwrap_or_default()
    }

    pub(super) fn queue_url(&self) -> String {
        format!("{}{}", self.endpoint, self.queue_path())
    }

    /// The part of the queue's URL after the host.
    pub(super) fn queue_path(&self) -> String {
        format!("/{ACCOUNT}/{QUEUE_NAME}")
    }
}

// Amazon Cognito developer guide, "Quotas in Amazon Cognito".
const DEFAULT_QUOTAS: [(&str, u32); 3] = [("UserRead", 120), ("UserList", 30), ("UserResourceRead", 50)];
/// The name of the queue.
pub(super) const QUEUE_NAME: &str = "user-changes";
