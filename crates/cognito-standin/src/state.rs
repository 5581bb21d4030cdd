//! The state that the serving thread and the [`StandIn`](super::StandIn) share.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Map, Value};

use super::{
    clearings::Clearings,
    directory::Directory,
    event_delivery::EventDelivery,
    fault_plan::FaultPlan,
    keys::Keys,
    lock::lock,
    pool::{ACCOUNT, Pool},
    queue::Queue,
    scenario::Scenario,
    trail::Trail,
};

pub(super) struct State {
    /// The pool at its start. The directory has the users as they are now.
    pub(super) pool: Pool,
    /// The base URL by which this machine reaches it.
    pub(super) endpoint: String,
    /// The base URL by which its clients name it, also in the issuer.
    pub(super) url: String,
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
    scenario: Mutex<Option<Scenario>>,
    /// The way to the service that is in front.
    pub(super) clearings: Mutex<Clearings>,
    /// What the document says besides the stand-in itself.
    pub(super) announced: Mutex<Map<String, Value>>,
}

impl State {
    pub(super) fn new(pool: Pool, endpoint: String, url: Option<String>, keys: Keys) -> Self {
        let queue = Arc::new(Queue::default());
        let url = url.unwrap_or_else(|| endpoint.clone());
        Self {
            issuer: format!("{url}/{}", pool.id),
            endpoint,
            url,
            directory: Mutex::new(Directory::new(pool.users.clone())),
            keys: Mutex::new(keys),
            fault_plan: FaultPlan::default(),
            quotas: Mutex::new(DEFAULT_QUOTAS.map(|(category, limit)| (category.to_owned(), limit)).into()),
            event_queue: Mutex::new(Arc::clone(&queue)),
            queue,
            event_delivery: Mutex::default(),
            trail: Mutex::default(),
            scenario: Mutex::default(),
            clearings: Mutex::default(),
            announced: Mutex::default(),
            pool,
        }
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }

    /// Fails like this from now on, or no longer.
    pub(super) fn set_scenario(&self, scenario: Option<Scenario>) {
        let (reads, keys) = scenario.map(Scenario::faults).unwrap_or_default();
        let operations = READS.map(|operation| (operation, &reads)).into_iter().chain([("jwks", &keys)]);
        for (operation, fault) in operations {
            self.fault_plan.operation(operation, |plan| {
                plan.default_fault.clone_from(fault);
                plan.queued_faults.clear();
            });
        }
        *lock(&self.scenario) = scenario;
    }

    /// The name of the scenario in which it fails.
    pub(super) fn fault(&self) -> Option<String> {
        lock(&self.scenario).map(|scenario| scenario.to_string())
    }

    /// The `sub` of each user of the start, and of each that there is now.
    pub(super) fn subs(&self) -> BTreeSet<String> {
        self.pool.users.iter().chain(self.directory().users()).map(|user| user.sub.clone()).collect()
    }

    pub(super) fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.issuer)
    }

    pub(super) fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.url)
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
// The operations that read users.
const READS: [&str; 3] = ["AdminGetUser", "ListUsers", "AdminListGroupsForUser"];
/// The name of the queue.
pub(super) const QUEUE_NAME: &str = "user-changes";
