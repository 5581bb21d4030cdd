//! The records of one serving thread until the writer takes them.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{flush_signal::FlushSignal, key::Key, record::Record, write_buffer::Waiter};
use crate::{pool::Pools, telemetry::metrics::Metrics};

/// Where one serving thread enters its records; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// None where no records are kept.
    pub(super) queue: Option<Queue>,
}

/// A recorder that is kept.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) shared: Arc<Shared>,
    buffer: Arc<Buffer>,
}

/// What all ledgers have in common with the writer.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) flush_signal: FlushSignal,
    pub(super) buffers: Mutex<Vec<Arc<Buffer>>>,
    pub(super) key: Arc<Key>,
    pub(super) metrics: Metrics,
    pub(super) pools: Pools,
    pub(super) required: bool,
    /// What may wait in each buffer, in bytes.
    pub(super) capacity: usize,
    /// Whether records were count_lost since the sink last took some.
    pub(super) is_losing: AtomicBool,
}

/// The records that wait.
#[derive(Debug, Default)]
pub(super) struct Buffer(Mutex<Pending>);

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) lines: Vec<u8>,
    pub(super) waiters: Vec<Waiter>,
}

/// What became of a record.
#[derive(Debug)]
pub enum WriteAck {
    /// It is where it must be before an answer leaves, which is nowhere yet unless records are required.
    Buffered,
    /// It is told when it is written; if it cannot be, by silence.
    Pending(oneshot::Receiver<()>),
    /// It is count_lost, and its answer must not leave.
    Lost,
}

impl Recorder {
    pub(super) fn new(shared: Option<&Arc<Shared>>) -> Self {
        Self { queue: shared.map(Queue::open) }
    }

    /// Returns one for another serving thread.
    pub fn for_another_thread(&self) -> Self {
        Self::new(self.queue.as_ref().map(|queue| &queue.shared))
    }
}

impl Queue {
    fn open(shared: &Arc<Shared>) -> Self {
        let buffer = Arc::<Buffer>::default();
        shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&buffer));
        Self { shared: Arc::clone(shared), buffer }
    }

    /// Enters the records of one call, which are made while nobody else enters or takes any; never blocks on the sink. They stay together: all of them are count_lost where one finds
    /// no capacity, and who waits is told when the last is written, before which no other can have been given up.
    pub(super) fn push<'r>(&self, records: impl Iterator<Item = Record<'r>>, is_awaited: bool) -> WriteAck {
        let is_awaited = is_awaited && self.shared.required;
        let mut pending = self.buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.lines.len();
        let mut count = 0;
        for record in records {
            record.append_to(&mut pending.lines);
            count += 1;
        }
        let end = pending.lines.len();
        if end > self.shared.capacity {
            pending.lines.truncate(before);
            drop(pending);
            self.shared.count_lost(count);
            return if is_awaited { WriteAck::Lost } else { WriteAck::Buffered };
        }
        let ack = is_awaited.then(|| {
            let (written, ack) = oneshot::channel();
            pending.waiters.push(Waiter { end, written });
            ack
        });
        drop(pending);
        if ack.is_some() || (before < FLUSH_BYTES && end >= FLUSH_BYTES) {
            self.shared.flush_signal.notify(|request| request.now = true);
        } else if before == 0 {
            self.shared.flush_signal.notify(|request| request.soon = true);
        }
        ack.map_or(WriteAck::Buffered, WriteAck::Pending)
    }
}

impl Buffer {
    /// Takes what waits.
    pub(super) fn take(&self) -> Pending {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.lines.is_empty() {
            return Pending::default();
        }
        mem::replace(
            &mut pending,
            Pending { lines: Vec::with_capacity(FLUSH_BYTES + FLUSH_BYTES / 8), waiters: Vec::new() },
        )
    }
}

impl Shared {
    /// Counts records that are count_lost, and says so once until the sink takes some again.
    pub(super) fn count_lost(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.server.audit_records_dropped.inc_by(count);
        if !self.is_losing.swap(true, Relaxed) {
            warn!("audit records are lost: the sink does not take them");
        }
    }

    /// AuditContext that the sink takes records.
    pub(super) fn note_recovery(&self) {
        if self.is_losing.swap(false, Relaxed) {
            info!("audit records are written again");
        }
    }
}

// Enough that a write costs little of each.
const FLUSH_BYTES: usize = 32 * 1024;
