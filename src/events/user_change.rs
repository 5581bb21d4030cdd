//! The service's own form of a message, which Lambda triggers and applications send.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::{
    change::{Change, ChangeKind, ChangedPools, Ignored, Reason, Subject},
    fields,
};
use crate::pool::PoolId;

/// The `detail-type` of the form.
pub(super) const DETAIL_TYPE: &str = "User Change";

/// Reads a message. It is strict, so that a mistake in a sender shows at once: every field is
/// required, and unknown ones are refused. `is_served` says whether the service serves a pool.
pub(super) fn read(event: &Value, is_served: impl Fn(&PoolId) -> bool) -> Result<Change, Ignored> {
    let ignored = |reason| Ignored { event: EVENT, reason };
    // AWS reserves these sources, so the message is not one of an application.
    if fields::text(event, "/source").is_some_and(|source| source.starts_with("aws.")) {
        return Err(ignored(Reason::Foreign));
    }
    let detail = event.get("detail").and_then(|detail| Detail::deserialize(detail).ok());
    let detail = detail.ok_or_else(|| ignored(Reason::Malformed))?;
    let (pool, subject, at) = detail.values().ok_or_else(|| ignored(Reason::Malformed))?;
    if !is_served(&pool) {
        return Err(ignored(Reason::Foreign));
    }
    Ok(Change { event: EVENT, kind: detail.change.into(), subject, pools: ChangedPools::One(pool), at })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Detail {
    user_pool_id: String,
    sub: String,
    change: Kind,
    time: String,
}

impl Detail {
    fn values(&self) -> Option<(PoolId, Subject, SystemTime)> {
        let (pool, sub) = (self.user_pool_id.parse().ok()?, self.sub.parse().ok()?);
        Some((pool, Subject::User(sub), fields::time(&self.time)?))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    Attributes,
    Groups,
    Status,
    SignedOut,
    Disabled,
    Erased,
}

impl From<Kind> for ChangeKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Attributes => Self::Attributes,
            Kind::Groups => Self::Groups,
            Kind::Status => Self::Status,
            Kind::SignedOut => Self::SignedOut,
            Kind::Disabled => Self::Disabled,
            Kind::Erased => Self::Erased,
        }
    }
}

/// The name in metrics.
pub(super) const EVENT: &str = "UserChange";
