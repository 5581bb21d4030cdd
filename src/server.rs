//! Builds the parts from the settings, serves them on its ports, and drains.

mod acceptor;
mod admin;
mod admission;
mod connection;
mod fd_limit;
mod guarded_io;
mod running;
mod health;
mod listener;
mod components;
mod readiness;
mod routes;
mod drain;
mod tls;
mod stall;
mod upstream_runtime;
mod worker;

use std::{future::pending, io, sync::Arc};

use thiserror::Error;
use tokio::runtime::Handle;
use tracing::info;

pub use self::listener::{BindError, Listeners};
use self::{
    components::Components, readiness::Readiness, running::RunningServer, tls::Tls,
    upstream_runtime::UpstreamRuntime,
};
use crate::{
    audit::{Audit, OpenSinkError},
    auth::{Authenticator, StartError},
    config::{Config, ConfigErrors},
    epochs::Epochs,
    service::Service,
    users::Users,
};

/// Reads the settings and serves them: [`Server::read`] and then [`Server::serve`].
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    Server::read(config)?.serve(listeners, shutdown).await
}

/// A server whose settings are valid in every part.
#[derive(Debug)]
pub struct Server {
    config: Config,
    components: Components,
}

/// Has a server look at its files now; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader {
    audit: Audit,
    tls: Option<Arc<Tls>>,
}

impl Reloader {
    /// Takes changed TLS files into use, if they are good, and opens the audit file again; what is bad is logged, and the
    /// old one stays.
    pub fn reload(&self) {
        let reopening = self.audit.reopen();
        match &self.tls {
            Some(tls) => tls.reload(),
            None if !reopening => info!("there is nothing to reload"),
            None => {}
        }
    }
}

impl Server {
    /// Reads the settings and the files they name, or says all that is wrong with them.
    pub fn read(config: Config) -> Result<Self, ConfigErrors> {
        Ok(Self { components: Components::read(&config)?, config })
    }

    /// Returns what has this server look at its files.
    pub fn reloader(&self) -> Reloader {
        Reloader { audit: self.components.audit.clone(), tls: self.components.tls.clone() }
    }

    /// Serves until `shutdown` is ready, then drains: health says so, new connections and calls are taken for
    /// `shutdown.delay` more, and those under way have `shutdown.grace` to end; what is left then is cut.
    pub async fn serve(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { config, components } = self;
        components.warn();
        let writing = components.audit.start()?;
        let ended = Self::run(&config, &components, listeners, shutdown).await;
        writing.end().await;
        ended
    }

    async fn run(
        config: &Config,
        components: &Components,
        listeners: Listeners,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (_upstream, handle) = UpstreamRuntime::start()?;
        let service = build_service(components, config, &handle).await?;
        let (ready, readiness) = Readiness::channel();
        let mut running = RunningServer::start(config, components, listeners, service.clone(), readiness)?;
        let service_ready = handle.spawn(async move { service.ready().await });
        let become_ready = async {
            if service_ready.await.is_ok() {
                ready.send_replace(true);
                info!("serving");
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = running.failed() => return Err(Error::Acceptor),
            () = become_ready => {}
            () = shutdown => {}
        }
        running.drain(ready, &config.shutdown).await;
        Ok(())
    }
}

/// Builds what answers the calls; its work upstream is done on that runtime.
async fn build_service(
    components: &Components,
    config: &Config,
    upstream: &Handle,
) -> Result<Service, Error> {
    let epochs = Arc::<Epochs>::default();
    let authenticator = {
        let _there = upstream.enter();
        let epochs = Arc::clone(&epochs);
        Arc::new(Authenticator::start(&components.pools, &config.cache, epochs, &components.metrics)?)
    };
    let (pools, cache, budget) = (components.pools.clone(), config.cache.clone(), config.budget.clone());
    let metrics = components.metrics.clone();
    let users =
        upstream.spawn(async move { Users::connect(&pools, &cache, &budget, epochs, &metrics).await });
    let users = users.await.map_err(|_| Error::Upstream)?;
    Ok(Service { authenticator, policy: Arc::clone(&components.policy), users })
}

/// Why the server did not start, or stopped by itself.
#[derive(Debug, Error)]
pub enum Error {
    /// The audit sink could not be opened.
    #[error(transparent)]
    Audit(#[from] OpenSinkError),
    /// Nobody accepts connections any more: a fault of ours.
    #[error("accepting connections failed")]
    Acceptor,
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A port or a thread could not be had.
    #[error("the system refused a port or a thread: {0}")]
    Io(#[from] io::Error),
    /// Reflection could not be built.
    #[error("reflection could not be built: {0}")]
    Reflection(#[from] routes::Error),
    /// The keys of a pool can never be fetched.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The parts that ask Cognito could not be built: a fault of ours.
    #[error("the parts that ask Cognito could not be built")]
    Upstream,
}
