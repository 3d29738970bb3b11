//! What a worker does about a change of its pod's resources: has it allocated, gives the containers what
//! was, and tells.

use crate::kubelet::container;
use crate::kubelet::pod::facts::{QUICK, Trouble};
use crate::kubelet::pod::ops::{Job, Outcome};
use crate::kubelet::pod::worker::Worker;
use crate::kubelet::pod::{View, all_containers, find_container, spec};
use crate::kubelet::resize::{Allocation, Standing, Whole, actuation, is_resized};
use crate::kubelet::runtime::ContainerStatus;
use crate::kubelet::usage;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use kube::Resource;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Worker {
    /// Takes up a change that an earlier daemon did not finish.
    pub(super) fn adopt_resize(&mut self) {
        let Some(standing) = Standing::reported(&self.pod) else { return };
        self.host.allocations.enter(&self.pod, || standing, self.host.ctx.clock.now());
        self.follow_resize();
        if self.sandbox.is_some() {
            self.facts.whole = Some(Whole::reported(&self.pod, spec(&self.allocated)));
        }
        let stopped: Vec<_> = {
            let (busy, allocated) = (BTreeSet::new(), self.allocated.clone());
            let view = self.view(&busy);
            let all = all_containers(spec(&allocated)).map(|(_, container)| container);
            let lives = all.filter_map(|container| actuation::stopped(&view, container));
            lives.map(|life| (life.identity.container.clone(), life.id.clone())).collect()
        };
        for (container, id) in stopped {
            self.facts.container_mut(&container).reborn = Some(id);
        }
    }

    /// The pod asks for other resources than before: until more is allocated, it has what it has.
    pub(super) fn note_resize(&mut self, new: &Arc<Pod>) {
        if !is_resized(&self.pod, new) {
            return;
        }
        let allocated = self.allocated.clone();
        let standing = || Standing { allocated: Allocation::desired(&allocated), ..Standing::default() };
        self.host.allocations.enter(new, standing, self.host.ctx.clock.now());
        if self.sandbox.is_some() {
            self.facts.whole.get_or_insert_with(|| Whole::of(spec(&allocated)));
        }
        // What runs was given what was allocated so far, which the API may not say yet.
        for (_, container) in all_containers(spec(&allocated)) {
            let newest = View::newest(&self.lives, &container.name).filter(|life| life.state.is_running());
            let Some(id) = newest.map(|life| life.id.clone()) else { continue };
            let facts = self.facts.container_mut(&container.name).lives.at(&id);
            facts.actuated.get_or_insert_with(|| container.resources.clone().unwrap_or_default());
        }
    }

    /// Brings what is allocated up to date with what the pod asks for.
    pub(super) fn follow_resize(&mut self) {
        self.see_resize();
        let waits = |standing: &Standing| standing.allocated != Allocation::desired(&self.pod);
        if self.resize.as_ref().is_some_and(waits) {
            self.host.judge_resizes();
            self.see_resize();
        }
    }

    fn see_resize(&mut self) {
        self.resize = self.host.allocations.see(&self.pod);
        self.allocated = match &self.resize {
            Some(standing) => standing.allocated.apply(&self.pod),
            None => self.pod.clone(),
        };
    }

    /// Tells when all containers have what was allocated.
    pub(super) fn settle_resize(&mut self) {
        let Some(standing) = self.resize.as_ref().filter(|standing| standing.progress.is_some()) else { return };
        if actuation::is_in_progress(&self.view(&self.busy()), standing) {
            return;
        }
        if let Some((kind, reason, message)) = self.host.allocations.complete(&self.allocated, standing) {
            self.host.events.record(self.pod.object_ref(&()), kind, reason, message);
            self.facts.forget_resize();
        }
        self.see_resize();
    }

    pub(super) fn resized(&mut self, container: &str, id: &str, result: Result<ResourceRequirements, String>) {
        let wanted = find_container(spec(&self.allocated), container).map(|(_, found)| actuation::wanted(&found));
        let now = self.host.ctx.clock.now();
        let facts = self.facts.container_mut(container);
        let told = match result {
            Ok(resources) => {
                facts.resize = None;
                facts.lives.at(id).actuated = Some(resources);
                self.host.allocations.note_error(&self.pod, None)
            }
            Err(message) => {
                let (before, wanted) = (facts.resize.take(), wanted.unwrap_or_default());
                let trouble = Trouble::after(before.as_deref(), "ResizeError", message.clone(), &wanted, now, QUICK);
                facts.resize = Some(trouble.into());
                self.host.allocations.note_error(&self.allocated, Some(&message))
            }
        };
        if let Some((kind, reason, message)) = told {
            self.host.events.record(self.pod.object_ref(&()), kind, reason, message);
        }
    }
}

impl Worker {
    pub(super) fn resized_whole(&mut self, whole: Whole, result: Result<(), String>) {
        let now = self.host.ctx.clock.now();
        let told = match result {
            Ok(()) => {
                (self.facts.whole, self.facts.whole_trouble) = (Some(whole), None);
                self.host.allocations.note_error(&self.pod, None)
            }
            Err(message) => {
                let wanted = actuation::wanted_whole(spec(&self.allocated));
                let before = self.facts.whole_trouble.take();
                let trouble = Trouble::after(before.as_deref(), "ResizeError", message.clone(), &wanted, now, QUICK);
                self.facts.whole_trouble = Some(trouble.into());
                self.host.allocations.note_error(&self.allocated, Some(&message))
            }
        };
        if let Some((kind, reason, message)) = told {
            self.host.events.record(self.pod.object_ref(&()), kind, reason, message);
        }
    }
}

/// Gives the pod as a whole what is allocated to it, and with it the containers that have no limits of their own.
/// `has`: what it has so far.
pub async fn resize_whole(job: Job, lives: Vec<ContainerStatus>, has: Whole) -> Outcome {
    let whole = Whole::of(spec(&job.pod));
    let result = try_resize_whole(&job, &lives, &whole, &has).await;
    Outcome::ResizedWhole { whole, result }
}

async fn try_resize_whole(job: &Job, lives: &[ContainerStatus], whole: &Whole, has: &Whole) -> Result<(), String> {
    let Some(sandbox) = &job.sandbox else { return Ok(()) };
    let running: Vec<_> = lives.iter().filter(|life| life.state.is_running()).collect();
    if let Some(limit) = whole.memory_limit().filter(|limit| has.memory_limit().is_none_or(|had| *limit < had)) {
        let mut used = 0u64;
        for life in &running {
            let own = usage::memory_of(&job.host, &job.pod, life).await.map_err(|error| error.chain())?;
            used = used.saturating_add(own.unwrap_or(0));
        }
        if used >= limit.unsigned_abs() {
            return Err(format!(
                "cannot decrease memory limits: attempting to set pod memory limit ({limit}) below current usage ({used})"
            ));
        }
    }
    let info = job.host.info();
    match job.host.runtime.update_sandbox(&sandbox.id, &container::whole(&job.pod, &info)).await {
        // It is limited as before, and only weighs otherwise beside other pods.
        Err(_) if whole.is_limited_as(has) => {}
        updated => updated.map_err(|error| error.chain())?,
    }
    if whole.is_limited_as(has) {
        return Ok(());
    }
    for (_, container) in all_containers(spec(&job.pod)) {
        let Some(life) = running.iter().find(|life| life.identity.container == container.name) else { continue };
        let limits = container.resources.as_ref().and_then(|all| all.limits.as_ref());
        if ["cpu", "memory"].iter().all(|name| limits.is_some_and(|limits| limits.contains_key(*name))) {
            continue;
        }
        let resources = container::limits(&job.pod, container, &info);
        job.host.runtime.update(&life.id, &resources).await.map_err(|error| error.chain())?;
    }
    Ok(())
}

/// Gives a running container what is allocated to it. `has`: what it has so far.
pub async fn resize(job: Job, life: ContainerStatus, has: ResourceRequirements) -> Outcome {
    let (name, id) = (life.identity.container.clone(), life.id.clone());
    let found = find_container(spec(&job.pod), &name);
    let result = match &found {
        Some((_, container)) => try_resize(&job, container, &life, &has).await,
        None => Err(format!("pod has no container {name:?}")),
    };
    Outcome::Resized { container: name, id, result }
}

async fn try_resize(
    job: &Job,
    container: &Container,
    life: &ContainerStatus,
    has: &ResourceRequirements,
) -> Result<ResourceRequirements, String> {
    if let Some(limit) = actuation::lowered_memory(container, has) {
        let used = usage::memory_of(&job.host, &job.pod, life).await.map_err(|error| error.chain())?;
        // The kernel would kill for it.
        if let Some(used) = used.filter(|used| *used >= limit) {
            let name = &container.name;
            return Err(format!(
                "cannot decrease memory limits: attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
            ));
        }
    }
    let resources = container::limits(&job.pod, container, &job.host.info());
    job.host.runtime.update(&life.id, &resources).await.map_err(|error| error.chain())?;
    Ok(container.resources.clone().unwrap_or_default())
}
