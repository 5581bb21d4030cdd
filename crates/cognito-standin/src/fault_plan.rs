//! The faults planned for each operation, and its recorded calls.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    call::{Call, CallCounts},
    faults::Fault,
    lock::lock,
};

/// Faults, holds and counts by operation.
#[derive(Default)]
pub(super) struct FaultPlan {
    operations: Mutex<HashMap<String, OperationPlan>>,
    travel: Mutex<(Duration, u32)>,
}

/// Faults, holds and counts of one operation.
#[derive(Default)]
pub(super) struct OperationPlan {
    pub(super) counts: watch::Sender<CallCounts>,
    pub(super) last_input: Option<Value>,
    pub(super) call_times: Vec<Instant>,
    pub(super) hold: Option<watch::Receiver<()>>,
    pub(super) queued_faults: VecDeque<Fault>,
    pub(super) default_fault: Option<Fault>,
}

impl FaultPlan {
    /// Records a call and gives it the fault and the hold that apply now.
    pub(super) fn begin_call(&self, operation: &str, input: Value) -> Call {
        self.operation(operation, |plan| {
            plan.last_input = Some(input);
            plan.call_times.push(Instant::now());
            let fault = plan.queued_faults.pop_front().or_else(|| plan.default_fault.clone());
            Call::begin(fault, plan.hold.clone(), plan.counts.clone())
        })
    }

    /// Makes each call travel for up to `most` before it arrives.
    pub(super) fn set_travel_time(&self, most: Duration) {
        lock(&self.travel).0 = most;
    }

    /// Returns how long the next call travels. The times are spread evenly and in no order.
    pub(super) fn travel_time(&self) -> Duration {
        let mut travel = lock(&self.travel);
        // The golden ratio as a fraction of 2^32.
        travel.1 = travel.1.wrapping_add(0x9E37_79B9);
        travel.0.mul_f64(f64::from(travel.1) / f64::from(u32::MAX))
    }

    /// Reads or changes the plan of one operation.
    pub(super) fn operation<T>(&self, name: &str, visit: impl FnOnce(&mut OperationPlan) -> T) -> T {
        visit(lock(&self.operations).entry(name.to_owned()).or_default())
    }
}
