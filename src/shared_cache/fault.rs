//! What went wrong at the store, and what follows from it.

use std::fmt;

use super::CallError;
use crate::telemetry::metrics::shared_cache::{ReconnectReason, StoreCallOutcome};

/// A failure of a call or of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// What happened, for the log. It never holds a key, an argument or a secret.
    pub(super) cause: String,
}

/// Kinds of failures, by what follows from them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FaultKind {
    /// There was no answer in time.
    Timeout,
    /// The connection ended, or could not be established.
    Closed,
    /// The store is a replica, which cannot be written.
    ReadOnly,
    /// The store loads its data, or has lost its primary.
    NotReady,
    /// The store is full, or otherwise refuses writes.
    Full,
    /// The store does not accept the credentials.
    Credentials,
    /// The store is not of the configured mode: a cluster instead of one server, or the reverse.
    Mode,
    /// The settings cannot work, for example a file that cannot be read.
    Settings,
    /// The store refused this command for a reason that may pass.
    Busy,
    /// One node of a cluster failed, which says nothing about the others.
    Node,
    /// The script failed. This says nothing about the store's health.
    Script,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, cause: impl fmt::Display) -> Self {
        Self { kind, cause: cause.to_string() }
    }

    pub(super) fn timeout() -> Self {
        Self::new(FaultKind::Timeout, "the store did not answer in time")
    }

    pub(super) fn closed() -> Self {
        Self::new(FaultKind::Closed, "the connection was closed")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl FaultKind {
    /// Returns whether the breaker opens at the first one, because further calls would fail too.
    pub(super) fn is_certain(self) -> bool {
        match self {
            Self::Timeout | Self::Busy | Self::Node | Self::Script => false,
            Self::Closed
            | Self::ReadOnly
            | Self::NotReady
            | Self::Full
            | Self::Credentials
            | Self::Mode
            | Self::Settings => true,
        }
    }

    /// Returns whether it lasts until somebody changes the settings or the store.
    pub(super) fn is_lasting(self) -> bool {
        matches!(self, Self::Credentials | Self::Mode | Self::Settings)
    }

    /// Returns why the connection must be replaced at once; none if it stays usable. Another
    /// connection may lead to another server, because its name is resolved again.
    pub(super) fn replaces(self) -> Option<ReconnectReason> {
        match self {
            Self::Closed | Self::Settings => Some(ReconnectReason::Closed),
            Self::ReadOnly => Some(ReconnectReason::ReadOnly),
            Self::NotReady | Self::Mode => Some(ReconnectReason::NotReady),
            Self::Credentials => Some(ReconnectReason::Credentials),
            Self::Timeout | Self::Full | Self::Busy | Self::Node | Self::Script => None,
        }
    }

    /// Returns what a caller learns.
    pub(super) fn error(self) -> CallError {
        match self {
            Self::Timeout => CallError::Timeout,
            Self::Script => CallError::Script,
            _ => CallError::Failed,
        }
    }

    /// Returns the outcome that is counted.
    pub(super) fn outcome(self) -> StoreCallOutcome {
        match self {
            Self::Timeout => StoreCallOutcome::Timeout,
            Self::Script => StoreCallOutcome::ScriptError,
            _ => StoreCallOutcome::Failed,
        }
    }
}
