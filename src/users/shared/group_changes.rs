//! The changes of groups, which all replicas read from a stream as that of the revocations: they live as
//! long, and a replica that starts needs them too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message as _;

use super::{super::group_changes::GroupChange, Shared};
use crate::shared_cache::{
    CallError, MarkStream,
    stored::{self, revocation::Tokens},
};

impl Shared {
    /// Tells all replicas of a change of groups, also those that start within a day.
    pub(in crate::users) async fn publish_group_change(&self, change: &GroupChange) -> Result<(), CallError> {
        self.recent_group_changes.note(change.clone());
        self.append_group_change(change).await
    }

    /// Repeats what this replica has published lately, after a failover.
    pub(super) async fn republish_group_changes(&self) {
        for change in self.recent_group_changes.take() {
            // It is noted again, so that it is repeated after the next failure too.
            let _repeated = self.publish_group_change(&change).await;
        }
    }

    async fn append_group_change(&self, change: &GroupChange) -> Result<(), CallError> {
        self.append_mark(MarkStream::GroupChanges, &encode(change)).await?;
        // AWS does not name the members of the group.
        let told = change.told().map(|told| (change.pool.as_str(), "", told));
        self.announce_revocation(told).await
    }
}

/// Reads a change of groups; none if it is a revocation.
pub(super) fn decode(message: &stored::Revocation) -> Option<GroupChange> {
    let sub = match message.tokens.as_ref()? {
        Tokens::GroupsOfSub(sub) => Some(sub.parse().ok()?),
        Tokens::GroupsOfAll(true) => None,
        _ => return None,
    };
    let at: SystemTime = UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(message.at_us).ok()?))?;
    Some(GroupChange { pool: message.pool.parse().ok()?, sub, at })
}

fn encode(change: &GroupChange) -> Vec<u8> {
    let GroupChange { pool, sub, at } = change;
    let micros = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let tokens = match sub {
        Some(sub) => Tokens::GroupsOfSub(sub.as_str().to_owned()),
        None => Tokens::GroupsOfAll(true),
    };
    let at_us = i64::try_from(micros).unwrap_or(i64::MAX);
    stored::Revocation { pool: pool.as_str().to_owned(), at_us, tokens: Some(tokens) }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_was_written_and_nothing_else_is_one() {
        let at = UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
        for sub in [Some("ada".parse().unwrap()), None] {
            let change = GroupChange { pool: "eu-west-1_A".parse().unwrap(), sub, at };
            let message = stored::Revocation::decode(&*encode(&change)).unwrap();
            assert_eq!(decode(&message), Some(change.clone()));
            for bad in [
                stored::Revocation { pool: "x".to_owned(), ..message.clone() },
                stored::Revocation { at_us: -1, ..message.clone() },
                stored::Revocation { tokens: None, ..message.clone() },
                stored::Revocation { tokens: Some(Tokens::GroupsOfSub("a b".into())), ..message.clone() },
                stored::Revocation { tokens: Some(Tokens::GroupsOfAll(false)), ..message.clone() },
                stored::Revocation { tokens: Some(Tokens::Sub("ada".into())), ..message.clone() },
            ] {
                assert_eq!(decode(&bad), None);
            }
        }
    }
}
