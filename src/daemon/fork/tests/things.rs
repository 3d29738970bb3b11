//! Objects of every kind that a plan has to do with, at random.

use crate::api::changeset::ObjectId;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Claim,
    ConfigMap,
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    Pod,
    ReplicaSet,
    Service,
    StatefulSet,
}

/// What pods read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    Nothing,
    Config,
    Claim,
}

/// What one object is like; a kind leaves out what it has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub replicas: u32,
    pub image: u8,
    /// Tenths.
    pub cpu: u32,
    /// Strategy, policy, suspension or contents.
    pub other: bool,
    pub uses: Uses,
}

pub type Name = (Kind, u8);

/// Some objects, as they are and as they are to be.
#[derive(Debug, Clone)]
pub struct Case {
    objects: BTreeMap<Name, (Option<Shape>, Option<Shape>)>,
    /// They come in waves, and between hooks.
    pub staged: bool,
}

pub fn cases(objects: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    let object = (prop::option::weighted(0.8, shape()), 0u8..8, any::<u8>(), shape());
    let objects = prop::collection::btree_map((kind(), 0u8..2), object, objects);
    objects.prop_map(|objects| {
        let become_of = |(before, fate, fields, new): (Option<Shape>, u8, u8, Shape)| match (before, fate) {
            (None, _) => (None, Some(new)),
            (Some(before), 0..2) => (Some(before), None),
            (Some(before), 2) => (Some(before), Some(before)),
            (Some(before), _) => (Some(before), Some(before.with(fields, new))),
        };
        Case { objects: objects.into_iter().map(|(name, object)| (name, become_of(object))).collect(), staged: false }
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop::sample::select(vec![
        Claim,
        ConfigMap,
        CronJob,
        DaemonSet,
        Deployment,
        Job,
        Pod,
        ReplicaSet,
        Service,
        StatefulSet,
    ])
}

fn shape() -> impl Strategy<Value = Shape> {
    let uses = prop_oneof![4 => Just(Uses::Nothing), 1 => Just(Uses::Config), 1 => Just(Uses::Claim)];
    let shape = (0u32..4, 0u8..3, 1u32..4, any::<bool>(), uses);
    shape.prop_map(|(replicas, image, cpu, other, uses)| Shape { replicas, image, cpu, other, uses })
}

impl Shape {
    /// With those fields of another that `fields` has bits for.
    fn with(self, fields: u8, new: Self) -> Self {
        let from = |bit: u8| if fields & (1 << bit) == 0 { self } else { new };
        Self {
            replicas: from(0).replicas,
            image: from(1).image,
            cpu: from(2).cpu,
            other: from(3).other,
            uses: from(4).uses,
        }
    }
}

impl Case {
    /// The same in waves, without what keeps a stage from being ready: a claim that nobody uses.
    pub fn in_stages(mut self) -> Self {
        self.objects.retain(|(kind, _), _| *kind != Kind::Claim);
        let shapes = self.objects.values_mut().flat_map(|(before, after)| [before, after]);
        shapes.flatten().for_each(|shape| shape.uses = Uses::Nothing);
        self.staged = true;
        self
    }

    pub fn before(&self) -> Vec<Value> {
        self.objects.iter().filter_map(|(name, (before, _))| Some(manifest(*name, (*before)?))).collect()
    }

    pub fn after(&self) -> Vec<Value> {
        let mut all: Vec<_> =
            self.objects.iter().filter_map(|(name, (_, after))| Some(manifest(*name, (*after)?))).collect();
        if self.staged {
            let wave = |index: usize| json!({"selkie.dev/sync-wave": (index % 3).to_string()});
            all.iter_mut().enumerate().for_each(|(index, object)| object["metadata"]["annotations"] = wave(index));
        }
        all
    }

    pub fn deletions(&self) -> Vec<ObjectId> {
        let gone = self.objects.iter().filter(|(_, (before, after))| before.is_some() && after.is_none());
        gone.map(|(name, _)| id(*name)).collect()
    }
}

/// What is run before and after objects in stages.
pub fn hooks() -> Vec<Value> {
    let shape = Shape { replicas: 1, image: 1, cpu: 1, other: false, uses: Uses::Nothing };
    let hook = |number, annotations: Value| {
        let mut job = manifest((Kind::Job, number), shape);
        job["metadata"]["annotations"] = annotations;
        job
    };
    let tidy = json!({"selkie.dev/hook": "PreSync", "selkie.dev/hook-delete-policy": "HookSucceeded"});
    vec![hook(8, tidy), hook(9, json!({"selkie.dev/hook": "PostSync"}))]
}

pub fn id(name: Name) -> ObjectId {
    let (api_version, kind) = match name.0 {
        Kind::Claim => ("v1", "PersistentVolumeClaim"),
        Kind::ConfigMap => ("v1", "ConfigMap"),
        Kind::CronJob => ("batch/v1", "CronJob"),
        Kind::DaemonSet => ("apps/v1", "DaemonSet"),
        Kind::Deployment => ("apps/v1", "Deployment"),
        Kind::Job => ("batch/v1", "Job"),
        Kind::Pod => ("v1", "Pod"),
        Kind::ReplicaSet => ("apps/v1", "ReplicaSet"),
        Kind::Service => ("v1", "Service"),
        Kind::StatefulSet => ("apps/v1", "StatefulSet"),
    };
    ObjectId {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: text(name),
        uid: String::new(),
    }
}

/// Its name, and the value of the label `thing` of its pods.
fn text((kind, number): Name) -> String {
    format!("{}-{number}", format!("{kind:?}").to_lowercase())
}

/// Of the class that claims name.
pub fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "podman"},
        "provisioner": "podman.selkie.dev", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn manifest(name: Name, shape: Shape) -> Value {
    let ObjectId { api_version, kind, name: text, .. } = id(name);
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": text, "namespace": "default", "labels": {"thing": text}},
    });
    match name.0 {
        Kind::ConfigMap => object["data"] = json!({"KEY": shape.image.to_string()}),
        Kind::Claim => {
            object["metadata"]["labels"]["image"] = json!(shape.image.to_string());
            object["spec"] = claim();
        }
        _ => object["spec"] = spec(name, shape, &text),
    }
    object
}

fn spec(name: Name, shape: Shape, text: &str) -> Value {
    let Shape { replicas, other, .. } = shape;
    let selector = json!({"matchLabels": {"thing": text}});
    let template = |policy: &str| {
        let labels = json!({"thing": text});
        json!({"metadata": {"labels": labels}, "spec": pod(shape, policy)})
    };
    let rolling =
        if other { json!({"maxSurge": 1, "maxUnavailable": 0}) } else { json!({"maxSurge": 0, "maxUnavailable": 1}) };
    match name.0 {
        Kind::Deployment => json!({
            "replicas": replicas, "selector": selector, "template": template("Always"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        }),
        Kind::ReplicaSet => json!({"replicas": replicas, "selector": selector, "template": template("Always")}),
        Kind::StatefulSet => json!({
            "replicas": replicas, "selector": selector, "template": template("Always"), "serviceName": text,
            "podManagementPolicy": if other { "Parallel" } else { "OrderedReady" },
        }),
        Kind::DaemonSet => json!({
            "selector": selector, "template": template("Always"),
            "updateStrategy": {"type": if other { "OnDelete" } else { "RollingUpdate" }},
        }),
        Kind::Job => json!({
            "completions": replicas.max(1), "parallelism": 2, "suspend": other, "template": template("Never"),
        }),
        Kind::CronJob => json!({
            "schedule": "* * * * *", "suspend": other, "jobTemplate": {"spec": {"template": template("Never")}},
        }),
        Kind::Service => json!({"selector": {"thing": text}, "ports": [{"port": 80 + u32::from(shape.image)}]}),
        _ => pod(shape, "Always"),
    }
}

fn pod(shape: Shape, restart_policy: &str) -> Value {
    let mut container = json!({
        "name": "c", "image": format!("image:{}", shape.image),
        "resources": {"requests": {"cpu": format!("{}00m", shape.cpu)}},
    });
    let mut volumes = json!([]);
    match shape.uses {
        Uses::Nothing => {}
        Uses::Config => container["envFrom"] = json!([{"configMapRef": {"name": "configmap-0"}}]),
        Uses::Claim => {
            container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
            volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "claim-0"}}]);
        }
    }
    json!({"restartPolicy": restart_policy, "containers": [container], "volumes": volumes})
}

fn claim() -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "podman",
        "resources": {"requests": {"storage": "1Gi"}},
    })
}
