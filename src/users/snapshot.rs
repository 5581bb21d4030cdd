//! What is held of a user, and for how long it may be served. All cache policy is here, pure.

use std::{sync::Arc, time::Duration};

use crate::{
    freshness::{Demand, Moment},
    user::User,
};

/// What one fetch brought, and when that fetch began.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) content: Content,
    /// Before the question was sent: whatever was written before it is seen.
    pub(super) began: Moment,
}

/// What one fetch brought.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Cognito knows no such user.
    Absent(Asked),
    /// The user.
    Present(Arc<User>),
}

/// How Cognito was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// By `sub`, which may miss a federated user or one created a moment ago.
    BySub,
    /// By the username of a verified token, which misses only users that are gone.
    ByUsername,
}

/// How long snapshots are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) fresh: Duration,
    pub(super) absent: Duration,
}

impl Lifetimes {
    /// Returns true if and only if `snapshot` may be served to a question asked this way with this demand.
    pub(super) fn allow(&self, snapshot: &Snapshot, asked: Asked, demand: Demand, now: Moment) -> bool {
        let age = now.steady.saturating_duration_since(snapshot.began.steady);
        let fresh = match &snapshot.content {
            Content::Present(_) => age < self.fresh,
            Content::Absent(_) => age < self.absent,
        };
        fresh && snapshot.answers(asked, demand)
    }
}

impl Snapshot {
    /// Returns true if and only if this meets the demand and is conclusive for a question asked this way: an absence
    /// found by `sub` is none for a user whose token was just verified.
    pub(super) fn answers(&self, asked: Asked, demand: Demand) -> bool {
        let inconclusive =
            matches!(self.content, Content::Absent(Asked::BySub)) && asked == Asked::ByUsername;
        demand.allows(self.began.steady) && !inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes =
        Lifetimes { fresh: Duration::from_secs(60), absent: Duration::from_secs(15) };

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_is_served_while_it_is_fresh_and_meets_the_demand() {
        use Asked::{BySub, ByUsername};
        let began = Moment::now();
        tokio::time::advance(Duration::from_secs(1000)).await;
        let end = Moment::now();
        let at = |age: u64| Moment { steady: began.steady + Duration::from_secs(age), ..end };
        let at_most = |seconds: u64, age: u64| Demand::at_most(Duration::from_secs(seconds), at(age));
        let user = || Content::Present(Arc::new(crate::users::test_user("a")));
        let table = [
            ("a new user", user(), 0, BySub, Demand::ANY, true),
            ("a user up to its freshness", user(), 59, BySub, Demand::ANY, true),
            ("a user at its freshness", user(), 60, BySub, Demand::ANY, false),
            ("young enough for the demand", user(), 5, BySub, at_most(5, 5), true),
            ("too old for the demand", user(), 6, BySub, at_most(5, 6), false),
            ("cached, where Cognito is to be asked", user(), 1, ByUsername, at_most(0, 1), false),
            ("a demand does not lengthen freshness", user(), 60, BySub, at_most(90, 60), false),
            ("an absence", Content::Absent(BySub), 14, BySub, Demand::ANY, true),
            ("an absence past its time", Content::Absent(BySub), 15, BySub, Demand::ANY, false),
            ("an absence by sub, asked by token", Content::Absent(BySub), 1, ByUsername, Demand::ANY, false),
            (
                "an absence by username, asked by sub",
                Content::Absent(ByUsername),
                1,
                BySub,
                Demand::ANY,
                true,
            ),
            (
                "an absence by username, asked by token",
                Content::Absent(ByUsername),
                1,
                ByUsername,
                Demand::ANY,
                true,
            ),
            ("an absence too old for the demand", Content::Absent(BySub), 2, BySub, at_most(1, 2), false),
        ];
        for (case, content, age, asked, demand, allowed) in table {
            let snapshot = Snapshot { content, began };
            assert_eq!(LIFETIMES.allow(&snapshot, asked, demand, at(age)), allowed, "{case}");
        }
    }
}
