//! Builds the parts from the settings, serves them on a listener, and drains.

mod health;
mod plan;
mod preface;
mod trailers;

use std::{future::pending, io, pin::Pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{sleep, timeout},
};
use tonic::{
    body::Body,
    transport::{
        self,
        server::{Router, TcpIncoming},
    },
};
use tower::{
    layer::util::{Identity, Stack},
    util::MapRequestLayer,
};
use tracing::{info, warn};

use self::{health::Reporter, plan::Plan, preface::Prompt};
use crate::{
    auth::{Authenticator, StartError},
    config::{Config, Faults, ShutdownSettings},
    service::Service,
    users::Users,
    wire::proto::{
        DESCRIPTORS, admin_service_server::AdminServiceServer, user_service_server::UserServiceServer,
    },
};

/// Reads the settings and serves them: [`Server::read`] and then [`Server::serve`].
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    Server::read(config)?.serve(listener, shutdown).await
}

/// A server whose settings are valid in every part.
#[derive(Debug)]
pub struct Server {
    config: Config,
    plan: Plan,
}

impl Server {
    /// Reads the settings, or says all that is wrong with them.
    pub fn read(config: Config) -> Result<Self, Faults> {
        Ok(Self { plan: Plan::read(&config)?, config })
    }

    /// Serves on `listener` until `shutdown` is ready, then drains: health says so, new calls are taken for
    /// `shutdown.delay` more, and those under way have `shutdown.grace` to end.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { config, plan } = self;
        plan.warn();
        let authenticator = Arc::new(Authenticator::start(&plan.pools)?);
        let service = Service {
            authenticator: Arc::clone(&authenticator),
            policy: Arc::new(plan.policy),
            users: Users::connect(&plan.pools, &config.cache).await,
            request_timeout: config.limits.request_timeout,
        };
        let reporter = Reporter::new();
        let router = router(service, &reporter, &config)?;

        info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map_ok(Prompt::new);
        let serving = router.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) });
        tokio::pin!(serving);

        let welcome = async {
            authenticator.ready().await;
            reporter.serving();
            info!("serving");
            pending::<()>().await;
        };
        tokio::select! {
            ended = &mut serving => return Ok(ended?),
            () = welcome => {}
            () = shutdown => {}
        }
        drain(&config.shutdown, reporter, stop, serving).await
    }
}

/// Says good-bye first, and stops last.
async fn drain(
    times: &ShutdownSettings,
    reporter: Reporter,
    stop: oneshot::Sender<()>,
    mut serving: Pin<&mut impl Future<Output = Result<(), transport::Error>>>,
) -> Result<(), Error> {
    let (delay, grace) = (times.delay, times.grace);
    info!(delay_ms = milliseconds(delay), grace_ms = milliseconds(grace), "stopping");
    reporter.not_serving();
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = sleep(delay) => {}
    }
    drop(stop);
    // Ends the streams of those who watch the health, which would hold the drain to its last second.
    drop(reporter);
    match timeout(grace, serving).await {
        Ok(ended) => ended?,
        Err(_) => warn!("calls or connections did not end in time and are cut"),
    }
    info!("stopped");
    Ok(())
}

/// Why the server did not start, or stopped by itself.
#[derive(Debug, Error)]
pub enum Error {
    /// The settings are wrong.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Listener(#[from] io::Error),
    /// Reflection could not be built.
    #[error("reflection could not be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The keys of a pool can never be fetched.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Serving failed.
    #[error("serving failed: {0}")]
    Transport(#[from] transport::Error),
}

fn router(service: Service, reporter: &Reporter, config: &Config) -> Result<Router<Layers>, Error> {
    let users = UserServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let admin = AdminServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let health = reporter.service().max_decoding_message_size(MAX_MESSAGE_BYTES);
    // grpcurl up to 1.8 and others of its age speak v1alpha only.
    let (v1, v1alpha) = if config.reflection {
        let v1 = reflected().build_v1()?.max_decoding_message_size(MAX_MESSAGE_BYTES);
        (Some(v1), Some(reflected().build_v1alpha()?.max_decoding_message_size(MAX_MESSAGE_BYTES)))
    } else {
        (None, None)
    };
    Ok(transport::Server::builder()
        // For what our own limit does not see: a request whose message never comes.
        .timeout(config.limits.request_timeout + MESSAGE_PATIENCE)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(MapRequestLayer::new(trailers::dropped as Mapping))
        .add_service(users)
        .add_service(admin)
        .add_service(health)
        .add_optional_service(v1)
        .add_optional_service(v1alpha))
}

type Mapping = fn(http::Request<Body>) -> http::Request<Body>;
type Layers = Stack<MapRequestLayer<Mapping>, Identity>;

fn reflected() -> tonic_reflection::server::Builder<'static> {
    // The details of our statuses are in messages of google.rpc; with their descriptors clients can show them.
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// A lookup is one short call; a client that wants more at once opens another connection (Envoy's edge advice).
const MAX_STREAMS: u32 = 100;
// The largest legal token, about 20 KiB, twice, with room for what proxies add.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
// A request is a token of at most 32 KiB and a list of short names.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
// hyper's own bounds, which tonic would lift (RUSTSEC-2024-0003).
const MAX_LOCAL_RESETS: usize = 1024;
const MAX_PENDING_RESETS: usize = 20;
const MESSAGE_PATIENCE: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
