use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use cognito_lookup::proto::health::{HealthCheckRequest, health_client::HealthClient};
use h2::client::{self, SendRequest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Barrier, Semaphore},
    task::{JoinSet, spawn_blocking},
};

use crate::support::{
    ADA, App, connect,
    h2_client::{get_user, open, send_get_user},
    process::Process,
    standin,
};

/// Stops a hundred servers, each while eight clients call without pause and five others keep their
/// connections open.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_fails_no_accepted_call_and_ends_in_time() {
    let cognito = Arc::new(standin());
    // Two at a time, as many as the cores of a small machine.
    let (turns, mut runs) = (Arc::new(Semaphore::new(2)), JoinSet::new());
    for run in 0..100 {
        let (cognito, turns) = (Arc::clone(&cognito), Arc::clone(&turns));
        runs.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let process = spawn_blocking(move || Process::serve(&cognito, SETTINGS)).await.unwrap();
            let address: SocketAddr = process.address.parse().unwrap();
            let stuck = StuckClients::connect(address).await;
            let mut load = JoinSet::new();
            let begun = Arc::new(Barrier::new(CLIENTS + 1));
            (0..CLIENTS).for_each(|_| drop(load.spawn(call_until_goaway(address, Arc::clone(&begun)))));
            // The stop comes while the clients call; a connection after it finds the port closed.
            begun.wait().await;
            process.signal("TERM");
            load.join_all().await;
            let ended = move || {
                process.wait_for_log("calls or connections did not end within shutdown.grace and are cut");
                process.wait()
            };
            let code = spawn_blocking(ended).await.unwrap();
            assert_eq!(code, Some(0), "run {run}");
            drop(stuck);
        });
    }
    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_cognito_get_their_reply_before_the_exit() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"");
    let address: SocketAddr = process.address.parse().unwrap();
    let held = cognito.hold("AdminGetUser");
    let mut clients = JoinSet::new();
    for n in 0..8 {
        let sub = format!("nobody-{n}");
        clients.spawn(async move { get_user(&mut open(address).await, &sub).await });
    }
    cognito.wait_for_calls("AdminGetUser", 8).await;
    process.signal("TERM");
    process.wait_for_log("stopping");
    while TcpStream::connect(address).await.is_ok() {}
    held.release();
    assert!(clients.join_all().await.into_iter().all(|code| code.is_some()));
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test]
async fn a_grace_shorter_than_the_request_timeout_is_warned_about() {
    let cognito = standin();
    for (timeout, warnings) in [("300ms", 0), ("301ms", 1)] {
        let settings = format!("{SETTINGS}[limits]\nrequest_timeout = \"{timeout}\"");
        let process = Process::serve(&cognito, &settings);
        let warned = process.start.iter().filter(|line| line["message"] == GRACE_WARNING);
        assert_eq!(warned.count(), warnings, "{timeout}: {:?}", process.start);
    }
}

#[tokio::test]
async fn a_client_that_still_sends_when_its_connection_ends_gets_the_last_frames() {
    let mut app = App::start().await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS_FRAME, 0, &[])).await.unwrap();
    app.stop();
    // Reads up to the last GOAWAY. Of the frames before it, only the PING needs an answer.
    let mut asked_to_leave = 0;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [_, _, length, kind, flags, ..] = head;
        let mut payload = vec![0; length.into()];
        stream.read_exact(&mut payload).await.unwrap();
        asked_to_leave += usize::from(kind == GOAWAY);
        if (kind, flags) == (PING, 0) {
            stream.write_all(&frame(PING, ACK, &payload)).await.unwrap();
        }
    }
    assert_eq!(asked_to_leave, 2);
    for _ in 0..10 {
        stream.write_all(&frame(PING, 0, &[0; 8])).await.expect("it is still read");
    }
    assert!(stream.take_error().unwrap().is_none());
    drop(stream);
    app.wait_until_stopped().await;
}

/// Clients that would delay a stop for ever.
struct StuckClients {
    _silent: TcpStream,
    _idle: tonic::transport::Channel,
    _watching: tonic::Streaming<cognito_lookup::proto::health::HealthCheckResponse>,
    /// Its connection is never read, so it answers no PING.
    _deaf: (SendRequest<Bytes>, client::Connection<TcpStream>),
    /// Its window is 0, so it takes no byte of its reply.
    _full: (SendRequest<Bytes>, Option<client::ResponseFuture>, JoinSet<()>),
}

impl StuckClients {
    async fn connect(address: SocketAddr) -> Self {
        let idle = connect(address).await;
        let watching = HealthClient::new(idle.clone()).watch(HealthCheckRequest::default()).await;
        let deaf = client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut closed = client::Builder::new();
        closed.initial_window_size(0);
        let (sender, connection) = closed.handshake(stream).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        let mut full = sender.ready().await.unwrap();
        let unread = send_get_user(&mut full, ADA);
        Self {
            _silent: TcpStream::connect(address).await.unwrap(),
            _idle: idle,
            _watching: watching.unwrap().into_inner(),
            _deaf: deaf,
            _full: (full, unread, driver),
        }
    }
}

/// Calls until the server sends GOAWAY. Panics if an accepted call gets no reply.
async fn call_until_goaway(address: SocketAddr, begun: Arc<Barrier>) {
    let mut client = open(address).await;
    assert_eq!(get_user(&mut client, ADA).await.as_deref(), Some("0"));
    begun.wait().await;
    while let Some(code) = get_user(&mut client, ADA).await {
        assert_eq!(code, "0");
    }
}

const GRACE_WARNING: &str =
    "shutdown.grace is shorter than limits.request_timeout, so a stop may cut calls in progress";
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, 0], payload].concat()
}

const CLIENTS: usize = 8;
// RFC 9113, section 6.
const SETTINGS_FRAME: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const SETTINGS: &str = r#"
listen = "127.0.0.1:0"
workers = 2
[shutdown]
delay = "10ms"
grace = "300ms"
"#;
