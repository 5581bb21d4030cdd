//! The faults planned for each operation, and its recorded calls.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
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
pub(super) struct FaultPlan(Mutex<HashMap<String, OperationPlan>>);

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

    /// Reads or changes the plan of one operation.
    pub(super) fn operation<T>(&self, name: &str, visit: impl FnOnce(&mut OperationPlan) -> T) -> T {
        visit(lock(&self.0).entry(name.to_owned()).or_default())
    }
}
