//! Builds the server from the settings, serves the gRPC and admin ports, and drains on shutdown.

mod acceptor;
mod access;
mod admin;
mod admission;
mod builtin;
mod components;
mod connection;
mod drain;
mod error;
mod health;
mod http2;
mod listener;
mod readiness;
mod running;
mod startup;
mod status_page;
mod tls;
mod warnings;
mod worker;

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::warn;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::http2::http2_frames;
use self::{
    access::{Access, Reloading},
    components::Components,
    readiness::{Readiness, ReadyState},
    running::RunningServer,
    startup::Startup,
    tls::Tls,
};
pub use self::{
    error::Error,
    listener::{BindError, Listeners},
    warnings::Warning,
};
use crate::{
    audit::Audit,
    auth::{Authenticator, VerifiedTokens},
    background::BackgroundRuntime,
    changes::Changes,
    config::{Config, ConfigErrors},
    events::{CaughtUp, Consumer},
    pool::Pools,
    service::Service,
    shared_cache::{SharedCache, ValueKeys},
    telemetry::metrics::ServerMetrics,
    users::Users,
};

/// A server whose settings have been validated.
#[derive(Debug)]
pub struct Server {
    config: Config,
    components: Components,
    reloads: mpsc::Sender<Reloading>,
    loaded: mpsc::Receiver<Reloading>,
}

/// Reloads the files of a running server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader {
    audit: Audit,
    tls: Option<Arc<Tls>>,
    value_keys: Option<Arc<ValueKeys>>,
    settings: mpsc::Sender<Reloading>,
    metrics: ServerMetrics,
}

impl Reloader {
    /// Loads the TLS files and the value keys of the shared cache if they changed, and reopens the
    /// audit file. If a file is invalid, the server logs why and keeps using the previous one.
    pub fn reload_files(&self) {
        self.audit.reopen();
        if let Some(tls) = &self.tls {
            tls.reload();
        }
        if let Some(keys) = &self.value_keys {
            keys.reload();
        }
    }

    /// Uses the pools and callers of newly loaded settings, soon and all together. If the settings have
    /// an error, the server logs it and keeps using the previous ones. Settings that are repeated were
    /// loaded before; if they are refused for the same reasons, it does not log that again.
    pub fn reload_settings(&self, loaded: Result<Config, ConfigErrors>, is_repeated: bool) {
        if self.settings.try_send(Reloading { loaded, is_repeated }).is_err() && !is_repeated {
            warn!("the settings are not reloaded: earlier reloads have not ended");
            self.metrics.settings_outdated.set(1);
        }
    }

    /// Returns whether the last settings that were loaded are not in use.
    pub fn is_outdated(&self) -> bool {
        self.metrics.settings_outdated.get() != 0
    }
}

impl Server {
    /// Validates the settings and the files they name. Returns all errors at once.
    pub fn read(config: Config) -> Result<Self, ConfigErrors> {
        let components = Components::read(&config)?;
        let (reloads, loaded) = mpsc::channel(MAX_RELOADS);
        Ok(Self { config, components, reloads, loaded })
    }

    /// Returns a warning for each setting that is valid but unwise.
    pub fn warnings(&self) -> Vec<Warning> {
        warnings::warnings(&self.config, &self.components)
    }

    /// Logs [`Self::warnings`].
    pub fn log_warnings(&self) {
        self.warnings().iter().for_each(Warning::log);
    }

    /// Returns a handle that reloads the files of this server.
    pub fn reloader(&self) -> Reloader {
        let Components { audit, tls, metrics, .. } = &self.components;
        let (value_keys, settings) = (self.components.value_keys(), self.reloads.clone());
        let metrics = metrics.server.clone();
        Reloader { audit: audit.clone(), tls: tls.clone(), value_keys, settings, metrics }
    }

    /// Serves until `shutdown` completes, then drains.
    ///
    /// Health checks fail at once. New connections and calls are accepted for `shutdown.delay`
    /// more. Calls in progress then have `shutdown.grace` to end, and the rest is cut.
    pub async fn serve(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { config, components, loaded, .. } = self;
        components.outgoing.log();
        let audit_writer = components.audit.start()?;
        let result = Self::run(config, &components, listeners, loaded, shutdown).await;
        audit_writer.end().await;
        result
    }

    async fn run(
        config: Config,
        components: &Components,
        listeners: Listeners,
        loaded: mpsc::Receiver<Reloading>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        // Slow work there does not delay a serving thread, and a fetch outlives the call that started
        // it. One thread is enough: Cognito's quotas allow some hundred requests a second.
        let (_upstream, handle) = BackgroundRuntime::start("upstream")?;
        let service = build_service(components, &config, &handle).await?;
        let (pools, metrics) = (&components.pools, &components.metrics.server);
        let served = watch::Sender::new(pools.clone());
        let consumer = start_consumer(components, &service, served.subscribe(), &handle).await?;
        let (ready, readiness) = Readiness::channel(pools, config.require_all_pools);
        let mut running = RunningServer::start(&config, components, listeners, service.clone(), readiness)?;
        let caught_up = consumer.as_ref().and_then(Consumer::caught_up).map(CaughtUp::wait);
        let mut startup = Startup::begin(&handle, ready.clone(), metrics.clone());
        startup.wait_for_revocations(&service, caught_up);
        startup.wait_for_pools(&service, pools);
        let shutdown_times = config.shutdown.clone();
        let access = Access {
            components,
            config,
            pools: pools.clone(),
            service,
            dispatcher: running.dispatcher.clone(),
            startup,
            recorder: components.audit.recorder(),
            refused: Vec::new(),
            served,
            upstream: handle.clone(),
        };
        let follow = join(access.follow(loaded), follow_audit(&ready, &components.audit));
        tokio::select! {
            () = running.failed() => return Err(Error::TaskEnded),
            _ = follow => {}
            () = shutdown => {}
        }
        // Another replica receives what arrives from now on.
        drop(consumer);
        running.drain(ready, &shutdown_times).await;
        Ok(())
    }
}

/// Makes the server "not ready" while required audit records cannot be written. Never returns.
async fn follow_audit(ready: &watch::Sender<ReadyState>, audit: &Audit) {
    loop {
        ready.send_if_modified(|state| state.set_audit_ready(audit.is_ready()));
        sleep(READINESS_INTERVAL).await;
    }
}

/// Builds the service. Its calls to Cognito and to the key servers run on `upstream`.
async fn build_service(
    components: &Components,
    config: &Config,
    upstream: &Handle,
) -> Result<Service, Error> {
    let Components { pools, metrics, outgoing, policy, shared_cache, .. } = components;
    let (authenticator, tokens, shared) = {
        let _context = upstream.enter();
        let shared = shared_cache.as_ref().map(|config| SharedCache::start(config, metrics, outgoing));
        let tokens = Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, metrics));
        (
            Arc::new(Authenticator::start(pools, Arc::clone(&tokens), &metrics.tokens, outgoing)),
            tokens,
            shared,
        )
    };
    let changes = match config.has_watchers() {
        true => Changes::start(&config.watch, shared.as_ref().map(SharedCache::sealer), &metrics.watch),
        false => Ok(Changes::off()),
    };
    let changes = changes.map_err(|_| Error::Random)?;
    let (pools, metrics, outgoing) = (pools.clone(), metrics.clone(), outgoing.clone());
    let (cache, budget) = (config.cache.clone(), config.budget.clone());
    let users = upstream.spawn(async move {
        Users::connect(&pools, &cache, &budget, tokens, shared, &metrics, &outgoing).await
    });
    let users = users.await.map_err(|_| Error::Upstream)?;
    users.record_changes(changes);
    Ok(Service::new(authenticator, Arc::clone(policy), users))
}

/// Begins to receive the changes of users on `upstream`; none if there is no queue.
async fn start_consumer(
    components: &Components,
    service: &Service,
    pools: watch::Receiver<Pools>,
    upstream: &Handle,
) -> Result<Option<Consumer>, Error> {
    let Components { audit, events, metrics, outgoing, .. } = components;
    let Some(config) = events.clone() else {
        metrics.events.caught_up.set(1);
        return Ok(None);
    };
    let users = service.users.clone();
    let (audit, metrics, outgoing) = (audit.recorder(), metrics.events.clone(), outgoing.clone());
    let starting = upstream
        .spawn(async move { Consumer::start(&config, users, pools, audit, metrics, &outgoing).await });
    starting.await.map(Some).map_err(|_| Error::Upstream)
}

// More than can arrive before the first is applied.
const MAX_RELOADS: usize = 8;
// Less than the interval of any probe.
const READINESS_INTERVAL: Duration = Duration::from_millis(250);
