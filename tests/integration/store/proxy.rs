use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What happens to the connections of a proxy, those that are open and those to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Pass,
    /// What is sent takes this time, each way.
    Delay(Duration),
    /// Takes what is sent, and passes it on when the fault ends. [`Proxy::cut`] loses it.
    Hold,
    /// As `Hold`, for what the client sends.
    HoldRequests,
    /// As `Hold`, for what the server sends.
    HoldReplies,
    /// As `HoldReplies`, on connections that have sent an `XREAD` only.
    HoldEvents,
    /// Passes on this many bytes at a time.
    Slice(usize),
    /// Closes all connections, and refuses new ones.
    Refuse,
}

/// Passes TCP connections on to a server, with faults.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    // Dropped first, as its tasks use the state.
    _serving: JoinSet<()>,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
struct State {
    fault: Fault,
    server: SocketAddr,
    cuts: u64,
}

#[derive(Clone, Copy)]
enum Direction {
    Request,
    Reply,
}

/// What one direction of a connection carries.
#[derive(Clone)]
struct Traffic {
    direction: Direction,
    /// Whether the client of the connection reads events.
    has_events: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State { fault: Fault::Pass, server, cuts: 0 });
        let connections = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, state.subscribe(), Arc::clone(&connections)));
        Self { address, state, connections, _serving: serving }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Resets the connections that are open, with what they hold.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Passes new connections on to another server, as when a name gets another address.
    pub(crate) fn redirect(&self, server: SocketAddr) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Returns how many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Fault {
    fn holds(self, traffic: &Traffic) -> bool {
        match (self, traffic.direction) {
            (Self::Hold, _) => true,
            (Self::HoldRequests, direction) => matches!(direction, Direction::Request),
            (Self::HoldReplies, direction) => matches!(direction, Direction::Reply),
            (Self::HoldEvents, Direction::Reply) => traffic.has_events.load(Ordering::SeqCst),
            _ => false,
        }
    }

    fn delay(self) -> Duration {
        if let Self::Delay(delay) = self { delay } else { Duration::ZERO }
    }

    fn slice(self) -> usize {
        if let Self::Slice(bytes) = self { bytes } else { usize::MAX }
    }
}

async fn serve(listener: TcpListener, mut state: watch::Receiver<State>, connections: Arc<AtomicUsize>) {
    let address = listener.local_addr().unwrap();
    let (mut listener, mut open) = (Some(listener), JoinSet::new());
    loop {
        if state.borrow_and_update().fault == Fault::Refuse {
            listener = None;
            open.shutdown().await;
            state.changed().await.unwrap();
            continue;
        }
        if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.unwrap());
        }
        tokio::select! {
            Ok((client, _)) = listener.as_ref().unwrap().accept() => {
                connections.fetch_add(1, Ordering::SeqCst);
                open.spawn(carry(client, state.clone()));
            }
            changed = state.changed() => changed.unwrap(),
        }
    }
}

async fn carry(client: TcpStream, mut state: watch::Receiver<State>) {
    let State { server, cuts, .. } = *state.borrow();
    client.set_zero_linger().unwrap();
    client.set_nodelay(true).unwrap();
    let Ok(server) = TcpStream::connect(server).await else { return };
    server.set_zero_linger().unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let has_events = Arc::default();
    let [requests, replies] = [Direction::Request, Direction::Reply]
        .map(|direction| Traffic { direction, has_events: Arc::clone(&has_events) });
    tokio::select! {
        _ = pump(from_client, to_server, requests, state.clone()) => {}
        _ = pump(from_server, to_client, replies, state.clone()) => {}
        _ = state.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Passes on what one side sends, until it ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: Traffic,
    mut state: watch::Receiver<State>,
) {
    let (sender, mut chunks) = mpsc::unbounded_channel();
    let has_events = Arc::clone(&traffic.has_events);
    let read = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if buffer[..length].windows(EVENTS.len()).any(|part| part == EVENTS) {
                has_events.store(true, Ordering::SeqCst);
            }
            sender.send((Instant::now(), buffer[..length].to_vec())).unwrap();
        }
    };
    let write = async {
        while let Some((read_at, chunk)) = chunks.recv().await {
            let fault = state.wait_for(|state| !state.fault.holds(&traffic)).await.unwrap().fault;
            sleep_until(read_at + fault.delay()).await;
            for part in chunk.chunks(fault.slice()) {
                // The other side may have closed the connection.
                drop(to.write_all(part).await);
            }
        }
    };
    join(read, write).await;
}

/// The command that reads events. No script has its name in capitals in a request.
const EVENTS: &[u8] = b"XREAD";
