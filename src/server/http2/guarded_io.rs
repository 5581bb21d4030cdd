//! Guards a connection against clients that hyper's HTTP/2 server waits for.
//!
//! hyper waits without limit for the connection preface (its issue #4170; the pull requests #4171
//! and #4172 were closed) and for a client that does not read. Once hyper has these timeouts, the
//! ones here can go.

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

use super::flood::{Flood, FrameMeter};

/// A connection that fails when its client is late with the preface, floods it with frames, or does
/// not read responses.
#[derive(Debug)]
pub(in crate::server) struct GuardedIo<S> {
    stream: S,
    meter: FrameMeter,
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
    /// is complete by `preface_deadline`, and with [`FLOOD`]. Writing fails with [`STALL`] if the
    /// client accepts nothing for `stall_timeout`.
    pub(in crate::server) fn new(stream: S, preface_deadline: Instant, stall_timeout: Duration) -> Self {
        let preface_timer = Some(Box::pin(sleep_until(preface_deadline)));
        let (meter, stall_timer, linger_timer) = (FrameMeter::new(), None, None);
        Self { stream, meter, preface_timer, stall_timeout, stall_timer, linger_timer }
    }

    fn check_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall_timer = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stall_timer = self.stall_timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall_timer.as_mut().poll(cx));
        Poll::Ready(Err(STALL.into()))
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
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
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => {
                let Some(preface_timer) = &mut this.preface_timer else { return Poll::Pending };
                ready!(preface_timer.as_mut().poll(cx));
                return Poll::Ready(Err(PREFACE_TIMEOUT.into()));
            }
            failed => return failed,
        }
        let metered = this.meter.observe(buf.filled().get(before..).unwrap_or_default());
        if this.meter.preface_complete {
            this.preface_timer = None;
        }
        Poll::Ready(metered.map_err(|Flood| FLOOD.into()))
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
// A client closes its side within a round trip, and this is many of them.
const LINGER: Duration = Duration::from_secs(1);
const DISCARD_BUFFER_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_kept_and_one_that_reads_nothing_stalls() {
        const TIMEOUT: Duration = Duration::from_secs(10);
        let (ours, mut theirs) = duplex(16);
        let mut io = GuardedIo::new(ours, Instant::now() + TIMEOUT, TIMEOUT);
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
        let mut io = GuardedIo::new(ours, Instant::now() + LINGER, LINGER);
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
        let mut io = GuardedIo::new(ours, Instant::now() + LINGER, LINGER);
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
}
