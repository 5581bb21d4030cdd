use std::io;

use thiserror::Error;

use super::builtin;
use crate::{audit::OpenSinkError, auth::StartError, config::ConfigErrors};

/// Why the server did not start, or stopped before its shutdown.
#[derive(Debug, Error)]
pub enum Error {
    /// The audit sink could not be opened.
    #[error(transparent)]
    Audit(#[from] OpenSinkError),
    /// A task or thread that must run until the shutdown ended early, which is a bug.
    #[error("a task that accepts or serves connections ended unexpectedly")]
    TaskEnded,
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The system refused a port or a thread.
    #[error("the system refused a port or a thread: {0}")]
    Io(#[from] io::Error),
    /// The reflection service could not be built.
    #[error("the reflection service could not be built: {0}")]
    Reflection(#[from] builtin::Error),
    /// The keys of a pool can never be fetched.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The task that creates the Cognito client ended early, which is a bug.
    #[error("the Cognito client could not be created")]
    Upstream,
}
