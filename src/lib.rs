//! selkie runs containers on plain machines from git.
//!
//! One binary holds a Kubernetes-compatible API server with its store, the controllers, the
//! scheduler, a kubelet for each Podman host, and a GitOps engine that turns commits into
//! change sets. [The map](#the-map) says where each lives; [the invariants](#invariants) say what
//! every change keeps true.
//!
//! # The map
//!
//! ```text
//!  git repo / directory / git push             kubectl, client-go, Helm, k9s, CI
//!        |                                               |  HTTPS
//!  gitops: source -> render -> plan -> sync              |
//!        |  one ChangeSet per commit                     |
//!        +---------------------+-------------------------+
//!                              v
//!   apiserver: authn -> decode -> admission -> verbs -> patch    the only writer of the store
//!                              |
//!   store: one revision counter, durable log, watch              redb | memory
//!                              |  list + watch
//!      +-----------+-----------+-----------+
//!   controllers  scheduler   kubelet (one per Podman host)
//!                              |
//!                     Podman REST API: unix, tcp
//! ```
//!
//! A module may use only those below it in this list; `tests/tidy.rs` enforces it.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | one file per verb, settings, output |
//! | [`daemon`] | wiring, bootstrap, supervision, ordered shutdown; plans: the whole of it on a copy of the store ([`daemon::fork`]) |
//! | [`gitops`] | sources, rendering, plan (pure), sync, and who is told of it: Events, metrics, notifications |
//! | [`network`] | addresses and service endpoints |
//! | [`kubelet`] | pod workers (pure decide, thin shell), static pods, resizes, probes, volumes, images, evictions, logs, streams, runtimes |
//! | [`scheduler`] | snapshot, counts per topology domain, queue and what wakes it, filters, scores, preemption, what equal pods need not find out again |
//! | [`controllers`] | one file per controller: shell; `<name>/plan.rs`: pure |
//! | [`client`] | `kube::Client` in-process or over HTTPS, shared informers, work queue, events |
//! | [`apiserver`] | HTTP, authentication, verbs, patch, watch, tables, streams |
//! | [`store`] | bytes and revisions, durable, watchable; knows no kinds |
//! | [`api`] | registry (one row per kind), schema engine, kinds (defaults, validation, columns), selectors, errors |
//! | [`telemetry`] | tracing and metrics |
//! | [`base`] | clock, ids, backoff, wake-ups |
//!
//! # Invariants
//!
//! - Everything above the store speaks only the Kubernetes API. Only `apiserver` writes the store.
//! - An object is JSON bytes with an extracted [`api::meta::Envelope`]; typed structs are views that
//!   are never stored, because they drop fields they do not know.
//! - Each reconciler is observe -> plan (pure) -> act. Clock, ids and randomness are inputs, and
//!   nothing holds global state, so that the same components run under virtual time. One table is shared by all of a
//!   process: its file watchers, of which the machine gives each user few.
//! - A wake-up carries no payload. Every pass is idempotent, and a timer repairs missed wake-ups.
//! - The kubelet keeps no state of its own: labels on containers carry what a restart must know, and the pod's
//!   status what of a resize was granted.
//! - Secret values never reach output, logs or errors.
//!
//! # Where the first design was left
//!
//! - **Podman.** The podman-api crate makes the calls that it gets right on every version: the host,
//!   images, volumes, usage. It breaks creating, stopping and waiting for containers, answers of 304 and
//!   the inspections of Podman 5.0; those, and all streams, go through a small client of our own, with a
//!   connection and a deadline for each call ([`kubelet::runtime::podman`]).
//! - **YAML.** Manifests are composed from the events of granit-parser, the parser under serde-saphyr:
//!   every value needs its line, empty documents must not shift those that follow, and duplicate keys are
//!   refused. Request bodies, where no line is wanted, are read by serde-saphyr itself; serde_yaml is for
//!   selkie's own configuration and output ([`gitops::render`]).
//! - **Deployments** act only when all their ReplicaSets have observed their latest specs. Until
//!   a set has reported, its numbers say nothing about the pods that it may have made or deleted meanwhile,
//!   and the bounds of surge and unavailability could be broken ([`controllers::deployment`]).
//! - **The store** commits in one phase and checks the whole file when it opens it. Two-phase commits and
//!   quick repair cost about a third of the throughput with one writer and almost half with many; what they
//!   save, reading the file after a crash, is done at each start anyway ([`store::redb`]).
//! - **CEL.** Of the cel crate only the parser is used. Rules are evaluated here, on objects in place,
//!   with Kubernetes' types and within a budget: a rule can be wrong but cannot hang the server
//!   ([`api::cel`]).
//! - **age.** SOPS needs of it that one X25519 key opens one key. That is a page over ring and x25519-dalek; the
//!   age crate would bring passphrases, plugins, ssh keys and their translations along ([`gitops::sops`]).
//! - **Probes.** Commands of exec probes are started by a shell of the container that is kept for them: an exec by Podman
//!   takes twenty times the CPU ([`kubelet::probes`]).
//! - **Eviction.** On a plain machine the disk is not the node's alone: no pod goes for one that others filled, and
//!   images that were built on the host stay ([`kubelet::eviction`], [`kubelet::image_gc`]).
//! - **Static pods** are pods of the API, which is in the same process: there is no mirror beside them
//!   ([`kubelet::static_pods`]).
//! - **Memory.** Bytes as they are served were to be what is kept. In a large cluster most objects are made from few
//!   templates and seldom read: once there is much, those that lie still are kept as what differs from a sibling's
//!   ([`store`]).
//! - **Simulated hosts** have threads of their own, of lower priority: they stand for other machines, which would not
//!   take processors from this one.
//! - **The allocator** is mimalloc: the daemon makes and drops small JSON trees on every thread, and
//!   malloc took two fifths of its time.

pub mod api;
pub mod apiserver;
pub mod base;
pub mod cli;
pub mod client;
pub mod controllers;
pub mod daemon;
pub mod gitops;
pub mod kubelet;
pub mod network;
pub mod scheduler;
pub mod store;
pub mod telemetry;
