//! The thread that serves. Its end closes the port and every connection.

use std::{
    io,
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use axum::Router;
use tokio::{
    net::TcpSocket,
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::resettable::{ResetHandle, ResettableListener};

/// A serving thread. Dropping it stops the thread and waits for its end.
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `socket` before it returns, so that a client can connect at once.
    pub(super) fn start(socket: TcpSocket, router: Router) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            ResettableListener::new(socket.listen(BACKLOG)?)
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("standin".to_owned())
            .spawn(move || serve(&runtime, listener, router, stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has reported that on standard error, and its port is closed too.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Binds without listening: connecting is refused, and the system gives the port to no other
/// socket.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn serve(runtime: &Runtime, listener: ResettableListener, router: Router, stopped: oneshot::Receiver<()>) {
    let service = router.into_make_service_with_connect_info::<ResetHandle>();
    runtime.block_on(async {
        tokio::select! {
            // `axum::serve` retries failed accepts and never returns.
            _ = axum::serve(listener, service) => {}
            _ = stopped => {}
        }
    });
}

const BACKLOG: u32 = 1024;
