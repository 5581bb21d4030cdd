//! What one stream has not sent yet. Pure.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use super::{
    Change, ChangedUser,
    place::Place,
    rules::{Rule, holds},
};
use crate::clock::BootTime;

/// The pending changes of a stream: one for each user, in the order of its first one.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    order: VecDeque<ChangedUser>,
    pending: HashMap<ChangedUser, Pending>,
}

#[derive(Debug)]
struct Pending {
    /// The number of the first of these changes.
    first: u64,
    first_seen: SystemTime,
    since: BootTime,
    change: Change,
}

/// The stream is read too slowly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooSlow;

impl Mailbox {
    /// Adds a change, merged with the pending one of the same user. Fails if too many users are
    /// pending, or one for too long.
    pub(super) fn push(
        &mut self,
        place: Place,
        user: &ChangedUser,
        change: Change,
        now: BootTime,
    ) -> Result<(), TooSlow> {
        let oldest = self.order.front().and_then(|user| self.pending.get(user));
        if oldest.is_some_and(|oldest| now - oldest.since > MAX_WAIT) {
            return Err(TooSlow);
        }
        if let Some(pending) = self.pending.get_mut(user) {
            if holds(Rule::ChangesMerge) {
                pending.change = pending.change.and(change);
            }
            return Ok(());
        }
        if self.order.len() >= MAX_PENDING {
            return Err(TooSlow);
        }
        self.order.push_back(user.clone());
        let pending = Pending { first: place.number, first_seen: change.seen_at, since: now, change };
        self.pending.insert(user.clone(), pending);
        Ok(())
    }

    /// Removes and returns the change that has waited longest.
    pub(super) fn pop(&mut self) -> Option<(ChangedUser, Change)> {
        let user = self.order.pop_front()?;
        let Pending { change, .. } = self.pending.remove(&user)?;
        Some((user, change))
    }

    /// Returns the number of the first change that is pending. All numbers before it were sent.
    pub(super) fn first(&self) -> Option<u64> {
        self.order.front().and_then(|user| self.pending.get(user)).map(|pending| pending.first)
    }

    /// Returns the earliest time at which one of the pending changes was heard of: a pass over all of them.
    pub(super) fn first_seen(&self) -> Option<SystemTime> {
        // Replicas hear of changes by clocks of their own.
        self.pending.values().map(|pending| pending.first_seen).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// The most changes that wait for one stream: some 250 KB. Covers a client that does not read for some
/// seconds.
pub const MAX_PENDING: usize = 1_024;
const MAX_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::{
        super::{ChangeKind, EventId},
        *,
    };

    fn user(n: usize) -> ChangedUser {
        ("eu-west-1_A".parse().unwrap(), format!("user-{n}").parse().unwrap())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn push(mailbox: &mut Mailbox, number: u64, n: usize, kind: ChangeKind) -> Result<(), TooSlow> {
        let place = Place { number, id: EventId::default() };
        mailbox.push(place, &user(n), Change::seen(kind, at(number)), BootTime::now())
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_one_user_come_as_one_and_the_rest_in_order() {
        use ChangeKind::{Attributes, Groups, SignedOut};
        let mut mailbox = Mailbox::default();
        for (number, n, kind) in [(5, 1, Attributes), (6, 2, Groups), (9, 1, SignedOut), (10, 3, Groups)] {
            push(&mut mailbox, number, n, kind).unwrap();
        }
        // While user 2 waits since 6, nothing beyond 5 was sent, though user 1 changed at 9.
        let expected: [(_, _, &[ChangeKind]); 3] =
            [((5, 1), 9, &[Attributes, SignedOut]), ((6, 2), 6, &[Groups]), ((10, 3), 10, &[Groups])];
        for ((first, n), seen, kinds) in expected {
            assert_eq!((mailbox.first(), mailbox.first_seen()), (Some(first), Some(at(first))));
            let (who, change) = mailbox.pop().unwrap();
            assert_eq!((who == user(n), change.seen_at), (true, at(seen)));
            assert_eq!(change.kinds.iter().collect::<Vec<_>>(), kinds);
        }
        assert!(mailbox.pop().is_none() && mailbox.first().is_none() && mailbox.first_seen().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_times_of_one_change_are_the_latest() {
        let (early, late) = (Some(at(3)), Some(at(8)));
        let change = |changed_at, tokens_issued_until, seen| Change {
            changed_at,
            tokens_issued_until,
            ..Change::seen(ChangeKind::SignedOut, at(seen))
        };
        let table = [
            (change(early, None, 1), change(late, early, 2), (late, early, 2)),
            (change(late, late, 4), change(early, None, 2), (late, late, 4)),
            (change(None, None, 1), change(None, None, 1), (None, None, 1)),
        ];
        for (first, second, (changed_at, until, seen)) in table {
            assert_eq!(first.and(second), change(changed_at, until, seen));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_is_too_slow() {
        let mut mailbox = Mailbox::default();
        for n in 0..MAX_PENDING {
            push(&mut mailbox, 1, n, ChangeKind::Groups).unwrap();
        }
        push(&mut mailbox, 2, 7, ChangeKind::Status).unwrap();
        assert_eq!(push(&mut mailbox, 3, MAX_PENDING, ChangeKind::Groups), Err(TooSlow));
        mailbox.pop().unwrap();
        push(&mut mailbox, 4, MAX_PENDING, ChangeKind::Groups).unwrap();
        tokio::time::advance(MAX_WAIT).await;
        push(&mut mailbox, 5, 7, ChangeKind::Groups).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(push(&mut mailbox, 6, 7, ChangeKind::Groups), Err(TooSlow));
    }
}
