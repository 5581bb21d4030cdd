//! Ends a call to Cognito.

use std::time::Duration;

use super::{
    super::{args::micros, call::Call, index::UserKey, scripts::END},
    CallKey, CallerKey, ClockBounds, RateLimitKeys, count,
};

/// Logs that a granted call has ended, or was not made. The reply says nothing. A call whose end is
/// lost counts for longer than it must.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// What the replica knows of the clock.
    pub clock: ClockBounds<'a>,
    /// The call.
    pub call: &'a CallKey,
    /// The name of its category.
    pub category: &'a str,
    /// The user that it was about.
    pub user: &'a UserKey,
    /// The caller that it is charged to, and the limit of its own.
    pub caller: Option<(&'a CallerKey, usize)>,
    /// How long it counts from now on; zero if it was not made.
    pub counts_for: Duration,
}

impl End<'_> {
    /// Returns the call of the script.
    pub fn call(&self, keys: &RateLimitKeys) -> Call {
        let [log, ..] = keys.category(self.category);
        let caller = self.caller.map(|(caller, _)| caller);
        let own_limit = self.caller.map_or(0, |(_, limit)| limit);
        let args = [self.call.0.clone().into_bytes(), micros(self.counts_for), count(own_limit)];
        Call {
            script: &END,
            keys: vec![keys.state(), log, keys.user(self.user), keys.caller(caller)],
            args: self.clock.args().into_iter().chain(args).collect(),
        }
    }
}
