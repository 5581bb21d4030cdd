//! Reports changes to watchers: what was invalidated, and what a fetch finds.

use std::{sync::OnceLock, time::Duration};

use tokio::time::sleep;

use super::{
    Invalidated, Invalidation, InvalidationFailure, Users,
    cache::Key,
    entry::{CacheEntry, Content},
};
use crate::{
    auth::Revocation,
    changes::{Change, ChangeKind, ChangeKinds, ChangedUser, Changes},
    clock::TimePoint,
    pool::PoolId,
    shared_cache::ServerTime,
    user::{Groups, Sub, User},
};

/// The log of changes. It is set once, after the start.
pub(super) type ChangesCell = OnceLock<Changes>;

impl Users {
    /// Reports changes to the streams of `changes` from now on. Only the first call has an effect.
    pub fn record_changes(&self, changes: Changes) {
        let _first = self.0.changes.set(changes);
    }

    /// Returns the log of changes, which is off until [`record_changes`](Self::record_changes).
    pub fn changes(&self) -> &Changes {
        static OFF: Changes = Changes::off();
        self.0.changes.get().unwrap_or(&OFF)
    }

    /// Reports a change to the user's watchers on all replicas. The cache stays as it is. Cancel
    /// safe: a dropped future goes on in the background, and may be repeated.
    pub async fn announce(
        &self,
        pool: &PoolId,
        sub: &Sub,
        change: Change,
    ) -> Result<(), InvalidationFailure> {
        // At another replica somebody may watch, though nobody may here.
        let Some(shared) = self.0.shared.clone() else {
            self.changes().append((pool.clone(), sub.clone()), change.seen_now());
            return Ok(());
        };
        let (pool, sub) = (pool.clone(), sub.clone());
        let published = async move { shared.announce(&pool, &sub, change, ServerTime::ZERO).await };
        let failed = |error| InvalidationFailure::SharedCache { here: Invalidated::default(), error };
        self.0.single_flight.run(published).await?.map_err(failed)
    }

    /// Returns the cached entry that a fetch is about to replace, if its differences are to be
    /// reported.
    pub(super) fn entry_to_compare(&self, key: &Key) -> Option<CacheEntry> {
        let is_reported = self.changes().is_on() || self.0.shared.is_some();
        let entry = is_reported.then(|| self.0.cache.get(key))?;
        // Watchers were told when the entry was invalidated.
        entry.filter(|entry| !entry.expired)
    }

    /// Reports the differences between a fetched entry and the one that it replaces to the user's
    /// watchers.
    pub(super) fn announce_difference(&self, key: &Key, old: Option<CacheEntry>, new: &CacheEntry) {
        let Some(old) = old.filter(|old| old.began.boot < new.began.boot) else { return };
        let kinds = difference(&old.content, &new.content);
        if kinds.is_empty() {
            return;
        }
        self.announce_found((key.pool.clone(), key.sub.clone()), kinds, new.since);
    }

    /// Reports a sign-out to the user's watchers on all replicas, if its revocation does not name the user.
    /// Waits until the shared cache has the revocation, because a watcher may present the token to another
    /// replica at once. Gives up after a minute.
    pub(super) fn announce_sign_out(&self, sub: &Sub, revocation: Revocation) {
        let (user, kinds) = ((revocation.pool.clone(), sub.clone()), ChangeKind::SignedOut.into());
        self.announce_after(Some(revocation), user, kinds, ServerTime::ZERO);
    }

    /// Reports a change that this process found to the user's watchers on all replicas, whose entries
    /// from before `since` are stale. Retries for a minute if the shared cache does not answer.
    pub(super) fn announce_found(&self, user: ChangedUser, kinds: ChangeKinds, since: ServerTime) {
        self.announce_after(None, user, kinds, since);
    }

    /// As [`announce_found`](Self::announce_found), once the shared cache has the revocation, if there is one.
    fn announce_after(
        &self,
        revocation: Option<Revocation>,
        user: ChangedUser,
        kinds: ChangeKinds,
        since: ServerTime,
    ) {
        let Some(shared) = self.0.shared.clone() else {
            return self.changes().append(user, Change::seen(kinds, TimePoint::now().system));
        };
        self.0.single_flight.spawn(async move {
            let ((pool, sub), change) = (user, Change::seen(kinds, TimePoint::now().system));
            for _ in 0..MAX_TRIES {
                let is_due = revocation.as_ref().is_none_or(|revocation| shared.has_published(revocation));
                if is_due && shared.announce(&pool, &sub, change, since).await.is_ok() {
                    return;
                }
                sleep(RETRY_DELAY).await;
            }
        });
    }
}

impl Invalidation {
    /// Returns the change that watchers get if nothing better is known than the invalidation. It
    /// has every kind that may have caused it.
    pub(super) fn change(self) -> Change {
        let kinds = match self {
            Self::Erase => ChangeKind::Erased.into(),
            Self::Expire | Self::ExpireOlder(_) => {
                ChangeKinds::of([ChangeKind::Attributes, ChangeKind::Groups, ChangeKind::Status])
            }
            Self::Forget => ChangeKind::Status.into(),
        };
        Change::seen(kinds, TimePoint::now().system)
    }
}

/// Returns the change that watchers get for a revocation; none if it does not name the user.
pub(super) fn change_of(revocation: &Revocation) -> Option<(&Sub, Change)> {
    let sub = revocation.tokens.user()?;
    let change = Change::seen(ChangeKind::SignedOut, TimePoint::now().system);
    Some((sub, Change { tokens_issued_until: Some(revocation.at), ..change }))
}

/// Returns what differs. That a user is not found is no proof of its deletion: a search by `sub` may miss
/// it.
fn difference(old: &Content, new: &Content) -> ChangeKinds {
    match (old, new) {
        (Content::Present(old), Content::Present(new)) => difference_of_users(old, new),
        (Content::Groups(old, _), Content::Groups(new, _)) if sorted(old) != sorted(new) => {
            ChangeKind::Groups.into()
        }
        (Content::Present(_), Content::Absent(_)) => ChangeKind::Status.into(),
        (Content::Absent(_), Content::Present(_)) => ChangeKind::Created.into(),
        _ => ChangeKinds::default(),
    }
}

fn difference_of_users(old: &User, new: &User) -> ChangeKinds {
    let differs = [
        (old.attributes != new.attributes || old.username != new.username, ChangeKind::Attributes),
        (old.status != new.status, ChangeKind::Status),
        (!old.enabled && new.enabled, ChangeKind::Enabled),
        (old.enabled && !new.enabled, ChangeKind::Disabled),
    ];
    ChangeKinds::of(differs.into_iter().filter(|(differs, _)| *differs).map(|(_, kind)| kind))
}

/// Cognito lists the groups in no documented order.
fn sorted(groups: &Groups) -> Vec<&str> {
    let mut names: Vec<_> = groups.names().collect();
    names.sort_unstable();
    names
}

const MAX_TRIES: usize = 60;
const RETRY_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{LookupMethod, test_user},
        *,
    };
    use crate::user::UserStatus;

    #[test]
    fn a_difference_is_told_by_its_kind() {
        use ChangeKind::{Attributes, Created, Disabled, Enabled, Groups as InGroups, Status};
        let user = |change: fn(&mut User)| {
            let mut user = test_user("ada");
            change(&mut user);
            Content::Present(Arc::new(user))
        };
        let groups = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
            Content::Groups(Groups::try_from(names).unwrap(), true)
        };
        let (same, absent) = (user(|_| {}), Content::Absent(LookupMethod::BySub));
        let disabled = user(|user| user.enabled = false);
        let table: [(_, &Content, &Content, &[ChangeKind]); 11] = [
            ("nothing", &same, &same, &[]),
            ("a name", &same, &user(|user| user.username = "other".parse().unwrap()), &[Attributes]),
            ("the status", &same, &user(|user| user.status = UserStatus::ResetRequired), &[Status]),
            ("disabled", &same, &disabled, &[Disabled]),
            ("enabled", &disabled, &same, &[Enabled]),
            ("a time of change", &same, &user(|user| user.updated_at = None), &[]),
            ("not found", &same, &absent, &[Status]),
            ("found", &absent, &same, &[Created]),
            ("still not found", &absent, &absent, &[]),
            ("groups", &groups(&["a", "b"]), &groups(&["a"]), &[InGroups]),
            ("groups in another order", &groups(&["a", "b"]), &groups(&["b", "a"]), &[]),
        ];
        for (case, old, new, expected) in table {
            assert_eq!(difference(old, new).iter().collect::<Vec<_>>(), expected, "{case}");
        }
    }
}
