//! Tells all replicas what one of them has learned from Cognito.

use super::{
    super::{args::flag, call::Call, scripts::TUNE},
    RateLimitKeys, count,
};

/// Tells all replicas the quota of a category, or that Cognito throttled a call of it. The reply says
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct Tune<'a> {
    /// The name of the category.
    pub category: &'a str,
    /// The quota that Cognito reports, in calls a second.
    pub quota: Option<usize>,
    /// Whether Cognito throttled a call. All replicas then halve the rate, at most once a second.
    pub is_throttled: bool,
}

impl Tune<'_> {
    /// Returns the call.
    pub fn call(&self, keys: &RateLimitKeys) -> Call {
        let args = vec![self.category.into(), count(self.quota.unwrap_or(0)), flag(self.is_throttled)];
        Call { script: &TUNE, keys: vec![keys.state()], args }
    }
}
