//! The thread that writes the records, so that a sink that stalls does not stop serving.

use std::{fs::File, io, mem, sync::Arc, thread};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{
    buffer::Buffer,
    recorder::Shared,
    sink::{self, Sink},
};

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    file: File,
    buffer: Buffer,
    is_failing: bool,
}

impl Writer {
    /// Opens the sink and starts the thread, which runs until `FlushRequest::end`. The returned
    /// channel closes when the thread has ended.
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<oneshot::Receiver<()>> {
        let file = shared.sink.open()?;
        let (done, ended) = oneshot::channel::<()>();
        let mut writer = Self { shared, file, buffer: Buffer::default(), is_failing: false };
        let write = move || {
            writer.run();
            drop(done);
        };
        // Never joined, because a thread that hangs in its sink must not keep the process alive.
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
                self.shared.take_records(&mut self.buffer);
                self.take_back_torn_line();
                return self.shared.count_dropped(self.buffer.unwritten());
            }
        }
    }

    /// Takes the records of all queues, and returns whether there is anything to write. While
    /// earlier records are unwritten, new ones stay in their bounded queues, unless a caller waits
    /// for them.
    fn take_records(&mut self) -> bool {
        if self.buffer.is_empty() || self.shared.required {
            self.shared.take_records(&mut self.buffer);
        }
        !self.buffer.is_empty()
    }

    /// Writes all records, and returns whether the sink accepted them. If records are required,
    /// those that it does not accept are dropped: their responses are never sent.
    fn write(&mut self) -> bool {
        self.shared.health.begin_write();
        let written = self.buffer.write_to(&self.file);
        self.shared.health.end_write(written.is_ok());
        match written {
            Ok(()) => {
                self.is_failing = false;
                self.shared.note_recovery();
                true
            }
            Err(error) => {
                if !mem::replace(&mut self.is_failing, true) {
                    error!(%error, required = self.shared.required, "audit records cannot be written");
                }
                if self.shared.required {
                    self.shared.count_dropped(self.buffer.drop_records());
                }
                false
            }
        }
    }

    /// Removes from the file the part of a line that it had room for, to leave only whole lines.
    fn take_back_torn_line(&mut self) {
        let bytes = self.buffer.torn_bytes();
        // Standard output may be a file that others write to as well.
        let is_ours = matches!(self.shared.sink, Sink::File(_));
        if is_ours && bytes > 0 && sink::take_back(&self.file, bytes).is_ok() {
            self.buffer.rewind();
        }
    }

    /// Opens the file again, which may have been moved away. If that fails, the old one stays in
    /// use.
    fn reopen(&mut self) {
        match self.shared.sink.open() {
            Ok(file) => {
                self.take_back_torn_line();
                self.file = file;
                // The new file has nothing of it.
                self.buffer.rewind();
                info!("audit sink reopened");
            }
            Err(error) => warn!(%error, "the audit sink cannot be reopened; the old one stays in use"),
        }
    }
}
