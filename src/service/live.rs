//! The service that the calls of a serving thread use at present. A reload of the settings replaces it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Service, observe::CallCounters};
use crate::telemetry::metrics::Metrics;

/// What a call uses from its beginning to its end.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) service: Service,
    pub(super) counters: CallCounters,
}

/// What the calls of one serving thread use. Threads share no reference count, which would move between
/// the caches of their cores with every call.
#[derive(Debug)]
pub(super) struct LiveOfThread {
    current: Arc<ArcSwap<Live>>,
    all: LiveOfAll,
    metrics: Metrics,
}

type LiveOfAll = Arc<Mutex<Vec<Arc<ArcSwap<Live>>>>>;

impl LiveOfThread {
    pub(super) fn new(service: Service, metrics: &Metrics) -> Self {
        Self::add(service, LiveOfAll::default(), metrics)
    }

    pub(super) fn for_another_thread(&self) -> Self {
        Self::add(self.get().service.clone(), Arc::clone(&self.all), &self.metrics)
    }

    fn add(service: Service, all: LiveOfAll, metrics: &Metrics) -> Self {
        let live = Live { service, counters: CallCounters::for_thread(metrics) };
        let current = Arc::new(ArcSwap::from_pointee(live));
        all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&current));
        Self { current, all, metrics: metrics.clone() }
    }

    /// Returns what a call that begins now uses.
    pub(super) fn get(&self) -> Arc<Live> {
        self.current.load_full()
    }

    /// Replaces the service of all threads, for the calls that begin from now on. Callers are counted by
    /// the names that the metrics have now.
    pub(super) fn replace(&self, service: &Service) {
        for thread in &*self.all.lock().unwrap_or_else(PoisonError::into_inner) {
            let counters = thread.load().counters.with_new_callers(&self.metrics);
            thread.store(Arc::new(Live { service: service.clone(), counters }));
        }
    }
}
