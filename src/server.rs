//! Builds the parts from the settings, serves them on its ports, and drains.

mod acceptor;
mod admin;
mod census;
mod connection;
mod descriptors;
mod frames;
mod front;
mod health;
mod listener;
mod plan;
mod probe;
mod routes;
mod stage;
mod tls;
mod unread;
mod upstream;
mod worker;

use std::{future::pending, io, sync::Arc};

use thiserror::Error;
use tokio::runtime::Handle;
use tracing::info;

pub use self::listener::{BindError, Listeners};
use self::{front::Front, plan::Plan, probe::Probe, tls::Tls, upstream::Upstream};
use crate::{
    audit::{Audit, OpenSinkError},
    auth::{Authenticator, StartError},
    config::{Config, ConfigErrors},
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
    plan: Plan,
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
        Ok(Self { plan: Plan::read(&config)?, config })
    }

    /// Returns what has this server look at its files.
    pub fn reloader(&self) -> Reloader {
        Reloader { audit: self.plan.audit.clone(), tls: self.plan.tls.clone() }
    }

    /// Serves until `shutdown` is ready, then drains: health says so, new connections and calls are taken for
    /// `shutdown.delay` more, and those under way have `shutdown.grace` to end; what is left then is cut.
    pub async fn serve(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { config, plan } = self;
        plan.warn();
        let writing = plan.audit.start()?;
        let ended = Self::run(&config, &plan, listeners, shutdown).await;
        writing.end().await;
        ended
    }

    async fn run(
        config: &Config,
        plan: &Plan,
        listeners: Listeners,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (_upstream, handle) = Upstream::start()?;
        let service = service(plan, config, &handle).await?;
        let (ready, probe) = Probe::begin();
        let mut front = Front::open(config, plan, listeners, service.clone(), probe)?;
        let parts_ready = handle.spawn(async move { service.ready().await });
        let welcome = async {
            if parts_ready.await.is_ok() {
                ready.send_replace(true);
                info!("serving");
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = front.failed() => return Err(Error::Acceptor),
            () = welcome => {}
            () = shutdown => {}
        }
        front.drain(ready, &config.shutdown).await;
        Ok(())
    }
}

/// Builds what answers the calls; its work upstream is done on that runtime.
async fn service(plan: &Plan, config: &Config, upstream: &Handle) -> Result<Service, Error> {
    let authenticator = {
        let _there = upstream.enter();
        Arc::new(Authenticator::start(&plan.pools, &config.cache, &plan.metrics.tokens)?)
    };
    let (pools, cache, budget) = (plan.pools.clone(), config.cache.clone(), config.budget.clone());
    let metrics = plan.metrics.clone();
    let users = upstream.spawn(async move { Users::connect(&pools, &cache, &budget, &metrics).await });
    let users = users.await.map_err(|_| Error::Upstream)?;
    Ok(Service { authenticator, policy: Arc::clone(&plan.policy), users })
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
