//! The open streams, found by the users that they watch.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use tokio::sync::Notify;

use super::{
    Change, ChangeKinds, Changed, ChangedUser, WatchFilter,
    log::{Log, OutOfRange},
    mailbox::{MAX_PENDING, Mailbox},
    place::Place,
    rules::{Rule, holds},
};
use crate::{
    clock::BootTime,
    config::WatchSettings,
    pool::PoolId,
    telemetry::metrics::{Gauge, watch::WatchMetrics},
};

/// The open streams, bounded in number. A change costs only those that watch its user.
#[derive(Debug)]
pub(super) struct Streams {
    by_id: HashMap<u64, Stream>,
    /// Those that watch this user.
    by_user: HashMap<ChangedUser, Vec<u64>>,
    /// Those that watch every user.
    of_all: Vec<u64>,
    of_caller: HashMap<Arc<str>, usize>,
    last_id: u64,
    max: usize,
    max_per_caller: usize,
    gauge: Gauge,
}

#[derive(Debug)]
struct Stream {
    caller: Arc<str>,
    filter: Arc<WatchFilter>,
    mailbox: Mailbox,
    /// How far the stream has read the log; none once it has reached the end, when changes go to
    /// the mailbox.
    catching_up: Option<Place>,
    end: Option<StreamEnd>,
    wake: Arc<Notify>,
}

/// Why the server ends a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamEnd {
    /// Changes may have been missed.
    Lost,
    /// The server drains.
    Moved,
    /// It is read too slowly.
    TooSlow,
}

/// The caller or the process has reached its limit of streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooMany;

/// What a stream does next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Send this.
    Change(ChangedUser, Change),
    /// There is nothing to send.
    Wait,
    /// Ask again, because the log is read in parts.
    Again,
}

impl Streams {
    pub(super) fn new(settings: &WatchSettings, metrics: &WatchMetrics) -> Self {
        Self {
            by_id: HashMap::new(),
            by_user: HashMap::new(),
            of_all: Vec::new(),
            of_caller: HashMap::new(),
            last_id: 0,
            max: settings.streams,
            max_per_caller: settings.streams_per_caller,
            gauge: metrics.streams.clone(),
        }
    }

    /// Opens a stream that reads the log after `after`, or only receives later changes. Returns its
    /// id, and what wakes it.
    pub(super) fn open(
        &mut self,
        caller: &Arc<str>,
        filter: Arc<WatchFilter>,
        after: Option<Place>,
    ) -> Result<(u64, Arc<Notify>), TooMany> {
        let own = self.of_caller.get(caller).copied().unwrap_or_default();
        if own >= self.max_per_caller || self.by_id.len() >= self.max {
            return Err(TooMany);
        }
        self.last_id += 1;
        let (id, wake) = (self.last_id, Arc::<Notify>::default());
        if filter.subs.is_empty() {
            self.of_all.push(id);
        }
        for user in filter.users() {
            self.by_user.entry(user).or_default().push(id);
        }
        *self.of_caller.entry(Arc::clone(caller)).or_default() += 1;
        let stream = Stream {
            caller: Arc::clone(caller),
            filter,
            mailbox: Mailbox::default(),
            catching_up: after,
            end: None,
            wake: Arc::clone(&wake),
        };
        self.by_id.insert(id, stream);
        self.gauge.set(i64::try_from(self.by_id.len()).unwrap_or(i64::MAX));
        Ok((id, wake))
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, id: u64) {
        let Some(stream) = self.by_id.remove(&id) else { return };
        self.of_all.retain(|other| *other != id);
        for user in stream.filter.users() {
            if let Some(ids) = self.by_user.get_mut(&user) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_user.remove(&user);
                }
            }
        }
        if let Some(count) = self.of_caller.get_mut(&stream.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_caller.remove(&stream.caller);
            }
        }
        self.gauge.set(i64::try_from(self.by_id.len()).unwrap_or(i64::MAX));
    }

    /// Puts a change into the mailboxes of the streams that watch its user.
    pub(super) fn deliver(&mut self, place: Place, user: &ChangedUser, change: Change, now: BootTime) {
        let watching = self.by_user.get(user).into_iter().flatten();
        for id in watching.chain(&self.of_all) {
            if let Some(stream) = self.by_id.get_mut(id) {
                stream.put(place, user, change, now);
            }
        }
    }

    /// Ends the streams that a change of unknown users of a pool may concern.
    pub(super) fn lose(&mut self, pool: &PoolId, kinds: ChangeKinds) {
        let concerned = self.by_id.values_mut().filter(|stream| stream.filter.may_concern(pool, kinds));
        // One that is catching up finds it in the log.
        concerned.filter(|stream| stream.catching_up.is_none()).for_each(|stream| stream.lose());
    }

    /// Ends every stream.
    pub(super) fn end_all(&mut self, end: StreamEnd) {
        self.by_id.values_mut().for_each(|stream| stream.end(end));
    }

    /// Reads the next part of the log for a stream that has nothing pending and has not reached the
    /// end. Returns whether to ask again.
    pub(super) fn catch_up(&mut self, id: u64, log: &Log) -> Result<bool, StreamEnd> {
        let Some(stream) = self.by_id.get_mut(&id) else { return Err(StreamEnd::Moved) };
        if let Some(end) = stream.end {
            return Err(end);
        }
        let Some(after) = stream.catching_up.filter(|_| stream.mailbox.is_empty()) else {
            return Ok(false);
        };
        stream.read(log, after).map_err(|_| StreamEnd::Lost)?;
        Ok(true)
    }

    /// Removes the next change of a stream.
    pub(super) fn next(&mut self, id: u64, log: &Log) -> Result<Next, StreamEnd> {
        if self.catch_up(id, log)? {
            return Ok(Next::Again);
        }
        let pending = self.by_id.get_mut(&id).and_then(|stream| stream.mailbox.pop());
        Ok(pending.map_or(Next::Wait, |(user, change)| Next::Change(user, change)))
    }

    /// Returns the last place up to which a stream has sent everything.
    pub(super) fn sent(&self, id: u64, log: &Log) -> Place {
        let Some(stream) = self.by_id.get(&id) else { return Place::default() };
        match (stream.mailbox.first(), stream.catching_up) {
            (Some(first), _) if holds(Rule::TokenBeforePending) => log.place(first.saturating_sub(1)),
            (None, Some(place)) => place,
            (Some(_) | None, _) => log.now(),
        }
    }

    /// Returns when the first change was heard of that a stream has not sent, if there is one. For
    /// checkpoints only: it takes a pass over all of them.
    pub(super) fn waiting_since(&self, id: u64) -> Option<SystemTime> {
        self.by_id.get(&id)?.mailbox.first_seen()
    }

    #[cfg(test)]
    pub(super) fn index_size(&self) -> (usize, usize, usize) {
        (self.by_user.len(), self.of_all.len(), self.of_caller.len())
    }
}

impl Stream {
    fn put(&mut self, place: Place, user: &ChangedUser, change: Change, now: BootTime) {
        // A stream that is catching up finds it in the log.
        if self.end.is_some() || self.catching_up.is_some() {
            return;
        }
        let Some(part) = self.filter.part_of(user, change) else { return };
        match self.mailbox.push(place, user, part, now) {
            Ok(()) => self.wake.notify_one(),
            Err(_) if holds(Rule::SlownessEnds) => self.end(StreamEnd::TooSlow),
            Err(_) => {}
        }
    }

    /// Reads the log from a place into the empty mailbox, up to its end if there is room.
    fn read(&mut self, log: &Log, after: Place) -> Result<(), OutOfRange> {
        let (now, run) = (BootTime::now(), log.run().ok_or(OutOfRange::Expired)?);
        let Self { mailbox, filter, .. } = self;
        let (mut room, mut is_lost) = (MAX_PENDING, false);
        let read = log.visit(run, after, READ_AT_ONCE, |place, changed, change| {
            let user = match changed {
                Changed::User(user) => user,
                Changed::SomeOf(pool) => {
                    is_lost |= filter.may_concern(pool, change.kinds) && holds(Rule::UnnamedEndStreams);
                    return !is_lost;
                }
            };
            let Some(part) = filter.part_of(user, change) else { return true };
            room = room.saturating_sub(1);
            room > 0 && mailbox.push(place, user, part, now).is_ok()
        })?;
        if is_lost {
            return Err(OutOfRange::Expired);
        }
        self.catching_up = (read.number < log.end().number).then_some(read);
        Ok(())
    }

    fn lose(&mut self) {
        if holds(Rule::UnnamedEndStreams) {
            self.end(StreamEnd::Lost);
        }
    }

    fn end(&mut self, end: StreamEnd) {
        self.mailbox = Mailbox::default();
        self.end.get_or_insert(end);
        self.wake.notify_one();
    }
}

// Bounds the time for which the lock is held to less than a millisecond.
const READ_AT_ONCE: usize = 4_096;
