//! The way of one fetch into the cache, which an operator may close while the fetch is under way.

use std::sync::{Arc, Mutex, PoisonError};

/// Open until it is closed, once and for all; its clones are one fence.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence(Arc<Mutex<bool>>);

impl Fence {
    /// Runs `put` if the fence is open, and keeps it open meanwhile.
    pub(super) fn pass(&self, put: impl FnOnce()) {
        let is_closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_closed {
            put();
        }
    }

    /// Closes it: once this returns, nothing passes any more, and whatever passed has been put.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Returns true if and only if `other` is this very fence.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_once_it_is_closed_and_what_passes_keeps_it_open() {
        let (fence, mut passed) = (Fence::default(), 0);
        fence.pass(|| {
            assert!(fence.0.try_lock().is_err(), "closed while something passes");
            passed += 1;
        });
        fence.close();
        fence.pass(|| passed += 1);
        assert_eq!(passed, 1);
    }

    #[test]
    fn each_fetch_has_its_own() {
        let fence = Fence::default();
        assert!(fence.is(&fence.clone()) && !fence.is(&Fence::default()));
    }
}
