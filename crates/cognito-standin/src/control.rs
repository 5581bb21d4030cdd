//! How a test watches and breaks the stand-in, and changes its people.
//!
//! An operation is named as AWS names it (`AdminGetUser`), and beside those there are `jwks`, `openid-configuration`
//! and `token`.

use serde_json::Value;
use tokio::time::Instant;

use super::{
    StandIn,
    faults::{Fault, Hold},
    person::Person,
    reply::Reply,
    state::lock,
};

impl StandIn {
    /// How many calls of `operation` have arrived, answered or not.
    pub fn calls(&self, operation: &str) -> usize {
        self.state.script.tally(operation).borrow().arrived
    }

    /// How many calls of `operation` are waiting for their answer; one whose client has gone is not.
    pub fn in_flight(&self, operation: &str) -> usize {
        self.state.script.tally(operation).borrow().in_flight
    }

    /// Resolves once `calls` calls of `operation` have arrived since the start. Cancel safe.
    pub async fn reached(&self, operation: &str, calls: usize) {
        // The sender lives in the script, and that as long as `self`: the wait cannot fail.
        let _ = self.state.script.tally(operation).wait_for(|tally| tally.arrived >= calls).await;
    }

    /// Resolves once no call of `operation` is in flight. Cancel safe.
    pub async fn settled(&self, operation: &str) {
        // As in `reached`.
        let _ = self.state.script.tally(operation).wait_for(|tally| tally.in_flight == 0).await;
    }

    /// When each call of `operation` arrived, 16 bytes each.
    pub fn arrivals(&self, operation: &str) -> Vec<Instant> {
        self.state.script.arrivals(operation)
    }

    /// The input of the last call of `operation`: the JSON or form it sent, null where it sends none.
    pub fn last_input(&self, operation: &str) -> Option<Value> {
        self.state.script.last_input(operation)
    }

    /// From now on every call of `operation` shows `fault`, in place of an earlier one.
    pub fn fault(&self, operation: &str, fault: Fault) {
        self.state.script.stand(operation, fault);
    }

    /// The next `calls` calls of `operation` show `fault`, after those already queued and before a standing one.
    pub fn fault_next(&self, operation: &str, calls: usize, fault: Fault) {
        self.state.script.queue(operation, calls, fault);
    }

    /// Forgets the faults of `operation`; a hold is not one.
    pub fn clear(&self, operation: &str) {
        self.state.script.clear(operation);
    }

    /// From now on `GetProvisionedLimit` tells that so many calls of a category (`UserRead`) are allowed a second. At
    /// first it tells AWS's defaults.
    pub fn allow(&self, category: impl Into<String>, calls_per_second: u32) {
        lock(&self.state.limits).insert(category.into(), calls_per_second);
    }

    /// Calls of `operation` that arrive from now on wait for the guard's release, then show their fault if any.
    pub fn hold(&self, operation: &str) -> Hold {
        self.state.script.hold(operation)
    }

    /// Serves `reply` in place of the JWKS; [`clear`](Self::clear)`("jwks")` brings the true one back.
    pub fn publish(&self, reply: Reply) {
        self.fault("jwks", Fault::Garbage(reply));
    }

    /// The user with that username or, if local, that `sub`, as it is now.
    pub fn person(&self, name: &str) -> Option<Person> {
        self.state.directory().find(name).ok().cloned()
    }

    /// Everybody in the pool, as they are now.
    pub fn people(&self) -> Vec<Person> {
        self.state.directory().people().to_vec()
    }

    /// Adds a user, in place of one with the same username.
    pub fn put(&self, person: Person) {
        self.state.directory().put(person);
    }

    /// Changes a user and its modification time; `None` when there is no such user.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Person)) -> Option<()> {
        self.state.directory().edit(name, change).ok()
    }

    /// Removes a user and ends its sessions; `None` when there is no such user.
    pub fn remove(&self, name: &str) -> Option<Person> {
        self.state.directory().remove(name).ok()
    }
}
