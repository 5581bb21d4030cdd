//! Connections that a request can cut: what the next write meets is a reset.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Cuts one connection; every request on it carries one.
#[derive(Clone, Debug, Default)]
pub(super) struct Plug(Arc<AtomicBool>);

impl Plug {
    /// From now on nothing more is written: the connection is reset instead.
    pub(super) fn pull(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_pulled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Door>> for Plug {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Accepts connections that have a plug.
pub(super) struct Door(TcpListener);

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self(listener)
    }
}

impl Listener for Door {
    type Io = Cable;
    // axum hands a handler its connection's address and nothing else of the connection.
    type Addr = Plug;

    async fn accept(&mut self) -> (Cable, Plug) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Without it small answers would wait for a delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let plug = Plug::default();
        (Cable { stream, plug: plug.clone() }, plug)
    }

    fn local_addr(&self) -> io::Result<Plug> {
        Ok(Plug::default())
    }
}

/// A TCP stream that stops writing once its plug is pulled.
pub(super) struct Cable {
    stream: TcpStream,
    plug: Plug,
}

impl Cable {
    fn checked(&self) -> io::Result<()> {
        if self.plug.is_pulled() {
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.checked()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.checked()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
