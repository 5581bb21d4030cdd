//! Calls the scripts of the shared rate limit.

use std::sync::{Arc, Weak};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    super::{RateLimiter, category::QuotaCategory},
    contact::Scope,
    gate::{Ask, EndedCall, News},
};
use crate::shared_cache::{
    CallError, ServerTime,
    rate_limit::{
        CallKey, CallerPlace, ClockBounds, End, SharedRateLimit, Sync, Synced, Take, Taken, Tune, WATCH,
    },
};

/// Syncs with the store, asks it for calls and ends them, until the limiter is dropped.
pub(in crate::users::limiter) async fn drive(limiter: Weak<RateLimiter>, store: SharedRateLimit) {
    let replica = format!("{:016x}", fastrand::u64(..)).into();
    let mut driver = Driver { store, replica, answers: FuturesUnordered::new(), scope: Scope::Shared };
    while let Some((wakes_at, changed)) = limiter.upgrade().map(|limiter| driver.send_all(&limiter)) {
        let answer = select! {
            Some(answer) = driver.answers.next() => answer,
            () = changed.notified() => continue,
            () = sleep_until(wakes_at) => continue,
        };
        if let Some(limiter) = limiter.upgrade() {
            note(&limiter, answer);
        }
    }
}

struct Driver {
    store: SharedRateLimit,
    /// The random id of this replica.
    replica: Arc<str>,
    /// The scripts under way.
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    scope: Scope,
}

/// What a script has returned, and when it was sent.
enum Answer {
    Sync(Instant, Result<Synced, CallError>),
    Take(Ask, Instant, Result<Taken, CallError>),
    /// One whose answer says nothing.
    Other,
}

/// As [`ClockBounds`].
#[derive(Clone)]
struct Clock {
    epoch: Arc<str>,
    earliest: ServerTime,
    latest: ServerTime,
    is_watched: bool,
}

impl Driver {
    /// Sends what is to be sent. Returns when there may be more, unless the limiter says so earlier.
    fn send_all(&mut self, limiter: &RateLimiter) -> (Instant, Arc<Notify>) {
        let (now, is_available) = (Instant::now(), self.store.is_available());
        let mut state = limiter.state();
        if let Some(gate) = &mut state.shared {
            gate.set_available(is_available);
        }
        let turn = state.dispatch_all(now);
        let outbox = state.take_outbox();
        let clock = state.shared.as_ref().and_then(|gate| gate.contact.clock(now)).map(Clock::of);
        outbox.news.into_iter().for_each(|news| self.tell(news));
        match clock {
            // An ended call makes room, so it comes first.
            Some(clock) => {
                outbox.ends.into_iter().for_each(|ended| self.end(clock.clone(), ended));
                outbox.asks.into_iter().for_each(|ask| self.ask(clock.clone(), ask, now));
            }
            None => outbox.asks.into_iter().for_each(|ask| {
                state.answered(ask, now, Err(CallError::Unavailable), now);
            }),
        }
        let mut wakes_at = turn;
        if let Some(gate) = &mut state.shared {
            self.log(gate.scope(now));
            if gate.contact.syncs_at().is_some_and(|at| at <= now) {
                if is_available {
                    let (clock, was_set_back) = gate.contact.begin_sync(now);
                    self.sync(Clock::of(clock), was_set_back, now);
                } else {
                    gate.contact.postpone_sync(now);
                }
            }
            wakes_at = turn.into_iter().chain(gate.contact.syncs_at()).min();
        }
        (wakes_at.unwrap_or(now + WATCH), Arc::clone(&limiter.queued))
    }

    fn sync(&self, clock: Clock, was_set_back: bool, now: Instant) {
        let store = self.store.clone();
        let synced = async move {
            let categories = QuotaCategory::ALL.map(QuotaCategory::as_str);
            let sync = Sync { clock: clock.bounds(), was_set_back, categories: &categories };
            Answer::Sync(now, store.sync(&sync).await)
        };
        self.answers.push(synced.boxed());
    }

    fn ask(&self, clock: Clock, ask: Ask, now: Instant) {
        let (store, replica) = (self.store.clone(), Arc::clone(&self.replica));
        let taken = async move {
            let key = ask.caller.map(|asking| store.caller(asking.index));
            let caller = ask.caller.zip(key.as_ref()).map(|(asking, caller)| {
                let (own_limit, others_wait) = (asking.own_limit, asking.others_wait);
                CallerPlace { caller, replica: &replica, others_wait, own_limit }
            });
            let take = Take {
                clock: clock.bounds(),
                call: &CallKey::new(&replica, ask.number),
                category: ask.category.as_str(),
                limit: ask.limit,
                user: &store.user(&ask.user.pool, &ask.user.sub),
                caller,
            };
            let taken = store.take(&take).await;
            Answer::Take(ask, now, taken)
        };
        self.answers.push(taken.boxed());
    }

    fn end(&self, clock: Clock, ended: EndedCall) {
        let (store, replica) = (self.store.clone(), Arc::clone(&self.replica));
        let end = async move {
            let charged = ended.charged.map(|(caller, limit)| (store.caller(caller), limit));
            let end = End {
                clock: clock.bounds(),
                call: &CallKey::new(&replica, ended.number),
                category: ended.category.as_str(),
                user: &store.user(&ended.user.pool, &ended.user.sub),
                caller: charged.as_ref().map(|(caller, limit)| (caller, *limit)),
                counts_for: ended.counts_for,
            };
            // Otherwise the call leaves the log by itself.
            let _ = store.end(&end).await;
            Answer::Other
        };
        self.answers.push(end.boxed());
    }

    fn tell(&self, News { category, quota, is_throttled }: News) {
        let store = self.store.clone();
        let tell = async move {
            // Otherwise the other replicas learn it from Cognito.
            let _ = store.tune(&Tune { category: category.as_str(), quota, is_throttled }).await;
            Answer::Other
        };
        self.answers.push(tell.boxed());
    }

    fn log(&mut self, scope: Scope) {
        if scope == std::mem::replace(&mut self.scope, scope) {
            return;
        }
        match scope {
            Scope::CutOff => warn!(
                "the rate limit that replicas share cannot be reached: \
                 this replica calls Cognito with its cut-off allowance"
            ),
            Scope::Warm => info!(
                "the log of the rate limit that replicas share is new: \
                 this replica calls Cognito with its cut-off allowance for some 2 s"
            ),
            Scope::Shared => info!("the rate limit that replicas share is in use"),
        }
    }
}

fn note(limiter: &RateLimiter, answer: Answer) {
    let (mut state, now) = (limiter.state(), Instant::now());
    match answer {
        Answer::Sync(sent, synced) => state.synced(sent, synced, now),
        Answer::Take(ask, sent, taken) => state.answered(ask, sent, taken, now),
        Answer::Other => {}
    }
}

impl Clock {
    fn of(bounds: ClockBounds<'_>) -> Self {
        let ClockBounds { epoch, earliest, latest, is_watched } = bounds;
        Self { epoch: epoch.into(), earliest, latest, is_watched }
    }

    fn bounds(&self) -> ClockBounds<'_> {
        let Self { earliest, latest, is_watched, .. } = *self;
        ClockBounds { epoch: &self.epoch, earliest, latest, is_watched }
    }
}
