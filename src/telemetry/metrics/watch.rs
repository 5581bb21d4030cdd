//! Metrics of the streams of changes.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::{EnumFamily, Label as _};

metric_set! {
    /// Metrics of the streams of changes; cheap to clone.
    pub struct WatchMetrics {
        /// Open streams of `WatchUsers`.
        pub streams: Gauge = "watch_streams",
        /// Changes that were sent on streams of `WatchUsers`, once for each stream, by kind. One of
        /// several kinds counts for each.
        pub changes: EnumFamily<ChangeKind, Counter> = "watch_changes",
        /// Streams of `WatchUsers` that the server ended, by reason.
        pub cuts: EnumFamily<WatchCut, Counter> = "watch_cuts",
    }
}

label! {
    /// What changed of a user. The order is that of the numbers in the contract, from 1.
    pub enum ChangeKind = "kind" {
        /// Attributes, or linked providers.
        Attributes,
        /// Groups.
        Groups,
        /// The status in the sign-up and password flows.
        Status,
        /// The user is new.
        Created,
        /// An administrator enabled the user again.
        Enabled,
        /// An administrator disabled the user.
        Disabled,
        /// The user was deleted.
        Erased,
        /// Access tokens were revoked.
        SignedOut,
        /// A password was set or reset.
        Credentials,
    }
}

impl ChangeKind {
    /// Returns the number in the contract.
    pub fn number(self) -> usize {
        self.index() + 1
    }

    /// Returns the name in the contract, without its prefix.
    pub fn text(self) -> &'static str {
        match self {
            Self::Attributes => "ATTRIBUTES",
            Self::Groups => "GROUPS",
            Self::Status => "STATUS",
            Self::Created => "CREATED",
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Erased => "ERASED",
            Self::SignedOut => "SIGNED_OUT",
            Self::Credentials => "CREDENTIALS",
        }
    }
}

label! {
    /// Why the server ended a stream of changes.
    pub enum WatchCut = "reason" {
        /// It reached its maximum age, its connection closed, the server drains, or the rules were
        /// reloaded.
        Moved,
        /// Its credential expired or was revoked.
        Credential,
        /// Its required audit record could not be written.
        Audit,
        /// Changes may have been missed.
        Lost,
        /// It was read too slowly.
        TooSlow,
    }
}
