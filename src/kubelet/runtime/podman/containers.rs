//! A container's life: create, start, stop, wait, remove, and what it looks like in between.

use super::{
    Podman, generate,
    http::{Call, QUICK, SLOW, segment},
    lines,
    wire::{Event, Inspected, OciConfig},
};
use crate::kubelet::runtime::{
    ContainerSpec, ContainerState, ContainerStatus, Exit, ProcessUser, Resources, Result, RuntimeError, RuntimeEvent,
};
use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// The shell's code for a process that SIGKILL ended, by whosever hand.
const KILLED: i32 = 137;
/// How long a wait lasts before it is asked anew, so that a lost connection is noticed.
const WAIT_ROUND: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
pub(super) struct Made {
    #[serde(rename = "Id")]
    pub id: String,
}

impl Podman {
    pub(super) async fn inspected(&self, container: &str) -> Result<Inspected> {
        self.client.get(format!("containers/{}/json", segment(container)), container).fetch().await
    }

    pub(super) async fn status(&self, container: &str) -> Result<ContainerStatus> {
        let inspected = self.inspected(container).await?;
        let (pid, monitor) = (inspected.state.pid, inspected.state.conmon_pid);
        let config = inspected.oci_config_path.clone();
        let mut status = inspected
            .into_status()
            .ok_or_else(|| RuntimeError::NotFound { object: format!("pod container {container}") })?;
        let local = self.around().await?.local;
        if local && !config.is_empty() {
            status.user = user(&config).await;
        }
        if let ContainerState::Running { .. } = status.state
            && local
            && monitor != 0
            && !alive(pid)
            && !alive(monitor)
        {
            // Nobody is left to write down how it exited: Podman will say "running" for ever.
            status.state = ContainerState::Lost;
        }
        if local && status.state.is_running() {
            self.note_log(&status.id, &status.log_path);
        }
        self.note_oom(&mut status).await;
        Ok(status)
    }

    /// Podman 4.3 never says that the kernel ran out of memory; what we saw ourselves fills that in.
    pub(super) async fn note_oom(&self, status: &mut ContainerStatus) {
        if let ContainerState::Exited(exit) = &mut status.state
            && exit.code == KILLED
            && !exit.oom_killed
        {
            exit.oom_killed = self.oom.killed(&status.id).await;
        }
    }

    pub(super) async fn make_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<String> {
        let around = self.around().await?;
        let mut body = generate::container(sandbox, spec, &around.surroundings);
        if let Some(other) = &spec.with {
            body["netns"] = json!({"nsmode": "path", "value": self.network_of(other).await?});
        }
        let object = format!("container {}", spec.identity.container);
        let made = self.client.post("containers/create", object).json(&body)?.deadline(SLOW).fetch::<Made>();
        let made = around.turns.during(made).await.map_err(|error| match error {
            RuntimeError::ImageNotFound { .. } => RuntimeError::ImageNotFound { image: spec.image.clone() },
            RuntimeError::NotFound { .. } => RuntimeError::NotFound { object: format!("sandbox {sandbox}") },
            error => error,
        })?;
        self.oom.expect(&made.id, spec.resources.memory_limit.is_some());
        Ok(made.id)
    }

    /// Where the network of a container that runs is.
    async fn network_of(&self, container: &str) -> Result<String> {
        let network = self.inspected(container).await?.network_settings.map(|settings| settings.sandbox_key);
        let missing = || RuntimeError::NotFound { object: format!("the network of container {container}") };
        network.filter(|path| !path.is_empty()).ok_or_else(missing)
    }

    /// Has the container's namespaces made. Succeeds where they are.
    pub(super) async fn prepare_container(&self, container: &str) -> Result<Vec<IpAddr>> {
        let call = self.client.post(format!("containers/{}/init", segment(container)), container);
        self.around().await?.turns.during(call.deadline(SLOW).send()).await?;
        let found = self.inspected(container).await?;
        Ok(found.network_settings.map(|settings| settings.addresses()).unwrap_or_default())
    }

    pub(super) async fn start_container(&self, container: &str) -> Result<()> {
        match self.try_start(container).await {
            // Its process may run all the same, without Podman knowing, where an earlier start was cut off: the
            // next life must not meet it.
            Err(error) if !error.is_silence() && !error.is_not_found() => {
                self.end(container).await?;
                Err(error)
            }
            started => started,
        }
    }

    async fn try_start(&self, container: &str) -> Result<()> {
        let around = self.around().await.ok();
        let local = around.as_ref().filter(|around| around.local);
        if let Some(around) = local
            && self.oom.expects(container)
        {
            // Its cgroup exists, its process waits: watched from now on, no kill is missed however
            // soon it comes.
            let call = self.client.post(format!("containers/{}/init", segment(container)), container);
            around.turns.during(call.deadline(SLOW).send()).await?;
            self.watch_oom(container, around.cgroup_version).await;
        }
        let call = self.client.post(format!("containers/{}/start", segment(container)), container);
        let started = call.deadline(SLOW).send();
        match &around {
            Some(around) => around.turns.during(started).await?,
            None => started.await?,
        }
        if let Some(around) = local {
            self.watch_oom(container, around.cgroup_version).await;
        }
        Ok(())
    }

    /// Ends whatever runs of a container, at once. Fails only where no answer came.
    async fn end(&self, container: &str) -> Result<()> {
        let call = self.client.post(format!("containers/{}/stop", segment(container)), container);
        match call.query("timeout", 0).deadline(SLOW).send().await {
            Err(error) if error.is_silence() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn update_container(&self, container: &str, resources: &Resources) -> Result<()> {
        let around = self.around().await?;
        if !around.surroundings.resource_limits {
            return Ok(());
        }
        // On cgroup v1 memory cannot be given more than memory and swap together have.
        let coupled = resources.memory_limit.is_some() && around.cgroup_version == 1 && !around.surroundings.swap;
        let swap_limited = coupled && self.inspected(container).await?.host_config.memory_swap > 0;
        let body = generate::update(resources, swap_limited, &around.surroundings);
        let call = self.client.post(format!("containers/{}/update", segment(container)), container);
        call.json(&body)?.deadline(SLOW).send().await?;
        if resources.memory_limit.is_some()
            && around.local
            && !self.oom.watches(container)
            && let Ok(found) = self.inspected(container).await
            && found.state.pid != 0
        {
            // It was not limited before, and could not be killed for that.
            self.oom.watch(&found.id, found.state.pid, around.cgroup_version);
        }
        Ok(())
    }

    /// Follows the memory events of a limited container on this machine, if they can be followed.
    pub(super) async fn watch_oom(&self, container: &str, cgroup_version: u8) {
        if self.oom.knows(container) {
            return;
        }
        let Ok(found) = self.inspected(container).await else { return };
        match found.state.pid {
            0 => {}
            pid if found.host_config.memory > 0 => self.oom.watch(&found.id, pid, cgroup_version),
            _ => self.oom.expect(&found.id, false),
        }
    }

    pub(super) async fn stop_container(&self, container: &str, grace: Duration) -> Result<Exit> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let call = self.client.post(format!("containers/{}/stop", segment(container)), container);
        call.query("timeout", seconds).deadline(grace + SLOW).send().await?;
        self.exit_of(container).await
    }

    pub(super) async fn wait_exit(&self, container: &str) -> Result<Exit> {
        loop {
            let call = self.client.post(format!("containers/{}/wait", segment(container)), container);
            let call = call.query("condition", "exited").query("condition", "stopped").query("interval", "100ms");
            match call.deadline(WAIT_ROUND).send().await {
                Ok(()) => return self.exit_of(container).await,
                Err(RuntimeError::Timeout { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn exit_of(&self, container: &str) -> Result<Exit> {
        let status = self.status(container).await?;
        match status.state {
            ContainerState::Exited(exit) => Ok(exit),
            // Stopped before it ever ran.
            ContainerState::Created => Ok(Exit {
                code: KILLED,
                started: None,
                finished: status.created,
                oom_killed: false,
                message: Some("never started".into()),
            }),
            state => Err(RuntimeError::Other {
                method: "stop".into(),
                object: container.to_owned(),
                message: format!("still there afterwards: {state:?}"),
                cause: None,
            }),
        }
    }

    pub(super) async fn delete_container(&self, container: &str) -> Result<()> {
        // One whose stop was cut off Podman removes without looking whether its process has ended.
        self.end(container).await?;
        let call = self.client.delete(format!("containers/{}", segment(container)), container);
        // Without timeout=0 Podman waits its default of 10 s for a running container to end.
        let removed = call.query("force", true).query("timeout", 0).query("v", true).deadline(SLOW).send().await;
        self.oom.forget(container);
        match removed {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    pub(super) async fn follow_events(&self, call: Call<'_>) -> Result<BoxStream<'static, Result<RuntimeEvent>>> {
        let cluster = self.cluster.clone();
        let decoded = lines::lines(call.deadline(QUICK).stream().await?, "events").filter_map(move |line| {
            let event = match line {
                // A line in a form we do not know is an event we do not know.
                Ok(line) => {
                    serde_json::from_slice::<Event>(&line).ok().and_then(|event| event.decode(&cluster)).map(Ok)
                }
                Err(error) => Some(Err(error)),
            };
            async { event }
        });
        let ended = futures::stream::once(async {
            Err(RuntimeError::Other {
                method: "GET".into(),
                object: "events".into(),
                message: "Podman ended the event stream".into(),
                cause: None,
            })
        });
        Ok(decoded.chain(ended).boxed())
    }
}

/// The user in an OCI configuration, which is written when the container first starts.
async fn user(path: &str) -> Option<ProcessUser> {
    let text = tokio::fs::read(path).await.ok()?;
    serde_json::from_slice::<OciConfig>(&text).ok().map(OciConfig::user)
}

/// Whether a process of this machine exists.
fn alive(pid: u32) -> bool {
    pid != 0 && std::path::Path::new(&format!("/proc/{pid}")).exists()
}
