//! Connecting to the store in its mode.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{select_ok, try_join_all},
};
use rustls::pki_types::TrustAnchor;
use tokio::time::timeout;

use super::{
    super::{
        fault::{Fault, FaultKind},
        iam::IamTokens,
        stream::SLOT_TAGS,
        supervisor::Connector,
        target::{Address, Auth, Mode, Target},
    },
    cluster::Nodes,
    command,
    connection::Connection,
    credentials::Credentials,
    sentinel,
    server::Dialer,
    tls,
};

/// Connects to the store.
pub(super) struct StoreConnector {
    pub(super) target: Target,
    pub(super) system_roots: Vec<TrustAnchor<'static>>,
    /// Signs the tokens of [`Auth::Iam`].
    pub(super) tokens: Option<Arc<IamTokens>>,
    /// The time limit of a command at a node of a cluster; none for the reader of events.
    pub(super) node_time_limit: Option<Duration>,
}

impl Connector for StoreConnector {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Fault> {
        let connected = self.connect_in_mode().await;
        if let (Err(fault), Some(tokens)) = (&connected, &self.tokens)
            && fault.kind == FaultKind::Credentials
        {
            tokens.refused();
        }
        connected
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
    async fn connect_in_mode(&self) -> Result<Connection, Fault> {
        let credentials = self.credentials().await?;
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
                    tokens: self.tokens.as_ref(),
                    time_limit: self.node_time_limit,
                };
                let connection = nodes.connect(dialer).await?;
                dialer().first(self.probe_any(&connection)).await?;
                Ok(connection)
            }
        }
    }

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

    /// Writes in all parts of a cluster. It is used if one of them works, because another may be in the
    /// middle of a failover.
    async fn probe_any(&self, connection: &Connection) -> Result<(), Fault> {
        let commands = SLOT_TAGS.map(|tag| command::probe(&self.target.namespace, tag));
        select_ok(commands.iter().map(|command| connection.send(command).boxed())).await.map(drop)
    }

    /// Reads the password again, or signs a token. Waits for AWS credentials without counting that as
    /// connecting.
    async fn credentials(&self) -> Result<Option<Credentials>, Fault> {
        match (&self.target.auth, &self.tokens) {
            (Auth::Password { username, password_file }, _) => {
                Credentials::read(username.as_deref(), password_file).map(Some)
            }
            (Auth::Iam(_), Some(tokens)) => {
                let secret = tokens.token().await?;
                Ok(Some(Credentials { user: Some(tokens.user().to_owned()), secret }))
            }
            (Auth::None | Auth::Iam(_), _) => Ok(None),
        }
    }
}
