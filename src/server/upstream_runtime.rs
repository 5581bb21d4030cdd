//! The runtime on which Cognito and key servers are asked: what is slow there never holds up a serving thread, nor does
//! its work end with the call that began it.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime that ends without waiting when it is dropped.
#[derive(Debug)]
pub(super) struct UpstreamRuntime(Option<Runtime>);

impl UpstreamRuntime {
    /// Starts one thread: what is asked in a second is bounded by Cognito's quotas, some hundreds.
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
