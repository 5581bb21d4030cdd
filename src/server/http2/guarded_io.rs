//! What a client sends, io frame by frame as it is read: it must begin in time, and what carries no call must not
//! outnumber the calls. h2 answers every ping and every setting, however many there are. And what the client is sent: it
//! must take some of it in time, for h2 waits for that as long as the connection lasts.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// A connection whose incoming frames are io, and whether its client takes what it is sent.
#[derive(Debug)]
pub(super) struct GuardedIo<S> {
    stream: S,
    /// Until the preface is whole.
    preface_timer: Option<Pin<Box<Sleep>>>,
    meter: FrameMeter,
    stall_timeout: Duration,
    /// From when the client takes nothing more until it takes some.
    stall_timer: Option<Pin<Box<Sleep>>>,
    /// From our last word until the client's.
    linger_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedIo<S> {
    /// Waits for the connection preface of RFC 9113, section 3.4, until `deadline`; then reading fails, as it does
    /// with a flood. WriterHandle fails when the client takes nothing for `stall_timeout`.
    pub(super) fn new(stream: S, deadline: Instant, stall_timeout: Duration) -> Self {
        let preface_timer = Some(Box::pin(sleep_until(deadline)));
        Self {
            stream,
            preface_timer,
            meter: FrameMeter::new(),
            stall_timeout,
            stall_timer: None,
            linger_timer: None,
        }
    }

    fn check_stall<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall_timer = None;
            return outcome;
        }
        let timeout = self.stall_timeout;
        let stall_timer = self.stall_timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall_timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ResourceBusy.into()))
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads and throws away what comes until the client ends too, or breaks off.
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
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => {
                let Some(preface_timer) = &mut this.preface_timer else { return Poll::Pending };
                ready!(preface_timer.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            failed => return failed,
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        let outcome = this.meter.observe(read);
        if this.meter.preface_complete {
            this.preface_timer = None;
        }
        Poll::Ready(outcome.map_err(|Flood| io::Error::from(io::ErrorKind::QuotaExceeded)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_stall(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.check_stall(cx, outcome)
    }

    /// Says that nothing more comes, and lingers for the client to say so too: closed on what it still sends, the system
    /// would break the connection, and with it the answers that the client has not read yet (RFC 9112, section 9.6, tells
    /// it of HTTP/1.1).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger_timer.is_none() {
            let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.check_stall(cx, outcome))?;
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
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_stall(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Reads the heads of frames, however the bytes are cut, and passes over the rest.
#[derive(Debug)]
struct FrameMeter {
    /// Bytes to pass over before the next header.
    skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    filled: usize,
    /// Whether the preface is whole.
    preface_complete: bool,
    /// How many more frames may come that carry no call.
    allowance: u32,
    refilled: Instant,
}

/// More frames came that carry no call than the calls charge for.
#[derive(Debug, Eq, PartialEq)]
struct Flood;

impl FrameMeter {
    fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            filled: 0,
            preface_complete: false,
            allowance: MAX_ALLOWANCE,
            refilled: Instant::now(),
        }
    }

    fn observe(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.preface_complete |= self.skip == 0;
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = self.fill(bytes);
            if self.filled == FRAME_HEADER_BYTES {
                self.filled = 0;
                let [high, middle, low, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.charge(kind)?;
            }
        }
    }

    /// Takes what is missing of the header, and returns the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let missing = self.header.get_mut(self.filled..).unwrap_or_default();
        let taken = missing.len().min(bytes.len());
        let (header, rest) = bytes.split_at(taken);
        missing.iter_mut().zip(header).for_each(|(slot, byte)| *slot = *byte);
        self.filled += taken;
        rest
    }

    /// What time brings, for a connection that lives long with few calls; the clock is asked where it matters only.
    fn refill(&mut self) {
        let elapsed = self.refilled.elapsed().as_millis() * u128::from(ALLOWANCE_PER_SECOND) / 1000;
        self.allowance = u32::try_from(elapsed).unwrap_or(MAX_ALLOWANCE).min(MAX_ALLOWANCE);
        if self.allowance > 0 {
            self.refilled = Instant::now();
        }
    }

    fn charge(&mut self, kind: u8) -> Result<(), Flood> {
        match kind {
            HEADERS => self.allowance = (self.allowance + ALLOWANCE_PER_CALL).min(MAX_ALLOWANCE),
            // h2 bounds those itself.
            DATA | CONTINUATION => {}
            _ => {
                if self.allowance == 0 {
                    self.refill();
                }
                self.allowance = self.allowance.checked_sub(1).ok_or(Flood)?;
            }
        }
        Ok(())
    }
}

// RFC 9113, sections 3.4, 4.1 and 6.
const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
// A call brings a reset, some window updates and a ping of the client's bandwidth estimate: not nearly this many.
const ALLOWANCE_PER_CALL: u32 = 20;
// Keepalives and window updates of a watch that lives for a day.
const ALLOWANCE_PER_SECOND: u32 = 10;
// What a hundred calls at once may be owed; a client that pings each second uses 300 in the life of a connection.
const MAX_ALLOWANCE: u32 = 10_000;
// A client that has read our last word ends at once; many times the way to any client near us and back.
const LINGER: Duration = Duration::from_secs(1);
const DISCARD_BUFFER_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PING: u8 = 6;

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes =
            [&[b'P'; PREFACE_BYTES][..], &frame(PING, 8), &frame(DATA, 200), &frame(PING, 8)].concat();
        for size in 1..bytes.len() {
            let mut meter = FrameMeter::new();
            bytes.chunks(size).for_each(|chunk| assert_eq!(meter.observe(chunk), Ok(())));
            assert_eq!((meter.allowance, meter.skip, meter.filled), (MAX_ALLOWANCE - 2, 0, 0), "{size}");
        }
    }

    #[test]
    fn the_preface_is_whole_with_its_last_byte() {
        let mut meter = FrameMeter::new();
        for n in 1..=PREFACE_BYTES {
            assert!(!meter.preface_complete);
            meter.observe(b"P").unwrap();
            assert_eq!(meter.preface_complete, n == PREFACE_BYTES);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_brings_what_a_long_watch_needs() {
        let mut meter = FrameMeter::new();
        meter.observe(&[b'P'; PREFACE_BYTES]).unwrap();
        meter.observe(&frame(PING, 8).repeat(MAX_ALLOWANCE as usize)).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(meter.observe(&frame(PING, 8).repeat(ALLOWANCE_PER_SECOND as usize)), Ok(()));
        assert_eq!(meter.observe(&frame(PING, 8)), Err(Flood));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_calls_are_a_flood() {
        let of_call = ALLOWANCE_PER_CALL as usize;
        for (case, calls, others, flood) in [
            ("as many as are owed", 0, MAX_ALLOWANCE as usize, false),
            ("one more", 0, MAX_ALLOWANCE as usize + 1, true),
            ("a call with all that it is owed", 1, of_call, false),
            ("a call with one more", 1, of_call + 1, true),
        ] {
            let round = [frame(HEADERS, 5).repeat(calls), frame(PING, 8).repeat(others)].concat();
            let mut meter = FrameMeter::new();
            meter.observe(&[b'P'; PREFACE_BYTES]).unwrap();
            let rounds = if calls == 0 { 1 } else { MAX_ALLOWANCE + 1 };
            let outcome = (0..rounds).try_for_each(|_| meter.observe(&round));
            assert_eq!(outcome.is_err(), flood, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_is_waited_for_and_who_takes_nothing_is_not() {
        const STALL: Duration = Duration::from_secs(10);
        let (ours, mut theirs) = duplex(16);
        let mut io = GuardedIo::new(ours, Instant::now() + STALL, STALL);
        let taking = async {
            for _ in 0..16 {
                sleep(STALL - Duration::from_millis(1)).await;
                theirs.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(io.write_all(&[0; 32]), taking);
        assert!(written.is_ok());
        let begun = Instant::now();
        let written = io.write_all(&[0]).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::ResourceBusy));
        assert_eq!(begun.elapsed(), STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_sent_after_our_last_word_is_taken_and_thrown_away() {
        let (ours, mut theirs) = duplex(16);
        let mut io = GuardedIo::new(ours, Instant::now() + LINGER, LINGER);
        let sending = async {
            assert_eq!(theirs.read_to_end(&mut Vec::new()).await.unwrap(), 6, "all that we said");
            // More than the pipe holds: it is read.
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
    async fn who_never_ends_is_not_waited_for() {
        let (ours, mut theirs) = duplex(16);
        let mut io = GuardedIo::new(ours, Instant::now() + LINGER, LINGER);
        let begun = Instant::now();
        let sending = async {
            while theirs.write_all(&[0; 64]).await.is_ok() {
                sleep(LINGER / 16).await;
            }
        };
        tokio::select! {
            () = sending => panic!("broken off"),
            closed = io.shutdown() => closed.unwrap(),
        }
        assert_eq!(begun.elapsed(), LINGER);
    }

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let payload = vec![0xff; usize::from(length)];
        [&[0, 0, length, kind, 0, 0, 0, 0, 1][..], &payload].concat()
    }
}
