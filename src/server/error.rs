use std::io;

use thiserror::Error;

use super::admission::TooFewFiles;
use crate::audit::OpenSinkError;

/// Why the server did not start, or stopped before its shutdown.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Audit(#[from] OpenSinkError),
    /// A bug: such a task or thread runs until the shutdown.
    #[error("a task that accepts or serves connections ended unexpectedly")]
    TaskEnded,
    #[error("the system refused a port or a thread: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    #[error("the reflection service could not be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the system has no random numbers for the key of resume tokens")]
    Random,
    /// A bug: the task that creates the client ended early.
    #[error("the Cognito client could not be created")]
    Upstream,
}
