//! The script of a test: per operation what shall go wrong, and what has been asked.

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
pub(super) struct Script {
    lanes: Mutex<HashMap<String, Lane>>,
}

impl Script {
    /// Counts a call and deals it the fault and the hold that apply now.
    pub(super) fn arrive(&self, operation: &str, input: Value) -> Call {
        self.lane(operation, |lane| {
            lane.last_input = Some(input);
            lane.arrivals.push(Instant::now());
            lane.tally.send_modify(|tally| {
                tally.arrived += 1;
                tally.in_flight += 1;
            });
            Call {
                fault: lane.next.pop_front().or_else(|| lane.standing.clone()),
                gate: lane.gate.clone(),
                tally: lane.tally.clone(),
            }
        })
    }

    pub(super) fn tally(&self, operation: &str) -> watch::Receiver<Tally> {
        self.lane(operation, |lane| lane.tally.subscribe())
    }

    pub(super) fn arrivals(&self, operation: &str) -> Vec<Instant> {
        self.lane(operation, |lane| lane.arrivals.clone())
    }

    pub(super) fn last_input(&self, operation: &str) -> Option<Value> {
        self.lane(operation, |lane| lane.last_input.clone())
    }

    pub(super) fn stand(&self, operation: &str, fault: Fault) {
        self.lane(operation, |lane| lane.standing = Some(fault));
    }

    pub(super) fn queue(&self, operation: &str, calls: usize, fault: Fault) {
        self.lane(operation, |lane| lane.next.extend(std::iter::repeat_n(fault, calls)));
    }

    pub(super) fn clear(&self, operation: &str) {
        self.lane(operation, |lane| {
            lane.standing = None;
            lane.next.clear();
        });
    }

    pub(super) fn hold(&self, operation: &str) -> Hold {
        let (gate, closed) = watch::channel(());
        self.lane(operation, |lane| lane.gate = Some(closed));
        Hold { _gate: gate }
    }

    fn lane<T>(&self, operation: &str, visit: impl FnOnce(&mut Lane) -> T) -> T {
        visit(lock(&self.lanes).entry(operation.to_owned()).or_default())
    }
}

#[derive(Default)]
struct Lane {
    tally: watch::Sender<Tally>,
    last_input: Option<Value>,
    arrivals: Vec<Instant>,
    gate: Option<watch::Receiver<()>>,
    next: VecDeque<Fault>,
    standing: Option<Fault>,
}

/// How many calls of an operation came, and how many of them are not answered yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) arrived: usize,
    pub(super) in_flight: usize,
}

/// One call; it is in flight until it is dropped.
pub(super) struct Call {
    fault: Option<Fault>,
    gate: Option<watch::Receiver<()>>,
    tally: watch::Sender<Tally>,
}

impl Call {
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Waits until the hold that was on when the call came is gone.
    pub(super) async fn pass(&mut self) {
        if let Some(gate) = &mut self.gate {
            while gate.changed().await.is_ok() {}
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.tally.send_modify(|tally| tally.in_flight = tally.in_flight.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queued_faults_come_before_the_standing_one() {
        let script = Script::default();
        script.stand("Op", Fault::Throttle);
        script.queue("Op", 2, Fault::Reset);
        let fault = || script.arrive("Op", Value::Null).fault().cloned();
        assert!(matches!(
            [fault(), fault(), fault()],
            [Some(Fault::Reset), Some(Fault::Reset), Some(Fault::Throttle)]
        ));
        script.clear("Op");
        assert!(fault().is_none());
    }

    #[test]
    fn calls_are_counted_by_operation_and_in_flight_until_dropped() {
        let script = Script::default();
        let call = script.arrive("Op", json!({"Username": "ada"}));
        assert_eq!(*script.tally("Op").borrow(), Tally { arrived: 1, in_flight: 1 });
        drop(call);
        assert_eq!(*script.tally("Op").borrow(), Tally { arrived: 1, in_flight: 0 });
        assert_eq!(*script.tally("Other").borrow(), Tally::default());
        assert_eq!(script.last_input("Op"), Some(json!({"Username": "ada"})));
    }

    #[tokio::test]
    async fn a_hold_stops_calls_until_it_is_gone() {
        let script = Script::default();
        let hold = script.hold("Op");
        let mut early = script.arrive("Op", Value::Null);
        #[expect(clippy::disallowed_methods, reason = "joined at the end of the test")]
        let mut passing = tokio::spawn(async move { early.pass().await });
        tokio::select! {
            biased;
            _ = &mut passing => panic!("passed a hold"),
            () = tokio::task::yield_now() => {}
        }
        hold.release();
        passing.await.expect("passes");
        script.arrive("Op", Value::Null).pass().await;
    }
}
