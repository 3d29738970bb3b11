//! The whole of selkie as its users meet it: the real binary, real Podman, real git, real kubectl;
//! and below it the kubelet and the Podman runtime by themselves. One binary, so that all share one
//! Podman.
#![allow(clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod control_plane;
#[path = "support/cutter.rs"]
mod cutter;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/git_https.rs"]
mod git_https;
#[path = "support/git_ssh.rs"]
mod git_ssh;
#[path = "support/hosts.rs"]
mod hosts;
#[path = "support/http_server.rs"]
mod http_server;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/repository.rs"]
mod repository;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/setting.rs"]
mod setting;
#[path = "support/storage.rs"]
mod storage;
#[path = "support/terminal.rs"]
mod terminal;
#[path = "support/wait.rs"]
mod wait;

#[path = "system/cluster/applying.rs"]
mod applying;
#[path = "system/cluster/apps.rs"]
mod apps;
#[path = "system/arriving_hollow.rs"]
mod arriving_hollow;
#[path = "system/cluster/bad_input.rs"]
mod bad_input;
#[path = "system/cluster/ci.rs"]
mod ci;
#[path = "system/cluster/claims.rs"]
mod claims;
#[path = "system/cluster/crashes.rs"]
mod crashes;
#[path = "system/cluster/decrypting.rs"]
mod decrypting;
#[path = "system/cluster/deleting.rs"]
mod deleting;
#[path = "system/cluster/documenting.rs"]
mod documenting;
#[path = "system/cluster/drifting.rs"]
mod drifting;
#[path = "system/cluster/explaining.rs"]
mod explaining;
#[path = "system/cluster/following.rs"]
mod following;
#[path = "system/cluster/forges.rs"]
mod forges;
#[path = "system/cluster/full_disk.rs"]
mod full_disk;
#[path = "system/cluster/git.rs"]
mod git;
#[path = "system/cluster/hooking.rs"]
mod hooking;
#[path = "system/cluster/in_vain.rs"]
mod in_vain;
#[path = "system/cluster/jobs.rs"]
mod jobs;
#[path = "system/cluster/judging.rs"]
mod judging;
#[path = "system/kubelet.rs"]
mod kubelet;
#[path = "system/kubelet_hollow.rs"]
mod kubelet_hollow;
#[path = "system/cluster/logging.rs"]
mod logging;
#[path = "system/cluster/measuring.rs"]
mod measuring;
#[path = "system/mirrors_hollow.rs"]
mod mirrors_hollow;
#[path = "system/cluster/moving.rs"]
mod moving;
#[path = "system/cluster/pages.rs"]
mod pages;
#[path = "system/cluster/planning.rs"]
mod planning;
#[path = "system/podman.rs"]
mod podman;
#[path = "system/cluster/pods.rs"]
mod pods;
#[path = "system/pressure_hollow.rs"]
mod pressure_hollow;
#[path = "system/cluster/printing.rs"]
mod printing;
#[path = "system/cluster/pushing.rs"]
mod pushing;
#[path = "system/cluster/rendering.rs"]
mod rendering;
#[path = "system/cluster/replacing.rs"]
mod replacing;
#[path = "system/resizing_hollow.rs"]
mod resizing_hollow;
#[path = "system/cluster/rollbacks.rs"]
mod rollbacks;
#[path = "system/rootless.rs"]
mod rootless;
#[path = "system/cluster/settings.rs"]
mod settings;
#[path = "system/cluster/hosts.rs"]
mod several_hosts;
#[path = "system/cluster/stopping.rs"]
mod stopping;
#[path = "system/cluster/talking.rs"]
mod talking;
#[path = "system/cluster/telling.rs"]
mod telling;
#[path = "system/cluster/watching.rs"]
mod watching;
#[path = "system/cluster/workload_examples.rs"]
mod workload_examples;
#[path = "system/cluster/workloads.rs"]
mod workloads;
