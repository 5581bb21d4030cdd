//! The marks of all replicas: the revocations and the changes of groups, each in a stream of its own in
//! the shared cache, kept as long as a token can live.
//!
//! Each replica reads all of them when it starts, and what is new when an event says so. If an event may
//! have been missed, or the server is another one, it reads all again, and publishes what it knows and
//! the store has lost. Reading or publishing a mark twice changes nothing.

use tracing::{info, warn};

use super::{
    super::{Users, announce::change_of, group_changes::GroupChange},
    Shared,
    change::to_stored,
    mark::{Mark, Marked},
    unpublished::UnpublishedMarks,
};
use crate::{
    auth::Revocation,
    changes::Change,
    shared_cache::{Binding, CallError, Follower, MarkStream, Seen, StreamPosition, stored},
    telemetry::metrics::shared_entries::EventKind,
};

/// How far this replica has read the marks.
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
    /// What this replica knew when it began to read, and has not found.
    missing: UnpublishedMarks,
    /// How many it has read.
    read: usize,
}

impl Default for RevocationPlace {
    fn default() -> Self {
        let place = |stream| {
            let (follower, missing) = (None, UnpublishedMarks::default());
            StreamPlace { stream, follower, missing, read: 0 }
        };
        Self { streams: [MarkStream::Revocations, MarkStream::GroupChanges].map(place), is_behind: true }
    }
}

impl Users {
    /// Publishes the marks that the store has not confirmed or has lost, and reads those that this replica
    /// has not read. What fails is tried again with the next event, or within a second.
    pub(super) async fn catch_up_on_revocations(&self, shared: &Shared, place: &mut RevocationPlace) {
        self.publish_unpublished(shared).await;
        self.read_new_revocations(shared, place).await;
        // First, what the others have published meanwhile.
        if !place.is_behind {
            shared.publish_lost().await;
        }
    }

    /// Reads the marks that this replica has not read, if there may be some. If that fails, it stays behind.
    pub(super) async fn read_new_revocations(&self, shared: &Shared, place: &mut RevocationPlace) {
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

    /// Reads the rest of a stream, or all of it if the server has become another one.
    async fn read_stream(&self, shared: &Shared, place: &mut StreamPlace) -> Result<(), CallError> {
        for _ in 0..=1 {
            let mut follower = match place.follower.take() {
                Some(follower) => follower,
                None => {
                    self.known_marks(place.stream).for_each(|mark| place.missing.add(mark));
                    shared.start_of(place.stream).await?
                }
            };
            let read = self.read_new_marks(shared, &mut follower, place).await;
            place.follower = Some(follower.clone());
            read?;
            if follower.found_nothing_until(shared.store.marks_end(place.stream).await?) == Seen::Whole {
                place.follower = Some(follower);
                place.missing.take().for_each(|mark| shared.lost.add(mark));
                return Ok(());
            }
            place.follower = None;
        }
        Err(CallError::Failed)
    }

    /// Returns the marks of a stream that this process has in memory.
    fn known_marks(&self, stream: MarkStream) -> impl Iterator<Item = Mark> + use<> {
        let (revocations, group_changes) = match stream {
            MarkStream::GroupChanges => (Vec::new(), self.0.group_changes.all()),
            MarkStream::Revocations => (self.0.tokens.revocations().all(), Vec::new()),
        };
        revocations.into_iter().map(Mark::from).chain(group_changes.into_iter().map(Mark::from))
    }

    /// Publishes revocations that are still in force, until one fails.
    async fn publish_unpublished(&self, shared: &Shared) {
        let revocations = self.0.tokens.revocations();
        shared.unpublished.retain(|mark| match mark.clone() {
            Mark { pool, of: Marked::Tokens(tokens), at } => {
                revocations.has(&Revocation { pool, tokens, at })
            }
            _ => true,
        });
        for mark in shared.unpublished.some(MOST_REPEATS) {
            match shared.publish_mark(&mark).await {
                Ok(()) => shared.unpublished.remove(&mark),
                // Of this one alone.
                Err(CallError::Script) => {}
                Err(_) => return,
            }
        }
    }

    /// Reads the rest of a stream. If a read fails, the next attempt goes on behind what was read.
    async fn read_new_marks(
        &self,
        shared: &Shared,
        follower: &mut Follower,
        place: &mut StreamPlace,
    ) -> Result<(), CallError> {
        // Should the store never come to an end, the rest follows later.
        for _ in 0..MOST_READS {
            let events = shared.store.marks(place.stream, &follower.position).await?;
            if events.0.is_empty() {
                return Ok(());
            }
            for event in &events.0 {
                follower.read(event);
                self.apply_mark(shared, &event.sealed, &place.missing);
            }
            place.read += events.0.len();
        }
        Err(CallError::Failed)
    }

    /// Applies a mark of any replica, which the store has. One that cannot be read is counted and warned
    /// of.
    fn apply_mark(&self, shared: &Shared, sealed: &[u8], missing: &UnpublishedMarks) {
        let plain = shared.store.open(Binding::Revocation, sealed).ok();
        let Some(mark) = plain.and_then(|plain| Mark::decode(&plain)) else {
            return warn!("a revocation in the shared cache cannot be read: its tokens are accepted here");
        };
        [missing, &shared.lost].into_iter().for_each(|unpublished| unpublished.remove(&mark));
        let Mark { pool, of, at } = mark;
        match of {
            Marked::Groups(sub) => {
                self.0.group_changes.note(&GroupChange { pool, sub, at });
            }
            Marked::Tokens(tokens) => {
                // Whether there is room for it, the set counts.
                let _until = self.0.tokens.revocations().revoke(&Revocation { pool, tokens, at });
            }
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
        let mark = Mark::from(revocation);
        let published = self.publish_mark(&mark).await;
        if published.is_err() {
            self.unpublished.add(mark);
        }
        published
    }

    /// Returns whether the store has a revocation, or none is to be published any more.
    pub(in crate::users) fn has_published(&self, revocation: &Revocation) -> bool {
        !self.unpublished.has(&Mark::from(revocation.clone()))
    }

    /// Tells all replicas of a change of groups, also those that start within a day.
    pub(in crate::users) async fn publish_group_change(&self, change: GroupChange) -> Result<(), CallError> {
        self.publish_mark(&change.into()).await
    }

    async fn publish_mark(&self, mark: &Mark) -> Result<(), CallError> {
        self.append_mark(mark).await?;
        let (pool, Mark { pool: id, of, at }) = (mark.pool.as_str(), mark.clone());
        match of {
            Marked::Groups(sub) => {
                // AWS does not name the members of the group.
                let told = GroupChange { pool: id, sub, at }.told().map(|told| (pool, "", told));
                self.announce_revocation(told).await
            }
            Marked::Tokens(tokens) => {
                let revocation = Revocation { pool: id, tokens, at };
                let told = change_of(&revocation).map(|(sub, change)| (pool, sub.as_str(), change));
                self.announce_revocation(told).await
            }
        }
    }

    /// Publishes some of the marks that this replica knows and the store has lost. The others do so too, and
    /// each reads what the others have published before it goes on.
    async fn publish_lost(&self) {
        let some = self.lost.some(MOST_REPEATS);
        if some.is_empty() {
            return;
        }
        for mark in &some {
            if self.append_mark(mark).await.is_err() {
                return;
            }
        }
        // Their watchers have to forget what they know, as after every loss of events.
        if self.announce_revocation(None).await.is_ok() {
            some.iter().for_each(|mark| self.lost.remove(mark));
        }
    }

    /// Makes the other replicas read the streams of marks, and reports the change to the user's watchers.
    async fn announce_revocation(&self, change: Option<(&str, &str, Change)>) -> Result<(), CallError> {
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

    async fn append_mark(&self, mark: &Mark) -> Result<(), CallError> {
        let sealed = self.store.seal(Binding::Revocation, &mark.encode()).map_err(|_| CallError::Failed)?;
        self.store.publish_mark(mark.stream(), &sealed, (self.max_marks, self.marks_needed_for)).await
    }
}

// So that the events of other replicas wait for less than a second.
const MOST_REPEATS: usize = 500;
// Of at most 1,000 each.
const MOST_READS: usize = 1_000;
