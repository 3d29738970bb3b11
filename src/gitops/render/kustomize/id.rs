//! How kustomize names objects: group, version, kind, name and namespace.

use crate::gitops::render::{group, version};
use std::fmt;

/// A namespace that no object can have: that of kinds without one.
const NO_NAMESPACE: &str = "_non_namespaceable_";
const DEFAULT_NAMESPACE: &str = "default";

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// Group and version of an apiVersion.
pub fn split(api_version: &str) -> (&str, &str) {
    (group(api_version), version(api_version))
}

impl Gvk {
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = split(api_version);
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether it has all that the selector names.
    pub fn selected_by(&self, selector: &Gvk) -> bool {
        let fits = |own: &str, wanted: &str| wanted.is_empty() || own == wanted;
        fits(&self.group, &selector.group) && fits(&self.version, &selector.version) && fits(&self.kind, &selector.kind)
    }

    /// Kinds that the API of Kubernetes 1.21 has without a namespace: what kustomize knows of. Others, custom
    /// kinds too, count as namespaced.
    pub fn is_cluster_scoped(&self) -> bool {
        let kinds = builtin(&self.group, &self.version);
        kinds.is_some_and(|(cluster, _)| cluster.contains(&self.kind.as_str()))
    }

    /// Whether kustomize knows the fields of the kind, and so how its lists merge.
    pub fn has_schema(&self) -> bool {
        let kinds = builtin(&self.group, &self.version);
        kinds.is_some_and(|(cluster, namespaced)| {
            cluster.contains(&self.kind.as_str()) || namespaced.contains(&self.kind.as_str())
        })
    }

    /// Where kinds stand in kustomize's own order.
    pub fn order_key(&self) -> (i32, String) {
        (rank(&self.kind, &ORDER_FIRST, &ORDER_LAST), self.sort_text())
    }

    pub fn sort_text(&self) -> String {
        let or = |text: &'_ str, none: &'_ str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        format!("{}_{}_{}", or(&self.group, "~G"), or(&self.version, "~V"), or(&self.kind, "~K"))
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &'static str, own: &str| if own.is_empty() { text.to_owned() } else { own.to_owned() };
        write!(f, "{}.{}.{}", or("[noKind]", &self.kind), or("[noVer]", &self.version), or("[noGrp]", &self.group))
    }
}

/// What applies first to what comes later: kustomize's `legacy` order.
pub const ORDER_FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
pub const ORDER_LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Negative for kinds that go first, positive for those that go last.
pub fn rank<T: AsRef<str>>(kind: &str, first: &[T], last: &[T]) -> i32 {
    // Of a kind named twice, the last place counts.
    let place = |list: &[T]| list.iter().rposition(|name| name.as_ref() == kind).and_then(|at| i32::try_from(at).ok());
    if let Some(at) = place(last) {
        return at + 1;
    }
    place(first).map_or(0, |at| at - i32::try_from(first.len()).unwrap_or(i32::MAX))
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ResId {
    pub gvk: Gvk,
    pub name: String,
    pub namespace: String,
}

impl ResId {
    /// The namespace, with none and `default` being the same.
    pub fn effective_namespace(&self) -> &str {
        if self.gvk.is_cluster_scoped() {
            NO_NAMESPACE
        } else if self.namespace.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            &self.namespace
        }
    }

    pub fn same_namespace(&self, other: &Self) -> bool {
        self.effective_namespace() == other.effective_namespace()
    }

    /// Whether both name the same object.
    pub fn same(&self, other: &Self) -> bool {
        self.name == other.name && self.gvk == other.gvk && self.same_namespace(other)
    }

    /// Whether it has all that the selector names.
    pub fn selected_by(&self, selector: &Self) -> bool {
        (selector.name.is_empty() || selector.name == self.name)
            && (selector.namespace.is_empty() || selector.same_namespace(self))
            && self.gvk.selected_by(&selector.gvk)
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.gvk.kind)?;
        if !self.name.is_empty() {
            f.write_str(" ")?;
            if !self.namespace.is_empty() {
                write!(f, "{}/", self.namespace)?;
            }
            f.write_str(&self.name)?;
        }
        Ok(())
    }
}

type Kinds = (&'static [&'static str], &'static [&'static str]);

/// The kinds of an API version: without a namespace, and with one.
fn builtin(group: &str, version: &str) -> Option<Kinds> {
    const NONE: &[&str] = &[];
    let v1 = version == "v1";
    let v1_or_beta1 = v1 || version == "v1beta1";
    Some(match group {
        "" if v1 => (
            &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
            &[
                "ConfigMap",
                "Endpoints",
                "Event",
                "LimitRange",
                "PersistentVolumeClaim",
                "Pod",
                "PodTemplate",
                "ReplicationController",
                "ResourceQuota",
                "Secret",
                "Service",
                "ServiceAccount",
            ],
        ),
        "admissionregistration.k8s.io" if v1_or_beta1 => {
            (&["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"], NONE)
        }
        "apiextensions.k8s.io" if v1_or_beta1 => (&["CustomResourceDefinition"], NONE),
        "apiregistration.k8s.io" if v1_or_beta1 => (&["APIService"], NONE),
        "apps" if v1 => (NONE, &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
        "autoscaling" if v1 => (NONE, &["HorizontalPodAutoscaler", "Scale"]),
        "autoscaling" if matches!(version, "v2beta1" | "v2beta2") => (NONE, &["HorizontalPodAutoscaler"]),
        "batch" if v1 => (NONE, &["CronJob", "Job"]),
        "batch" if version == "v1beta1" => (NONE, &["CronJob"]),
        "certificates.k8s.io" if v1_or_beta1 => (&["CertificateSigningRequest"], NONE),
        "coordination.k8s.io" if v1_or_beta1 => (NONE, &["Lease"]),
        "discovery.k8s.io" if v1_or_beta1 => (NONE, &["EndpointSlice"]),
        "events.k8s.io" if v1_or_beta1 => (NONE, &["Event"]),
        "extensions" if version == "v1beta1" => (NONE, &["Ingress"]),
        "flowcontrol.apiserver.k8s.io" if version == "v1beta1" => (&["FlowSchema", "PriorityLevelConfiguration"], NONE),
        "networking.k8s.io" if v1 => (&["IngressClass"], &["Ingress", "NetworkPolicy"]),
        "networking.k8s.io" if version == "v1beta1" => (&["IngressClass"], &["Ingress"]),
        "node.k8s.io" if v1_or_beta1 => (&["RuntimeClass"], NONE),
        "policy" if v1 => (NONE, &["PodDisruptionBudget"]),
        "policy" if version == "v1beta1" => (&["PodSecurityPolicy"], &["PodDisruptionBudget"]),
        "rbac.authorization.k8s.io" if v1_or_beta1 => {
            (&["ClusterRole", "ClusterRoleBinding"], &["Role", "RoleBinding"])
        }
        "scheduling.k8s.io" if v1_or_beta1 => (&["PriorityClass"], NONE),
        "storage.k8s.io" if v1 => (&["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"], NONE),
        "storage.k8s.io" if version == "v1beta1" => {
            (&["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"], &["CSIStorageCapacity"])
        }
        _ => return None,
    })
}
