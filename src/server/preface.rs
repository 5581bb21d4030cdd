//! A connection whose other end must begin to speak HTTP/2 in time, or is cut: hyper would wait for ever, and a stop
//! with it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A connection, silent until the connection preface of RFC 9113, section 3.4, has come, which has 5 s to come.
#[derive(Debug)]
pub(super) struct Prompt {
    stream: TcpStream,
    silence: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    ends: Pin<Box<Sleep>>,
    missing: usize,
}

impl Prompt {
    /// Begins to wait for the preface.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, silence: Some(Silence { ends: Box::pin(sleep(PATIENCE)), missing: PREFACE_BYTES }) }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(silence) = &mut self.silence else { return read };
        if read.is_pending() {
            ready!(silence.ends.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        silence.missing = silence.missing.saturating_sub(buf.filled().len() - before);
        if silence.missing == 0 {
            self.silence = None;
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Prompt {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

const PREFACE_BYTES: usize = 24;
const PATIENCE: Duration = Duration::from_secs(5);
