//! A task that one replica does for all, such as rebuilding the revocations.

use std::{
    convert::Infallible,
    future::pending,
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::{super::Users, Shared};
use crate::shared_cache::{
    Binding, LeaseToken, Look, LookOutcome, NewLease, Put, Release, Renew, ServerTime, UserKey, ValueKind,
};

/// Whether this replica does the task.
enum Turn {
    /// Another one did, lately.
    Done,
    /// For all of them, under this lease.
    Leads(LeaseToken),
    /// For itself: the store does not answer, or the others take too long.
    Alone,
}

impl Users {
    /// Runs `task`, which has this name, in one replica for all. Returns whether it was done, here or by
    /// another replica in the last 10 min. Without a shared cache this replica does it. Not cancel safe:
    /// another replica may have to wait 10 s then.
    ///
    /// Waits for a replica that does it, so that not all do it at once; if the store does not answer for
    /// 10 s, this one does it too.
    pub async fn do_for_all(&self, name: &str, task: impl Future<Output = bool>) -> bool {
        let Some(shared) = self.0.shared.clone() else { return task.await };
        // What others have revoked already need not be published again.
        shared.caught_up().await;
        let key = shared.store.task(name);
        match shared.take_turn(&key).await {
            Turn::Done => true,
            Turn::Alone => task.await,
            Turn::Leads(token) => {
                let is_done = shared.held_while(&key, &token, task).await;
                shared.end_task(&key, &token, is_done).await;
                is_done
            }
        }
    }
}

impl Shared {
    async fn take_turn(&self, task: &UserKey) -> Turn {
        let mut silent_since = None;
        loop {
            let token = LeaseToken::random();
            let lease = NewLease { token: &token, lasts: LEASE, ttl: KEPT_FOR };
            let look = Look {
                kind: KIND,
                lease: Some(lease),
                max_age: DONE_FOR,
                newer_than: ServerTime::ZERO,
                waited_for: None,
            };
            match self.store.look(task, &look).await.map(|looked| looked.outcome) {
                Ok(LookOutcome::Leased { .. }) => return Turn::Leads(token),
                Ok(LookOutcome::Value(sealed)) => {
                    return if self.says_done(&sealed) { Turn::Done } else { Turn::Alone };
                }
                Ok(LookOutcome::Busy { .. } | LookOutcome::Failed(_) | LookOutcome::Nothing { .. }) => {
                    silent_since = None;
                }
                Err(_) => {
                    if silent_since.get_or_insert_with(Instant::now).elapsed() >= LONGEST_SILENCE {
                        return Turn::Alone;
                    }
                }
            }
            sleep(POLL).await;
        }
    }

    async fn held_while<T>(&self, key: &UserKey, token: &LeaseToken, task: impl Future<Output = T>) -> T {
        match select(pin!(task), pin!(self.renew(key, token))).await {
            Either::Left((result, _)) => result,
            Either::Right((never, _)) => match never {},
        }
    }

    /// If the lease is lost, another replica does the same: that is only a waste.
    async fn renew(&self, task: &UserKey, token: &LeaseToken) -> Infallible {
        loop {
            sleep(LEASE / 4).await;
            if self.store.renew(task, &Renew { kind: KIND, token, lasts: LEASE }).await == Ok(false) {
                return pending().await;
            }
        }
    }

    /// Ends the lease. If this fails, it ends by itself, and another replica does the same.
    async fn end_task(&self, task: &UserKey, token: &LeaseToken, is_done: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sealed = self.store.seal(Binding::Task, &now.as_secs().to_be_bytes());
        let _ended = match sealed.ok().filter(|_| is_done) {
            Some(sealed) => {
                let put = Put { kind: KIND, token, sealed: &sealed, ttl: KEPT_FOR, absent: false };
                self.store.put(task, &put).await
            }
            None => {
                self.store.release(task, &Release { kind: KIND, token, reason: None, forget: false }).await
            }
        };
    }

    /// The store may bring an old value back, so the time in it counts too.
    fn says_done(&self, sealed: &[u8]) -> bool {
        let plain = self.store.open(Binding::Task, sealed).ok();
        let at = plain.and_then(|plain| plain.try_into().ok()).map(u64::from_be_bytes);
        let at = at.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        at.is_some_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() <= DONE_FOR)
    }
}

const KIND: ValueKind = ValueKind::Profile;
/// How long a replica that dies holds up the others.
const LEASE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
/// A rollout takes less, and one after it looks again.
const DONE_FOR: Duration = Duration::from_secs(10 * 60);
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
