//! Which changes a stream is about.

use aws_lc_rs::digest::{Context, SHA256};

use super::{Change, ChangeKinds, ChangedUser};
use crate::{pool::PoolId, user::Sub};

/// The changes that a stream is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchFilter {
    /// The pool; none for every pool.
    pub pool: Option<PoolId>,
    /// The users, each once and in order; none for every user. With users there is a pool.
    pub subs: Vec<Sub>,
    /// The kinds.
    pub kinds: ChangeKinds,
}

impl WatchFilter {
    /// Returns the part of a change that the stream sends; none if it is about other users or
    /// kinds.
    pub(super) fn part_of(&self, (pool, sub): &ChangedUser, change: Change) -> Option<Change> {
        let kinds = change.kinds.and(self.kinds);
        let is_of_pool = self.pool.as_ref().is_none_or(|own| own == pool);
        let is_of_user = self.subs.is_empty() || self.subs.binary_search(sub).is_ok();
        (!kinds.is_empty() && is_of_pool && is_of_user).then_some(Change { kinds, ..change })
    }

    /// Returns whether a change of unknown users of a pool may concern the stream.
    pub(super) fn may_concern(&self, pool: &PoolId, kinds: ChangeKinds) -> bool {
        self.pool.as_ref().is_none_or(|own| own == pool) && !kinds.and(self.kinds).is_empty()
    }

    /// Returns the users that the stream is indexed by; none if it is about every user.
    pub(super) fn users(&self) -> impl Iterator<Item = ChangedUser> {
        let pool = self.pool.iter().cycle();
        pool.zip(&self.subs).map(|(pool, sub)| (pool.clone(), sub.clone()))
    }

    /// Returns what a resume token is bound to: a hash of the caller and the filter.
    pub(super) fn fingerprint(&self, caller: &str) -> [u8; 32] {
        let pool = self.pool.as_ref().map_or("", PoolId::as_str);
        let kinds = self.kinds.bits().to_be_bytes();
        let parts = [caller.as_bytes(), pool.as_bytes(), &kinds].into_iter();
        let mut context = Context::new(&SHA256);
        // Each after its length, so that no two filters have the same parts.
        for part in parts.chain(self.subs.iter().map(|sub| sub.as_str().as_bytes())) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.finish().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{super::ChangeKind, *};

    fn filter(pool: Option<&str>, subs: &[&str], kinds: impl Into<ChangeKinds>) -> WatchFilter {
        let subs = subs.iter().map(|sub| sub.parse().unwrap()).collect();
        WatchFilter { pool: pool.map(|id| id.parse().unwrap()), subs, kinds: kinds.into() }
    }

    #[test]
    fn a_stream_is_told_of_its_users_and_kinds_only() {
        use ChangeKind::{Attributes, Groups};
        let both = ChangeKinds::of([Attributes, Groups]);
        let user = ("eu-west-1_A".parse().unwrap(), "bob".parse().unwrap());
        let table = [
            (filter(None, &[], ChangeKinds::ALL), Some(both)),
            (filter(Some("eu-west-1_A"), &[], Groups), Some(Groups.into())),
            (filter(Some("eu-west-1_A"), &["ada", "bob"], both), Some(both)),
            (filter(Some("eu-west-1_A"), &["ada", "cyd"], both), None),
            (filter(Some("eu-west-1_B"), &["bob"], both), None),
            (filter(Some("eu-west-1_B"), &[], both), None),
            (filter(None, &[], ChangeKind::Erased), None),
        ];
        for (filter, expected) in table {
            let part = filter.part_of(&user, Change::seen(both, SystemTime::UNIX_EPOCH));
            assert_eq!(part.map(|change| change.kinds), expected, "{filter:?}");
        }
    }

    #[test]
    fn every_part_of_a_filter_and_the_caller_change_its_fingerprint() {
        let kinds = ChangeKinds::ALL;
        let all = [
            filter(None, &[], kinds).fingerprint("a"),
            filter(None, &[], kinds).fingerprint("b"),
            filter(None, &[], ChangeKind::Groups).fingerprint("a"),
            filter(Some("eu-west-1_A"), &[], kinds).fingerprint("a"),
            filter(Some("eu-west-1_A"), &["ada"], kinds).fingerprint("a"),
            filter(Some("eu-west-1_A"), &["a", "da"], kinds).fingerprint("a"),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|other| other != one), "{n}");
        }
        assert_eq!(filter(None, &[], kinds).fingerprint("a"), all[0]);
    }
}
