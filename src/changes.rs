//! The changes of users that this service hears of, in order, and the streams that send them.
//!
//! `users` appends each change. A log keeps those of the last 20 min, so that a stream continues where
//! another one ended: in the process alone, or with a shared cache at the place of an event in the
//! stream that all replicas follow. A change is put into the mailboxes of the streams that watch its
//! user, and of no others.

mod change;
mod filter;
mod health;
mod kinds;
mod log;
mod mailbox;
#[cfg(test)]
mod model;
mod open;
mod place;
mod rules;
mod streams;
mod subscription;
mod token;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::error::Unspecified;

pub use self::{
    change::{Change, Changed, ChangedUser},
    filter::WatchFilter,
    kinds::ChangeKinds,
    mailbox::MAX_PENDING,
    open::{OpenError, Watcher},
    place::{EventId, Place},
    streams::StreamEnd,
    subscription::{CheckpointInfo, Delivery, Item, Subscription},
};
use self::{
    health::SourceHealth,
    log::{Log, LogLimits},
    place::Run,
    rules::{Rule, holds},
    streams::Streams,
};
pub use crate::telemetry::metrics::watch::ChangeKind;
use crate::{
    clock::{BootTime, TimePoint},
    config::WatchSettings,
    shared_cache::Sealer,
    telemetry::metrics::watch::WatchMetrics,
};

/// The log of changes and its streams; cheap to clone. Off by default: then it keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Changes(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    health: SourceHealth,
    sealer: Sealer,
    settings: WatchSettings,
    is_shared: bool,
    metrics: WatchMetrics,
}

#[derive(Debug)]
struct State {
    log: Log,
    streams: Streams,
    /// Whether the server drains: it opens no more streams.
    is_draining: bool,
}

impl Changes {
    /// Begins an empty log. `shared` seals the tokens of all replicas, whose log begins with
    /// [`begin`](Self::begin); without it, the log is of this process alone.
    ///
    /// # Errors
    ///
    /// Fails if there are no random numbers.
    pub fn start(
        settings: &WatchSettings,
        shared: Option<Sealer>,
        metrics: &WatchMetrics,
    ) -> Result<Self, Unspecified> {
        let is_shared = shared.is_some();
        let sealer = shared.map_or_else(Sealer::of_this_process, Ok)?;
        let run = (!is_shared).then(|| Run::of_process(fastrand::u64(..)));
        let state = State {
            log: Log::new(run, LogLimits::default()),
            streams: Streams::new(settings, metrics),
            is_draining: false,
        };
        Ok(Self(Some(Arc::new(Inner {
            state: Mutex::new(state),
            health: SourceHealth::new(is_shared),
            sealer,
            settings: settings.clone(),
            is_shared,
            metrics: metrics.clone(),
        }))))
    }

    /// Returns a log that is off.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Returns whether changes are kept: whether some caller may watch.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether the log begins with [`begin`](Self::begin), and has not yet.
    pub fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| !inner.lock().log.has_begun())
    }

    /// Appends a change that this process alone hears of. Does nothing if replicas share the log.
    pub fn append(&self, changed: impl Into<Changed>, change: Change) {
        if let Some(inner) = self.0.as_ref().filter(|inner| !inner.is_shared) {
            let mut state = inner.lock();
            let place = state.log.end().next();
            state.append(place, Some((changed.into(), change)));
        }
    }

    /// Begins the log of the replicas in this run of the store, with these events, which reach
    /// `end` without a gap. Ends all open streams.
    pub fn begin(&self, run: &str, end: Place, events: Vec<(Place, Option<(Changed, Change)>)>) {
        if let Some(inner) = &self.0 {
            inner.lock().begin(run, end, events);
        }
    }

    /// Notes that events up to `place` may have been missed: no stream can continue from before.
    pub fn lose_until(&self, run: &str, place: Place) {
        self.begin(run, place, Vec::new());
    }

    /// Appends an event of the replicas, with the change that it reports, if any. The number of its
    /// place is one more than that of the last.
    pub fn append_event(&self, place: Place, change: Option<(Changed, Change)>) {
        if let Some(inner) = &self.0 {
            inner.lock().append(place, change);
        }
    }

    /// Notes that every event of the replicas up to `until` was appended. `of_store` is that time
    /// by the clock of the store, in milliseconds, if there was no event since.
    pub fn note_read(&self, until: TimePoint, of_store: Option<u64>) {
        if let Some(inner) = &self.0 {
            if let Some(milliseconds) = of_store {
                inner.lock().log.confirm(EventId::at(milliseconds));
            }
            inner.health.note_read(until);
        }
    }

    /// Notes that the queue of changes was received from.
    pub fn note_receive(&self) {
        if let Some(inner) = &self.0 {
            inner.health.note_receive(BootTime::now());
        }
    }

    /// Ends all streams and refuses new ones, because the server drains.
    pub fn drain(&self) {
        if let Some(inner) = &self.0 {
            let mut state = inner.lock();
            state.is_draining = true;
            state.streams.end_all(StreamEnd::Moved);
        }
    }

    /// Returns the settings; none if it is off.
    pub fn settings(&self) -> Option<&WatchSettings> {
        self.0.as_ref().map(|inner| &inner.settings)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether changes are heard of within seconds, and until when all were.
    fn source(&self) -> (bool, SystemTime) {
        self.health.at(TimePoint::now())
    }
}

impl State {
    fn append(&mut self, place: Place, change: Option<(Changed, Change)>) {
        let now = BootTime::now();
        match &change {
            Some((Changed::User(user), change)) => self.streams.deliver(place, user, *change, now),
            Some((Changed::SomeOf(pool), change)) => self.streams.lose(pool, change.kinds),
            None => {}
        }
        self.log.push(place, now, change);
    }

    fn begin(&mut self, run: &str, end: Place, events: Vec<(Place, Option<(Changed, Change)>)>) {
        if holds(Rule::LossEndsStreams) {
            self.streams.end_all(StreamEnd::Lost);
        }
        // Of the event before the first one, the id is not known.
        let start = events.first().map_or(end, |(first, _)| *first);
        self.log.begin(Run::of_store(run), start);
        let now = BootTime::now();
        events.into_iter().skip(1).for_each(|(place, change)| self.log.push(place, now, change));
    }
}

/// How long a stream can be continued. The events of replicas are kept as long.
const KEPT_FOR: Duration = Duration::from_secs(20 * 60);
// A source appends a change within this time after it hears of it, or reports a failure.
const APPENDED_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
