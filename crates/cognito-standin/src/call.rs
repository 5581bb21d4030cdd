//! One call of an operation, from its arrival to its response.

use tokio::sync::watch;

use super::faults::Fault;

/// One call. It counts as in flight until it is dropped.
pub(super) struct Call {
    fault: Option<Fault>,
    hold: Option<watch::Receiver<()>>,
    counts: watch::Sender<CallCounts>,
}

/// How many calls of one operation have arrived, and how many of them still lack a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct CallCounts {
    pub(super) arrived: usize,
    pub(super) in_flight: usize,
}

impl Call {
    /// Counts the call in `counts`.
    pub(super) fn begin(
        fault: Option<Fault>,
        hold: Option<watch::Receiver<()>>,
        counts: watch::Sender<CallCounts>,
    ) -> Self {
        counts.send_modify(|counts| {
            counts.arrived += 1;
            counts.in_flight += 1;
        });
        Self { fault, hold, counts }
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Waits until the hold that was set when the call arrived is released.
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
