//! Shared helpers: a running server, its clients, and requests.

pub(crate) mod attack;
pub(crate) mod aws;
pub(crate) mod canary;
pub(crate) mod certificates;
pub(crate) mod command;
pub(crate) mod forged_tokens;
pub(crate) mod frames;
pub(crate) mod h2_client;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod source_tree;
pub(crate) mod stub;
pub(crate) mod tls_client;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cognito_lookup::{
    attribute::Selection,
    auth::{self, Authenticator, VerifiedTokens},
    config::{
        AuditSettings, AuditSink, AwsCredentials, CallerSettings, Config, ErrorCollector, ListenAddress,
        PoolSettings, Reads, ShutdownSettings,
    },
    freshness::FreshnessRequirement,
    outgoing::Outgoing,
    policy::{Permit, Policy},
    pool::Pools,
    proto::{
        self, GetUserRequest, GetUserResponse,
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        user_service_client::UserServiceClient,
    },
    query::Query,
    server::{self, Listeners, Server},
    telemetry::metrics::Metrics,
    users::Users,
};
use cognito_standin::{Pool, StandIn};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};
use tonic_types::StatusExt as _;

pub(crate) const ADA: &str = "ada00000-5a4d-4b0c-8000-000000000001";
pub(crate) const GRACE: &str = "900913e0-5a4d-4b0c-8000-000000000002";
pub(crate) const BOB: &str = "b0b00000-5a4d-4b0c-8000-000000000003";
pub(crate) const WEB: &str = "sandboxwebclient0000000001";

/// A server on its own port, with its own stand-in of Cognito.
pub(crate) struct App {
    pub(crate) cognito: StandIn,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), server::Error>>,
}

impl App {
    /// Starts a server with the settings of [`config`], and waits until it is SERVING.
    pub(crate) async fn start() -> Self {
        Self::start_with_config(|_| {}).await
    }

    /// Starts a server with changed settings, and waits until it is SERVING.
    pub(crate) async fn start_with_config(change: impl FnOnce(&mut Config)) -> Self {
        let app = Self::start_unready(standin(), change).await;
        app.wait_for_health(ServingStatus::Serving).await;
        app
    }

    /// Starts a server without waiting until it is SERVING.
    pub(crate) async fn start_unready(cognito: StandIn, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&cognito);
        change(&mut config);
        let listeners = Listeners::bind(&config).await.unwrap();
        let (address, admin) = (listeners.grpc().unwrap(), listeners.admin().unwrap());
        // For a Unix socket a test makes its own connections.
        let (address, channel) = match address {
            ListenAddress::Tcp(address) if config.tls.certificate.is_none() => {
                (address, connect(address).await)
            }
            ListenAddress::Tcp(address) => (address, lazy(address)),
            ListenAddress::Unix(_) => (admin, lazy(admin)),
        };
        let (stop, stopped) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "joined by `stopped`")]
        let ended = tokio::spawn(serve(config, listeners, async { drop(stopped.await) }));
        Self { cognito, address, admin, channel, stop: Some(stop), ended }
    }

    pub(crate) async fn get_user(&self, request: Request<GetUserRequest>) -> Result<GetUserResponse, Status> {
        let mut users = UserServiceClient::new(self.channel.clone());
        users.get_user(request).await.map(tonic::Response::into_inner).inspect_err(canary::status)
    }

    /// Calls `GetUser` with a user's access token.
    pub(crate) async fn get_by_token(&self, token: &str) -> Result<GetUserResponse, Status> {
        self.get_user(with_token(token, GetUserRequest::default())).await
    }

    /// Calls `GetUser` by `sub`, without a credential.
    pub(crate) async fn get_by_sub(&self, sub: &str) -> Result<GetUserResponse, Status> {
        self.get_user(Request::new(about(sub))).await
    }

    /// Opens a connection with h2, for what tonic's client cannot do.
    pub(crate) async fn connect_h2(&self) -> h2::client::SendRequest<Bytes> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
        tokio::spawn(connection);
        client.ready().await.unwrap()
    }

    /// Sends the head of a `GetUser`; its message is to follow.
    pub(crate) async fn begin_get_user(&self) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        self.connect_h2().await.send_request(self.get_user_head(), false).unwrap()
    }

    /// Returns the head of a `GetUser`.
    pub(crate) fn get_user_head(&self) -> http::Request<()> {
        let request =
            http::Request::post(format!("http://{}/userlookup.v1.UserService/GetUser", self.address));
        request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
    }

    pub(crate) fn token(&self, username: &str) -> String {
        self.cognito.access_token(username).unwrap()
    }

    /// Returns how many lookups of users Cognito has received.
    pub(crate) fn cognito_lookups(&self) -> usize {
        self.cognito.calls("AdminGetUser") + self.cognito.calls("ListUsers")
    }

    /// Waits until the server's health is `wanted`.
    pub(crate) async fn wait_for_health(&self, wanted: ServingStatus) {
        let mut health = HealthClient::new(self.channel.clone());
        let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        while let Some(response) = told.message().await.unwrap() {
            if response.status() == wanted {
                return;
            }
        }
        panic!("the server ended before it was {wanted:?}");
    }

    /// Returns a series of `/metrics`, by its name and labels as written there, or 0 if it does not
    /// exist.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric(self.admin, series).await
    }

    /// Waits until a series has a wanted value.
    pub(crate) async fn wait_for_metric(&self, series: &str, wanted: impl Fn(f64) -> bool) {
        for _ in 0..6_000 {
            if wanted(self.metric(series).await) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{series} is {}", self.metric(series).await);
    }

    /// Waits until `/readyz` returns 200.
    pub(crate) async fn wait_until_ready(&self) {
        for _ in 0..6_000 {
            if http_get(self.admin, "/readyz").await.0 == 200 {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("the server is never ready");
    }

    /// Starts the graceful shutdown.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Waits until the server has stopped. Panics after 40 s.
    pub(crate) async fn wait_until_stopped(self) -> StandIn {
        timeout(Duration::from_secs(40), self.ended).await.expect("the server stops").unwrap().unwrap();
        self.cognito
    }
}

/// Builds a server from `config` and serves it until `shutdown` completes.
pub(crate) async fn serve(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), server::Error> {
    Server::read(config).unwrap().serve(listeners, shutdown).await
}

/// The components that find users, without a server: a test can poll each lookup by hand.
pub(crate) struct Components {
    pub(crate) cognito: StandIn,
    pub(crate) users: Users,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Metrics,
    policy: Policy,
}

impl Components {
    /// Makes them from the settings of [`config`], and waits for the JWKS.
    pub(crate) async fn start() -> Self {
        let cognito = standin();
        let config = config(&cognito);
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors).unwrap();
        let policy = Policy::read(&config, Some(&pools), &mut errors).unwrap();
        let metrics = Metrics::new();
        let outgoing = Outgoing::default();
        let tokens =
            Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, &metrics));
        let authenticator = Authenticator::start(&pools, Arc::clone(&tokens), &metrics.tokens, &outgoing);
        authenticator.ready(&pools.only().unwrap().id).await;
        let users =
            Users::connect(&pools, &config.cache, &config.budget, tokens, None, &metrics, &outgoing).await;
        Self { cognito, users, authenticator, metrics, policy }
    }

    /// Authenticates a caller from this machine, whose access token may be empty.
    pub(crate) async fn authenticated(&self, access_token: &str) -> auth::Caller {
        self.authenticate(&MetadataMap::new(), access_token).await.unwrap()
    }

    /// Authenticates a caller from this machine with this metadata and `access_token` field.
    pub(crate) async fn authenticate(
        &self,
        metadata: &MetadataMap,
        access_token: &str,
    ) -> Result<auth::Caller, auth::Rejected> {
        let address = auth::Address::Ip(Ipv4Addr::LOCALHOST.into());
        let peer = auth::Peer { address, certificate: None };
        self.authenticator.authenticate(auth::Credentials { metadata, access_token, peer: &peer }).await
    }

    /// Returns the permit of a caller from this machine to read a user.
    pub(crate) async fn permit(
        &self,
        sub: &str,
        access_token: &str,
        freshness: FreshnessRequirement,
    ) -> Permit {
        let caller = self.authenticated(access_token).await;
        let query = Query {
            sub: Some(sub.parse().unwrap()),
            pool: None,
            attributes: Selection::All,
            include_groups: false,
            freshness,
        };
        self.policy.rule(&caller).unwrap().permit(query).unwrap()
    }
}

fn lazy(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// The deadline of a call without `grpc-timeout`.
pub(crate) fn default_deadline() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

pub(crate) fn standin() -> StandIn {
    StandIn::start(Pool::sandbox()).unwrap()
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Settings with the stand-in as the pool. Its app client reads by token, and this machine reads
/// any user by `sub`.
pub(crate) fn config(cognito: &StandIn) -> Config {
    let rule = |name: &str, reads, attributes: &[&str]| CallerSettings {
        name: name.into(),
        reads,
        attributes: attributes.iter().map(ToString::to_string).collect(),
        ..CallerSettings::default()
    };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen: ListenAddress::Tcp(anywhere),
        admin_listen: anywhere,
        workers: 2,
        pools: vec![PoolSettings {
            id: cognito.pool_id().into(),
            app_clients: vec![WEB.into()],
            issuer: Some(cognito.issuer().into()),
            jwks_url: Some(cognito.jwks_url()),
            endpoint_url: Some(cognito.endpoint_url()),
            federated: true,
            credentials: AwsCredentials::Placeholder,
            ..PoolSettings::default()
        }],
        callers: vec![
            CallerSettings { app_client: Some(WEB.into()), ..rule("web", Reads::Token, &["name", "email"]) },
            CallerSettings { network: vec!["127.0.0.1/32".into()], ..rule("sidecar", Reads::Any, &["name"]) },
        ],
        audit: AuditSettings {
            sink: AuditSink::File,
            path: Some(canary::audit()),
            ..AuditSettings::default()
        },
        shutdown: ShutdownSettings { delay: Duration::ZERO, grace: Duration::from_secs(20) },
        ..Config::default()
    }
}

pub(crate) fn with_token(token: &str, message: GetUserRequest) -> Request<GetUserRequest> {
    canary::token(token);
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) fn about(sub: &str) -> GetUserRequest {
    GetUserRequest { sub: sub.into(), ..GetUserRequest::default() }
}

pub(crate) fn max_age(seconds: i64) -> Option<proto::get_user_request::Freshness> {
    let age = prost_types::Duration { seconds, nanos: 0 };
    Some(proto::get_user_request::Freshness::MaxAge(age))
}

/// As [`App::metric`], for the server with this admin address.
pub(crate) async fn metric(admin: SocketAddr, series: &str) -> f64 {
    metric_over(TcpStream::connect(admin).await.unwrap(), series).await
}

async fn metric_over(stream: TcpStream, series: &str) -> f64 {
    let (_, text) = http_get_over(stream, "/metrics", "").await;
    value_of(&text, series)
}

/// As [`App::metric`], for metrics without a server.
pub(crate) fn metric_of(metrics: &Metrics, series: &str) -> f64 {
    value_of(&metrics.text(), series)
}

fn value_of(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Gets a path of the admin port, and returns the status and the body.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = http_get_with(address, path, "").await;
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// Sends these header lines too, each with its line end, and returns the head of the response.
pub(crate) async fn http_get_with(address: SocketAddr, path: &str, headers: &str) -> (String, String) {
    http_get_over(TcpStream::connect(address).await.unwrap(), path, headers).await
}

async fn http_get_over(mut stream: TcpStream, path: &str, headers: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: probes\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    canary::page(&answer);
    (head.to_owned(), body.to_owned())
}

/// Returns the code and the reason of a status.
pub(crate) fn failure(status: &Status) -> (Code, String) {
    canary::status(status);
    let info = status.get_details_error_info();
    (status.code(), info.map(|info| info.reason).unwrap_or_default())
}

#[track_caller]
pub(crate) fn assert_failure(answer: Result<GetUserResponse, Status>, code: Code, reason: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(failure(&status), (code, reason.to_owned()));
    status
}

/// Returns the names of the attributes in a reply.
pub(crate) fn names(answer: &GetUserResponse) -> Vec<&str> {
    answer.user.as_ref().unwrap().attributes.keys().map(String::as_str).collect()
}

pub(crate) fn source(answer: &GetUserResponse) -> proto::Source {
    answer.freshness.as_ref().unwrap().source()
}

/// The series that counts the calls of `GetUser` when they start.
pub(crate) const GET_USER_STARTED: &str = "grpc_server_started_total{grpc_type=\"unary\",grpc_service=\"userlookup.v1.UserService\",grpc_method=\"GetUser\"}";
