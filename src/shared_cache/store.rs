//! The shared cache, as the rest of the service uses it.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tracing::warn;

use super::{
    Binding, Call, CallError, EventKeys, Events, IndexKey, Invalidate, KeyAge, LeaseState, Link, Look,
    Looked, MarkStream, Namespace, NotSealed, Publish, Published, Put, Release, Renew, Reply, Sealer,
    ServerTime, SharedCacheConfig, StreamEnd, StreamPosition, Transport, Unreadable, UserKey,
    breaker::MAX_FAILURES_IN_A_ROW,
    rate_limit::{RateLimitSharing, SharedRateLimit},
    stream::SLOT_TAGS,
};
use crate::{
    outgoing::Outgoing,
    pool::PoolId,
    telemetry::metrics::{
        Metrics,
        shared_entries::{DroppedMark, SealKey, SharedEntryMetrics, UnreadableReason},
    },
    user::Sub,
};

/// The users of all replicas, sealed, and the stream of what was invalidated. Cheap to clone.
///
/// Every call ends within `shared_cache.timeout`. One that fails may have had its effect. All of them
/// are cancel safe in the same sense.
#[derive(Clone, Debug)]
pub struct SharedCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Arc<dyn Transport>,
    namespace: Namespace,
    index: IndexKey,
    sealer: Sealer,
    events: EventKeys,
    revocations: EventKeys,
    group_changes: EventKeys,
    replica: [u8; 16],
    /// None if each replica has a rate limit of its own.
    rate_limit: Option<RateLimitSharing>,
    metrics: SharedEntryMetrics,
}

impl SharedCache {
    /// Begins to connect to the store, and returns at once. Must be called in the runtime in which the
    /// connections are to live.
    pub fn start(config: &SharedCacheConfig, metrics: &Metrics, outgoing: &Outgoing) -> Self {
        let link = Link::start(config.target.clone(), &metrics.shared_cache, outgoing);
        let (namespace, index) = (config.namespace.clone(), config.index_key.clone());
        let rate_limit = config.rate_limit.clone();
        Self::new(link, (namespace, index, config.sealer()), rate_limit, metrics.shared_entries.clone())
    }

    /// Makes it from its keys and what carries the calls. This replica gets a random id. Without
    /// `rate_limit`, each replica has one of its own.
    pub fn new(
        transport: Arc<dyn Transport>,
        (namespace, index, sealer): (Namespace, IndexKey, Sealer),
        rate_limit: Option<RateLimitSharing>,
        metrics: SharedEntryMetrics,
    ) -> Self {
        let events = EventKeys::new(namespace.as_str());
        let [revocations, group_changes] = [MarkStream::Revocations, MarkStream::GroupChanges]
            .map(|stream| EventKeys::of_marks(namespace.as_str(), stream));
        let replica = fastrand::u128(..).to_le_bytes();
        Self(Arc::new(Inner {
            transport,
            namespace,
            index,
            sealer,
            events,
            revocations,
            group_changes,
            replica,
            rate_limit,
            metrics,
        }))
    }

    /// Returns whether calls are made at present: one atomic load.
    pub fn is_available(&self) -> bool {
        self.0.transport.is_available()
    }

    /// Returns the rate limit of an account and Region; none if each replica has one of its own.
    pub fn rate_limit(&self, account: &str, region: &str) -> Option<SharedRateLimit> {
        let Inner { transport, namespace, index, rate_limit, .. } = &*self.0;
        let (transport, namespace, index) = (Arc::clone(transport), namespace.clone(), index.clone());
        Some(SharedRateLimit::new(transport, namespace, index, rate_limit.as_ref()?, (account, region)))
    }

    /// Returns the random id of this process.
    pub fn replica(&self) -> [u8; 16] {
        self.0.replica
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &SharedEntryMetrics {
        &self.0.metrics
    }

    /// Returns the key of a user in the store.
    pub fn user(&self, pool: &PoolId, sub: &Sub) -> UserKey {
        self.0.index.user(&self.0.namespace, pool, sub)
    }

    /// Returns the key of a task that one replica does for all. A text without zero bytes names the task.
    pub fn task(&self, task: &str) -> UserKey {
        self.0.index.task(&self.0.namespace, task)
    }

    /// Returns the sealer that all replicas share.
    pub fn sealer(&self) -> Sealer {
        self.0.sealer.clone()
    }

    /// Seals a text.
    pub fn seal(&self, binding: Binding<'_>, plain: &[u8]) -> Result<Vec<u8>, NotSealed> {
        self.0.sealer.seal(binding, plain)
    }

    /// Opens a sealed text, and counts the result.
    pub fn open(&self, binding: Binding<'_>, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let opened = self.0.sealer.open(binding, sealed);
        match &opened {
            Ok(opened) => self.0.metrics.opened.get(opened.key.into()).inc(),
            Err(unreadable) => self.0.metrics.unreadable.get((*unreadable).into()).inc(),
        };
        opened.map(|opened| opened.plain)
    }

    /// Reads one kind of a user's hash, and takes the lease if it is free and wanted.
    pub async fn look(&self, user: &UserKey, look: &Look<'_>) -> Result<Looked, CallError> {
        Looked::parse(self.call(look.call(user.as_str())).await?)
    }

    /// Extends a lease. Returns whether it is still held.
    pub async fn renew(&self, user: &UserKey, renew: &Renew<'_>) -> Result<bool, CallError> {
        Self::is_held(self.call(renew.call(user.as_str())).await?)
    }

    /// Puts a value under a lease, and ends the lease. Returns whether it was accepted.
    pub async fn put(&self, user: &UserKey, put: &Put<'_>) -> Result<bool, CallError> {
        Self::is_held(self.call(put.call(user.as_str())).await?)
    }

    /// Ends a lease without a value. Returns whether it was still held.
    pub async fn release(&self, user: &UserKey, release: &Release<'_>) -> Result<bool, CallError> {
        Self::is_held(self.call(release.call(user.as_str())).await?)
    }

    /// Notes that what was fetched of a user is invalid. Returns until when it was fetched.
    pub async fn invalidate(&self, user: &UserKey, invalidate: Invalidate) -> Result<ServerTime, CallError> {
        Invalidate::invalidated(self.call(invalidate.call(user.as_str())).await?)
    }

    /// Appends a sealed event to the stream.
    pub async fn publish(&self, sealed: &[u8]) -> Result<(), CallError> {
        let (keep, needed_for) = (EVENTS_KEPT_FOR, Duration::ZERO);
        let publish = Publish { sealed, keep, max_len: MAX_EVENTS, needed_for };
        Published::parse(self.call(publish.call(&self.0.events)).await?).map(drop)
    }

    /// Waits up to `wait` for the events after a position.
    pub async fn events(&self, after: &StreamPosition, wait: Duration) -> Result<Events, CallError> {
        self.0.transport.read(self.0.events.stream(), after, wait).await
    }

    /// Returns where the stream of events ends.
    pub async fn stream_end(&self) -> Result<StreamEnd, CallError> {
        StreamEnd::parse(self.0.transport.call_for_events(StreamEnd::call(&self.0.events)).await?)
    }

    /// Opens the circuit breaker if the store does not answer: sends as many calls at once as it takes, to
    /// all parts of a cluster, so that one dead node does not open it. Ends within `shared_cache.timeout`.
    pub async fn open_breaker_if_unanswered(&self) {
        if self.is_available() {
            let tags = SLOT_TAGS.into_iter().cycle().take(MAX_FAILURES_IN_A_ROW as usize);
            let keys = tags.map(|tag| EventKeys::unused(self.0.namespace.as_str(), tag));
            join_all(keys.map(|keys| self.call(StreamEnd::call(&keys)))).await;
        }
    }

    /// Appends a sealed mark to its stream, which keeps the last `max_len` for 24 h. Older ones that are
    /// removed within `needed_for` are counted and warned of.
    pub async fn publish_mark(
        &self,
        stream: MarkStream,
        sealed: &[u8],
        (max_len, needed_for): (u32, Duration),
    ) -> Result<(), CallError> {
        let publish = Publish { sealed, keep: MARKS_KEPT_FOR, max_len, needed_for };
        let published = Published::parse(self.call(publish.call(self.marks_of(stream))).await?)?;
        if published.removed > 0 {
            self.0.metrics.dropped_marks.get(stream.into()).inc_by(published.removed);
            warn!(?stream, removed = published.removed, "the shared cache has more marks than it keeps");
        }
        Ok(())
    }

    /// Returns the marks after a position, without waiting for any.
    pub async fn marks(&self, stream: MarkStream, after: &StreamPosition) -> Result<Events, CallError> {
        self.0.transport.read(self.marks_of(stream).stream(), after, Duration::ZERO).await
    }

    /// Returns where a stream of marks ends.
    pub async fn marks_end(&self, stream: MarkStream) -> Result<StreamEnd, CallError> {
        StreamEnd::parse(self.0.transport.call_for_events(StreamEnd::call(self.marks_of(stream))).await?)
    }

    fn marks_of(&self, stream: MarkStream) -> &EventKeys {
        match stream {
            MarkStream::GroupChanges => &self.0.group_changes,
            MarkStream::Revocations => &self.0.revocations,
        }
    }

    async fn call(&self, call: Call) -> Result<Reply, CallError> {
        self.0.transport.call(call).await
    }

    fn is_held(reply: Reply) -> Result<bool, CallError> {
        Ok(LeaseState::parse(reply)? == LeaseState::Held)
    }
}

impl From<MarkStream> for DroppedMark {
    fn from(stream: MarkStream) -> Self {
        match stream {
            MarkStream::GroupChanges => Self::GroupChange,
            MarkStream::Revocations => Self::Revocation,
        }
    }
}

impl From<KeyAge> for SealKey {
    fn from(key: KeyAge) -> Self {
        match key {
            KeyAge::Current => Self::Current,
            KeyAge::Previous => Self::Previous,
        }
    }
}

impl From<Unreadable> for UnreadableReason {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Binding => Self::Binding,
            Unreadable::Format => Self::Format,
            Unreadable::Key => Self::Key,
        }
    }
}

// Longer than an entry from before an event is usable.
const EVENTS_KEPT_FOR: Duration = Duration::from_secs(20 * 60);
// Longer than any token lives.
const MARKS_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60 + 60);
// Some 20 MB. A replica that is further behind confirms its entries one by one.
const MAX_EVENTS: u32 = 100_000;
