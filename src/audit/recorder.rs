//! The queue of one serving thread, and what all queues share with the writer.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{
    buffer::{Buffer, FLUSH_BYTES},
    flush_signal::FlushSignal,
    health::SinkHealth,
    key::Key,
    record::Record,
    sink::Sink,
};
use crate::{pool::Pools, telemetry::metrics::Counter};

/// Records the calls of one serving thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(
    /// None if the audit trail is off.
    pub(super) Option<Queue>,
);

/// The records of one serving thread. No other thread but the writer takes its lock.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) shared: Arc<Shared>,
    buffer: Arc<Mutex<Buffer>>,
}

/// What all queues share with the writer.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sink: Sink,
    pub(super) flush_signal: FlushSignal,
    pub(super) buffers: Mutex<Vec<Arc<Mutex<Buffer>>>>,
    /// The limit on each buffer, in bytes.
    pub(super) capacity: usize,
    pub(super) required: bool,
    /// How every record begins.
    pub(super) head: Box<[u8]>,
    pub(super) key: Key,
    pub(super) pools: ArcSwap<Pools>,
    pub(super) health: SinkHealth,
    pub(super) dropped: Counter,
    /// Whether records were dropped since the sink last accepted some.
    pub(super) is_dropping: AtomicBool,
}

/// Receives a message when the record is written. It closes without one if the record is lost; the
/// response must then not be sent.
pub type WriteAck = oneshot::Receiver<()>;

impl Recorder {
    /// Records nothing.
    #[cfg(test)]
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Returns a recorder for another serving thread.
    pub fn for_another_thread(&self) -> Self {
        Self(self.0.as_ref().map(|queue| Queue::new(&queue.shared)))
    }
}

impl Queue {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let buffer = Arc::<Mutex<Buffer>>::default();
        shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&buffer));
        Self { shared: Arc::clone(shared), buffer }
    }

    /// Appends the records of one call; never blocks on the sink. The records are written or
    /// dropped together, so the last one acknowledges all of them.
    pub(super) fn push<'r>(
        &self,
        records: impl Iterator<Item = Record<'r>>,
        is_awaited: bool,
    ) -> Option<WriteAck> {
        let is_awaited = is_awaited && self.shared.required;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = buffer.lines.len();
        if let Err(count) = buffer.push(records, &self.shared.head, self.shared.capacity) {
            drop(buffer);
            self.shared.count_dropped(count);
            return is_awaited.then(|| oneshot::channel().1);
        }
        let is_full = before < FLUSH_BYTES && buffer.lines.len() >= FLUSH_BYTES;
        let ack = is_awaited.then(|| buffer.wait());
        drop(buffer);
        if ack.is_some() || is_full {
            self.shared.flush_signal.notify(|request| request.now = true);
        } else if before == 0 {
            self.shared.flush_signal.notify(|request| request.soon = true);
        }
        ack
    }
}

impl Shared {
    /// Moves the records of all queues to `buffer`.
    pub(super) fn take_records(&self, buffer: &mut Buffer) {
        for queue in self.buffers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let taken = queue.lock().unwrap_or_else(PoisonError::into_inner).take();
            buffer.append(taken);
        }
    }

    /// Counts dropped records, and warns once until the sink accepts records again.
    pub(super) fn count_dropped(&self, count: u64) {
        self.dropped.inc_by(count);
        if count > 0 && !self.is_dropping.swap(true, Relaxed) {
            warn!("audit records are lost: the sink does not accept them");
        }
    }

    /// Notes that the sink accepted records.
    pub(super) fn note_recovery(&self) {
        if self.is_dropping.swap(false, Relaxed) {
            info!("audit records are written again");
        }
    }
}
