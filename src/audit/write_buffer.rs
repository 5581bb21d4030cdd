//! Records on their way into the sink: none lost, none torn, and who waits for one told when it is there.

use std::{
    io::{self, ErrorKind, Write},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

/// Records, whole lines, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    lines: Vec<u8>,
    written: usize,
    waiters: Vec<Waiter>,
}

/// Somebody who waits for a record.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Where the record ends.
    pub(super) end: usize,
    /// Dropped without a word if it is not to be.
    pub(super) written: oneshot::Sender<()>,
}

impl WriteBuffer {
    /// Returns true if and only if there is nothing left to write.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.lines.len()
    }

    /// Adds records behind those there are.
    pub(super) fn add(&mut self, lines: Vec<u8>, waiters: Vec<Waiter>) {
        let start = self.lines.len();
        if start == 0 {
            self.lines = lines;
        } else {
            self.lines.extend(lines);
        }
        self.waiters.extend(waiters.into_iter().map(|one| Waiter { end: start + one.end, ..one }));
    }

    /// Writes what is left, and tells who waited for it. After a failure the next attempt goes on at the very byte.
    pub(super) fn write_to(&mut self, mut sink: impl Write) -> io::Result<()> {
        let outcome = self.write_all_to(&mut sink);
        let written = self.written;
        for one in self.waiters.extract_if(.., |one| one.end <= written) {
            // One who has left needs no answer.
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
                // Whoever started us may have left standard output so. Not for ever: there may be more to do.
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < MAX_RETRIES => {
                    retries += 1;
                    thread::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives up all but the rest of a line that is begun, and returns how many records that are. Who waits for one, for
    /// that of the line begun too, is told by silence.
    pub(super) fn give_up(&mut self) -> u64 {
        self.waiters.clear();
        let end = if self.is_torn() { self.end_of_line(self.written) } else { self.written };
        let lost = self.lines.get(end..).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        self.lines.truncate(end);
        lost.try_into().unwrap_or(u64::MAX)
    }

    /// Begins a line anew that is begun: what was written of it is in another place.
    pub(super) fn rewind(&mut self) {
        if self.is_torn() {
            let before = self.lines.get(..self.written).unwrap_or_default();
            self.written = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        }
    }

    fn is_torn(&self) -> bool {
        let last = self.written.checked_sub(1).and_then(|at| self.lines.get(at));
        last.is_some_and(|byte| *byte != b'\n')
    }

    fn end_of_line(&self, from: usize) -> usize {
        let rest = self.lines.get(from..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(self.lines.len(), |at| from + at + 1)
    }
}

const RETRY_PAUSE: Duration = Duration::from_millis(10);
// Half a second: an end waits for 2 s.
const MAX_RETRIES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time until it is full.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        interruptions: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.interruptions > 0 {
                self.interruptions -= 1;
                return Err([ErrorKind::Interrupted, ErrorKind::WouldBlock][self.interruptions % 2].into());
            }
            let count = bytes.len().min(3).min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.taken.extend(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn narrow(room: usize) -> Narrow {
        Narrow { taken: Vec::new(), room, interruptions: 2 }
    }

    fn buffer() -> (WriteBuffer, [oneshot::Receiver<()>; 2]) {
        let ((first, one), (third, three)) = (oneshot::channel(), oneshot::channel());
        let mut buffer = WriteBuffer::default();
        buffer.add(b"one\n".to_vec(), vec![Waiter { end: 4, written: first }]);
        buffer.add(b"two\nthree\n".to_vec(), vec![Waiter { end: 10, written: third }]);
        (buffer, [one, three])
    }

    #[test]
    fn lines_are_whole_however_full_the_sink_becomes() {
        for room in 0..14 {
            let (mut buffer, [mut one, mut three]) = buffer();
            let mut sink = narrow(room);
            assert_eq!(buffer.write_to(&mut sink).unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!((one.try_recv().is_ok(), three.try_recv().is_ok()), (room >= 4, false), "{room}");
            sink.room = 14;
            buffer.write_to(&mut sink).unwrap();
            assert_eq!(sink.taken, b"one\ntwo\nthree\n", "{room}");
            assert!(three.try_recv().is_ok() && buffer.is_empty());
        }
    }

    /// Takes nothing at present, ever.
    struct Stalled(usize);

    impl Write for Stalled {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            assert!(self.0 < 200, "it is asked for ever");
            Err(ErrorKind::WouldBlock.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_stalls_does_not_hold_the_writer() {
        let (mut buffer, [_one, mut three]) = buffer();
        let mut sink = Stalled(0);
        assert_eq!(buffer.write_to(&mut sink).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!((sink.0, three.try_recv().is_ok()), (MAX_RETRIES + 1, false));
        buffer.write_to(&mut narrow(14)).unwrap();
        assert!(three.try_recv().is_ok() && buffer.is_empty(), "nothing is lost");
    }

    #[test]
    fn what_is_given_up_is_whole_lines_and_counted() {
        let table: [(usize, &[u8], u64); 6] = [
            (0, b"", 3),
            (2, b"one\n", 2),
            (4, b"one\n", 2),
            (5, b"one\ntwo\n", 1),
            (8, b"one\ntwo\n", 1),
            (9, b"one\ntwo\nthree\n", 0),
        ];
        for (room, left, lost) in table {
            let (mut buffer, [one, mut three]) = buffer();
            let mut sink = narrow(room);
            buffer.write_to(&mut sink).unwrap_err();
            assert_eq!(buffer.give_up(), lost, "{room}");
            assert!(three.try_recv().is_err(), "who waits for what is given up is not told that it is there");
            drop(one);
            sink.room = 14;
            buffer.write_to(&mut sink).unwrap();
            assert_eq!(sink.taken, left, "{room}");
        }
    }

    #[test]
    fn a_line_begun_elsewhere_begins_anew() {
        for (room, expected) in
            [(0, "one\ntwo\nthree\n"), (4, "two\nthree\n"), (6, "two\nthree\n"), (13, "three\n")]
        {
            let (mut buffer, _waiting) = buffer();
            buffer.write_to(&mut narrow(room)).unwrap_err();
            buffer.rewind();
            let mut other = narrow(14);
            buffer.write_to(&mut other).unwrap();
            assert_eq!(String::from_utf8(other.taken).unwrap(), expected, "{room}");
        }
    }
}
