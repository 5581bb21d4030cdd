//! The thread that serves: its end closes the port and every connection with it.

use std::{
    io,
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::resettable::{ResetHandle, ResettableListener};

/// A serving thread; dropping it stops it and waits for its end.
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `socket` before it returns, so a client that comes at once is let in.
    pub(super) fn start(socket: TcpSocket, router: Router) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            socket.listen(BACKLOG)?
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
        // A panicked server has said so on standard error, and its port is closed all the same.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Binds without listening: connecting is refused, and nobody else is dealt the port.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the Cognito stand-in serves on loopback only",
        ));
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn serve(runtime: &Runtime, listener: TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let service = router.into_make_service_with_connect_info::<ResetHandle>();
    runtime.block_on(async {
        tokio::select! {
            ended = axum::serve(ResettableListener::new(listener), service) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the Cognito stand-in stopped");
                }
            }
            _ = stopped => {}
        }
    });
}

const BACKLOG: u32 = 1024;
