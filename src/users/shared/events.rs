//! Applies the invalidations of the other replicas, and notices when some may have been missed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use prost::Message as _;
use tokio::time::sleep;

use super::{
    super::{Inner, Invalidation, Users},
    Shared,
    revocations::RevocationPlace,
};
use crate::{
    clock::BootTime,
    shared_cache::{Binding, CallError, Event, Events, Follower, Seen, ServerTime, Unreadable, stored},
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
}

impl Users {
    /// Reads the stream once, or finds its end.
    async fn follow_once(&self, shared: &Arc<Shared>, place: &mut Place) -> Result<(), CallError> {
        let Some(follower) = place.follower.as_mut() else {
            place.follower = Some(Follower::at(shared.store.stream_end().await?));
            // What was cached before may have been invalidated before.
            shared.suspect_all();
            return Ok(());
        };
        let asked = BootTime::now();
        // What may have been missed is read soon, rather than after the next event.
        let wait = if place.revocations.is_behind { Duration::ZERO } else { WAIT };
        let events = match place.is_unsure {
            true => Events::default(),
            false => shared.store.events(&follower.position, wait).await?,
        };
        let (mut is_whole, mut is_same_server) = (true, true);
        for event in &events.0 {
            let seen = follower.read(event);
            place.revocations.is_behind |= seen != Seen::Whole;
            place.revocations.is_behind |= self.apply(shared, event).await;
            self.act_on(shared, seen);
            is_whole &= seen == Seen::Whole;
        }
        if events.0.is_empty() {
            let seen = follower.found_nothing_until(shared.store.stream_end().await?);
            place.is_unsure = false;
            is_same_server = seen != Seen::NewRun;
            place.revocations.is_behind |= seen != Seen::Whole;
            self.act_on(shared, seen);
        }
        if is_same_server {
            shared.confirm_publications(asked, place.revocations.is_behind);
        }
        // So that a store that answers at once, or the same again, does not keep this thread busy.
        if !is_whole || (events.0.is_empty() && asked.elapsed() < LEAST_WAIT) {
            sleep(LEAST_WAIT).await;
        }
        shared.suspect_what_was_forgotten();
        Ok(())
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
    async fn apply(&self, shared: &Shared, event: &Event) -> bool {
        let Ok(event) = read(shared, event) else {
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
            // Of a later version.
            stored::EventKind::Unspecified => {
                shared.suspect_all();
                return true;
            }
        };
        self.apply_invalidation(shared, &event, invalidation, is_own).await;
        false
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

fn read(shared: &Shared, event: &Event) -> Result<stored::Event, Unreadable> {
    let plain = shared.store.open(Binding::Event, &event.sealed)?;
    stored::Event::decode(&*plain).map_err(|_| Unreadable::Format)
}

/// How long a read waits for the next event; then the replica asks whether it missed one.
const WAIT: Duration = Duration::from_secs(1);
const LEAST_WAIT: Duration = Duration::from_millis(100);
const BLIND_INTERVAL: Duration = Duration::from_millis(500);
