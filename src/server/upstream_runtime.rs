//! The runtime for calls to Cognito and to the key servers.
//!
//! Slow work there does not delay a serving thread, and a fetch outlives the call that started it.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime that stops without waiting for its tasks when it is dropped.
#[derive(Debug)]
pub(super) struct UpstreamRuntime(Option<Runtime>);

impl UpstreamRuntime {
    /// Starts one thread: Cognito's quotas allow some hundred requests a second.
    pub(super) fn start() -> io::Result<(Self, Handle)> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("upstream").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }
}

impl Drop for UpstreamRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
