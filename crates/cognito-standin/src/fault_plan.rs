//! The fault_plan of a test: per operation what shall go wrong, and what has been asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    faults::{Fault, Hold},
    state::lock,
};

/// Faults and counts by operation.
#[derive(Default)]
pub(super) struct FaultPlan {
    operations: Mutex<HashMap<String, OperationPlan>>,
}

impl FaultPlan {
    /// Counts a call and deals it the fault and the hold that apply now.
    pub(super) fn begin_call(&self, operation: &str, input: Value) -> Call {
        self.operation_plan(operation, |operation_plan| {
            operation_plan.last_input = Some(input);
            operation_plan.call_times.push(Instant::now());
            operation_plan.counts.send_modify(|counts| {
                counts.arrived += 1;
                counts.in_flight += 1;
            });
            Call {
                fault: operation_plan
                    .queued_faults
                    .pop_front()
                    .or_else(|| operation_plan.default_fault.clone()),
                hold: operation_plan.hold.clone(),
                counts: operation_plan.counts.clone(),
            }
        })
    }

    pub(super) fn counts(&self, operation: &str) -> watch::Receiver<CallCounts> {
        self.operation_plan(operation, |operation_plan| operation_plan.counts.subscribe())
    }

    pub(super) fn call_times(&self, operation: &str) -> Vec<Instant> {
        self.operation_plan(operation, |operation_plan| operation_plan.call_times.clone())
    }

    pub(super) fn last_input(&self, operation: &str) -> Option<Value> {
        self.operation_plan(operation, |operation_plan| operation_plan.last_input.clone())
    }

    pub(super) fn set_fault(&self, operation: &str, fault: Fault) {
        self.operation_plan(operation, |operation_plan| operation_plan.default_fault = Some(fault));
    }

    pub(super) fn queue_faults(&self, operation: &str, calls: usize, fault: Fault) {
        self.operation_plan(operation, |operation_plan| {
            operation_plan.queued_faults.extend(std::iter::repeat_n(fault, calls))
        });
    }

    pub(super) fn clear_faults(&self, operation: &str) {
        self.operation_plan(operation, |operation_plan| {
            operation_plan.default_fault = None;
            operation_plan.queued_faults.clear();
        });
    }

    pub(super) fn hold(&self, operation: &str) -> Hold {
        let (release, held) = watch::channel(());
        self.operation_plan(operation, |operation_plan| operation_plan.hold = Some(held));
        Hold { _release_on_drop: release }
    }

    fn operation_plan<T>(&self, operation: &str, visit: impl FnOnce(&mut OperationPlan) -> T) -> T {
        visit(lock(&self.operations).entry(operation.to_owned()).or_default())
    }
}

#[derive(Default)]
struct OperationPlan {
    counts: watch::Sender<CallCounts>,
    last_input: Option<Value>,
    call_times: Vec<Instant>,
    hold: Option<watch::Receiver<()>>,
    queued_faults: VecDeque<Fault>,
    default_fault: Option<Fault>,
}

/// How many calls of an operation came, and how many of them are not answered yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct CallCounts {
    pub(super) arrived: usize,
    pub(super) in_flight: usize,
}

/// One call; it is in flight until it is dropped.
pub(super) struct Call {
    fault: Option<Fault>,
    hold: Option<watch::Receiver<()>>,
    counts: watch::Sender<CallCounts>,
}

impl Call {
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Waits until the hold that was on when the call came is gone.
    pub(super) async fn wait_for_release(&mut self) {
        if let Some(hold) = &mut self.hold {
            while hold.changed().await.is_ok() {}
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.counts.send_modify(|counts| counts.in_flight = counts.in_flight.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queued_faults_come_before_the_standing_one() {
        let fault_plan = FaultPlan::default();
        fault_plan.set_fault("Op", Fault::Throttle);
        fault_plan.queue_faults("Op", 2, Fault::Reset);
        let fault = || fault_plan.begin_call("Op", Value::Null).fault().cloned();
        assert!(matches!(
            [fault(), fault(), fault()],
            [Some(Fault::Reset), Some(Fault::Reset), Some(Fault::Throttle)]
        ));
        fault_plan.clear_faults("Op");
        assert!(fault().is_none());
    }

    #[test]
    fn calls_are_counted_by_operation_and_in_flight_until_dropped() {
        let fault_plan = FaultPlan::default();
        let call = fault_plan.begin_call("Op", json!({"Username": "ada"}));
        assert_eq!(*fault_plan.counts("Op").borrow(), CallCounts { arrived: 1, in_flight: 1 });
        drop(call);
        assert_eq!(*fault_plan.counts("Op").borrow(), CallCounts { arrived: 1, in_flight: 0 });
        assert_eq!(*fault_plan.counts("Other").borrow(), CallCounts::default());
        assert_eq!(fault_plan.last_input("Op"), Some(json!({"Username": "ada"})));
    }

    #[tokio::test]
    async fn a_hold_stops_calls_until_it_is_gone() {
        let fault_plan = FaultPlan::default();
        let hold = fault_plan.hold("Op");
        let mut early = fault_plan.begin_call("Op", Value::Null);
        #[expect(clippy::disallowed_methods, reason = "joined at the end of the test")]
        let mut passing = tokio::spawn(async move { early.wait_for_release().await });
        tokio::select! {
            biased;
            _ = &mut passing => panic!("passed a hold"),
            () = tokio::task::yield_now() => {}
        }
        hold.release();
        passing.await.expect("passes");
        fault_plan.begin_call("Op", Value::Null).wait_for_release().await;
    }
}
