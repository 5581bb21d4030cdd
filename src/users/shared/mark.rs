//! A mark: a revocation or a change of groups, as the memory of each replica and the store have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message as _;

use super::super::group_changes::GroupChange;
use crate::{
    auth::{Revocation, RevokedTokens, TokenFamily},
    pool::PoolId,
    shared_cache::{
        MarkStream,
        stored::{self, revocation::Tokens},
    },
    unix_time::micros_since_1970,
    user::Sub,
};

/// A mark. The latest of a pool and [`Marked`] counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) pool: PoolId,
    pub(super) of: Marked,
    /// In whole microseconds, as the store has it.
    pub(super) at: SystemTime,
}

/// What a mark is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Marked {
    /// The groups of one user, or of all users of the pool.
    Groups(Option<Sub>),
    /// Tokens.
    Tokens(RevokedTokens),
}

impl Mark {
    /// Returns the stream that it belongs to.
    pub(super) fn stream(&self) -> MarkStream {
        match self.of {
            Marked::Groups(_) => MarkStream::GroupChanges,
            Marked::Tokens(_) => MarkStream::Revocations,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let at_us = i64::try_from(micros_since_1970(self.at)).unwrap_or(i64::MAX);
        let tokens = match &self.of {
            Marked::Groups(Some(sub)) => Tokens::GroupsOfSub(sub.as_str().to_owned()),
            Marked::Groups(None) => Tokens::GroupsOfAll(true),
            Marked::Tokens(RevokedTokens::OfFamily(family)) => Tokens::Family(family.bytes().to_vec()),
            Marked::Tokens(RevokedTokens::OfUser(sub)) => Tokens::Sub(sub.as_str().to_owned()),
            Marked::Tokens(RevokedTokens::SuspectsOfUser(sub)) => {
                Tokens::SuspectsOfSub(sub.as_str().to_owned())
            }
        };
        let pool = self.pool.as_str().to_owned();
        stored::Revocation { pool, at_us, tokens: Some(tokens) }.encode_to_vec()
    }

    /// Reads a mark; none if it is not one that this version understands.
    pub(super) fn decode(plain: &[u8]) -> Option<Self> {
        let stored::Revocation { pool, at_us, tokens } = stored::Revocation::decode(plain).ok()?;
        let of = match tokens? {
            Tokens::Family(family) => {
                Marked::Tokens(RevokedTokens::OfFamily(TokenFamily::from_bytes(&family)?))
            }
            Tokens::Sub(sub) => Marked::Tokens(RevokedTokens::OfUser(sub.parse().ok()?)),
            Tokens::SuspectsOfSub(sub) => Marked::Tokens(RevokedTokens::SuspectsOfUser(sub.parse().ok()?)),
            Tokens::GroupsOfSub(sub) => Marked::Groups(Some(sub.parse().ok()?)),
            Tokens::GroupsOfAll(true) => Marked::Groups(None),
            Tokens::GroupsOfAll(false) => return None,
        };
        let at = UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(at_us).ok()?))?;
        Some(Self { pool: pool.parse().ok()?, of, at })
    }
}

impl From<Revocation> for Mark {
    fn from(Revocation { pool, tokens, at }: Revocation) -> Self {
        Self { pool, of: Marked::Tokens(tokens), at: whole_micros(at) }
    }
}

impl From<GroupChange> for Mark {
    fn from(GroupChange { pool, sub, at }: GroupChange) -> Self {
        Self { pool, of: Marked::Groups(sub), at: whole_micros(at) }
    }
}

fn whole_micros(time: SystemTime) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros_since_1970(time))).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let at = UNIX_EPOCH + Duration::from_nanos(1_795_614_746_007_900_123);
        let pool = || "eu-west-1_A".parse().unwrap();
        let ada = || "ada".parse().unwrap();
        let family = RevokedTokens::OfFamily(TokenFamily::of("origin"));
        let (of_user, suspects) = (RevokedTokens::OfUser(ada()), RevokedTokens::SuspectsOfUser(ada()));
        let revocations =
            [of_user, family, suspects].map(|tokens| Mark::from(Revocation { pool: pool(), tokens, at }));
        let changes = [Some(ada()), None].map(|sub| Mark::from(GroupChange { pool: pool(), sub, at }));
        for (marks, stream) in
            [(&revocations[..], MarkStream::Revocations), (&changes, MarkStream::GroupChanges)]
        {
            for mark in marks {
                assert_eq!(mark.at, at - Duration::from_nanos(123), "the store would lose the rest");
                assert_eq!((Mark::decode(&mark.encode()), mark.stream()), (Some(mark.clone()), stream));
            }
        }
    }

    #[test]
    fn what_is_no_mark_is_none() {
        let good = || stored::Revocation {
            pool: "eu-west-1_A".to_owned(),
            at_us: 1,
            tokens: Some(Tokens::Sub("ada".to_owned())),
        };
        assert!(Mark::decode(&good().encode_to_vec()).is_some());
        let of = |tokens| stored::Revocation { tokens: Some(tokens), ..good() };
        let bad = [
            stored::Revocation { pool: "x".to_owned(), ..good() },
            stored::Revocation { at_us: -1, ..good() },
            stored::Revocation { tokens: None, ..good() },
            of(Tokens::Sub("a b".to_owned())),
            of(Tokens::SuspectsOfSub("a b".to_owned())),
            of(Tokens::GroupsOfSub("a b".to_owned())),
            of(Tokens::GroupsOfAll(false)),
            of(Tokens::Family(vec![0; 15])),
        ];
        for bad in bad {
            assert_eq!(Mark::decode(&bad.encode_to_vec()), None, "{bad:?}");
        }
        assert_eq!(Mark::decode(b"\xff"), None);
    }
}
