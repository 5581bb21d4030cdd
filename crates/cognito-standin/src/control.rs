//! How a test observes the stand-in, injects faults and changes users.
//!
//! Operations have their AWS names (`AdminGetUser`, `AssumeRole`). `jwks`, `openid-configuration`
//! and `token` name the other endpoints.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    StandIn,
    call::CallCounts,
    clearings::{Clearing, Clearings},
    fault_plan::OperationPlan,
    faults::{Fault, Hold},
    http_response::HttpResponse,
    lock::lock,
    scenario::Scenario,
    user::User,
};

impl StandIn {
    /// Returns how many calls of `operation` have arrived.
    pub fn calls(&self, operation: &str) -> usize {
        self.counts(operation).borrow().arrived
    }

    /// Returns how many calls of `operation` still lack a response. A call ends when its client
    /// disconnects.
    pub fn in_flight(&self, operation: &str) -> usize {
        self.counts(operation).borrow().in_flight
    }

    /// Resolves once `calls` calls of `operation` have arrived since the start. Cancel safe.
    pub async fn wait_for_calls(&self, operation: &str, calls: usize) {
        // The wait cannot fail: the plan owns the sender and lives as long as `self`.
        let _ = self.counts(operation).wait_for(|counts| counts.arrived >= calls).await;
    }

    /// Resolves once no call of `operation` is in flight. Cancel safe.
    pub async fn wait_until_idle(&self, operation: &str) {
        // As in `wait_for_calls`.
        let _ = self.counts(operation).wait_for(|counts| counts.in_flight == 0).await;
    }

    /// Returns when each call of `operation` arrived. Each call keeps 16 bytes for the life of the
    /// stand-in.
    pub fn call_times(&self, operation: &str) -> Vec<Instant> {
        self.plan(operation, |plan| plan.call_times.clone())
    }

    /// Returns the JSON or form of the last call of `operation`; null for an endpoint without
    /// input.
    pub fn last_input(&self, operation: &str) -> Option<Value> {
        self.plan(operation, |plan| plan.last_input.clone())
    }

    /// Applies `fault` to every call of `operation` from now on. Replaces the fault that an earlier
    /// `inject` set.
    pub fn inject(&self, operation: &str, fault: Fault) {
        self.plan(operation, |plan| plan.default_fault = Some(fault));
    }

    /// Applies `fault` to the next `calls` calls of `operation`, after the faults already queued.
    /// Queued faults take precedence over the one that [`inject`](Self::inject) set.
    pub fn inject_next(&self, operation: &str, calls: usize, fault: Fault) {
        self.plan(operation, |plan| plan.queued_faults.extend(std::iter::repeat_n(fault, calls)));
    }

    /// Removes all faults of `operation`. A hold stays.
    pub fn clear_faults(&self, operation: &str) {
        self.plan(operation, |plan| {
            plan.default_fault = None;
            plan.queued_faults.clear();
        });
    }

    /// Holds the calls of `operation` that arrive from now on, until the guard is released or
    /// dropped. Their faults apply after that.
    pub fn hold(&self, operation: &str) -> Hold {
        let (release, hold) = watch::channel(());
        self.plan(operation, |plan| plan.hold = Some(hold));
        Hold { _release_on_drop: release }
    }

    /// Makes each call arrive up to `most` after it was sent, as over a network with jitter. A call
    /// whose client leaves meanwhile does not arrive.
    pub fn set_travel_time(&self, most: Duration) {
        self.state.fault_plan.set_travel_time(most);
    }

    /// Sets the calls per second that `GetProvisionedLimit` returns for a quota category such as
    /// `UserRead`. The stand-in starts with AWS's default quotas and enforces none.
    pub fn set_quota(&self, category: impl Into<String>, calls_per_second: u32) {
        lock(&self.state.quotas).insert(category.into(), calls_per_second);
    }

    /// Fails like this from now on, or no longer. Replaces the scenario before it, and the faults that
    /// were injected into the same operations.
    pub fn set_scenario(&self, scenario: Option<Scenario>) {
        self.state.set_scenario(scenario);
    }

    /// Returns the requests of `DELETE /sandbox/cache` and `POST /sandbox/reset` from now on. Without a
    /// receiver they fail with status 503.
    pub fn clearings(&self) -> mpsc::Receiver<Clearing> {
        let (clearings, requests) = Clearings::channel();
        *lock(&self.state.clearings) = clearings;
        requests
    }

    /// Serves `response` as the JWKS until [`clear_faults`](Self::clear_faults)`("jwks")`.
    pub fn replace_jwks(&self, response: HttpResponse) {
        self.inject("jwks", Fault::Respond(response));
    }

    /// Returns the user with that username, or the local user with that `sub`.
    pub fn user(&self, name: &str) -> Option<User> {
        self.state.directory().find(name).ok().cloned()
    }

    /// Returns all users of the pool.
    pub fn users(&self) -> Vec<User> {
        self.state.directory().users().to_vec()
    }

    /// Adds a user, or replaces the one with the same username.
    pub fn put_user(&self, user: User) {
        self.state.directory().put(user);
    }

    /// Changes a user and sets its modification time. Returns `None` if there is no such user.
    pub fn update_user(&self, name: &str, change: impl FnOnce(&mut User)) -> Option<()> {
        self.state.directory().edit(name, change).ok().map(|_| ())
    }

    /// Deletes a user and its sessions. Returns `None` if there is no such user.
    pub fn delete_user(&self, name: &str) -> Option<User> {
        self.state.directory().remove(name).ok()
    }

    fn counts(&self, operation: &str) -> watch::Receiver<CallCounts> {
        self.plan(operation, |plan| plan.counts.subscribe())
    }

    fn plan<T>(&self, operation: &str, visit: impl FnOnce(&mut OperationPlan) -> T) -> T {
        self.state.fault_plan.operation(operation, visit)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Pool, *};

    fn standin() -> StandIn {
        StandIn::start(Pool::sandbox()).expect("a stand-in")
    }

    #[test]
    fn queued_faults_take_precedence_over_the_injected_one() {
        let standin = standin();
        standin.inject("Op", Fault::Throttle);
        standin.inject_next("Op", 2, Fault::Reset);
        let fault = || standin.state.fault_plan.begin_call("Op", Value::Null).fault().cloned();
        assert!(matches!(
            [fault(), fault(), fault()],
            [Some(Fault::Reset), Some(Fault::Reset), Some(Fault::Throttle)]
        ));
        standin.clear_faults("Op");
        assert!(fault().is_none());
    }

    #[test]
    fn calls_are_counted_by_operation_and_in_flight_until_dropped() {
        let standin = standin();
        let counts = |operation: &str| (standin.calls(operation), standin.in_flight(operation));
        let call = standin.state.fault_plan.begin_call("Op", json!({"Username": "ada"}));
        assert_eq!(counts("Op"), (1, 1));
        drop(call);
        assert_eq!(counts("Op"), (1, 0));
        assert_eq!(counts("Other"), (0, 0));
        assert_eq!(standin.last_input("Op"), Some(json!({"Username": "ada"})));
    }

    #[tokio::test]
    async fn a_hold_delays_calls_until_it_is_released() {
        let standin = standin();
        let hold = standin.hold("Op");
        let mut early = standin.state.fault_plan.begin_call("Op", Value::Null);
        #[expect(clippy::disallowed_methods, reason = "joined at the end of the test")]
        let mut passing = tokio::spawn(async move { early.wait_for_release().await });
        tokio::select! {
            biased;
            _ = &mut passing => panic!("the hold did not delay the call"),
            () = tokio::task::yield_now() => {}
        }
        hold.release();
        passing.await.expect("passes");
        standin.state.fault_plan.begin_call("Op", Value::Null).wait_for_release().await;
    }
}
