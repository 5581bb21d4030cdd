//! Whether this service hears of changes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::APPENDED_WITHIN;
use crate::clock::{BootTime, LatestTime, TimePoint};

/// When this process last heard from the queue of changes, and from the other replicas.
#[derive(Debug)]
pub(super) struct SourceHealth {
    is_shared: bool,
    received: LatestTime,
    /// Until when all events of the replicas were read.
    read: Mutex<Option<TimePoint>>,
}

impl SourceHealth {
    pub(super) fn new(is_shared: bool) -> Self {
        Self { is_shared, received: LatestTime::default(), read: Mutex::default() }
    }

    pub(super) fn note_receive(&self, now: BootTime) {
        self.received.advance(now);
    }

    pub(super) fn note_read(&self, until: TimePoint) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Returns whether changes are heard of within seconds, and until when all were heard of.
    pub(super) fn at(&self, now: TimePoint) -> (bool, SystemTime) {
        let received = self.received.get();
        let receives = received != BootTime::default() && now.boot - received <= RECEIVES_WITHIN;
        let told_until = |heard: SystemTime| heard.checked_sub(APPENDED_WITHIN);
        if !self.is_shared {
            return (receives, told_until(now.system).unwrap_or(SystemTime::UNIX_EPOCH));
        }
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = read.is_some_and(|read| now.boot - read.boot <= READS_WITHIN);
        let until = read.and_then(|read| told_until(read.system));
        (receives && reads, until.unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

// A receive waits up to 20 s for a message.
const RECEIVES_WITHIN: Duration = Duration::from_secs(60);
// A read of the events waits for 1 s.
const READS_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_is_healthy_while_it_is_heard_from() {
        let start = TimePoint::now();
        let at = |seconds| {
            let time = Duration::from_secs(seconds);
            TimePoint { system: start.system + time, boot: start.boot + time }
        };
        // Whether replicas share, when the queue was received from and events were read, and at which
        // time it is healthy, and until when all was heard.
        let table = [
            ("alone, without a queue", false, None, None, 1, (false, at(0).system)),
            ("alone", false, Some(0), None, 60, (true, at(59).system)),
            ("alone, silent", false, Some(0), None, 61, (false, at(60).system)),
            ("shared", true, Some(0), Some(8), 13, (true, at(7).system)),
            ("shared, cut off", true, Some(9), Some(8), 14, (false, at(7).system)),
            ("shared, without a queue", true, None, Some(8), 9, (false, at(7).system)),
            ("shared, at the start", true, Some(9), None, 9, (false, SystemTime::UNIX_EPOCH)),
        ];
        for (case, is_shared, received, read, now, expected) in table {
            let health = SourceHealth::new(is_shared);
            received.into_iter().for_each(|time| health.note_receive(at(time).boot));
            read.into_iter().for_each(|time| health.note_read(at(time)));
            assert_eq!(health.at(at(now)), expected, "{case}");
        }
    }
}
