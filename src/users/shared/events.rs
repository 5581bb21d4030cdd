//! Applies the invalidations of the other replicas, and notices when some may have been missed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    super::{
        Inner, Invalidation, Users,
        cache::{EntryKind, Key},
    },
    Shared,
    change_log::{end_place, milliseconds, place},
    opened::read,
    revocations::RevocationPlace,
};
use crate::{
    clock::TimePoint,
    shared_cache::{CallError, Event, Events, Follower, Seen, ServerTime, stored},
    telemetry::metrics::shared_entries::EventKind,
};

/// Follows the stream of invalidations until the users are dropped. It waits for the store without
/// a time limit.
pub(in crate::users) async fn follow(users: Weak<Inner>) {
    let mut place = Place::default();
    while let Some(inner) = users.upgrade() {
        let users = Users(inner);
        let Some(shared) = users.0.shared.clone() else { return };
        let followed = users.follow_once(&shared, &mut place).await;
        users.catch_up_on_revocations(&shared, &mut place.revocations).await;
        if followed.is_err() {
            if !place.is_unsure {
                // Before the entries are suspect: each read of one calls the store, and would wait for the
                // timeout of a frozen one until the circuit breaker opens.
                shared.store.open_breaker_if_unanswered().await;
            }
            // Blind: until events are read again, every entry must be confirmed at each interval.
            shared.suspect_all();
            place.is_unsure = true;
            place.revocations.is_behind = true;
            drop(users);
            sleep(BLIND_INTERVAL).await;
        }
    }
}

/// How far the stream has been read.
#[derive(Debug, Default)]
struct Place {
    follower: Option<Follower>,
    /// Whether the connection may have changed, and the server with it.
    is_unsure: bool,
    revocations: RevocationPlace,
    /// Events that were applied, and are reported to watchers once the revocations were read.
    unreported: Vec<Applied>,
}

/// An event, what it says if that can be read, and whether one is missing before it.
type Applied = (Event, Option<stored::Event>, Seen);

impl Users {
    /// Reads the stream once, or finds its end.
    async fn follow_once(&self, shared: &Arc<Shared>, place: &mut Place) -> Result<(), CallError> {
        // The log of changes may be set later, and then begins with the events that are kept.
        let follower = place.follower.as_mut().filter(|_| !self.changes().is_waiting());
        let Some(follower) = follower else { return self.begin_at_end(shared, place).await };
        let asked = TimePoint::now();
        // What may have been missed is read soon, rather than after the next event.
        let has_more = place.revocations.is_behind || shared.has_lost_marks();
        let wait = if has_more { Duration::ZERO } else { WAIT };
        let events = match place.is_unsure {
            true => Events::default(),
            false => shared.store.events(&follower.position, wait).await?,
        };
        let count = events.0.len();
        let (revocations, unreported) = (&mut place.revocations, &mut place.unreported);
        let is_whole = self.apply_events(shared, follower, revocations, unreported, events.0).await;
        self.report_events(shared, follower.run(), revocations, unreported).await;
        if (1..Events::MOST).contains(&count) && is_whole && unreported.is_empty() {
            // A partial answer had all events up to the call.
            self.changes().note_read(asked, None);
        }
        let mut is_same_server = true;
        if count == 0 {
            let seen = self.find_end(shared, follower, unreported, asked).await?;
            revocations.is_behind |= seen != Seen::Whole;
            place.is_unsure = false;
            is_same_server = seen != Seen::NewRun;
        }
        if is_same_server {
            shared.publications.confirm(asked.boot);
        }
        // So that a store that answers at once, or the same again, does not keep this thread busy.
        if !is_whole || (count == 0 && asked.boot.elapsed() < LEAST_WAIT) {
            sleep(LEAST_WAIT).await;
        }
        shared.suspect_what_was_forgotten();
        Ok(())
    }

    /// Begins to follow the stream at its present end, and the log of changes, if it is to begin.
    async fn begin_at_end(&self, shared: &Shared, place: &mut Place) -> Result<(), CallError> {
        let end = shared.store.stream_end().await?;
        // The events up to that end may have announced revocations.
        place.revocations.is_behind = true;
        self.read_new_revocations(shared, &mut place.revocations).await;
        if self.changes().is_waiting() && place.revocations.is_behind {
            // Its streams would report sign-outs that are not in force here.
            return Err(CallError::Failed);
        }
        self.begin_log(shared, &end).await;
        place.unreported.clear();
        place.follower = Some(Follower::at(end));
        // What was cached before may have been invalidated before.
        shared.suspect_all();
        Ok(())
    }

    /// Finds the end of the stream, after a read that was asked for at this time and found nothing.
    async fn find_end(
        &self,
        shared: &Arc<Shared>,
        follower: &mut Follower,
        unreported: &mut Vec<Applied>,
        asked: TimePoint,
    ) -> Result<Seen, CallError> {
        let end = shared.store.stream_end().await?;
        let (run, end_place, now) = (end.run.clone(), end_place(&end), milliseconds(end.now));
        let seen = follower.found_nothing_until(end);
        match seen {
            Seen::Whole if follower.is_at_end() && unreported.is_empty() => {
                self.changes().note_read(asked, Some(now));
            }
            Seen::Whole => {}
            Seen::Gap | Seen::NewRun => {
                unreported.clear();
                self.changes().lose_until(&run, end_place);
            }
        }
        self.act_on(shared, seen);
        Ok(seen)
    }

    /// Applies events, and adds them to those to be reported. Returns whether none is missing.
    async fn apply_events(
        &self,
        shared: &Arc<Shared>,
        follower: &mut Follower,
        revocations: &mut RevocationPlace,
        unreported: &mut Vec<Applied>,
        events: Vec<Event>,
    ) -> bool {
        let mut is_whole = true;
        for event in events {
            let seen = follower.read(&event);
            let opened = read(shared, &event).ok();
            is_whole &= seen == Seen::Whole;
            revocations.is_behind |= seen != Seen::Whole;
            revocations.is_behind |= self.apply(shared, opened.as_ref()).await;
            self.act_on(shared, seen);
            unreported.push((event, opened, seen));
        }
        is_whole
    }

    /// Reports applied events to watchers, once the revocations are read: a watcher may present a
    /// revoked token at once. Until then it keeps as many as one read returns; more are a gap.
    async fn report_events(
        &self,
        shared: &Shared,
        run: &str,
        revocations: &mut RevocationPlace,
        unreported: &mut Vec<Applied>,
    ) {
        let Some((last, ..)) = unreported.last() else { return };
        self.read_new_revocations(shared, revocations).await;
        if !revocations.is_behind {
            for (event, opened, seen) in unreported.drain(..) {
                self.log_event(run, &event, opened.as_ref(), seen);
            }
        } else if unreported.len() > Events::MOST {
            self.changes().lose_until(run, place(last));
            unreported.clear();
        }
    }

    fn act_on(&self, shared: &Arc<Shared>, seen: Seen) {
        match seen {
            Seen::Whole => {}
            Seen::Gap => {
                shared.store.metrics().gaps.inc();
                shared.suspect_all();
            }
            Seen::NewRun => {
                shared.store.metrics().gaps.inc();
                shared.suspect_all();
                // Beside the events, which go on.
                let shared = Arc::clone(shared);
                self.0.single_flight.spawn(async move { shared.republish().await });
            }
        }
    }

    /// Applies the event of another replica. Returns whether there may be a new revocation. An event
    /// that cannot be read may be about any user, and about anything.
    async fn apply(&self, shared: &Shared, event: Option<&stored::Event>) -> bool {
        let Some(event) = event else {
            shared.suspect_all();
            return true;
        };
        let is_own = event.origin == shared.store.replica();
        let invalidation = match event.kind() {
            stored::EventKind::Erase => Invalidation::Erase,
            stored::EventKind::Expire => match u64::try_from(event.least_age_us) {
                Ok(age) if age > 0 => Invalidation::ExpireOlder(Duration::from_micros(age)),
                _ => Invalidation::Expire,
            },
            stored::EventKind::Forget => Invalidation::Forget,
            stored::EventKind::Revoke => {
                if !is_own {
                    shared.store.metrics().applied.get(EventKind::Revoke).inc();
                }
                return !is_own;
            }
            stored::EventKind::Changed => {
                self.apply_change(shared, event, is_own);
                return false;
            }
            // Of a later version.
            stored::EventKind::Unspecified => {
                shared.suspect_all();
                return true;
            }
        };
        self.apply_invalidation(shared, event, invalidation, is_own).await;
        false
    }

    /// Makes stale what a fetch of another replica found to have changed since.
    fn apply_change(&self, shared: &Shared, event: &stored::Event, is_own: bool) {
        let since = u64::try_from(event.invalidated_us).ok().filter(|since| *since > 0 && !is_own);
        if !is_own {
            shared.store.metrics().applied.get(EventKind::Changed).inc();
        }
        let (Ok(pool), Ok(sub), Some(since)) = (event.pool.parse(), event.sub.parse(), since) else { return };
        let user = Key { pool, sub, kind: EntryKind::Profile };
        self.0.cache.expire_until(&user, ServerTime::from_micros(since).just_before());
    }

    async fn apply_invalidation(
        &self,
        shared: &Shared,
        event: &stored::Event,
        invalidation: Invalidation,
        is_own: bool,
    ) {
        let at = u64::try_from(event.invalidated_us).map(ServerTime::from_micros);
        let (Ok(pool), Ok(sub), Ok(at)) = (event.pool.parse(), event.sub.parse(), at) else {
            return shared.suspect_all();
        };
        shared.note(&pool, &sub, at);
        if !is_own {
            shared.store.metrics().applied.get(invalidation.into()).inc();
            // Of the tokens, the erasure goes on in the background.
            drop(self.invalidate_here(&pool, &sub, invalidation).await);
        }
    }
}

/// How long a read waits for the next event; then the replica asks whether it missed one.
const WAIT: Duration = Duration::from_secs(1);
const LEAST_WAIT: Duration = Duration::from_millis(100);
const BLIND_INTERVAL: Duration = Duration::from_millis(500);
