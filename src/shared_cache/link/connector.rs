//! Connecting to the store in its mode.

use std::time::Duration;

use futures_util::future::try_join_all;
use rustls::pki_types::TrustAnchor;
use tokio::time::timeout;

use super::{
    super::{fault::Fault, supervisor::Connector},
    cluster::Nodes,
    command::{self, SLOT_TAGS},
    connection::Connection,
    credentials::Credentials,
    sentinel,
    server::Dialer,
    target::{Address, Auth, Mode, Target},
    tls,
};

/// Connects to the store.
pub(super) struct StoreConnector {
    pub(super) target: Target,
    pub(super) system_roots: Vec<TrustAnchor<'static>>,
    /// The time limit of a command at a node of a cluster; none for the reader of events.
    pub(super) node_time_limit: Option<Duration>,
}

impl Connector for StoreConnector {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Fault> {
        let credentials = self.credentials()?;
        let contents = self.target.tls.as_ref().map(tls::read).transpose()?;
        let config = contents.as_ref().map(|contents| tls::client_config(contents, &self.system_roots));
        let config = config.transpose()?;
        let dialer = || Dialer::new(config.clone(), self.target.connect_timeout);
        match &self.target.mode {
            Mode::Standalone(address) => self.connect_to(&dialer(), address, credentials.as_ref()).await,
            Mode::Sentinel { addresses, name } => {
                let address = sentinel::primary(dialer, addresses, name, credentials.as_ref()).await?;
                self.connect_to(&dialer(), &address, credentials.as_ref()).await
            }
            Mode::Cluster(seeds) => {
                let nodes = Nodes {
                    seeds,
                    tls: contents.as_ref(),
                    credentials: credentials.as_ref(),
                    time_limit: self.node_time_limit,
                };
                let connection = nodes.connect(dialer).await?;
                dialer().first(self.probe_all(&connection)).await?;
                Ok(connection)
            }
        }
    }

    async fn probe(&self, connection: &Connection) -> Result<(), Fault> {
        let tag = fastrand::choice(SLOT_TAGS).unwrap_or_default();
        let command = command::probe(&self.target.namespace, tag);
        let answered = timeout(self.target.timeout, connection.send(&command)).await;
        answered.unwrap_or_else(|_| Err(Fault::timeout())).map(drop)
    }

    async fn closed(&self, connection: &Connection) {
        connection.closed().await;
    }
}

impl StoreConnector {
    async fn connect_to(
        &self,
        dialer: &Dialer,
        address: &Address,
        credentials: Option<&Credentials>,
    ) -> Result<Connection, Fault> {
        let connection = dialer.connect(address, credentials).await?;
        dialer.first(self.probe_all(&connection)).await?;
        Ok(connection)
    }

    /// Writes in all parts of a cluster. A cluster of two nodes or more behind `mode = "standalone"`
    /// refuses one of them.
    async fn probe_all(&self, connection: &Connection) -> Result<(), Fault> {
        let commands = SLOT_TAGS.map(|tag| command::probe(&self.target.namespace, tag));
        try_join_all(commands.iter().map(|command| connection.send(command))).await.map(drop)
    }

    fn credentials(&self) -> Result<Option<Credentials>, Fault> {
        match &self.target.auth {
            Auth::None => Ok(None),
            Auth::Password { username, password_file } => {
                Credentials::read(username.as_deref(), password_file).map(Some)
            }
            Auth::Iam(_) => Ok(None),
        }
    }
}
