//! The link to the store: one connection for commands and one for events, and the tasks that keep
//! them. This module and those in it are the only ones that import the crate `redis`.

mod classify;
mod cluster;
mod command;
mod connection;
mod connector;
mod credentials;
mod sentinel;
mod server;
mod socket;
mod tls;
mod token_stream;

use std::{fmt, ptr, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Mutex, Semaphore},
    task::AbortHandle,
    time::{Instant, timeout},
};

use self::{connection::Connection, connector::StoreConnector};
use super::{
    breaker::Breaker,
    call::{Call, CallError, Events, Reply, StreamPosition, Transport},
    fault::Fault,
    iam::IamTokens,
    lane::{Lane, Taken},
    script_errors::ScriptErrors,
    scripts,
    supervisor::Supervisor,
    target::{Auth, Target},
};
use crate::{
    outgoing::Outgoing,
    telemetry::metrics::shared_cache::{SharedCacheMetrics, StoreCallOutcome},
};

/// The link to the store. Dropping it closes its connections.
pub struct Link {
    commands: Arc<Lane<Connection>>,
    events: Arc<Lane<Connection>>,
    /// The turn at the connection of the events, where a waiting read would delay any other command.
    turn: Mutex<()>,
    permits: Semaphore,
    time_limit: Duration,
    script_errors: ScriptErrors,
    metrics: SharedCacheMetrics,
    tasks: [AbortHandle; 2],
}

impl Link {
    /// Begins to connect, and returns at once. Must be called in the runtime in which the connections
    /// are to live.
    pub fn start(target: Target, metrics: &SharedCacheMetrics, outgoing: &Outgoing) -> Arc<Self> {
        let breaker = Breaker::new(target.timeout);
        let commands = Arc::new(Lane::new("commands", Some(breaker), metrics));
        let events = Arc::new(Lane::new("events", None, metrics));
        metrics.set_open(true);
        scripts::ALL.iter().for_each(|script| metrics.prepare(script.name));
        let (time_limit, system_roots) = (target.timeout, outgoing.trust_anchors());
        let tokens = match &target.auth {
            Auth::Iam(iam) => Some(Arc::new(IamTokens::start(iam, outgoing))),
            Auth::None | Auth::Password { .. } => None,
        };
        let connector = |node_time_limit| {
            let (target, system_roots, tokens) = (target.clone(), system_roots.clone(), tokens.clone());
            Arc::new(StoreConnector { target, system_roots, tokens, node_time_limit })
        };
        let supervisors = [
            Supervisor {
                connector: connector(Some(time_limit)),
                lane: Arc::clone(&commands),
                follower: Some(Arc::clone(&events)),
                heartbeat: Some(HEARTBEAT),
                metrics: metrics.clone(),
            },
            Supervisor {
                connector: connector(None),
                lane: Arc::clone(&events),
                follower: None,
                heartbeat: None,
                metrics: metrics.clone(),
            },
        ];
        #[expect(clippy::disallowed_methods, reason = "end with the link")]
        let tasks = supervisors.map(|supervisor| tokio::spawn(supervisor.run()).abort_handle());
        Arc::new(Self {
            commands,
            events,
            turn: Mutex::new(()),
            permits: Semaphore::new(MAX_CALLS),
            time_limit,
            script_errors: ScriptErrors::default(),
            metrics: metrics.clone(),
            tasks,
        })
    }

    async fn call_on(&self, lane: &Lane<Connection>, call: Call) -> Result<Reply, CallError> {
        let begun = Instant::now();
        // A call that is cancelled is neither recorded nor counted.
        // The events have one call at a time, and must not fail because there are many of the others.
        let permit = self.permits.try_acquire().ok();
        let is_allowed = permit.is_some() || ptr::eq(lane, &*self.events);
        let Some(taken) = lane.take().filter(|_| is_allowed) else {
            self.metrics.count_call(call.script.name, StoreCallOutcome::Refused, Duration::ZERO);
            return Err(CallError::Unavailable);
        };
        let result = limited(self.time_limit, taken.connection.run(&call)).await;
        let took = begun.elapsed();
        lane.record(taken.number(), result.as_ref().err(), took);
        let outcome = result.as_ref().map_or_else(|fault| fault.kind.outcome(), |_| StoreCallOutcome::Ok);
        self.metrics.count_call(call.script.name, outcome, took);
        result.map_err(|fault| {
            self.script_errors.report(call.script.name, &fault);
            fault.kind.error()
        })
    }

    async fn read_events(
        &self,
        taken: Taken<Connection>,
        key: &str,
        after: &StreamPosition,
        wait: Duration,
    ) -> Result<Events, CallError> {
        let command = command::xread(key, after, wait);
        let result = limited(wait + MARGIN, taken.connection.send(&command)).await;
        let result = result.and_then(command::events);
        self.events.record(taken.number(), result.as_ref().err(), Duration::ZERO);
        result.map_err(|fault| {
            self.script_errors.report("read", &fault);
            fault.kind.error()
        })
    }
}

impl Transport for Link {
    fn is_available(&self) -> bool {
        self.commands.is_available()
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        self.call_on(&self.commands, call).boxed()
    }

    fn call_for_events(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        async move {
            let _turn = self.turn.lock().await;
            self.call_on(&self.events, call).await
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        key: &'a str,
        after: &'a StreamPosition,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Events, CallError>> {
        async move {
            let _turn = self.turn.lock().await;
            let taken = self.events.take().ok_or(CallError::Unavailable)?;
            self.read_events(taken, key, after, wait).await
        }
        .boxed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

async fn limited<T>(time_limit: Duration, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(time_limit, call).await.unwrap_or_else(|_| Err(Fault::timeout()))
}

/// Calls in flight at most. Further ones fail at once.
const MAX_CALLS: usize = 1024;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// So much longer than its wait a read of events may take.
const MARGIN: Duration = Duration::from_secs(1);
