//! The thread that writes the records: a sink that stalls must not stop serving.

use std::{
    fs::File,
    io,
    sync::{Arc, PoisonError},
    thread,
};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{recorder::Shared, sink::Sink, write_buffer::WriteBuffer};

/// The one who writes.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    file: File,
    buffer: WriteBuffer,
    is_failing: bool,
}

impl Writer {
    /// Opens the sink and starts the thread, which ends when it is condvar for that; what is returned tells of it. Fails
    /// where either cannot be had.
    pub(super) fn start(shared: Arc<Shared>, sink: Sink) -> io::Result<oneshot::Receiver<()>> {
        let file = open(&sink)?;
        let (done, ended) = oneshot::channel::<()>();
        let mut writer = Self { shared, sink, file, buffer: WriteBuffer::default(), is_failing: false };
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
            let request = self.shared.flush_signal.wait(!self.buffer.is_empty());
            while self.take_records() && self.write() {}
            if request.reopen {
                self.reopen();
            }
            if request.end {
                return self.discard_rest();
            }
        }
    }

    /// Takes what waits in every buffer, and returns whether there is anything to write. While the sink does not take what
    /// there is, the rest is better left where its room is counted, unless somebody waits for it.
    fn take_records(&mut self) -> bool {
        if self.buffer.is_empty() || self.shared.required {
            for buffer in self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let pending = buffer.take();
                self.buffer.add(pending.lines, pending.waiters);
            }
        }
        !self.buffer.is_empty()
    }

    /// Writes what there is, and returns whether the sink took it. Where records are required one that cannot be written
    /// is given up, for its answer never leaves.
    fn write(&mut self) -> bool {
        match self.buffer.write_to(&self.file) {
            Ok(()) => {
                self.is_failing = false;
                self.shared.note_recovery();
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    error!(%error, required = self.shared.required, "audit records cannot be written");
                }
                if self.shared.required {
                    self.shared.count_lost(self.buffer.give_up());
                }
                false
            }
        }
    }

    /// Opens the sink again, for the file may have been moved away; if that fails the old one stays.
    fn reopen(&mut self) {
        match open(&self.sink) {
            Ok(file) => {
                self.file = file;
                self.buffer.rewind();
                info!("audit sink reopened");
            }
            Err(error) => warn!(%error, "the audit sink cannot be opened again; the old one stays in use"),
        }
    }

    /// Counts what was never written.
    fn discard_rest(&mut self) {
        let begun = u64::from(!self.buffer.is_empty());
        self.shared.count_lost(self.buffer.give_up().max(begun));
        for buffer in self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let left = buffer.take().lines;
            self.shared.count_lost(
                left.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u64::MAX),
            );
        }
    }
}

fn open(sink: &Sink) -> io::Result<File> {
    let file = sink.open()?;
    if sink.is_readable_by_others(&file) {
        warn!("others than its owner may read the audit file");
    }
    Ok(file)
}
