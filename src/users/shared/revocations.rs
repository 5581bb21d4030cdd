//! The marks of all replicas: the revocations and the changes of groups, each in a stream of its own in
//! the shared cache, kept as long as a token can live.
//!
//! Each replica reads all of them when it starts, and what is new when an event says so. If an event may
//! have been missed, or the server is another one, it reads again. Reading a mark twice changes nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use tracing::{info, warn};

use super::{
    super::{Users, announce::change_of},
    Shared,
    change::to_stored,
    group_changes,
};
use crate::{
    auth::{Revocation, RevokedTokens, TokenFamily},
    changes::Change,
    shared_cache::{
        Binding, CallError, Follower, MarkStream, Seen, StreamPosition,
        stored::{self, revocation::Tokens},
    },
    telemetry::metrics::shared_entries::EventKind,
};

/// How far this replica has read the marks: the revocations, and the changes of groups.
#[derive(Debug)]
pub(super) struct RevocationPlace {
    streams: [StreamPlace; 2],
    /// Whether there may be some that it has not read.
    pub(super) is_behind: bool,
}

/// How far this replica has read a stream of marks.
#[derive(Debug)]
struct StreamPlace {
    stream: MarkStream,
    follower: Option<Follower>,
    /// How many it has read.
    read: usize,
}

impl Default for RevocationPlace {
    fn default() -> Self {
        let streams = [MarkStream::Revocations, MarkStream::GroupChanges];
        Self { streams: streams.map(|stream| StreamPlace { stream, follower: None, read: 0 }), is_behind: true }
    }
}

impl Users {
    /// Publishes the revocations that the store has not confirmed, and reads the marks that this replica
    /// has not read. What fails is tried again with the next event, or within a second.
    pub(super) async fn catch_up_on_revocations(&self, shared: &Shared, place: &mut RevocationPlace) {
        self.publish_unpublished(shared).await;
        if place.is_behind && self.read_streams(shared, place).await.is_ok() {
            place.is_behind = false;
            if shared.set_caught_up() {
                let [revocations, group_changes] = place.streams.each_ref().map(|place| place.read);
                info!(revocations, group_changes, "the revocations of the shared cache were read");
            }
        }
    }

    async fn read_streams(&self, shared: &Shared, place: &mut RevocationPlace) -> Result<(), CallError> {
        for place in &mut place.streams {
            self.read_stream(shared, place).await?;
        }
        Ok(())
    }

    async fn read_stream(&self, shared: &Shared, place: &mut StreamPlace) -> Result<(), CallError> {
        let stream = place.stream;
        for _ in 0..=1 {
            let follower = match &mut place.follower {
                Some(follower) => follower,
                None => {
                    // Since the last attempt the server may have become another one.
                    self.republish(shared, stream).await;
                    place.follower.insert(shared.start_of(stream).await?)
                }
            };
            place.read += self.read_new_marks(shared, stream, follower).await?;
            if follower.found_nothing_until(shared.store.marks_end(stream).await?) == Seen::Whole {
                return Ok(());
            }
            place.follower = None;
        }
        Err(CallError::Failed)
    }

    /// Publishes again what this replica has published lately: a failover may have lost it.
    async fn republish(&self, shared: &Shared, stream: MarkStream) {
        match stream {
            MarkStream::GroupChanges => shared.republish_group_changes().await,
            MarkStream::Revocations => {
                shared.forget_confirmations();
                self.publish_unpublished(shared).await;
            }
        }
    }

    /// Publishes revocations that are still in force, until one fails.
    async fn publish_unpublished(&self, shared: &Shared) {
        let revocations = self.0.tokens.revocations();
        shared.unpublished.retain(|revocation| revocations.has(revocation));
        for revocation in shared.unpublished.some(MOST_REPEATS) {
            match shared.publish_revocation(&revocation).await {
                Ok(()) => shared.unpublished.remove(revocation),
                // Of this one alone.
                Err(CallError::Script) => {}
                Err(_) => return,
            }
        }
    }

    /// Reads the rest of a stream, and returns how many marks there were. If a read fails, the next
    /// attempt goes on behind what was read.
    async fn read_new_marks(
        &self,
        shared: &Shared,
        stream: MarkStream,
        follower: &mut Follower,
    ) -> Result<usize, CallError> {
        let mut read = 0;
        // Should the store never come to an end, the rest follows later.
        for _ in 0..MOST_READS {
            let events = shared.store.marks(stream, &follower.position).await?;
            if events.0.is_empty() {
                return Ok(read);
            }
            for event in &events.0 {
                follower.read(event);
                self.apply_mark(shared, &event.sealed);
            }
            read += events.0.len();
        }
        Err(CallError::Failed)
    }

    /// Applies a mark of any replica. One that cannot be read is counted and warned of.
    fn apply_mark(&self, shared: &Shared, sealed: &[u8]) {
        let plain = shared.store.open(Binding::Revocation, sealed).ok();
        let message = plain.and_then(|plain| stored::Revocation::decode(&*plain).ok());
        if let Some(change) = message.as_ref().and_then(group_changes::decode) {
            self.0.group_changes.note(&change);
            return;
        }
        match message.and_then(decode) {
            Some(revocation) => {
                // Whether there is room for it, the set counts.
                let _until = self.0.tokens.revocations().revoke(&revocation);
            }
            None => warn!("a revocation in the shared cache cannot be read: its tokens are accepted here"),
        }
    }
}

impl Shared {
    /// Returns a follower that has read nothing of the stream.
    async fn start_of(&self, stream: MarkStream) -> Result<Follower, CallError> {
        let mut follower = Follower::at(self.store.marks_end(stream).await?);
        follower.position = StreamPosition::start();
        Ok(follower)
    }

    /// Adds a revocation to those of all replicas, and tells them. It is kept while a token can live. If
    /// that fails, it is repeated in the background.
    pub(in crate::users) async fn revoke(&self, revocation: Revocation) -> Result<(), CallError> {
        let published = self.publish_revocation(&revocation).await;
        if published.is_err() {
            self.unpublished.add(revocation);
        }
        published
    }

    async fn publish_revocation(&self, revocation: &Revocation) -> Result<(), CallError> {
        // Before, because a failover may lose it as soon as the store has it.
        self.recent_revocations.note(revocation.clone());
        self.append_revocation(revocation).await?;
        let change =
            change_of(revocation).map(|(sub, change)| (revocation.pool.as_str(), sub.as_str(), change));
        self.announce_revocation(change).await
    }

    /// Makes the other replicas read the streams of marks, and reports the change to the user's watchers.
    pub(super) async fn announce_revocation(
        &self,
        change: Option<(&str, &str, Change)>,
    ) -> Result<(), CallError> {
        let (kind, origin) = (stored::EventKind::Revoke.into(), self.store.replica().to_vec());
        let mut event = stored::Event { kind, origin, ..stored::Event::default() };
        if let Some((pool, sub, change)) = change {
            (event.pool, event.sub) = (pool.to_owned(), sub.to_owned());
            event.change = Some(to_stored(change));
        }
        self.publish_event(&event).await?;
        self.store.metrics().published.get(EventKind::Revoke).inc();
        Ok(())
    }

    async fn append_revocation(&self, revocation: &Revocation) -> Result<(), CallError> {
        self.append_mark(MarkStream::Revocations, &encode(revocation)).await
    }

    /// Appends a mark to its stream.
    pub(super) async fn append_mark(&self, stream: MarkStream, plain: &[u8]) -> Result<(), CallError> {
        let sealed = self.store.seal(Binding::Revocation, plain).map_err(|_| CallError::Failed)?;
        self.store.publish_mark(stream, &sealed, (self.max_marks, self.marks_needed_for)).await
    }

    /// Publishes again what this replica has published lately: a failover may have lost it.
    fn forget_confirmations(&self) {
        self.recent_revocations.take().into_iter().for_each(|revocation| self.unpublished.add(revocation));
    }
}

// So that the events of other replicas wait for less than a second.
const MOST_REPEATS: usize = 500;
// Of at most 1,000 each.
const MOST_READS: usize = 1_000;

fn encode(revocation: &Revocation) -> Vec<u8> {
    let Revocation { pool, tokens, at } = revocation;
    let micros = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let tokens = match tokens {
        RevokedTokens::OfFamily(family) => Tokens::Family(family.bytes().to_vec()),
        RevokedTokens::OfUser(sub) => Tokens::Sub(sub.as_str().to_owned()),
        RevokedTokens::SuspectsOfUser(sub) => Tokens::SuspectsOfSub(sub.as_str().to_owned()),
    };
    let at_us = i64::try_from(micros).unwrap_or(i64::MAX);
    stored::Revocation { pool: pool.as_str().to_owned(), at_us, tokens: Some(tokens) }.encode_to_vec()
}

fn decode(message: stored::Revocation) -> Option<Revocation> {
    let stored::Revocation { pool, at_us, tokens } = message;
    let tokens = match tokens? {
        Tokens::Family(family) => RevokedTokens::OfFamily(TokenFamily::from_bytes(&family)?),
        Tokens::Sub(sub) => RevokedTokens::OfUser(sub.parse().ok()?),
        Tokens::SuspectsOfSub(sub) => RevokedTokens::SuspectsOfUser(sub.parse().ok()?),
        Tokens::GroupsOfSub(_) | Tokens::GroupsOfAll(_) => return None,
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
        let [of_user, suspects] = [RevokedTokens::OfUser, RevokedTokens::SuspectsOfUser];
        let ada = || "ada".parse().unwrap();
        for tokens in [of_user(ada()), RevokedTokens::OfFamily(family), suspects(ada())] {
            let revocation = Revocation { pool: "eu-west-1_A".parse().unwrap(), tokens, at };
            let message = stored::Revocation::decode(&*encode(&revocation)).unwrap();
            assert_eq!(decode(message), Some(revocation));
        }
    }

    #[test]
    fn what_is_no_revocation_is_none() {
        let good = || stored::Revocation {
            pool: "eu-west-1_A".to_owned(),
            at_us: 1,
            tokens: Some(Tokens::Sub("ada".to_owned())),
        };
        assert!(decode(good()).is_some());
        let bad = [
            stored::Revocation { pool: "x".to_owned(), ..good() },
            stored::Revocation { at_us: -1, ..good() },
            stored::Revocation { tokens: None, ..good() },
            stored::Revocation { tokens: Some(Tokens::Sub("a b".to_owned())), ..good() },
            stored::Revocation { tokens: Some(Tokens::Family(vec![0; 15])), ..good() },
        ];
        for bad in bad {
            assert_eq!(decode(bad), None);
        }
    }
}
