//! Starts one container: image, environment, mounts, create, start, postStart.

use crate::kubelet::container::{self, Inputs, security};
use crate::kubelet::env::{self, Sources};
use crate::kubelet::fields::HostFacts;
use crate::kubelet::images::{self, Wanted};
use crate::kubelet::pod::facts::{QUICK, SLOW};
use crate::kubelet::pod::ops::{self, Failed, Job, Outcome};
use crate::kubelet::pod::{Role, find_container, spec, target_of};
use crate::kubelet::runtime::{
    ContainerSpec, ContainerState, ImageInfo, Mount, MountSource, Propagation, RuntimeError, Sandbox,
};
use crate::kubelet::volumes::{self, PodDir, hosts, mounts::Place, payload, remote};
use crate::kubelet::{dns, sandbox, sources};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Longer than any hook that means to end.
const HOOK_LIMIT: Duration = Duration::from_secs(3600);

/// Which life to start.
#[derive(Clone, Debug)]
pub struct Life {
    pub attempt: u32,
    pub streak: u32,
    /// Made before, and perhaps started, without that having come to its end.
    pub made: Option<String>,
}

pub async fn start(mut job: Job, name: String, life: Life) -> Outcome {
    let pod = job.pod.clone();
    let Some((_, container)) = find_container(spec(&pod), &name) else {
        return Outcome::Started { container: name, result: Err(None) };
    };
    let result = match ready(&mut job, &container, &life).await {
        Ok(id) => run(&job, &container, id, life.made.is_none()).await,
        Err(error) => Err(error),
    };
    if let Err(Some(failed)) = &result {
        let text = match failed.reason {
            "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" => failed.reason,
            _ => failed.message.as_str(),
        };
        if failed.reason != "PostStartHookError" {
            job.host.events.record(job.involved(&name), "Warning", "Failed", format!("Error: {text}"));
        }
    }
    Outcome::Started { container: name, result }
}

type Made = Result<String, Option<Failed>>;

fn config_error(message: impl Into<String>) -> Option<Failed> {
    Some(Failed::new("CreateContainerConfigError", message, QUICK))
}

async fn make(job: &Job, container: &Container, life: &Life) -> Made {
    let Some(sandbox) = &job.sandbox else { return Err(None) };
    let (host, pod) = (&job.host, &job.pod);
    let mut sources = sources::fetch(host, pod, &job.inbox).await.map_err(|error| config_error(error.to_string()))?;
    let facts = sources::facts(host, Some(sandbox));
    if let Some(id) = &life.made {
        // Whoever made it may not have come to this.
        fill_remote(job, &container.name, id, &facts, &sources).await.map_err(config_error)?;
        return Ok(id.clone());
    }
    sources.services = sources::services(host, pod).await;
    let involved = job.involved(&container.name);
    let pulling = async {
        for wanted in Wanted::mounted(pod, container) {
            let pulled = images::ensure(host, &involved, pod, wanted, &sources).await;
            pulled.map_err(|error| (error, Some(wanted.name.to_owned())))?;
        }
        images::ensure(host, &involved, pod, Wanted::by(container), &sources).await.map_err(|error| (error, None))
    };
    let image = match job.cancel.run_until_cancelled(pulling).await {
        None => return Err(None),
        Some(Ok(image)) => image,
        Some(Err((error, image))) => {
            return Err(Some(Failed { image, ..Failed::new(error.reason, error.message, SLOW) }));
        }
    };
    let mut made = describe(job, container, life, &image, &facts, &sources).await.map_err(config_error)?;
    if spec(pod).host_network == Some(true) || sandbox.lone {
        made.dns = dns::resolver(pod, ops::host_dns(host).as_ref()).dns;
    }
    if sandbox.lone {
        alone(job, sandbox, &mut made).await?;
    }
    if let Some(target) = target_of(spec(pod), &container.name) {
        made.processes_of = Some(running(job, target).await?);
    }
    let id = match host.runtime.create_container(&sandbox.id, &made).await {
        Ok(id) => id,
        Err(RuntimeError::AlreadyExists { .. }) => existing(job, &made.identity).await?,
        Err(error) => return Err(Some(Failed::of("CreateContainerError", error.chain(), &error))),
    };
    host.events.record(involved.clone(), "Normal", "Created", format!("Created container: {}", container.name));
    if let Some(message) = container::unenforced(container, &host.info()) {
        host.events.record(involved.clone(), "Warning", "LimitsNotEnforced", message);
    }
    if let Some(message) = security::unenforced(pod, container, &host.info()) {
        host.events.record(involved, "Warning", "SELinuxNotEnforced", message);
    }
    fill_remote(job, &container.name, &id, &facts, &sources).await.map_err(config_error)?;
    Ok(id)
}

/// Gives a container what no sandbox holds for it.
async fn alone(job: &Job, sandbox: &Sandbox, made: &mut ContainerSpec) -> Result<(), Option<Failed>> {
    let pod = &job.pod;
    made.resources.pids_limit = container::whole(pod, &job.host.info()).pids_limit;
    let mut own = sandbox::sandbox(pod);
    if !is_main(pod, &made.identity.container) {
        // It was added to the pod. Its network is the pod's, the rest is its own: to join what is the main container's
        // would make that one, for Podman, what it depends on, to be started with it and not removed before it.
        (own.ports, own.sysctls) = Default::default();
        if !sandbox.host_network {
            let main = spec(pod).containers.first().map(|main| main.name.as_str()).unwrap_or_default();
            made.with = Some(running(job, main).await?);
        }
    } else if !sandbox.host_network {
        // Made anew, because its image was changed, it keeps its address.
        own.address = sandbox.ips.first().copied();
    }
    made.alone = Some(own.into());
    Ok(())
}

fn is_main(pod: &Pod, container: &str) -> bool {
    find_container(spec(pod), container).is_some_and(|(role, _)| role == Role::Main)
}

/// What waits for the address of a container that has it to itself; its hook may, too. `made`: before, and perhaps
/// started.
async fn settle(job: &mut Job, container: &Container, id: &str, made: bool) -> Result<(), Option<Failed>> {
    let alone = |sandbox: &Sandbox| sandbox.lone && !sandbox.host_network && is_main(&job.pod, &container.name);
    let Some(mut sandbox) = job.sandbox.clone().filter(alone) else { return Ok(()) };
    let failed = |error: RuntimeError| Some(Failed::of("RunContainerError", error.chain(), &error));
    if made {
        let life = job.host.runtime.inspect(id).await.map_err(failed)?;
        match life.state {
            ContainerState::Created => {}
            // Prepared anew, it would run anew.
            ContainerState::Exited(_) | ContainerState::Lost => return Err(None),
            ContainerState::Running { .. } | ContainerState::Paused { .. } => {
                sandbox.ips = life.ips;
                job.sandbox = Some(sandbox);
                return Ok(());
            }
        }
    }
    sandbox.ips = match job.host.runtime.prepare(id).await {
        Ok(ips) => ips,
        // What it is to run was refused. So it will be when it is started, which cleans up behind itself.
        Err(RuntimeError::Invalid { .. }) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let facts = sources::facts(&job.host, Some(&sandbox));
    job.sandbox = Some(sandbox);
    let Some(dir) = job.host.pod_dir(job.uid()) else { return Ok(()) };
    if container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == hosts::PATH) {
        return Ok(());
    }
    write_hosts(job, &dir, &facts).map_err(config_error)
}

/// The container, made and with its address. One that cannot have the address that it had before gets another.
async fn ready(job: &mut Job, container: &Container, life: &Life) -> Made {
    let id = make(job, container, life).await?;
    let Err(error) = settle(job, container, &id, life.made.is_some()).await else { return Ok(id) };
    let asks = |sandbox: &Sandbox| sandbox.lone && !sandbox.host_network && !sandbox.ips.is_empty();
    let asked = life.made.is_none() && job.sandbox.as_ref().is_some_and(asks);
    if error.is_none() || !asked || job.host.runtime.remove(&id).await.is_err() {
        return Err(error);
    }
    if let Some(sandbox) = &mut job.sandbox {
        sandbox.ips.clear();
    }
    let id = make(job, container, life).await?;
    settle(job, container, &id, false).await.map(|()| id)
}

/// The id of the pod's container of that name that runs.
async fn running(job: &Job, name: &str) -> Made {
    let failed = |message: String| Some(Failed::new("CreateContainerError", message, QUICK));
    let listing = job.host.runtime.list_pod(job.uid()).await.map_err(|error| failed(error.chain()))?;
    let found = listing.containers.into_iter().find(|c| c.identity.container == name && c.state.is_running());
    found.map(|life| life.id).ok_or_else(|| failed(format!("target container {name:?} does not run")))
}

/// A container that an interrupted start left behind.
async fn existing(job: &Job, wanted: &crate::kubelet::runtime::ContainerIdentity) -> Made {
    let failed = |message: String| Some(Failed::new("CreateContainerError", message, QUICK));
    let listing = job.host.runtime.list_pod(job.uid()).await.map_err(|error| failed(error.chain()))?;
    let found = listing.containers.into_iter().find(|c| c.identity == *wanted);
    found.map(|life| life.id).ok_or_else(|| failed("a container of that name exists and is not this pod's".into()))
}

async fn describe(
    job: &Job,
    container: &Container,
    life: &Life,
    image: &ImageInfo,
    facts: &HostFacts,
    sources: &Sources,
) -> Result<ContainerSpec, String> {
    let env = env::environment(&job.pod, container, facts, sources)?;
    let dir = job.host.pod_dir(job.uid());
    let host = job.host.info();
    // Nothing in a simulated container looks at them, and what a real host would refuse there it decides.
    let mut mounts = match job.host.node.simulated {
        true => Vec::new(),
        false => {
            let (pod, container, dir) = (job.pod.clone(), container.clone(), dir.clone());
            let (env, claims) = (env.clone(), sources.claims.clone());
            // The mounts of rootless Podman are its own; what others mount may not come to it.
            let shares_mounts = !host.rootless;
            // Volumes may be on a server that does not answer.
            let work = move || {
                let place = dir.as_ref().map(|dir| Place { dir, shares_mounts });
                volumes::mounts::mounts(&pod, &container, place, &env, &claims)
            };
            tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())??
        }
    };
    if let Some(dir) = dir {
        mounts.extend(last_words(container, &dir.termination_log(&container.name, life.attempt)));
        mounts.extend(hosts_file(job, &mounts, &dir, facts)?);
    }
    let inputs = Inputs { image, env, mounts, attempt: life.attempt, streak: life.streak, host: &host };
    container::container(&job.pod, container, inputs)
}

/// The pod's own /etc/hosts, for containers that mount nothing there.
fn hosts_file(job: &Job, mounts: &[Mount], dir: &PodDir, facts: &HostFacts) -> Result<Option<Mount>, String> {
    if job.host.node.simulated || mounts.iter().any(|mount| mount.target == hosts::PATH) {
        return Ok(None);
    }
    write_hosts(job, dir, facts)?;
    let source = MountSource::Host(dir.hosts_file().to_string_lossy().into_owned());
    Ok(Some(Mount { source, target: hosts::PATH.into(), read_only: false, propagation: Propagation::Private }))
}

fn write_hosts(job: &Job, dir: &PodDir, facts: &HostFacts) -> Result<(), String> {
    let of_host =
        if spec(&job.pod).host_network == Some(true) { fs::read_to_string(hosts::PATH) } else { Ok(String::new()) };
    let file = dir.hosts_file();
    let written = of_host.and_then(|of_host| {
        fs::create_dir_all(dir.root())?;
        fs::write(&file, hosts::content(&job.pod, facts, &of_host))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))
    });
    written.map_err(|error| format!("cannot write the pod's {}: {}: {error}", hosts::PATH, file.display()))
}

/// The file a container may leave a termination message in. Without it the container still runs.
fn last_words(container: &Container, file: &std::path::Path) -> Option<Mount> {
    let target = container.termination_message_path.clone().filter(|p| !p.is_empty());
    let target = target.unwrap_or_else(|| "/dev/termination-log".into());
    fs::create_dir_all(file.parent()?).ok()?;
    let made = fs::File::create(file).ok()?;
    made.set_permissions(fs::Permissions::from_mode(0o666)).ok()?;
    let source = MountSource::Host(file.to_string_lossy().into_owned());
    Some(Mount { source, target, read_only: false, propagation: Propagation::Private })
}

/// Writes the files of volumes on a host that shares no file system, through a container that mounts
/// them. Does nothing on other hosts.
pub async fn fill_remote(
    job: &Job,
    container: &str,
    id: &str,
    facts: &HostFacts,
    sources: &Sources,
) -> Result<(), String> {
    if job.host.pod_dir(job.uid()).is_some() || job.host.node.simulated {
        return Ok(());
    }
    let Some((_, container)) = find_container(spec(&job.pod), container) else { return Ok(()) };
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes::of(&job.pod).find(|v| v.name == mount.name && volumes::is_projected(v)) else {
            continue;
        };
        let failed = |message: String| format!("MountVolume.SetUp failed for volume {:?} : {message}", volume.name);
        let files = payload::payload(&job.pod, volume, facts, sources).map_err(failed)?;
        let written = job.host.runtime.write_files(id, &mount.mount_path, remote::tar(&files)).await;
        written.map_err(|error| failed(error.chain()))?;
    }
    Ok(())
}

/// `fresh`: made just now.
async fn run(job: &Job, container: &Container, id: String, fresh: bool) -> Made {
    let (runtime, starts) = (&job.host.runtime, &job.host.starts);
    if fresh {
        starts.expect(&id);
    }
    if let Err(error) = runtime.start(&id).await {
        // Who starts it after all does so later.
        starts.forget(&id);
        let failed = Failed::of("RunContainerError", error.chain(), &error);
        // Only what was refused has failed; after silence it may run, and the next look tells.
        return Err(Some(Failed { life: (!error.is_silence()).then_some(id), ..failed }));
    }
    let started = format!("Started container {}", container.name);
    job.host.events.record(job.involved(&container.name), "Normal", "Started", started);
    let hook = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
    let Some(hook) = hook else { return Ok(id) };
    // Without a hook, that it was started is reported at once, and looked at then.
    job.inbox.post(|news| {
        news.stale.insert(id.clone());
    });
    let life = runtime.inspect(&id).await;
    let life = life.map_err(|error| Some(Failed::of("RunContainerError", error.chain(), &error)))?;
    let subject = job.subject(container, &life);
    let ran = super::hooks::run(hook, &subject, HOOK_LIMIT);
    match job.cancel.run_until_cancelled(ran).await {
        None => Err(None),
        Some(Ok(())) => Ok(id),
        Some(Err(error)) => {
            let involved = job.involved(&container.name);
            job.host.events.record(
                involved.clone(),
                "Warning",
                "FailedPostStartHook",
                format!("PostStartHook failed: {error}"),
            );
            job.host.events.record(involved, "Normal", "Killing", "FailedPostStartHook");
            let grace = spec(&job.pod).termination_grace_period_seconds.unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            let mut failures = 0;
            // Not left running with half of what it needs, whether its host answers now or later.
            while let Err(error) = runtime.stop(&id, grace).await
                && error.is_silence()
            {
                failures += 1;
                if job.cancel.run_until_cancelled(tokio::time::sleep(QUICK.after(failures))).await.is_none() {
                    break;
                }
            }
            Err(Some(Failed::new("PostStartHookError", format!("PostStartHook failed: {error}"), QUICK)))
        }
    }
}
