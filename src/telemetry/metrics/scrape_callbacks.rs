//! Gauges that are read at each scrape only, such as the size of a cache.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The callbacks that run before each scrape; cheap to clone.
#[derive(Clone, Default)]
pub struct ScrapeCallbacks(Arc<Mutex<Vec<ScrapeCallback>>>);

type ScrapeCallback = Box<dyn Fn() + Send>;

impl ScrapeCallbacks {
    /// Adds a callback, which should set gauges.
    pub fn add(&self, read: impl Fn() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(read));
    }

    pub(super) fn run(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|read| read());
    }
}

impl fmt::Debug for ScrapeCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScrapeCallbacks")
    }
}
