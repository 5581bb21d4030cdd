//! Helpers of the tests of limits: a server, a well-behaved client, and the parts of an attack.

use std::{cell::Cell, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use cognito_lookup::{
    config::{ClientCertificate, Config, LimitSettings},
    proto::user_service_client::UserServiceClient,
};
use h2::client::SendRequest;
use tokio::{
    io::AsyncWriteExt as _,
    time::{interval, timeout},
};
use tonic::{Status, transport::Channel};

use crate::{
    support::{
        ADA, App,
        certificates::{Authority, Files, client_config},
        frames::{self, ConnectionEnd, Frame, FrameConnection, REFUSED_STREAM, RST_STREAM, SETTINGS},
        standin,
    },
    support::{
        h2_client::{get_user, open},
        tls_client,
    },
};

/// Starts a server with one worker, which the attack and the well-behaved client share.
pub(crate) async fn single_worker(change: impl FnOnce(&mut Config)) -> App {
    let app = App::start_with_config(|config| {
        config.workers = 1;
        change(config);
    })
    .await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app
}

/// As [`single_worker`], over TLS; returns a client too.
pub(crate) async fn single_worker_tls(
    authority: &Authority,
    change: impl FnOnce(&mut Config),
) -> (App, UserServiceClient<Channel>) {
    let files = Files::new(&authority.server(), authority);
    let app = App::start_unready(standin(), |config| {
        files.set(ClientCertificate::Off)(config);
        config.workers = 1;
        change(config);
    })
    .await;
    app.wait_until_ready().await;
    let channel = tls_client::connect(app.address, client_config(&[authority], None)).await.unwrap();
    (app, UserServiceClient::new(channel))
}

/// As [`single_worker`], with a short age of connections. It makes no call, since tonic's client
/// fails one that it was about to send over a closing connection.
pub(crate) async fn short_lived_connections(change: impl FnOnce(&mut LimitSettings)) -> App {
    let app = App::start_unready(standin(), |config| {
        config.workers = 1;
        change(&mut config.limits);
    })
    .await;
    app.wait_until_ready().await;
    app
}

/// A client that opens a new connection when one closes. Every accepted call must get its reply.
pub(crate) struct ReconnectingClient {
    address: SocketAddr,
    pub(crate) connections: usize,
    current: Option<SendRequest<Bytes>>,
}

impl ReconnectingClient {
    pub(crate) fn new(app: &App) -> Self {
        Self { address: app.address, connections: 0, current: None }
    }

    pub(crate) async fn get_user(&mut self) {
        loop {
            if let Some(client) = &mut self.current
                && let Some(code) = get_user(client, ADA).await
            {
                assert_eq!(code, "0");
                return;
            }
            self.current = Some(open(self.address).await);
            self.connections += 1;
        }
    }
}

/// Runs the attack while a well-behaved client calls. Panics if one of its calls fails.
pub(crate) async fn while_calling<T>(app: &App, attack: impl Future<Output = T>) -> T {
    while_repeating(async || assert!(app.get_by_sub(ADA).await.is_ok()), attack).await
}

pub(crate) async fn while_repeating<T>(mut ask: impl AsyncFnMut(), attack: impl Future<Output = T>) -> T {
    let over = Cell::new(false);
    let asking = async {
        let mut answered = 0;
        while !over.get() || answered < 10 {
            ask().await;
            answered += 1;
        }
    };
    let attacking = async {
        let outcome = timeout(LONG, attack).await.expect("the attack ends");
        over.set(true);
        outcome
    };
    let (outcome, ()) = tokio::join!(attacking, asking);
    ask().await;
    outcome
}

/// Sends these bytes over a new connection, and returns how it ends.
pub(crate) async fn end_after(app: &App, beginning: &[u8]) -> ConnectionEnd {
    let mut wire = FrameConnection::connect(app.address).await;
    wire.send(beginning).await;
    wire.ended().await
}

/// Opens a connection from this address, and waits for the server's SETTINGS.
pub(crate) async fn open_from(source: [u8; 4], address: SocketAddr) -> io::Result<FrameConnection> {
    let mut wire = FrameConnection::connect_from(source, address).await;
    // The server may have closed a refused connection already.
    drop(wire.0.write_all(&frames::preface_and_settings(&[])).await);
    wire.next_of_kind(SETTINGS).await?;
    Ok(wire)
}

/// Connects, sends nothing, and connects again when the connection is closed.
pub(crate) async fn reconnect_for_ever(address: SocketAddr) {
    let mut pace = interval(Duration::from_millis(10));
    loop {
        pace.tick().await;
        FrameConnection::connect(address).await.ended().await;
    }
}

/// Repeats [`open_from`] until it succeeds.
pub(crate) async fn wait_until_accepted(source: [u8; 4], address: SocketAddr) {
    let begun = async { while open_from(source, address).await.is_err() {} };
    timeout(LONG, begun).await.expect("a place becomes free");
}

pub(crate) fn is_refusal(frame: &Frame) -> bool {
    frame.kind == RST_STREAM && frames::code(&frame.payload) == REFUSED_STREAM
}

pub(crate) fn flood(times: usize, one: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    (0..times).flat_map(one).collect()
}

/// The id of a client's `n`th stream.
pub(crate) fn stream_id(n: usize) -> u32 {
    u32::try_from(2 * n + 1).unwrap()
}

/// Returns the status of a Trailers-Only response.
pub(crate) fn status<B>(response: &http::Response<B>) -> Status {
    Status::from_header_map(response.headers()).unwrap()
}

pub(crate) fn cut(reason: &str) -> String {
    format!("cognito_lookup_connections_cut_total{{reason=\"{reason}\"}}")
}

pub(crate) fn refused_by(limit: &str) -> String {
    format!("cognito_lookup_connections_refused_total{{limit=\"{limit}\"}}")
}

// Long enough for a well-behaved client on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
pub(crate) const LONG: Duration = Duration::from_secs(30);
