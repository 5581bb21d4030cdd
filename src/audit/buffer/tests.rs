use super::*;

/// A sink that accepts three bytes at a time until it is full.
struct SmallSink {
    accepted: Vec<u8>,
    room: usize,
    interruptions: usize,
}

impl Write for SmallSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interruptions > 0 {
            self.interruptions -= 1;
            return Err([ErrorKind::Interrupted, ErrorKind::WouldBlock][self.interruptions % 2].into());
        }
        let count = bytes.len().min(3).min(self.room);
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.accepted.extend(&bytes[..count]);
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn small_sink(room: usize) -> SmallSink {
    SmallSink { accepted: Vec::new(), room, interruptions: 2 }
}

fn buffer() -> (Buffer, [oneshot::Receiver<()>; 2]) {
    let ((first, one), (third, three)) = (oneshot::channel(), oneshot::channel());
    let mut buffer = Buffer::default();
    let taken = |lines: &[u8], end, written| Buffer {
        lines: lines.to_vec(),
        waiters: vec![Waiter { end, written }],
        ..Buffer::default()
    };
    buffer.append(taken(b"one\n", 4, first));
    buffer.append(taken(b"two\nthree\n", 10, third));
    (buffer, [one, three])
}

#[test]
fn lines_are_complete_although_the_sink_was_full() {
    for room in 0..14 {
        let (mut buffer, [mut one, mut three]) = buffer();
        let mut sink = small_sink(room);
        assert_eq!(buffer.write_to(&mut sink).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!((one.try_recv().is_ok(), three.try_recv().is_ok()), (room >= 4, false), "{room}");
        sink.room = 14;
        buffer.write_to(&mut sink).unwrap();
        assert_eq!(sink.accepted, b"one\ntwo\nthree\n", "{room}");
        assert!(three.try_recv().is_ok() && buffer.is_empty());
    }
}

/// A sink that always would block.
struct Stalled(usize);

impl Write for Stalled {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        assert!(self.0 < 200, "the retries are limited");
        Err(ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_blocks_does_not_hang_the_writer() {
    let (mut buffer, [_one, mut three]) = buffer();
    let mut sink = Stalled(0);
    assert_eq!(buffer.write_to(&mut sink).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((sink.0, three.try_recv().is_ok()), (MAX_RETRIES + 1, false));
    buffer.write_to(&mut small_sink(14)).unwrap();
    assert!(three.try_recv().is_ok() && buffer.is_empty(), "nothing is lost");
}

#[test]
fn all_records_but_the_first_are_dropped_and_each_is_counted_once() {
    let table: [(usize, &[u8], u64); 6] = [
        (0, b"one\n", 3),
        (2, b"one\n", 3),
        (4, b"one\ntwo\n", 2),
        (5, b"one\ntwo\n", 2),
        (8, b"one\ntwo\nthree\n", 1),
        (9, b"one\ntwo\nthree\n", 1),
    ];
    for (room, left, lost) in table {
        let (mut buffer, [one, mut three]) = buffer();
        let mut sink = small_sink(room);
        buffer.write_to(&mut sink).unwrap_err();
        assert_eq!((buffer.drop_records(), buffer.unwritten()), (lost, 0), "{room}");
        assert!(three.try_recv().is_err(), "a dropped record is not acknowledged");
        drop(one);
        buffer.write_to(&mut sink).unwrap_err();
        assert_eq!(buffer.drop_records(), 0, "{room}: it is counted already");
        buffer.append(Buffer { lines: b"four\n".to_vec(), ..Buffer::default() });
        assert_eq!(buffer.unwritten(), 1, "{room}");
        sink.room = 19;
        buffer.write_to(&mut sink).unwrap();
        assert_eq!(sink.accepted, [left, b"four\n"].concat(), "{room}");
        assert!(buffer.is_empty() && buffer.unwritten() == 0, "{room}");
    }
}

#[test]
fn a_torn_line_is_written_again_from_its_start() {
    for (room, expected) in
        [(0, "one\ntwo\nthree\n"), (4, "two\nthree\n"), (6, "two\nthree\n"), (13, "three\n")]
    {
        let (mut buffer, _waiting) = buffer();
        buffer.write_to(&mut small_sink(room)).unwrap_err();
        buffer.rewind();
        let mut other = small_sink(14);
        buffer.write_to(&mut other).unwrap();
        assert_eq!(String::from_utf8(other.accepted).unwrap(), expected, "{room}");
    }
}
