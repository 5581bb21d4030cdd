//! How a test watches and breaks the stand-in, and changes its users.
//!
//! An operation is named as AWS names it (`AdminGetUser`), and beside those there are `jwks`, `openid-configuration`
//! and `token`.

use serde_json::Value;
use tokio::time::Instant;

use super::{
    StandIn,
    faults::{Fault, Hold},
    http_response::HttpResponse,
    state::lock,
    user::User,
};

impl StandIn {
    /// How many calls of `operation` have arrived, answered or not.
    pub fn calls(&self, operation: &str) -> usize {
        self.state.fault_plan.counts(operation).borrow().arrived
    }

    /// How many calls of `operation` are waiting for their answer; one whose client has gone is not.
    pub fn in_flight(&self, operation: &str) -> usize {
        self.state.fault_plan.counts(operation).borrow().in_flight
    }

    /// Resolves once `calls` calls of `operation` have arrived since the start. Cancel safe.
    pub async fn wait_for_calls(&self, operation: &str, calls: usize) {
        // The sender lives in the fault_plan, and that as long as `self`: the wait cannot fail.
        let _ = self.state.fault_plan.counts(operation).wait_for(|counts| counts.arrived >= calls).await;
    }

    /// Resolves once no call of `operation` is in flight. Cancel safe.
    pub async fn wait_until_idle(&self, operation: &str) {
        // As in `wait_for_calls`.
        let _ = self.state.fault_plan.counts(operation).wait_for(|counts| counts.in_flight == 0).await;
    }

    /// When each call of `operation` arrived, 16 bytes each.
    pub fn call_times(&self, operation: &str) -> Vec<Instant> {
        self.state.fault_plan.call_times(operation)
    }

    /// The input of the last call of `operation`: the JSON or form it sent, null where it sends none.
    pub fn last_input(&self, operation: &str) -> Option<Value> {
        self.state.fault_plan.last_input(operation)
    }

    /// From now on every call of `operation` shows `fault`, in place of an earlier one.
    pub fn inject(&self, operation: &str, fault: Fault) {
        self.state.fault_plan.set_fault(operation, fault);
    }

    /// The next `calls` calls of `operation` show `fault`, after those already queued and before a standing one.
    pub fn inject_next(&self, operation: &str, calls: usize, fault: Fault) {
        self.state.fault_plan.queue_faults(operation, calls, fault);
    }

    /// Forgets the faults of `operation`; a hold is not one.
    pub fn clear_faults(&self, operation: &str) {
        self.state.fault_plan.clear_faults(operation);
    }

    /// From now on `GetProvisionedLimit` tells that so many calls of a category (`UserRead`) are allowed a second. At
    /// first it tells AWS's defaults.
    pub fn set_quota(&self, category: impl Into<String>, calls_per_second: u32) {
        lock(&self.state.quotas).insert(category.into(), calls_per_second);
    }

    /// Calls of `operation` that arrive from now on wait for the guard's release, then show their fault if any.
    pub fn hold(&self, operation: &str) -> Hold {
        self.state.fault_plan.hold(operation)
    }

    /// Serves `reply` in place of the JWKS; [`clear_faults`](Self::clear_faults)`("jwks")` brings the true one back.
    pub fn replace_jwks(&self, reply: HttpResponse) {
        self.inject("jwks", Fault::Respond(reply));
    }

    /// The user with that username or, if local, that `sub`, as it is now.
    pub fn user(&self, name: &str) -> Option<User> {
        self.state.directory().find(name).ok().cloned()
    }

    /// Everybody in the pool, as they are now.
    pub fn users(&self) -> Vec<User> {
        self.state.directory().users().to_vec()
    }

    /// Adds a user, in place of one with the same username.
    pub fn put_user(&self, user: User) {
        self.state.directory().put(user);
    }

    /// Changes a user and its modification time; `None` when there is no such user.
    pub fn update_user(&self, name: &str, change: impl FnOnce(&mut User)) -> Option<()> {
        self.state.directory().edit(name, change).ok()
    }

    /// Removes a user and ends its sessions; `None` when there is no such user.
    pub fn delete_user(&self, name: &str) -> Option<User> {
        self.state.directory().remove(name).ok()
    }
}
