//! Guards a connection against clients that hyper's HTTP/2 server waits for, and against those that
//! send more than there is memory for.
//!
//! hyper waits without limit for the connection preface (its issue #4170; the pull requests #4171
//! and #4172 were closed) and for a client that does not read. Once hyper has these timeouts, the
//! ones here can go.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::flood::{Flood, FrameMeter};
use crate::{
    config::LimitSettings,
    memory::{Charge, ConnectionMemory, Exhausted},
};

/// A connection that fails when its client is late with the preface, floods it with frames, or does
/// not read responses. It does not read requests while its client does not read responses, nor for
/// a while after it had no memory for some.
#[derive(Debug)]
pub(in crate::server) struct GuardedIo<S> {
    stream: S,
    meter: FrameMeter,
    memory: ConnectionMemory,
    /// The most bytes of metadata of one call.
    header_list: usize,
    /// Counts a header block whose end is to follow.
    open_block: Option<Charge>,
    /// How much was read since the client had nothing more to read, and since it was counted.
    read: usize,
    uncounted: usize,
    /// Whether the client has sent the beginning of a first call.
    has_begun: bool,
    /// Runs while reading pauses.
    pause_timer: Option<Pin<Box<Sleep>>>,
    /// Runs until the preface is complete.
    preface_timer: Option<Pin<Box<Sleep>>>,
    stall_timeout: Duration,
    /// Runs while a write waits for the client.
    stall_timer: Option<Pin<Box<Sleep>>>,
    /// Runs after our side is closed, until the client closes its own.
    linger_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedIo<S> {
    /// Reading fails with [`PREFACE_TIMEOUT`] unless the connection preface (RFC 9113, section 3.4)
    /// is complete by `preface_deadline`, with [`FLOOD`], and with [`MEMORY`]. Writing fails with
    /// [`STALL`] if the client accepts nothing for `limits.stall_timeout`.
    pub(in crate::server) fn new(
        stream: S,
        preface_deadline: Instant,
        limits: &LimitSettings,
        memory: ConnectionMemory,
    ) -> Self {
        Self {
            stream,
            meter: FrameMeter::new(),
            memory,
            header_list: usize::try_from(limits.header_list).unwrap_or(usize::MAX),
            open_block: None,
            read: 0,
            uncounted: 0,
            has_begun: false,
            pause_timer: None,
            preface_timer: Some(Box::pin(sleep_until(preface_deadline))),
            stall_timeout: limits.stall_timeout,
            stall_timer: None,
            linger_timer: None,
        }
    }

    fn check_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stall_timer.take().is_some() {
                // Reading goes on.
                cx.waker().wake_by_ref();
            }
            return written;
        }
        let timeout = self.stall_timeout;
        let stall_timer = self.stall_timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall_timer.as_mut().poll(cx));
        Poll::Ready(Err(STALL.into()))
    }

    /// Waits until the next bytes may be read.
    fn poll_may_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stall_timer.is_some() {
            // `check_stall` wakes the task.
            return Poll::Pending;
        }
        if self.read >= BURST_BYTES {
            // h2 reads as long as there is something, and counts no call before it has read all.
            // This also lets other connections have their turn.
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.has_begun {
            if let Some(pause_timer) = &mut self.pause_timer {
                ready!(pause_timer.as_mut().poll(cx));
                self.pause_timer = None;
            }
            let Some(pause) = self.memory.read(mem::take(&mut self.uncounted)) else { break };
            self.pause_timer = Some(Box::pin(sleep(pause)));
        }
        Poll::Ready(())
    }

    /// Counts a header block that is not complete. h2 keeps the block, and makes no call of it yet.
    fn count_open_block(&mut self) -> Result<(), Exhausted> {
        match (self.meter.block_open, &self.open_block) {
            (true, None) => self.open_block = Some(self.memory.charge(BLOCK_FACTOR * self.header_list)?),
            (false, Some(_)) => self.open_block = None,
            _ => {}
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads from the stream, at first no more than every new client may send without a wait.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_begun {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let mut first = [0; FIRST_BYTES];
        let room = buf.remaining().min(FIRST_BYTES);
        let mut first = ReadBuf::new(first.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut first))?;
        buf.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }

    /// Discards what the client sends until it closes or resets the connection.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut discarded = [0; DISCARD_BUFFER_BYTES];
        loop {
            let mut buf = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_may_read(cx));
        let before = buf.filled().len();
        match this.poll_stream(cx, buf) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => {
                this.read = 0;
                let Some(preface_timer) = &mut this.preface_timer else { return Poll::Pending };
                ready!(preface_timer.as_mut().poll(cx));
                return Poll::Ready(Err(PREFACE_TIMEOUT.into()));
            }
            failed => return failed,
        }
        let bytes = buf.filled().get(before..).unwrap_or_default();
        this.read += bytes.len();
        this.uncounted += bytes.len();
        this.has_begun |= this.uncounted >= FIRST_BYTES;
        this.meter.observe(bytes).map_err(|Flood| FLOOD)?;
        this.count_open_block().map_err(|Exhausted| MEMORY)?;
        if this.meter.preface_complete {
            this.preface_timer = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_stall(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(cx);
        self.check_stall(cx, written)
    }

    /// Closes our side, then waits for the client to close its own. Otherwise the system would
    /// reset the connection on what the client still sends, and discard responses that it has not
    /// read yet (RFC 9112, section 9.6, describes this for HTTP/1.1).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger_timer.is_none() {
            let written = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.check_stall(cx, written))?;
        }
        let linger_timer = this.linger_timer.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger_timer.as_mut().poll(cx).is_pending() {
            ready!(this.poll_discard(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

// The kinds of the errors. hyper and h2 preserve only the kind of an I/O error.
pub(super) const PREFACE_TIMEOUT: io::ErrorKind = io::ErrorKind::TimedOut;
pub(super) const FLOOD: io::ErrorKind = io::ErrorKind::QuotaExceeded;
pub(super) const STALL: io::ErrorKind = io::ErrorKind::ResourceBusy;
pub(super) const MEMORY: io::ErrorKind = io::ErrorKind::OutOfMemory;
// Of small calls, some hundred. HPACK can make 72 times as much of it in memory.
const BURST_BYTES: usize = 16 * 1024;
// The preface, the settings and a small call: a new client need not wait for its turn.
const FIRST_BYTES: usize = 1024;
// h2 counts 32 bytes for a field, and a `HeaderMap` takes 104 and more.
const BLOCK_FACTOR: usize = 4;
// A client closes its side within a round trip, and this is many of them.
const LINGER: Duration = Duration::from_secs(1);
const DISCARD_BUFFER_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::yield_now,
    };

    use super::*;
    use crate::{memory::MemoryLimit, telemetry::metrics::Metrics};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_kept_and_one_that_reads_nothing_stalls() {
        let (ours, mut theirs) = duplex(16);
        let mut io = guarded(ours, TIMEOUT);
        let reading = async {
            for _ in 0..16 {
                sleep(TIMEOUT - Duration::from_millis(1)).await;
                theirs.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(io.write_all(&[0; 32]), reading);
        assert!(written.is_ok());
        let begun = Instant::now();
        let written = io.write_all(&[0]).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(STALL));
        assert_eq!(begun.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_client_sends_during_the_close_is_discarded() {
        let (ours, mut theirs) = duplex(16);
        let mut io = guarded(ours, LINGER);
        let sending = async {
            assert_eq!(theirs.read_to_end(&mut Vec::new()).await.unwrap(), 6, "the whole answer");
            // This is more than the pipe holds, so the server must read it.
            theirs.write_all(&[0; 64]).await.unwrap();
            sleep(LINGER / 2).await;
            drop(theirs);
            Instant::now()
        };
        let closing = async move {
            io.write_all(b"answer").await.unwrap();
            io.shutdown().await.unwrap();
            Instant::now()
        };
        let (closed, ended) = tokio::join!(closing, sending);
        assert_eq!(closed, ended);
    }

    #[tokio::test(start_paused = true)]
    async fn the_close_waits_only_for_the_linger_time() {
        let (ours, mut theirs) = duplex(16);
        let mut io = guarded(ours, LINGER);
        let begun = Instant::now();
        let sending = async {
            while theirs.write_all(&[0; 64]).await.is_ok() {
                sleep(LINGER / 16).await;
            }
        };
        tokio::select! {
            () = sending => panic!("the server stopped reading"),
            closed = io.shutdown() => closed.unwrap(),
        }
        assert_eq!(begun.elapsed(), LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_from_a_client_that_reads_nothing() {
        let (ours, mut theirs) = duplex(16);
        let io = guarded(ours, TIMEOUT);
        theirs.write_all(b"request").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(io);
        let (read, mut request) = (Cell::new(false), [0; 7]);
        let reading = async {
            // The response is being written by then.
            yield_now().await;
            reader.read_exact(&mut request).await.unwrap();
            read.set(true);
        };
        let waiting = async {
            sleep(TIMEOUT / 2).await;
            assert!(!read.get());
            theirs.read_exact(&mut [0; 32]).await.unwrap();
        };
        let (written, (), ()) = tokio::join!(writer.write_all(&[0; 32]), reading, waiting);
        assert!(written.is_ok() && read.get() && request == *b"request");
    }

    #[tokio::test(start_paused = true)]
    async fn reading_pauses_after_calls_without_memory() {
        let (ours, mut theirs) = duplex(16);
        let memory = ConnectionMemory::open(&MemoryLimit::new(MIB, 0, &Metrics::new())).unwrap();
        let mut io =
            GuardedIo::new(ours, Instant::now() + TIMEOUT, &LimitSettings::default(), memory.clone());
        io.has_begun = true;
        theirs.write_all(b"requests").await.unwrap();
        for (refused, seconds) in [(200 * 1024, 2), (0, 0), (100 * MIB, 10)] {
            assert!(refused == 0 || memory.charge(refused).is_err());
            let begun = Instant::now();
            io.read_exact(&mut [0; 2]).await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), seconds, "{refused}");
        }
    }

    #[tokio::test]
    async fn a_header_block_counts_until_it_is_complete() {
        // HEADERS and CONTINUATION without END_HEADERS.
        let (headers, more) = ([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82], [0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82]);
        let end = [0, 0, 1, 9, 4, 0, 0, 0, 1, 0x82];
        let metrics = Metrics::new();
        let taken = || {
            metrics.text();
            metrics.server.connection_memory.get()
        };
        for (bytes, fits) in [(64 * MIB, true), (MIB, false)] {
            let (ours, mut theirs) = duplex(1024);
            let memory = ConnectionMemory::open(&MemoryLimit::new(bytes, 0, &metrics)).unwrap();
            let before = taken();
            let mut io = GuardedIo::new(ours, Instant::now() + TIMEOUT, &LimitSettings::default(), memory);
            theirs.write_all(&[&[0; 24][..], &headers].concat()).await.unwrap();
            let read = io.read(&mut [0; 1024]).await.map_err(|error| error.kind());
            assert_eq!(read, if fits { Ok(34) } else { Err(MEMORY) });
            if fits {
                assert!(taken() >= before + 200 * 1024, "{}", taken() - before);
                theirs.write_all(&more).await.unwrap();
                assert_eq!(io.read(&mut [0; 1024]).await.unwrap(), 10);
                assert!(io.open_block.is_some());
                theirs.write_all(&end).await.unwrap();
                assert_eq!(io.read(&mut [0; 1024]).await.unwrap(), 10);
                assert!(io.open_block.is_none());
            }
        }
    }

    fn guarded(stream: DuplexStream, timeout: Duration) -> GuardedIo<DuplexStream> {
        let limits = LimitSettings { stall_timeout: timeout, ..LimitSettings::default() };
        GuardedIo::new(stream, Instant::now() + timeout, &limits, ConnectionMemory::for_test())
    }

    const TIMEOUT: Duration = Duration::from_secs(10);
    const MIB: usize = 1 << 20;
}
