//! Connections to all nodes of a cluster, which the `redis` crate keeps.

use std::{sync::Arc, time::Duration};

use redis::{
    ClientTlsConfig, ConnectionAddr, ProtocolVersion, TlsCertificates,
    cluster::{ClusterClient, ClusterClientBuilder},
    cmd,
    io::tcp::TcpSettings,
};

use super::{
    super::{
        fault::{Fault, FaultKind},
        iam::IamTokens,
        target::Address,
    },
    classify,
    connection::Connection,
    credentials::Credentials,
    server::Dialer,
    socket, tls,
    token_stream::TokenStream,
};

/// What the connections to all nodes have in common.
pub(super) struct Nodes<'a> {
    pub(super) seeds: &'a [Address],
    pub(super) tls: Option<&'a tls::Contents>,
    pub(super) credentials: Option<&'a Credentials>,
    /// Signs the tokens of each connection, instead of the credentials.
    pub(super) tokens: Option<&'a Arc<IamTokens>>,
    /// The time limit of one command at one node; none for the reader of events, which waits.
    pub(super) time_limit: Option<Duration>,
}

impl Nodes<'_> {
    /// Connects to the cluster. A seed is asked first, because the errors of the `redis` crate do not
    /// say what is wrong.
    pub(super) async fn connect(&self, dialer: impl Fn() -> Dialer) -> Result<Connection, Fault> {
        let mut order: Vec<_> = self.seeds.iter().collect();
        fastrand::shuffle(&mut order);
        let mut last = Err(Fault::new(FaultKind::Settings, "shared_cache.urls is empty"));
        for seed in order {
            last = self.check(&dialer(), seed).await;
            if last.is_ok() {
                break;
            }
        }
        last?;
        let dialer = dialer();
        let client = self.client(dialer.remaining()).map_err(|error| classify::fault(&error))?;
        let connecting =
            async { client.get_async_connection().await.map_err(|error| classify::fault(&error)) };
        dialer.first(connecting).await.map(Connection::Cluster)
    }

    async fn check(&self, dialer: &Dialer, seed: &Address) -> Result<(), Fault> {
        let connection = dialer.connect(seed, self.credentials).await?;
        let slots = dialer.first(connection.send(cmd("CLUSTER").arg("SLOTS"))).await;
        match slots {
            Err(fault) if fault.kind == FaultKind::Script => Err(Fault::new(
                FaultKind::Mode,
                format_args!(
                    "{seed} is not a node of a cluster: set shared_cache.mode to standalone ({fault})"
                ),
            )),
            Err(fault) => Err(fault),
            Ok(_) => Ok(()),
        }
    }

    fn client(&self, connect_timeout: Duration) -> redis::RedisResult<ClusterClient> {
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(socket::keepalive());
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(socket::USER_TIMEOUT);
        let mut builder = ClusterClientBuilder::new(self.seeds.iter().filter_map(|seed| self.address(seed)))
            .use_protocol(ProtocolVersion::RESP2)
            .tcp_settings(tcp)
            .connection_timeout(connect_timeout)
            // By default it tries 16 times, and waits up to 11 minutes in between.
            .retries(1)
            .min_retry_wait(1)
            .max_retry_wait(MAX_RETRY_WAIT);
        if let Some(limit) = self.time_limit {
            builder = builder.response_timeout(limit);
        }
        if let Some(tokens) = self.tokens {
            builder = builder.set_credentials_provider(TokenStream(Arc::clone(tokens)));
        } else if let Some(credentials) = self.credentials {
            builder = builder.password(credentials.secret.as_str());
            if let Some(user) = &credentials.user {
                builder = builder.username(user);
            }
        }
        if let Some(contents) = self.tls {
            builder = builder.certs(certificates(contents));
        }
        builder.build()
    }

    fn address(&self, seed: &Address) -> Option<ConnectionAddr> {
        let Address::Tcp { host, port } = seed else { return None };
        let (host, port) = (host.clone(), *port);
        Some(match self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        })
    }
}

fn certificates(contents: &tls::Contents) -> TlsCertificates {
    let client_tls =
        contents.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls, root_cert: contents.ca.clone() }
}

/// In milliseconds.
const MAX_RETRY_WAIT: u64 = 50;
