//! Keeps the logs of a host's containers within limits, as Kubernetes' kubelet does: 10 MiB in a file, five files.
//!
//! Looks more often than that one, every second and not every ten, as long as nobody writes much: what conmon drops at
//! a limit of its own before anybody has looked is lost.

use crate::kubelet::host::Host;
use crate::kubelet::pod::all_statuses;
use crate::kubelet::runtime::LogLimits;
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

pub const LIMITS: LogLimits = LogLimits { size: 10 << 20, files: 5 };
const PERIOD: Duration = Duration::from_secs(1);
/// The same while a container fills its log within seconds.
const SOON: Duration = Duration::from_millis(100);

/// Until shutdown.
pub async fn run(host: &Arc<Host>) {
    if host.node.simulated {
        return;
    }
    let keeping = async {
        let mut period = PERIOD;
        loop {
            tokio::time::sleep(period).await;
            period = Box::pin(look(host)).await;
        }
    };
    host.ctx.shutdown.run_until_cancelled(keeping).await;
}

/// Returns when to look again.
async fn look(host: &Host) -> Duration {
    // Nothing is known of a host that has not answered yet, and nothing of the files of other machines.
    if !host.info().local {
        return PERIOD;
    }
    let pods = host.pods.on_node(&host.node.name);
    let statuses = pods.iter().flat_map(|pod| all_statuses(pod));
    let running = statuses.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    let ids = running.filter_map(|status| Some(status.container_id.as_deref()?.rsplit('/').next()?.to_owned()));
    match host.runtime.keep_logs(&ids.collect::<Vec<_>>(), LIMITS).await {
        Ok(written) if written >= LIMITS.size / 4 => SOON,
        Ok(_) => PERIOD,
        Err(error) => {
            debug!(node = host.node.name, error = error.chain(), "no look at logs");
            PERIOD
        }
    }
}
