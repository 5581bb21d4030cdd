//! One connection to the store, whatever its mode.

use std::{fmt, future::Future, sync::Arc};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::AbortHandle,
};

use super::{
    super::{
        call::{Call, Reply},
        fault::{Fault, FaultKind},
    },
    classify, command,
};

/// A connection; cheap to clone. The last clone closes it.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Single(Arc<Single>),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

/// A connection to one server, and the task that reads and writes its socket.
pub(super) struct Single {
    connection: MultiplexedConnection,
    closed: watch::Receiver<bool>,
    driver: AbortHandle,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Begins to speak the protocol on this stream. Sends nothing yet.
    pub(super) async fn open<S>(stream: S) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        // The link has a clock of its own for each command.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = opened.map_err(|error| classify::fault(&error))?;
        let (ended, closed) = watch::channel(false);
        #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
        let driver = tokio::spawn(async move {
            driver.await;
            ended.send_replace(true);
        });
        Ok(Self::Single(Arc::new(Single { connection, closed, driver: driver.abort_handle() })))
    }

    /// Sends a command and waits for its reply, without a time limit. Cancel safe: the reply is
    /// discarded when it arrives.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        self.request(command).await.map_err(|error| self.fault(&error))
    }

    /// Runs a script, without a time limit. A server that does not know it yet gets its text.
    pub(super) async fn run(&self, call: &Call) -> Result<Reply, Fault> {
        let value = match self.request(&command::evalsha(call)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.request(&command::eval(call)).await
            }
            result => result,
        };
        command::reply(value.map_err(|error| self.fault(&error))?)
    }

    async fn request(&self, command: &Cmd) -> RedisResult<Value> {
        let reply = match self {
            Self::Single(single) => single.connection.clone().req_packed_command(command).await,
            Self::Cluster(cluster) => cluster.clone().req_packed_command(command).await,
        };
        reply.and_then(Value::extract_error)
    }

    fn fault(&self, error: &RedisError) -> Fault {
        let fault = classify::fault(error);
        match self {
            Self::Single(_) => fault,
            Self::Cluster(_) => of_one_node(fault),
        }
    }

    /// Waits until the connection has ended. Never ends for a cluster, which replaces the connections
    /// to its nodes itself.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let closed = match self {
            Self::Single(single) => Some(single.closed.clone()),
            Self::Cluster(_) => None,
        };
        async move {
            let Some(mut closed) = closed else { return std::future::pending().await };
            // An error means that the task was aborted.
            drop(closed.wait_for(|is_closed| *is_closed).await);
        }
    }
}

/// A node that fails says nothing about the others, and the `redis` crate replaces its connection
/// itself, with the password that it was given first.
fn of_one_node(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Closed | FaultKind::ReadOnly | FaultKind::NotReady | FaultKind::Mode => {
            Fault { kind: FaultKind::Node, ..fault }
        }
        _ => fault,
    }
}
