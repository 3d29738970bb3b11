//! Threads of lower priority, for what may be late: the Events that tell people what happened, and the kubelets of
//! simulated hosts. When pods come by the thousand, each is given its host before the last Event of the first is written.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// By how much its threads yield to the others: with both at work, one part in ten is theirs.
const NICE: i32 = 10;

/// Ends what runs on it when dropped.
pub struct Aside {
    runtime: Option<Runtime>,
    pub handle: Handle,
}

impl Aside {
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("selkie-aside")
            .on_thread_start(|| {
                // Without it they are as the others, which only takes longer.
                if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
                    tracing::debug!(%error, "a thread keeps its priority");
                }
            })
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // From within another runtime, waiting for its threads is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
