//! Changes of users as the events of replicas carry them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{super::Invalidation, Shared};
use crate::{
    changes::{Change, ChangeKinds, Changed},
    pool::PoolId,
    shared_cache::{CallError, ServerTime, stored},
    telemetry::metrics::shared_entries::EventKind,
    unix_time::micros_since_1970,
    user::Sub,
};

impl Shared {
    /// Tells all replicas that a user changed. Its entries whose fetch began until `stale_until`
    /// are stale.
    pub(in crate::users) async fn announce(
        &self,
        pool: &PoolId,
        sub: &Sub,
        change: Change,
        stale_until: ServerTime,
    ) -> Result<(), CallError> {
        let event = stored::Event {
            kind: stored::EventKind::Changed.into(),
            pool: pool.as_str().to_owned(),
            sub: sub.as_str().to_owned(),
            invalidated_us: i64::try_from(stale_until.as_micros()).unwrap_or(i64::MAX),
            origin: self.store.replica().to_vec(),
            change: Some(to_stored(change.seen_now())),
            least_age_us: 0,
        };
        self.publish_event(&event).await?;
        self.store.metrics().published.get(EventKind::Changed).inc();
        Ok(())
    }
}

/// Returns the change that an event reports; none if it is not about users. An earlier version did not
/// say what changed.
pub(super) fn reported(event: &stored::Event) -> Option<(Changed, Change)> {
    let pool = event.pool.parse().ok()?;
    let changed = match &*event.sub {
        "" if event.kind() == stored::EventKind::Revoke => Changed::SomeOf(pool),
        sub => Changed::User((pool, sub.parse().ok()?)),
    };
    let of_kind = match event.kind() {
        stored::EventKind::Erase => Some(Invalidation::Erase),
        stored::EventKind::Expire => Some(Invalidation::Expire),
        stored::EventKind::Forget => Some(Invalidation::Forget),
        stored::EventKind::Changed | stored::EventKind::Revoke | stored::EventKind::Unspecified => None,
    };
    let change = event.change.as_ref().map(from_stored);
    Some((changed, change.or_else(|| of_kind.map(Invalidation::change))?))
}

/// Returns a change as it is stored.
pub(super) fn to_stored(change: Change) -> stored::Change {
    let Change { kinds, changed_at, seen_at, tokens_issued_until } = change;
    stored::Change {
        kinds: kinds.bits(),
        changed_us: changed_at.map_or(0, micros),
        seen_us: micros(seen_at),
        tokens_issued_until_us: tokens_issued_until.map_or(0, micros),
    }
}

fn from_stored(change: &stored::Change) -> Change {
    let stored::Change { kinds, changed_us, seen_us, tokens_issued_until_us } = *change;
    Change {
        kinds: ChangeKinds::from_bits(kinds),
        changed_at: time(changed_us),
        seen_at: time(seen_us).unwrap_or(UNIX_EPOCH),
        tokens_issued_until: time(tokens_issued_until_us),
    }
}

fn micros(time: SystemTime) -> i64 {
    i64::try_from(micros_since_1970(time)).unwrap_or(i64::MAX)
}

/// Returns a time of the years 1970 to 9999, which a message can hold; none for another one.
fn time(micros: i64) -> Option<SystemTime> {
    let since = Duration::from_micros(u64::try_from(micros).ok().filter(|micros| *micros > 0)?);
    (since < MAX_SINCE_1970).then(|| UNIX_EPOCH + since)
}

const MAX_SINCE_1970: Duration = Duration::from_secs(253_402_300_800);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{ChangeKind, ChangedUser};

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let at = |micros| Some(UNIX_EPOCH + Duration::from_micros(micros));
        let change = Change {
            kinds: ChangeKinds::of([ChangeKind::SignedOut, ChangeKind::Disabled]),
            changed_at: at(1_795_614_746_000_000),
            seen_at: at(1_795_614_747_007_900).unwrap(),
            tokens_issued_until: None,
        };
        let event = |kind: stored::EventKind, change| stored::Event {
            kind: kind.into(),
            pool: "eu-west-1_A".to_owned(),
            sub: "ada".to_owned(),
            change,
            ..stored::Event::default()
        };
        let ada: ChangedUser = ("eu-west-1_A".parse().unwrap(), "ada".parse().unwrap());
        for kind in [stored::EventKind::Expire, stored::EventKind::Changed, stored::EventKind::Revoke] {
            let read = reported(&event(kind, Some(to_stored(change)))).unwrap();
            assert_eq!(read, (Changed::User(ada.clone()), change), "{kind:?}");
        }
        let kinds = |kind| reported(&event(kind, None)).map(|(_, change)| change.kinds);
        assert_eq!(kinds(stored::EventKind::Erase), Some(ChangeKind::Erased.into()), "an earlier version");
        for kind in [stored::EventKind::Revoke, stored::EventKind::Changed] {
            assert_eq!(kinds(kind), None);
        }
        let unnamed =
            |change| stored::Event { sub: String::new(), ..event(stored::EventKind::Revoke, change) };
        assert_eq!(reported(&unnamed(None)), None);
        let other = stored::Event {
            sub: String::new(),
            ..event(stored::EventKind::Changed, Some(to_stored(change)))
        };
        assert_eq!(reported(&other), None);
        let some = Changed::SomeOf(ada.0);
        assert_eq!(reported(&unnamed(Some(to_stored(change)))), Some((some, change)));
        let strange = stored::Change { seen_us: -1, changed_us: i64::MAX, ..to_stored(change) };
        let read = from_stored(&strange);
        assert_eq!((read.seen_at, read.changed_at), (UNIX_EPOCH, None));
    }
}
