//! What a lookup needs fetched.

use super::{cache::Key, entry::LookupMethod, limiter::Account, single_flight::Reporter};
use crate::{epochs::Epoch, freshness::FreshnessRequirement, policy::LookupKey, user::Username};

/// The parts of a request that its fetch needs.
#[derive(Clone, Debug)]
pub(super) struct FetchRequest {
    pub(super) key: Key,
    pub(super) lookup_key: LookupKey,
    /// The user's name, if the groups are fetched and not the user.
    pub(super) username_for_groups: Option<Username>,
    pub(super) method: LookupMethod,
    pub(super) requirement: FreshnessRequirement,
    pub(super) account: Account,
    /// When the request arrived: an invalidation since then keeps the result out of the cache.
    pub(super) epoch: Epoch,
    /// The first call to Cognito starts before this, or never.
    pub(super) deadline: tokio::time::Instant,
    /// Tells the waiters when the next call to Cognito starts.
    pub(super) reporter: Reporter,
}
