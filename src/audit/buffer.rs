//! Buffers records for the sink. Lines are written whole, and a caller that waits for its record is
//! notified when it is written.

use std::{
    io::{self, ErrorKind, Write},
    mem, thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::record::Record;

/// Records as lines, and the callers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) lines: Vec<u8>,
    /// How many bytes the sink has accepted.
    written: usize,
    /// Where the record ends that counts as dropped but is still to be written; 0 for none.
    dropped_to: usize,
    pub(super) waiters: Vec<Waiter>,
}

/// A caller that waits for a record.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Where the record ends.
    pub(super) end: usize,
    /// Dropped without a message if the record is dropped.
    written: oneshot::Sender<()>,
}

impl Buffer {
    /// Appends the records of one call, each after `head`: all of them, or none if the buffer would
    /// exceed `capacity` bytes. The error is how many there were.
    pub(super) fn push<'r>(
        &mut self,
        records: impl Iterator<Item = Record<'r>>,
        head: &[u8],
        capacity: usize,
    ) -> Result<(), u64> {
        let (before, mut count) = (self.lines.len(), 0);
        for record in records {
            record.append_to(&mut self.lines, head);
            count += 1;
        }
        if self.lines.len() > capacity {
            self.lines.truncate(before);
            return Err(count);
        }
        Ok(())
    }

    /// Returns a channel that gets a message when the last record is written, and is closed if that
    /// record is dropped.
    pub(super) fn wait(&mut self) -> oneshot::Receiver<()> {
        let (written, ack) = oneshot::channel();
        self.waiters.push(Waiter { end: self.lines.len(), written });
        ack
    }

    /// Takes all records, and leaves room for the next ones so that a serving thread need not
    /// allocate.
    pub(super) fn take(&mut self) -> Self {
        if self.lines.is_empty() {
            return Self::default();
        }
        mem::replace(
            self,
            Self { lines: Vec::with_capacity(FLUSH_BYTES + FLUSH_BYTES / 8), ..Self::default() },
        )
    }

    /// Appends the records of another buffer, none of which is written.
    pub(super) fn append(&mut self, taken: Self) {
        let start = self.lines.len();
        self.lines.extend(taken.lines);
        self.waiters.extend(taken.waiters.into_iter().map(|one| Waiter { end: start + one.end, ..one }));
    }

    /// Returns true if and only if nothing is left to write.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.lines.len()
    }

    /// Returns how many records are not completely written, without those that are counted as
    /// dropped.
    pub(super) fn unwritten(&self) -> u64 {
        let lines = count_lines(self.lines.get(self.written..).unwrap_or_default());
        lines - u64::from(self.dropped_to > self.written)
    }

    /// Writes what is left and acknowledges it. After a failure the next attempt continues at the
    /// same byte.
    pub(super) fn write_to(&mut self, mut sink: impl Write) -> io::Result<()> {
        let outcome = self.write_all_to(&mut sink);
        for one in self.waiters.extract_if(.., |one| one.end <= self.written) {
            // The caller may have cancelled.
            let _ = one.written.send(());
        }
        if self.is_empty() {
            *self = Self::default();
        }
        outcome
    }

    fn write_all_to(&mut self, sink: &mut impl Write) -> io::Result<()> {
        let mut retries = 0;
        while let Some(left) = self.lines.get(self.written..).filter(|left| !left.is_empty()) {
            match sink.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => (self.written, retries) = (self.written + count, 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The parent process may have left standard output non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < MAX_RETRIES => {
                    retries += 1;
                    thread::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops all records but the first, acknowledges none of them, and returns how many it dropped,
    /// the first one included. That one is tried again, to learn when the sink accepts records, and
    /// because it may be torn.
    pub(super) fn drop_records(&mut self) -> u64 {
        self.waiters.clear();
        let dropped = self.unwritten();
        let rest = self.lines.get(self.written..).unwrap_or_default();
        let first = rest.split_inclusive(|byte| *byte == b'\n').next();
        self.dropped_to = self.written + first.map_or(0, <[u8]>::len);
        self.lines.truncate(self.dropped_to);
        dropped
    }

    /// Goes back to the start of a torn line, for a sink that has nothing of it.
    pub(super) fn rewind(&mut self) {
        self.written -= self.torn_bytes();
    }

    /// Returns how many bytes of an incomplete line the sink has accepted.
    pub(super) fn torn_bytes(&self) -> usize {
        let written = self.lines.get(..self.written).unwrap_or_default();
        written.iter().rev().take_while(|byte| **byte != b'\n').count()
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u64::MAX)
}

/// The size at which a buffer is written at once: a write then costs each record little.
pub(super) const FLUSH_BYTES: usize = 32 * 1024;
const RETRY_PAUSE: Duration = Duration::from_millis(10);
// Half a second together; a shutdown waits for 2 s.
const MAX_RETRIES: usize = 50;

#[cfg(test)]
mod tests;
