//! Connections that a request handler can reset.

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

/// Resets one connection. Every request on the connection carries it.
#[derive(Clone, Debug, Default)]
pub(super) struct ResetHandle(Arc<AtomicBool>);

impl ResetHandle {
    /// Makes the next write reset the connection.
    pub(super) fn reset(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, ResettableListener>> for ResetHandle {
    fn connect_info(stream: IncomingStream<'_, ResettableListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Accepts connections and makes a reset handle for each.
pub(super) struct ResettableListener(TcpListener);

impl ResettableListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self(listener)
    }
}

impl Listener for ResettableListener {
    type Io = ResettableStream;
    // The address is all of a connection that axum passes to a handler.
    type Addr = ResetHandle;

    async fn accept(&mut self) -> (ResettableStream, ResetHandle) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Otherwise small responses would wait for a delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let reset_handle = ResetHandle::default();
        (ResettableStream { stream, reset_handle: reset_handle.clone() }, reset_handle)
    }

    fn local_addr(&self) -> io::Result<ResetHandle> {
        Ok(ResetHandle::default())
    }
}

/// A TCP stream. After a reset of its handle the next write resets the connection.
pub(super) struct ResettableStream {
    stream: TcpStream,
    reset_handle: ResetHandle,
}

impl ResettableStream {
    fn check_reset(&self) -> io::Result<()> {
        if self.reset_handle.0.load(Ordering::Acquire) {
            // Without lingering, closing the socket sends RST in place of FIN.
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
