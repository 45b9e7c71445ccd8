//! Threads for a part of the load.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of their own, one for each core. Among the tasks of a thousand subscribers each publisher would wait its turn
/// for what has long been there, and the load would be smaller than it says.
#[derive(Debug)]
pub(crate) struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name(name).enable_all().build();
        let runtime = runtime.with_context(|| format!("no threads for {name}"))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting for them would block a thread that has other tasks to run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
