//! The groups that were changed after access tokens and cached entries got them.
//!
//! A token has the groups of its issue. After a change of groups, those in an older token are
//! outdated: they are fetched instead. A change of one user is noted by user, and that of a whole
//! group by pool, because only Cognito knows the members.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{InvalidationFailure, Users, invalidation::Invalidated};
use crate::{
    changes::{Change, ChangeKind, Changed},
    clock::{BootTime, LatestTime, TimePoint},
    pool::PoolId,
    unix_time::micros_since_1970,
    user::Sub,
};

/// A change of groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupChange {
    /// The pool of the groups.
    pub pool: PoolId,
    /// The user whose groups changed; none for any user of the pool.
    pub sub: Option<Sub>,
    /// What got the groups before then may have old ones.
    pub at: SystemTime,
}

impl GroupChange {
    /// Returns the change that watchers get; none for one user, because its invalidation reports
    /// it.
    pub(super) fn told(&self) -> Option<Change> {
        self.sub.is_none().then(|| Change::seen(ChangeKind::Groups, TimePoint::now().system))
    }
}

/// The latest changes, bounded: of too many, the older ones count for all users of their pools.
#[derive(Debug, Default)]
pub(super) struct GroupChanges {
    changes: RwLock<Changes>,
    /// The latest change, in microseconds since 1970: a token of then or later has no old groups.
    latest: AtomicU64,
    /// As `latest`, for cached entries and the changes of whole pools.
    latest_of_pools: LatestTime,
}

#[derive(Debug, Default)]
struct Changes {
    users: HashMap<(PoolId, Sub), SystemTime>,
    pools: HashMap<PoolId, PoolChange>,
}

/// Since when the groups of all users of a pool are outdated.
#[derive(Clone, Copy, Debug)]
struct PoolChange {
    /// Those in tokens that were issued before.
    tokens: SystemTime,
    /// Those in entries whose fetch began before.
    entries: BootTime,
}

impl Users {
    /// Marks the groups in access tokens from before a change as outdated, on all replicas; and for
    /// a whole pool those that are cached. Returns whether that was not known here. Any order and
    /// any repetition of changes ends in the same state. Reports a change of a whole pool to
    /// watchers; [`invalidate_for`](Self::invalidate_for) reports that of one user.
    ///
    /// Takes microseconds, and two calls of the shared cache if there is one. Cancel safe: a dropped
    /// future goes on in the background, and may be repeated.
    pub async fn note_group_change(&self, change: GroupChange) -> Result<bool, InvalidationFailure> {
        let is_new = self.0.group_changes.note(&change);
        let Some(shared) = self.0.shared.clone() else {
            if let Some(told) = change.told().filter(|_| is_new) {
                self.changes().append(Changed::SomeOf(change.pool), told);
            }
            return Ok(is_new);
        };
        let everywhere = async move {
            let failed = |error| InvalidationFailure::SharedCache { here: Invalidated::default(), error };
            shared.publish_group_change(change).await.map(|()| is_new).map_err(failed)
        };
        self.0.single_flight.run(everywhere).await?
    }
}

impl GroupChanges {
    /// Notes a change, unless a later one is known. Returns whether it did.
    pub(super) fn note(&self, change: &GroupChange) -> bool {
        let GroupChange { pool, sub, at } = change;
        let now = TimePoint::now();
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = match sub {
            Some(sub) => changes.note_user(pool, sub, *at),
            None => {
                // What is fetched after the event is newer, whatever the clocks say.
                let entries = now.boot - now.system.duration_since(*at).unwrap_or_default();
                self.latest_of_pools.advance(entries);
                changes.note_pool(pool, PoolChange { tokens: *at, entries })
            }
        };
        // While the changes are locked: who reads the new time also finds the change.
        self.latest.fetch_max(micros_since_1970(*at), Release);
        is_new
    }

    /// Returns whether the groups in an access token of this user may be old. If no change is later
    /// than the token, it takes one atomic load.
    pub(super) fn outdates_token(&self, pool: &PoolId, sub: &Sub, issued_at: SystemTime) -> bool {
        if micros_since_1970(issued_at) >= self.latest.load(Acquire) {
            return false;
        }
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let of_user = changes.users.get(&(pool.clone(), sub.clone())).copied();
        let of_pool = changes.pools.get(pool).map(|change| change.tokens);
        of_user.max(of_pool).is_some_and(|changed| issued_at < changed)
    }

    /// Returns whether the groups of a fetch that began then may be old, because the members of a
    /// group changed. Without such a change it takes one atomic load.
    pub(super) fn outdates_entry(&self, pool: &PoolId, began: BootTime) -> bool {
        if began >= self.latest_of_pools.get() {
            return false;
        }
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        changes.pools.get(pool).is_some_and(|change| began < change.entries)
    }

    /// Returns the changes that some valid token may be earlier than.
    pub(super) fn all(&self) -> Vec<GroupChange> {
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let end = TimePoint::now().system.checked_sub(KEPT_FOR).unwrap_or(UNIX_EPOCH);
        let users = changes.users.iter().map(|((pool, sub), at)| (pool, Some(sub), *at));
        let pools = changes.pools.iter().map(|(pool, change)| (pool, None, change.tokens));
        let all = users.chain(pools).filter(|(.., at)| *at > end);
        all.map(|(pool, sub, at)| GroupChange { pool: pool.clone(), sub: sub.cloned(), at }).collect()
    }

    /// Frees the changes that every valid token is later than.
    pub(super) fn maintain(&self) {
        let Some(end) = TimePoint::now().system.checked_sub(KEPT_FOR) else { return };
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        changes.users.retain(|_, at| *at > end);
        if changes.users.capacity() > 2 * SPARE + 4 * changes.users.len() {
            changes.users.shrink_to(SPARE);
        }
    }
}

impl Changes {
    fn note_user(&mut self, pool: &PoolId, sub: &Sub, at: SystemTime) -> bool {
        let key = (pool.clone(), sub.clone());
        if self.users.len() >= MAX_USERS && !self.users.contains_key(&key) {
            self.forget_older_half();
        }
        let known = self.users.entry(key).or_insert(UNIX_EPOCH);
        let is_new = *known < at;
        *known = (*known).max(at);
        is_new
    }

    fn note_pool(&mut self, pool: &PoolId, change: PoolChange) -> bool {
        let none = PoolChange { tokens: UNIX_EPOCH, entries: BootTime::default() };
        let known = self.pools.entry(pool.clone()).or_insert(none);
        let is_new = known.tokens < change.tokens;
        known.tokens = known.tokens.max(change.tokens);
        known.entries = known.entries.max(change.entries);
        is_new
    }

    /// Drops the older half of the users' entries. Their pools then treat every older token as outdated.
    fn forget_older_half(&mut self) {
        let mut times: Vec<_> = self.users.values().copied().collect();
        let middle = times.len() / 2;
        if middle == 0 {
            return;
        }
        let median = *times.select_nth_unstable(middle).1;
        let older: Vec<_> = self.users.extract_if(|_, at| *at <= median).collect();
        for ((pool, _), tokens) in older {
            self.note_pool(&pool, PoolChange { tokens, entries: BootTime::default() });
        }
    }
}

// The longest that a token is accepted, with the leeway for clocks at its start and end.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60 + 20);
// Some 10 MB.
const MAX_USERS: usize = 50_000;
const SPARE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_from_before_the_change_is_not_believed() {
        let (changes, [a, b]) = (GroupChanges::default(), pools());
        let [ada, bob] = ["ada", "bob"].map(|sub| sub.parse::<Sub>().unwrap());
        let outdates = |pool, sub, second| changes.outdates_token(pool, sub, at(second));
        assert!(!outdates(&a, &ada, 0), "nothing changed");
        assert!(changes.note(&of_user(&a, "ada", 100)));
        assert!(!changes.note(&of_user(&a, "ada", 90)), "an earlier change that comes late");
        assert!(!changes.note(&of_user(&a, "ada", 100)), "the same again");
        assert!(outdates(&a, &ada, 99) && !outdates(&a, &ada, 100));
        assert!(!outdates(&a, &bob, 99) && !outdates(&b, &ada, 99), "another user, another pool");
        changes.note(&of_all(&b, 200));
        assert!(outdates(&b, &ada, 199) && outdates(&b, &bob, 199) && !outdates(&b, &bob, 200));
        assert!(!outdates(&a, &ada, 150), "the pool's change is that of another pool");
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_from_before_the_change_of_a_group_is_outdated() {
        let (changes, [a, b]) = (GroupChanges::default(), pools());
        let began = |age| BootTime::now() - Duration::from_secs(age);
        assert!(!changes.outdates_entry(&a, began(10)));
        let ago = |age| TimePoint::now().system - Duration::from_secs(age);
        changes.note(&GroupChange { pool: a.clone(), sub: None, at: ago(5) });
        assert!(changes.outdates_entry(&a, began(6)) && !changes.outdates_entry(&a, began(4)));
        assert!(!changes.outdates_entry(&b, began(6)));
        // A clock that is ahead: what is fetched from now on is newer all the same.
        let ahead = TimePoint::now().system + Duration::from_secs(60);
        changes.note(&GroupChange { pool: b.clone(), sub: None, at: ahead });
        assert!(changes.outdates_entry(&b, began(1)) && !changes.outdates_entry(&b, BootTime::now()));
        changes.note(&of_user(&a, "ada", 0));
        assert!(!changes.outdates_entry(&a, began(4)), "its user expires");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_bounded_and_end_and_none_is_lost_before() {
        let (changes, [a, b]) = (GroupChanges::default(), pools());
        changes.note(&of_user(&b, "ada", 5));
        for n in 0..3 * MAX_USERS as u64 {
            changes.note(&of_user(&a, &format!("user-{n}"), 10 + n));
        }
        let users = || changes.changes.read().unwrap().users.len();
        assert!(users() <= MAX_USERS);
        let user = |n: u64| format!("user-{n}").parse::<Sub>().unwrap();
        for n in (0..3 * MAX_USERS as u64).step_by(997) {
            assert!(changes.outdates_token(&a, &user(n), at(9 + n)), "{n}");
        }
        let last = 3 * MAX_USERS as u64 - 1;
        assert!(!changes.outdates_token(&a, &user(last), at(10 + last)), "a new token of each is believed");
        assert!(changes.outdates_token(&b, &"ada".parse().unwrap(), at(4)));
        assert!(!changes.outdates_token(&b, &"ada".parse().unwrap(), at(5)), "nothing spread to its pool");
        changes.maintain();
        assert_eq!(users(), 0, "they are of 1970");
        let recent = TimePoint::now().system - Duration::from_secs(24 * 60 * 60);
        changes.note(&GroupChange { pool: b, sub: Some(user(0)), at: recent });
        changes.maintain();
        assert_eq!(users(), 1, "a token may live for a day");
    }

    fn pools() -> [PoolId; 2] {
        ["eu-west-1_A", "eu-west-1_B"].map(|id| id.parse().unwrap())
    }

    fn of_user(pool: &PoolId, sub: &str, second: u64) -> GroupChange {
        GroupChange { pool: pool.clone(), sub: Some(sub.parse().unwrap()), at: at(second) }
    }

    fn of_all(pool: &PoolId, second: u64) -> GroupChange {
        GroupChange { pool: pool.clone(), sub: None, at: at(second) }
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }
}
