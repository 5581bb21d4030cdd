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

use super::{batch::Waiting, bell::Bell, key::Key, record::Record};
use crate::{
    pool::Pools,
    telemetry::metrics::{
        Metrics,
        callers::{CallerTally, Callers},
    },
};

/// Where one serving thread enters its records, and counts the calls of each caller; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// None where no records are kept; calls are counted all the same.
    pub(super) desk: Option<Desk>,
    pub(super) callers: Callers,
    pub(super) tally: CallerTally,
}

/// A ledger that is kept.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) office: Arc<Office>,
    book: Arc<Book>,
}

/// What all ledgers have in common with the writer.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) bell: Bell,
    pub(super) books: Mutex<Vec<Arc<Book>>>,
    pub(super) key: Arc<Key>,
    pub(super) metrics: Metrics,
    pub(super) pools: Pools,
    pub(super) required: bool,
    /// What may wait in each book, in bytes.
    pub(super) room: usize,
    /// Whether records were lost since the sink last took some.
    pub(super) is_losing: AtomicBool,
}

/// The records that wait.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pending>);

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) lines: Vec<u8>,
    pub(super) waiting: Vec<Waiting>,
}

/// What became of a record.
#[derive(Debug)]
pub enum Receipt {
    /// It is where it must be before an answer leaves, which is nowhere yet unless records are required.
    Entered,
    /// It is told when it is written; if it cannot be, by silence.
    Later(oneshot::Receiver<()>),
    /// It is lost, and its answer must not leave.
    Lost,
}

impl Ledger {
    pub(super) fn open_for(office: Option<&Arc<Office>>, callers: &Callers) -> Self {
        Self { desk: office.map(Desk::open), callers: callers.clone(), tally: callers.tally() }
    }

    /// Returns one for another serving thread.
    pub fn another(&self) -> Self {
        Self::open_for(self.desk.as_ref().map(|desk| &desk.office), &self.callers)
    }
}

impl Desk {
    fn open(office: &Arc<Office>) -> Self {
        let book = Arc::<Book>::default();
        office.books.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&book));
        Self { office: Arc::clone(office), book }
    }

    /// Enters the records of one call, which are made while nobody else enters or takes any; never blocks on the sink. They stay together: all of them are lost where one finds
    /// no room, and who waits is told when the last is written, before which no other can have been given up.
    pub(super) fn enter<'r>(&self, records: impl Iterator<Item = Record<'r>>, is_awaited: bool) -> Receipt {
        let is_awaited = is_awaited && self.office.required;
        let mut pending = self.book.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.lines.len();
        let mut count = 0;
        for record in records {
            record.append_to(&mut pending.lines);
            count += 1;
        }
        let end = pending.lines.len();
        if end > self.office.room {
            pending.lines.truncate(before);
            drop(pending);
            self.office.lost(count);
            return if is_awaited { Receipt::Lost } else { Receipt::Entered };
        }
        let receipt = is_awaited.then(|| {
            let (written, receipt) = oneshot::channel();
            pending.waiting.push(Waiting { end, written });
            receipt
        });
        drop(pending);
        if receipt.is_some() || (before < MANY && end >= MANY) {
            self.office.bell.ring(|wanted| wanted.now = true);
        } else if before == 0 {
            self.office.bell.ring(|wanted| wanted.soon = true);
        }
        receipt.map_or(Receipt::Entered, Receipt::Later)
    }
}

impl Book {
    /// Takes what waits.
    pub(super) fn take(&self) -> Pending {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.lines.is_empty() {
            return Pending::default();
        }
        mem::replace(
            &mut pending,
            Pending { lines: Vec::with_capacity(MANY + MANY / 8), waiting: Vec::new() },
        )
    }
}

impl Office {
    /// Counts records that are lost, and says so once until the sink takes some again.
    pub(super) fn lost(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.audit_records_dropped.inc_by(count);
        if !self.is_losing.swap(true, Relaxed) {
            warn!("audit records are lost: the sink does not take them");
        }
    }

    /// Notes that the sink takes records.
    pub(super) fn taken(&self) {
        if self.is_losing.swap(false, Relaxed) {
            info!("audit records are written again");
        }
    }
}

// Enough that a write costs little of each.
const MANY: usize = 32 * 1024;
