//! Runtimes of one thread beside those that serve calls.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime that stops without waiting for its tasks when it is dropped.
#[derive(Debug)]
pub struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// Starts the runtime and its thread, which gets this name.
    pub fn start(thread: &str) -> io::Result<(Self, Handle)> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name(thread).enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
