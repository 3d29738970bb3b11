//! A plan: what a change set does, and what the cluster then does because of it.
//!
//! Posted to `/apis/selkie.dev/v1alpha1/plans`; answered, never stored. Everything is deterministic:
//! the same cluster and the same change set give the same document.

use super::changeset::{ChangeResult, ChangeSetSpec, ChangeSetStatus, ObjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    pub api_version: String,
    pub kind: String,
    /// The change set to look ahead for; `dryRun` makes no difference.
    pub spec: ChangeSetSpec,
    /// Set when it is applied in stages; else it comes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Rules by which objects count as ready before those that kinds have, as an Application's `spec.healthChecks`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<Value>,
    pub status: PlanStatus,
}

/// How the objects of a change set are applied where waves or hooks order them, by their annotations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Order {
    /// What is run, and not kept.
    pub hooks: Vec<Value>,
    /// Nothing was applied before.
    pub first: bool,
    /// How long each stage may take to become ready, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_seconds: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Flat")]
pub struct PlanStatus {
    /// What the change set does to its objects. Who owns which fields of them afterwards is left out.
    #[serde(flatten)]
    pub change: ChangeSetStatus,
    pub consequences: Consequences,
}

/// How a [`PlanStatus`] is read: a flattened field would be read twice, and this one is all of the objects.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Flat {
    applied: bool,
    revision: u64,
    results: Vec<ChangeResult>,
    consequences: Consequences,
}

impl From<Flat> for PlanStatus {
    fn from(Flat { applied, revision, results, consequences }: Flat) -> Self {
        Self { change: ChangeSetStatus { applied, revision, results }, consequences }
    }
}

/// What controllers, scheduler and kubelets did on a copy of the cluster once the change set was in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Consequences {
    /// Everything came to rest, and what was changed became ready.
    pub settled: bool,
    /// Why looking ahead ended before everything came to rest. Then pods, images, problems and losses are
    /// those seen until there: more may follow, and what was not ready may become so. Empty: it did not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cut_short: String,
    /// How long it took there, in seconds of that cluster's time.
    pub seconds: f64,
    /// Those whose pods come, go or restart, by namespace, kind and name.
    pub workloads: Vec<Workload>,
    /// Images that hosts do not have yet.
    pub pulls: Vec<Pull>,
    pub problems: Vec<Problem>,
    /// What deletions take with them.
    pub losses: Vec<Loss>,
    /// Claims with data that go, and those that outlive their StatefulSet; by namespace and name.
    pub claims: Vec<ClaimAtStake>,
    /// What had to be taken for granted.
    pub assumptions: Vec<String>,
    /// The hosts that the plan was made for.
    pub hosts: Vec<HostState>,
}

impl Consequences {
    /// Running pods that are replaced, or whose containers start again; the least, if cut short.
    pub fn restarts(&self) -> u64 {
        self.workloads.iter().map(|workload| workload.replaced + workload.restarted).sum()
    }
}

/// What happens to the pods of one workload (a Deployment, a Job, a pod by itself).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    pub id: ObjectId,
    /// Pods that were there and make way for new ones.
    pub replaced: u64,
    /// Pods that stay and whose containers start again.
    pub restarted: u64,
    /// Pods that come and go beyond the replaced ones.
    pub created: u64,
    pub deleted: u64,
    /// In the order it happened.
    pub steps: Vec<PodStep>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodAction {
    #[default]
    Create,
    Delete,
    /// Its containers start again where they are.
    Restart,
    /// It was there already and gets a host now.
    Bind,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStep {
    pub action: PodAction,
    /// A new pod's name ends in `*` where the real one will have random letters.
    pub pod: String,
    /// Empty: no host takes it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Seconds after the change.
    pub at: f64,
    /// Ran and was ready at the end. Of deletions: it was gone. Unknown where false, if cut short.
    pub ready: bool,
    /// Of pods that got a host: why that one. Of pods that did not: why none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What the scheduler said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verdict {
    /// Hosts that could take the pod.
    pub feasible: u64,
    /// In its words, when no host fits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// By name; in large clusters those that say most.
    pub hosts: Vec<HostVerdict>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostVerdict {
    pub host: String,
    /// The higher the better; absent where the pod does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// Why it does not fit, as Kubernetes words it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pull {
    pub image: String,
    pub hosts: Vec<String>,
}

/// Something that will not come right by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Problem {
    pub object: ObjectId,
    /// As events and conditions name it: `Unschedulable`, `CreateContainerConfigError`.
    pub reason: String,
    pub message: String,
    /// How many pods it keeps from running; 0 when it is about the object itself.
    pub pods: u64,
}

/// What goes with an object that is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Loss {
    pub object: ObjectId,
    /// Running pods.
    pub pods: u64,
    /// Volumes whose contents go too: `emptyDir cache`.
    pub volumes: Vec<String>,
}

/// A PersistentVolumeClaim with a volume that something happens to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimAtStake {
    pub claim: ObjectId,
    pub fate: ClaimFate,
    /// What of the plan it goes with, or outlives: itself, its Namespace, a StatefulSet or another workload.
    pub with: ObjectId,
    /// Why, for people.
    pub reason: String,
    /// The PersistentVolume with the data.
    pub volume: String,
    /// Its capacity: `10Gi`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size: String,
    /// Of the volume. `Delete`: the data goes with the claim; `Retain`: it stays there, for someone to look after.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reclaim_policy: String,
}

impl ClaimAtStake {
    /// Nothing keeps the data.
    pub fn loses_data(&self) -> bool {
        self.fate != ClaimFate::Kept && self.reclaim_policy != "Retain"
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimFate {
    #[default]
    Deleted,
    /// Another one takes its name, without its data.
    Replaced,
    /// It stays, with its data.
    Kept,
}

/// A host as the scheduler sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostState {
    pub name: String,
    pub ready: bool,
    /// Capacity, taints and whether it is cordoned, for people and for comparison.
    pub state: String,
}
