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
pub(super) type Loaded = Result<Config, ConfigErrors>;

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
    pub(super) async fn follow(mut self, mut loaded: mpsc::Receiver<Loaded>) {
        loop {
            tokio::select! {
                () = self.startup.report() => {}
                Some(loaded) = loaded.recv() => self.reload(loaded).await,
            }
        }
    }

    async fn reload(&mut self, loaded: Loaded) {
        let outcome = match loaded.and_then(|new| self.check(new)) {
            Err(errors) => {
                for error in errors.iter() {
                    warn!(%error, "the new settings are refused; the previous ones stay in use");
                }
                // A refusal may go unrecorded: nothing has changed.
                self.record(&[], Err("refused")).await;
                ReloadOutcome::Refused
            }
            Ok(new) if new.changes.is_empty() => {
                info!("the pools and callers of the settings are unchanged");
                ReloadOutcome::Unchanged
            }
            Ok(new) => self.replace(new).await,
        };
        self.components.metrics.server.settings_reloads.get(outcome).inc();
    }

    /// Applies new settings once nothing can fail any more and their record is written.
    async fn replace(&mut self, new: NewAccess) -> ReloadOutcome {
        let Some(connected) = self.connect(&new).await else {
            warn!("the new settings are refused: their pools cannot be connected");
            self.record(&[], Err("refused")).await;
            return ReloadOutcome::Refused;
        };
        if !self.record(&new.changes, Ok(())).await {
            warn!("the new settings are refused: their audit record cannot be written");
            return ReloadOutcome::Refused;
        }
        self.apply(new, connected);
        ReloadOutcome::Applied
    }

    /// Checks new settings like a start, together with the running ones that a reload does not
    /// change.
    fn check(&self, new: Config) -> Result<NewAccess, ConfigErrors> {
        let Reload { config, changes, ignored } = self.config.reload(new);
        if !ignored.is_empty() {
            warn!(keys = ignored.join(", "), "these settings differ, and take effect at the next start only");
        }
        let watches = |config: &Config| config.callers.iter().any(|caller| caller.watch);
        if watches(&config) && !watches(&self.config) {
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
        match record.close(outcome) {
            Some(written) => written.await.is_ok(),
            None => true,
        }
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
