//! Metrics of what this replica finds in the cache that replicas share.

use prometheus_client::metrics::counter::Counter;

use super::EnumFamily;

metric_set! {
    /// Metrics of the entries and events of the shared cache; cheap to clone.
    pub struct SharedEntryMetrics {
        /// Fetches that looked in the shared cache, by what they found. Unavailable ones got no
        /// response.
        pub lookups: EnumFamily<SharedLookup, Counter> = "shared_cache_lookups",
        /// Leases to fetch a user for all replicas, by how they ended for this replica.
        pub leases: EnumFamily<LeaseEnd, Counter> = "shared_cache_leases",
        /// Sealed entries and events that this replica could not read, by reason.
        pub unreadable: EnumFamily<UnreadableReason, Counter> = "shared_cache_unreadable",
        /// Sealed entries and events that this replica opened, by the age of their key.
        pub opened: EnumFamily<SealKey, Counter> = "shared_cache_opened",
        /// Invalidations, changes and revocations that this replica published.
        pub published: EnumFamily<EventKind, Counter> = "shared_cache_events_published",
        /// Invalidations, changes and revocations of other replicas that this replica heard of.
        pub applied: EnumFamily<EventKind, Counter> = "shared_cache_events_applied",
        /// Times that this replica may have missed invalidations and confirms its entries one by one.
        pub gaps: Counter = "shared_cache_gaps",
        /// Revocations and changes of groups that the shared cache dropped before their end because it
        /// has too many. A replica that starts later does not know them.
        pub dropped_marks: EnumFamily<DroppedMark, Counter> = "shared_cache_marks_dropped",
    }
}

label! {
    /// What a fetch found in the shared cache.
    pub enum SharedLookup = "outcome" {
        /// The user does not exist, says an entry of another replica.
        Absent,
        /// The entry of this replica was suspect, and nothing has invalidated it.
        Confirmed,
        /// Another replica's fetch failed or took too long.
        Failed,
        /// An entry of another replica.
        Hit,
        /// No entry that is fresh enough.
        Miss,
        /// No response.
        Unavailable,
        /// An entry that this replica cannot read.
        Unreadable,
    }
}

label! {
    /// How a lease ended for this replica.
    pub enum LeaseEnd = "outcome" {
        /// It fetched nothing: Cognito or the rate limit refused.
        Failed,
        /// Another replica had the lease, and this one got its entry.
        Followed,
        /// It was lost, or the user was invalidated meanwhile: what was fetched is not cached.
        Gone,
        /// What this replica fetched is shared.
        Led,
    }
}

label! {
    /// Why sealed data cannot be read.
    pub enum UnreadableReason = "reason" {
        /// It was altered, or sealed for another user, kind or namespace.
        Binding,
        /// It is no entry, or no event.
        Format,
        /// This replica does not have its key.
        Key,
        /// A later version wrote it.
        TooNew,
    }
}

label! {
    /// Which key opened sealed data.
    pub enum SealKey = "key" {
        /// The first of `shared_cache.value_key_files`, which seals.
        Current,
        /// Another one.
        Previous,
    }
}

label! {
    /// What the shared cache dropped.
    pub enum DroppedMark = "kind" {
        /// A change of groups: those in older tokens are believed.
        GroupChange,
        /// A revocation: its tokens are accepted.
        Revocation,
    }
}

label! {
    /// The kind of an invalidation, or what else an event says.
    pub enum EventKind = "kind" {
        /// A fetch found that the user changed.
        Changed,
        /// An administrator erased the user.
        Erase,
        /// The user's entries are stale.
        Expire,
        /// A fetch found the user disabled or deleted.
        Forget,
        /// Access tokens were revoked.
        Revoke,
    }
}
