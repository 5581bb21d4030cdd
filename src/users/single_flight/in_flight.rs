//! A fetch in flight: its progress, and how its callers wait for it.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::super::{
    Failure,
    entry::{CacheEntry, LookupMethod},
    limiter::{CALL_TIME, FetchId, LEAST_TIME},
};
use crate::freshness::Source;

/// What a fetch returned. A failure is shared by its waiters and never cached.
pub(in crate::users) type FetchResult = Result<Fetched, FetchError>;

/// The entry that a fetch found.
#[derive(Clone, Debug)]
pub(in crate::users) struct Fetched {
    pub(in crate::users) entry: CacheEntry,
    /// Where this fetch found it.
    pub(in crate::users) source: Source,
}

impl Fetched {
    /// The entry that a fetch has just cached.
    pub(in crate::users) fn from_origin(entry: CacheEntry) -> Self {
        Self { source: entry.origin, entry }
    }
}

/// Why a fetch returned nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users) struct FetchError {
    pub(in crate::users) failure: Failure,
    /// The lookup method; another one may succeed. None if Cognito was not called.
    pub(in crate::users) method: Option<LookupMethod>,
}

impl FetchError {
    /// Returns whether a request with this method need not fetch again: a lookup by `sub` may miss
    /// a user that a lookup by name finds.
    pub(in crate::users) fn is_final_for(self, method: LookupMethod) -> bool {
        self.method.is_none_or(|used| used == LookupMethod::ByUsername || method == LookupMethod::BySub)
    }

    /// Returns whether Cognito said that the user is gone, or that its name belongs to another.
    pub(in crate::users) fn says_gone(self) -> bool {
        matches!(self.failure, Failure::WrongUser | Failure::NoSuchUser)
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self { failure, method: None }
    }
}

/// How far a fetch has come.
#[derive(Clone, Debug)]
enum Progress {
    /// The rate limiter does not know it yet.
    Started,
    /// It waits for the rate limiter.
    Queued,
    /// It has called Cognito since this time.
    Calling(Instant),
    Done(FetchResult),
}

impl Progress {
    fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// A fetch, as its waiters see it.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) id: FetchId,
    progress: watch::Receiver<Progress>,
}

/// A fetch, as it reports its own progress.
#[derive(Clone, Debug)]
pub(in crate::users) struct Reporter {
    pub(in crate::users) id: FetchId,
    progress: watch::Sender<Progress>,
}

impl Reporter {
    /// Reports that the fetch waits for the rate limiter, which knows it.
    pub(in crate::users) fn queued(&self) {
        self.progress.send_replace(Progress::Queued);
    }

    /// Reports that the fetch calls Cognito.
    pub(in crate::users) fn calling(&self) {
        self.progress.send_replace(Progress::Calling(Instant::now()));
    }

    /// Reports the result.
    pub(super) fn done(&self, result: FetchResult) {
        self.progress.send_replace(Progress::Done(result));
    }
}

impl InFlight {
    /// Makes both sides of a fetch.
    pub(super) fn start(id: FetchId) -> (Reporter, Self) {
        let (reporter, progress) = watch::channel(Progress::Started);
        (Reporter { id, progress: reporter }, Self { id, progress })
    }

    /// Returns whether the fetch is over and failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(&*self.progress.borrow(), Progress::Done(Err(_)))
    }

    /// Waits for a fetch of another caller. Fails at once if it is not expected to begin in time.
    pub(super) async fn join(
        mut self,
        deadline: Instant,
        expected_at: impl Fn(FetchId) -> Option<Instant>,
    ) -> Result<FetchResult, Failure> {
        self.until(|progress| !matches!(progress, Progress::Started)).await?;
        match expected_at(self.id) {
            Some(at) if at + CALL_TIME > deadline => Err(too_late(at)),
            _ => self.result(deadline, expected_at).await,
        }
    }

    /// Waits for the result. Fails if the fetch does not begin in time. Gives up just before
    /// `deadline`, so that the caller still learns that Cognito is slow.
    pub(super) async fn result(
        mut self,
        deadline: Instant,
        expected_at: impl Fn(FetchId) -> Option<Instant>,
    ) -> Result<FetchResult, Failure> {
        let latest = deadline.checked_sub(LEAST_TIME).unwrap_or(deadline);
        let progress = match timeout_at(latest, self.until(Progress::is_done)).await {
            Ok(progress) => progress?,
            Err(_) => match expected_at(self.id) {
                Some(at) => return Err(too_late(at)),
                None => self.until_given_up(deadline).await?,
            },
        };
        match progress {
            Progress::Done(result) => Ok(result),
            Progress::Started | Progress::Queued | Progress::Calling(_) => Err(Failure::Internal),
        }
    }

    async fn until_given_up(&mut self, deadline: Instant) -> Result<Progress, Failure> {
        let gives_up_at = deadline.checked_sub(GIVE_UP_MARGIN).unwrap_or(deadline);
        if let Ok(progress) = timeout_at(gives_up_at, self.until(Progress::is_done)).await {
            return progress;
        }
        match *self.progress.borrow() {
            Progress::Calling(since) if since.elapsed() >= SLOW => return Err(Failure::Unavailable),
            _ => {}
        }
        // Cognito had too little time. The caller's own deadline ends this.
        self.until(Progress::is_done).await
    }

    /// Fails if the task panicked or the runtime is shutting down.
    async fn until(&mut self, is_reached: impl Fn(&Progress) -> bool) -> Result<Progress, Failure> {
        // Without a wait where none is needed: Tokio's cooperative budget would make a refusal wait.
        let progress = self.progress.borrow().clone();
        if is_reached(&progress) {
            return Ok(progress);
        }
        let reached = self.progress.wait_for(is_reached).await;
        reached.map(|progress| progress.clone()).map_err(|_| Failure::Internal)
    }
}

const GIVE_UP_MARGIN: Duration = Duration::from_millis(10);
// Cognito answers within a fraction of it.
const SLOW: Duration = Duration::from_millis(500);

fn too_late(begins_at: Instant) -> Failure {
    Failure::BudgetExhausted(begins_at.saturating_duration_since(Instant::now()))
}
