//! The thread that writes the records: a sink that stalls must not stop serving.

use std::{
    fs::File,
    io,
    sync::{Arc, PoisonError},
    thread,
};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{batch::Batch, ledger::Office, sink::Place};

/// The one who writes.
#[derive(Debug)]
pub(super) struct Writer {
    office: Arc<Office>,
    place: Place,
    file: File,
    batch: Batch,
    is_failing: bool,
}

impl Writer {
    /// Opens the place and starts the thread, which ends when it is rung for that; what is returned tells of it. Fails
    /// where either cannot be had.
    pub(super) fn start(office: Arc<Office>, place: Place) -> io::Result<oneshot::Receiver<()>> {
        let file = open(&place)?;
        let (done, ended) = oneshot::channel::<()>();
        let mut writer = Self { office, place, file, batch: Batch::default(), is_failing: false };
        let write = move || {
            writer.run();
            drop(done);
        };
        // Not joined: one that hangs in its sink must not hold the process, and `ended` tells of its end.
        thread::Builder::new().name("audit".to_owned()).spawn(write)?;
        Ok(ended)
    }

    fn run(&mut self) {
        loop {
            let wanted = self.office.bell.heard(!self.batch.is_empty());
            while self.gather() && self.write() {}
            if wanted.reopen {
                self.reopen();
            }
            if wanted.end {
                return self.leave();
            }
        }
    }

    /// Takes what waits in every book, and returns whether there is anything to write. While the sink does not take what
    /// there is, the rest is better left where its room is counted, unless somebody waits for it.
    fn gather(&mut self) -> bool {
        if self.batch.is_empty() || self.office.required {
            for book in self.office.books.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let pending = book.take();
                self.batch.add(pending.lines, pending.waiting);
            }
        }
        !self.batch.is_empty()
    }

    /// Writes what there is, and returns whether the sink took it. Where records are required one that cannot be written
    /// is given up, for its answer never leaves.
    fn write(&mut self) -> bool {
        match self.batch.write_to(&self.file) {
            Ok(()) => {
                self.is_failing = false;
                self.office.taken();
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    error!(%error, required = self.office.required, "audit records cannot be written");
                }
                if self.office.required {
                    self.office.lost(self.batch.give_up());
                }
                false
            }
        }
    }

    /// Opens the place again, for the file may have been moved away; if that fails the old one stays.
    fn reopen(&mut self) {
        match open(&self.place) {
            Ok(file) => {
                self.file = file;
                self.batch.rewind();
                info!("audit sink reopened");
            }
            Err(error) => warn!(%error, "the audit sink cannot be opened again; the old one stays in use"),
        }
    }

    /// Counts what was never written.
    fn leave(&mut self) {
        let begun = u64::from(!self.batch.is_empty());
        self.office.lost(self.batch.give_up().max(begun));
        for book in self.office.books.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let left = book.take().lines;
            self.office
                .lost(left.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u64::MAX));
        }
    }
}

fn open(place: &Place) -> io::Result<File> {
    let file = place.open()?;
    if place.is_readable_by_others(&file) {
        warn!("others than its owner may read the audit file");
    }
    Ok(file)
}
