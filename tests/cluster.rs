//! The whole of selkie as its users meet it: the real binary, real Podman, real git, real kubectl.

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/hosts.rs"]
mod hosts;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/setting.rs"]
mod setting;

#[path = "cluster/applying.rs"]
mod applying;
#[path = "cluster/bad_input.rs"]
mod bad_input;
#[path = "cluster/crashes.rs"]
mod crashes;
#[path = "cluster/git.rs"]
mod git;
#[path = "cluster/settings.rs"]
mod settings;
#[path = "cluster/hosts.rs"]
mod several_hosts;
#[path = "cluster/watching.rs"]
mod watching;
