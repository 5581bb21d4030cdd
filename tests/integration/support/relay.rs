use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Passes TCP connections on to a server, and can freeze them like a firewall that forgets them.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    freeze: watch::Sender<()>,
    _serving: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (freeze, frozen) = watch::channel(());
        let connections = Arc::new(AtomicUsize::new(0));
        let (mut serving, counted) = (JoinSet::new(), Arc::clone(&connections));
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut frozen = frozen.clone();
                frozen.mark_unchanged();
                open.spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        // Both stay open, and nothing passes any more.
                        _ = frozen.changed() => pending().await,
                    }
                });
            }
        });
        Self { address, connections, freeze, _serving: serving }
    }

    /// Freezes the connections that are open now.
    pub(crate) fn freeze(&self) {
        self.freeze.send_replace(());
    }

    /// Returns how many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
