//! The revocations of all replicas: a stream of its own in the shared cache, kept as long as a token
//! can live.
//!
//! Each replica reads all of it when it starts, and what is new when an event says so. If an event may
//! have been missed, or the server is another one, it reads again. Reading a revocation twice changes
//! nothing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use tracing::{info, warn};

use super::{super::Users, Shared};
use crate::{
    auth::{Revocation, RevokedTokens, TokenFamily},
    shared_cache::{
        Binding, CallError, Follower, Seen, StreamPosition,
        stored::{self, revocation::Tokens},
    },
    telemetry::metrics::shared_entries::EventKind,
};

/// How far this replica has read the revocations.
#[derive(Debug)]
pub(super) struct RevocationPlace {
    follower: Option<Follower>,
    /// Whether there may be some that it has not read.
    pub(super) is_behind: bool,
}

impl Default for RevocationPlace {
    fn default() -> Self {
        Self { follower: None, is_behind: true }
    }
}

impl Users {
    /// Reads the revocations that this replica has not read. One that cannot be reached is tried
    /// again with the next event, or within a second.
    pub(super) async fn catch_up_on_revocations(&self, shared: &Arc<Shared>, place: &mut RevocationPlace) {
        if place.is_behind && self.read_revocations(shared, place).await.is_ok() {
            place.is_behind = false;
            shared.set_caught_up();
        }
    }

    async fn read_revocations(
        &self,
        shared: &Arc<Shared>,
        place: &mut RevocationPlace,
    ) -> Result<(), CallError> {
        if place.follower.is_none() {
            let read = self.read_all_revocations(shared, place).await?;
            info!(read, "the revocations of the shared cache were read");
            return Ok(());
        }
        self.read_new_revocations(shared, place).await?;
        let end = shared.store.revocations_end().await?;
        let Some(follower) = &mut place.follower else { return Ok(()) };
        match follower.found_nothing_until(end) {
            Seen::Whole => Ok(()),
            Seen::Gap => self.read_all_revocations(shared, place).await.map(drop),
            Seen::NewRun => {
                // Beside the events, which go on.
                let repeated = Arc::clone(shared);
                self.0.single_flight.spawn(async move { repeated.republish_revocations().await });
                self.read_all_revocations(shared, place).await.map(drop)
            }
        }
    }

    /// Reads the stream from its start, and returns how many revocations it has.
    async fn read_all_revocations(
        &self,
        shared: &Shared,
        place: &mut RevocationPlace,
    ) -> Result<usize, CallError> {
        place.follower = None;
        let mut follower = Follower::at(shared.store.revocations_end().await?);
        follower.position = StreamPosition::start();
        let mut new = RevocationPlace { follower: Some(follower), is_behind: true };
        let read = self.read_new_revocations(shared, &mut new).await?;
        place.follower = new.follower;
        Ok(read)
    }

    async fn read_new_revocations(
        &self,
        shared: &Shared,
        place: &mut RevocationPlace,
    ) -> Result<usize, CallError> {
        let Some(follower) = &mut place.follower else { return Ok(0) };
        let mut read = 0;
        // Should the store never come to an end, the rest follows later.
        for _ in 0..MOST_READS {
            let events = shared.store.revocations(&follower.position, Duration::ZERO).await?;
            if events.0.is_empty() {
                return Ok(read);
            }
            for event in &events.0 {
                follower.read(event);
                self.apply_revocation(shared, &event.sealed);
            }
            read += events.0.len();
        }
        Err(CallError::Failed)
    }

    /// Applies a revocation of any replica. One that cannot be read is counted and warned of.
    fn apply_revocation(&self, shared: &Shared, sealed: &[u8]) {
        let plain = shared.store.open(Binding::Revocation, sealed).ok();
        match plain.and_then(|plain| decode(&plain)) {
            Some(revocation) => drop(self.0.tokens.revocations().revoke(&revocation)),
            None => warn!("a revocation in the shared cache cannot be read: its tokens are accepted here"),
        }
    }
}

impl Shared {
    /// Adds a revocation to those of all replicas, and tells them. It is kept while a token can live.
    pub(in crate::users) async fn publish_revocation(
        &self,
        revocation: &Revocation,
    ) -> Result<(), CallError> {
        self.append_revocation(revocation).await?;
        let (kind, origin) = (stored::EventKind::Revoke.into(), self.store.replica().to_vec());
        self.publish_event(&stored::Event { kind, origin, ..stored::Event::default() }).await?;
        self.store.metrics().published.get(EventKind::Revoke).inc();
        Ok(())
    }

    /// Notes what this replica publishes, to repeat it after a failover.
    pub(in crate::users) fn note_revocation(&self, revocation: &Revocation) {
        self.recent_revocations.note(revocation.clone());
    }

    async fn append_revocation(&self, revocation: &Revocation) -> Result<(), CallError> {
        let sealed = self.store.seal(Binding::Revocation, &encode(revocation));
        self.store.publish_revocation(&sealed.map_err(|_| CallError::Failed)?).await
    }

    /// Repeats what this replica has published lately, after a failover. What fails again is in the
    /// memory of those that have read it.
    async fn republish_revocations(&self) {
        for revocation in self.recent_revocations.take() {
            let _repeated = self.publish_revocation(&revocation).await;
        }
    }
}

// Of at most 1,000 each.
const MOST_READS: usize = 1_000;

fn encode(revocation: &Revocation) -> Vec<u8> {
    let Revocation { pool, tokens, at } = revocation;
    let micros = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let tokens = match tokens {
        RevokedTokens::OfFamily(family) => Tokens::Family(family.bytes().to_vec()),
        RevokedTokens::OfUser(sub) => Tokens::Sub(sub.as_str().to_owned()),
    };
    let at_us = i64::try_from(micros).unwrap_or(i64::MAX);
    stored::Revocation { pool: pool.as_str().to_owned(), at_us, tokens: Some(tokens) }.encode_to_vec()
}

fn decode(plain: &[u8]) -> Option<Revocation> {
    let stored::Revocation { pool, at_us, tokens } = stored::Revocation::decode(plain).ok()?;
    let tokens = match tokens? {
        Tokens::Family(family) => RevokedTokens::OfFamily(TokenFamily::from_bytes(&family)?),
        Tokens::Sub(sub) => RevokedTokens::OfUser(sub.parse().ok()?),
    };
    let at: SystemTime = UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(at_us).ok()?))?;
    Some(Revocation { pool: pool.parse().ok()?, tokens, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_read_as_it_was_written() {
        let at = UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
        let family = TokenFamily::of("a sign-in");
        for tokens in [RevokedTokens::OfUser("ada".parse().unwrap()), RevokedTokens::OfFamily(family)] {
            let revocation = Revocation { pool: "eu-west-1_A".parse().unwrap(), tokens, at };
            assert_eq!(decode(&encode(&revocation)), Some(revocation));
        }
    }

    #[test]
    fn what_is_no_revocation_is_none() {
        let good = || stored::Revocation {
            pool: "eu-west-1_A".to_owned(),
            at_us: 1,
            tokens: Some(Tokens::Sub("ada".to_owned())),
        };
        assert!(decode(&good().encode_to_vec()).is_some());
        let bad = [
            stored::Revocation { pool: "x".to_owned(), ..good() },
            stored::Revocation { at_us: -1, ..good() },
            stored::Revocation { tokens: None, ..good() },
            stored::Revocation { tokens: Some(Tokens::Sub("a b".to_owned())), ..good() },
            stored::Revocation { tokens: Some(Tokens::Family(vec![0; 15])), ..good() },
        ];
        for bad in bad {
            assert_eq!(decode(&bad.encode_to_vec()), None);
        }
        assert_eq!(decode(b"\xff"), None);
    }
}
