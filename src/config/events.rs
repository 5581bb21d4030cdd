//! The settings of the queue of changes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bounded::{Bounded, DAY, MINUTE},
    settings::AwsCredentials,
};

/// The Amazon SQS queue from which changes of users come, by which cached users expire. `[events]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsSettings {
    /// The URL of the standard queue that `deploy/events/` creates; default none, and then changes
    /// arrive by the TTL only.
    pub queue_url: Option<String>,
    /// The AWS Region of the queue; default that of `queue_url`.
    pub region: Option<String>,
    /// The endpoint of SQS, for emulators and private endpoints; default that of the Region.
    pub endpoint_url: Option<String>,
    /// Which replicas a message reaches; default `shared`.
    pub scope: EventScope,
    /// How far the clocks of this machine and of AWS may differ. A user that was fetched less than
    /// 1 s and this time after a change expires; default `2s`.
    #[serde(with = "Bounded::<Duration, 0, MINUTE>")]
    pub skew: Duration,
    /// Whether the sign-outs, disabled and deleted users of the last `revocation.token_lifetime` are looked
    /// up at the start, so that their tokens stay refused; default `off`.
    pub catch_up: EventCatchUp,
    /// The endpoint of CloudTrail, for emulators and private endpoints; default that of the Region.
    pub cloudtrail_endpoint_url: Option<String>,
    /// How long no receive may succeed before the service warns; default `10min`.
    #[serde(with = "Bounded::<Duration, MINUTE, DAY>")]
    pub stale_after: Duration,
    /// The credentials that sign calls. Not a setting, so that none can come from a file.
    #[serde(skip)]
    pub credentials: AwsCredentials,
}

impl Default for EventsSettings {
    fn default() -> Self {
        Self {
            queue_url: None,
            region: None,
            endpoint_url: None,
            scope: EventScope::Shared,
            skew: Duration::from_secs(2),
            catch_up: EventCatchUp::Off,
            cloudtrail_endpoint_url: None,
            stale_after: Duration::from_secs(10 * 60),
            credentials: AwsCredentials::DefaultChain,
        }
    }
}

/// Where the changes before the start are looked up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventCatchUp {
    /// Nowhere. Without a shared cache, a start forgets which tokens were revoked.
    #[default]
    Off,
    /// In CloudTrail, by its `LookupEvents`, which needs a permission. One replica does it for those that
    /// share a cache.
    Cloudtrail,
}

/// Which replicas a message reaches.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventScope {
    /// All replicas receive from one queue, and tell each other through the `shared_cache`.
    #[default]
    Shared,
    /// This replica has a queue of its own, or is the only one.
    Own,
}
