//! Replaces the pools and callers of a running server: all of the new ones, or none.

use std::{mem, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    components::Components,
    startup::Startup,
    warnings::{self, Warning},
};
use crate::{
    audit::Recorder,
    auth::Authenticator,
    config::{Config, ConfigErrors, ErrorCollector, Reload},
    policy::Policy,
    pool::Pools,
    service::{Dispatcher, Service},
    telemetry::metrics::ReloadOutcome,
    users::PoolClients,
};

/// Newly loaded settings, or what is wrong with them.
type Loaded = Result<Config, ConfigErrors>;

/// Settings to use in place of the present ones.
#[derive(Debug)]
pub(super) struct Reloading {
    pub(super) loaded: Loaded,
    /// Whether the same were refused before. What is known of that is not said again.
    pub(super) is_repeated: bool,
}

/// The pools and callers in use, and the parts that are notified when they are replaced.
pub(super) struct Access<'a> {
    pub(super) components: &'a Components,
    /// The settings in use.
    pub(super) config: Config,
    pub(super) pools: Pools,
    pub(super) service: Service,
    pub(super) dispatcher: Dispatcher,
    pub(super) startup: Startup,
    pub(super) recorder: Recorder,
    /// Why the last new settings were refused.
    pub(super) refused: Vec<String>,
    /// Tells the receiver of change events.
    pub(super) served: watch::Sender<Pools>,
    /// Where AWS and the key servers are called.
    pub(super) upstream: Handle,
}

/// Valid settings that differ from those in use.
struct NewAccess {
    config: Config,
    changes: Vec<String>,
    pools: Pools,
    policy: Policy,
}

/// What calls to new pools need.
struct Connected {
    authenticator: Authenticator,
    clients: PoolClients,
}

impl Access<'_> {
    /// Reports readiness, and applies what is loaded; never returns.
    pub(super) async fn follow(mut self, mut reloads: mpsc::Receiver<Reloading>) {
        loop {
            tokio::select! {
                () = self.startup.report() => {}
                Some(reloading) = reloads.recv() => self.reload(reloading).await,
            }
        }
    }

    async fn reload(&mut self, Reloading { loaded, is_repeated }: Reloading) {
        let replaced = match loaded.and_then(|new| self.check(new, is_repeated)) {
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
            Ok(new) if new.changes.is_empty() => {
                info!("the pools and callers of the settings are unchanged");
                Ok(ReloadOutcome::Unchanged)
            }
            Ok(new) => self.replace(new).await,
        };
        let metrics = &self.components.metrics.server;
        metrics.settings_outdated.set(replaced.is_err().into());
        match replaced {
            Ok(outcome) => {
                metrics.settings_reloads.get(outcome).inc();
                self.refused.clear();
            }
            Err(reasons) if is_repeated && reasons == self.refused => {}
            Err(reasons) => {
                metrics.settings_reloads.get(ReloadOutcome::Refused).inc();
                for error in &reasons {
                    warn!(%error, "the new settings are refused; the previous ones stay in use");
                }
                self.refused = reasons;
                // A refusal may go unrecorded: nothing has changed.
                self.record(&[], Err("refused")).await;
            }
        }
    }

    /// Applies new settings once nothing can fail any more and their record is written, or returns why
    /// they are refused.
    async fn replace(&mut self, new: NewAccess) -> Result<ReloadOutcome, Vec<String>> {
        let refused = |problem: &str| vec![problem.to_owned()];
        // Before anything is connected for nothing.
        if !self.components.audit.is_ready() {
            return Err(refused("their audit record cannot be written"));
        }
        let connected = self.connect(&new).await;
        let connected = connected.ok_or_else(|| refused("their pools cannot be connected"))?;
        if !self.record(&new.changes, Ok(())).await {
            return Err(refused("their audit record cannot be written"));
        }
        self.apply(new, connected);
        Ok(ReloadOutcome::Applied)
    }

    /// Checks new settings like a start, together with the running ones that a reload does not
    /// change.
    fn check(&self, new: Config, is_repeated: bool) -> Result<NewAccess, ConfigErrors> {
        let Reload { config, changes, ignored } = self.config.reload(new);
        if !ignored.is_empty() && !is_repeated {
            warn!(keys = ignored.join(", "), "these settings differ, and take effect at the next start only");
        }
        if config.has_watchers() && !self.config.has_watchers() && !is_repeated {
            warn!(
                "no caller had watch = true at the start, so streams of changes start at the next start only"
            );
        }
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors).map(|pools| pools.keeping(&self.pools));
        let policy = Policy::read(&config, pools.as_ref(), &mut errors);
        let (pools, policy) = errors.finish(pools.zip(policy))?;
        Ok(NewAccess { config, changes, pools, policy })
    }

    /// Records a reload. Returns whether the record was written, where records are required.
    async fn record(&self, changes: &[String], outcome: Result<(), &'static str>) -> bool {
        let id = Uuid::now_v7().to_string();
        let record = self.recorder.open("settings.reload", &id, true);
        record.set_settings(changes);
        record.close_written(outcome).await
    }

    /// Prepares what calls to the new pools need. Returns none if that fails, which is a bug.
    async fn connect(&self, new: &NewAccess) -> Option<Connected> {
        let Components { metrics, outgoing, .. } = self.components;
        let (users, pools) = (self.service.users.clone(), new.pools.clone());
        let (budget, metrics, for_clients) = (new.config.budget.clone(), metrics.clone(), outgoing.clone());
        let connecting = self
            .upstream
            .spawn(async move { users.clients_of(&pools, &budget, &metrics, &for_clients).await });
        let clients = connecting.await.ok()?;
        let _context = self.upstream.enter();
        let authenticator = self.service.authenticator.with_pools(&new.pools, outgoing);
        Some(Connected { authenticator, clients })
    }

    fn apply(&mut self, new: NewAccess, Connected { authenticator, clients }: Connected) {
        let NewAccess { config, changes, pools, policy } = new;
        let Components { audit, metrics, .. } = self.components;
        let users = self.service.users.clone();
        users.set_clients(clients);
        warnings::of_callers(&config, &policy).iter().for_each(Warning::log);
        let service = Service::new(Arc::new(authenticator), Arc::new(policy), users);
        metrics.callers.set_names(config.callers.iter().map(|caller| &*caller.name));
        audit.set_pools(&pools);
        self.served.send_replace(pools.clone());
        self.dispatcher.replace_service(&service);
        let old = mem::replace(&mut self.service, service);
        old.authenticator.retire(&self.service.authenticator);
        old.replaced.cancel();
        self.startup.replace_pools(&self.service, &self.pools, &pools);
        (self.config, self.pools) = (config, pools);
        info!(changes = changes.join(", "), "the pools and callers of the settings were reloaded");
    }
}

#[cfg(test)]
mod tests;
