//! The built-in rows: which resources are served, and what discovery says of each.

use super::Subresource;

/// Facts of a built-in resource.
pub(super) struct Row {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub verbs: Verbs,
    pub subresources: &'static [Subresource],
}

/// Which verbs a resource has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbs {
    All,
    /// Namespaces cannot be deleted as a collection.
    Single,
    /// Answered, never stored.
    Create,
    /// Measured or found out, never stored.
    Read,
}

impl Verbs {
    pub fn list(self) -> Vec<&'static str> {
        match self {
            Self::All => vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Self::Single => vec!["create", "delete", "get", "list", "patch", "update", "watch"],
            Self::Create => vec!["create"],
            Self::Read => vec!["get", "list"],
        }
    }
}

const WRITE: &[&str] = &["get", "patch", "update"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];

const fn sub(name: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, body: None, verbs }
}

const fn as_kind(
    name: &'static str,
    verbs: &'static [&'static str],
    body: (&'static str, &'static str, &'static str),
) -> Subresource {
    Subresource { name, body: Some(body), verbs }
}

pub(super) const STATUS_SUB: Subresource = sub("status", WRITE);
const STATUS: &[Subresource] = &[sub("status", WRITE)];
pub(super) const SCALE: Subresource = as_kind("scale", WRITE, ("autoscaling", "v1", "Scale"));
const SCALED: &[Subresource] = &[SCALE, sub("status", WRITE)];
const NAMESPACE: &[Subresource] = &[sub("finalize", &["update"]), sub("status", WRITE)];
const NODE: &[Subresource] = &[as_kind("proxy", PROXY, ("", "v1", "NodeProxyOptions")), sub("status", WRITE)];
const SERVICE: &[Subresource] = &[as_kind("proxy", PROXY, ("", "v1", "ServiceProxyOptions")), sub("status", WRITE)];
const ACCOUNT: &[Subresource] = &[as_kind("token", &["create"], ("authentication.k8s.io", "v1", "TokenRequest"))];
const POD: &[Subresource] = &[
    as_kind("attach", CONNECT, ("", "v1", "PodAttachOptions")),
    as_kind("binding", &["create"], ("", "v1", "Binding")),
    sub("ephemeralcontainers", WRITE),
    as_kind("eviction", &["create"], ("policy", "v1", "Eviction")),
    as_kind("exec", CONNECT, ("", "v1", "PodExecOptions")),
    sub("log", &["get"]),
    as_kind("portforward", CONNECT, ("", "v1", "PodPortForwardOptions")),
    as_kind("proxy", PROXY, ("", "v1", "PodProxyOptions")),
    sub("resize", WRITE),
    sub("status", WRITE),
];

const fn row(group: &'static str, plural: &'static str, kind: &'static str, short: &'static [&'static str]) -> Row {
    Row {
        group,
        version: "v1",
        plural,
        kind,
        namespaced: true,
        short_names: short,
        categories: &[],
        verbs: Verbs::All,
        subresources: &[],
    }
}

impl Row {
    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn in_all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    const fn in_category(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn verbs(mut self, verbs: Verbs) -> Self {
        self.verbs = verbs;
        self
    }

    const fn with(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// What `kubectl top` and autoscalers read.
pub const METRICS: &str = "metrics.k8s.io";

/// In discovery order: groups, then plurals.
pub(super) const ROWS: &[Row] = &[
    row("", "bindings", "Binding", &[]).verbs(Verbs::Create),
    row("", "componentstatuses", "ComponentStatus", &["cs"]).cluster().verbs(Verbs::Read),
    row("", "configmaps", "ConfigMap", &["cm"]),
    row("", "endpoints", "Endpoints", &["ep"]),
    row("", "events", "Event", &["ev"]),
    row("", "limitranges", "LimitRange", &["limits"]),
    row("", "namespaces", "Namespace", &["ns"]).cluster().verbs(Verbs::Single).with(NAMESPACE),
    row("", "nodes", "Node", &["no"]).cluster().with(NODE),
    row("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"]).with(STATUS),
    row("", "persistentvolumes", "PersistentVolume", &["pv"]).cluster().with(STATUS),
    row("", "pods", "Pod", &["po"]).in_all().with(POD),
    row("", "podtemplates", "PodTemplate", &[]),
    row("", "replicationcontrollers", "ReplicationController", &["rc"]).in_all().with(SCALED),
    row("", "resourcequotas", "ResourceQuota", &["quota"]).with(STATUS),
    row("", "secrets", "Secret", &[]),
    row("", "serviceaccounts", "ServiceAccount", &["sa"]).with(ACCOUNT),
    row("", "services", "Service", &["svc"]).in_all().with(SERVICE),
    row("apps", "controllerrevisions", "ControllerRevision", &[]),
    row("apps", "daemonsets", "DaemonSet", &["ds"]).in_all().with(STATUS),
    row("apps", "deployments", "Deployment", &["deploy"]).in_all().with(SCALED),
    row("apps", "replicasets", "ReplicaSet", &["rs"]).in_all().with(SCALED),
    row("apps", "statefulsets", "StatefulSet", &["sts"]).in_all().with(SCALED),
    row("events.k8s.io", "events", "Event", &["ev"]),
    row(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", &[]).cluster().verbs(Verbs::Create),
    row(AUTHENTICATION, "tokenreviews", "TokenReview", &[]).cluster().verbs(Verbs::Create),
    row(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", &[]).verbs(Verbs::Create),
    row(AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", &[]).cluster().verbs(Verbs::Create),
    row(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", &[]).cluster().verbs(Verbs::Create),
    row(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", &[]).cluster().verbs(Verbs::Create),
    Row {
        version: "v2",
        ..row("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"]).in_all().with(STATUS)
    },
    row("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"]).in_all().with(STATUS),
    row("batch", "cronjobs", "CronJob", &["cj"]).in_all().with(STATUS),
    row("batch", "jobs", "Job", &[]).in_all().with(STATUS),
    row(NETWORKING, "ingressclasses", "IngressClass", &[]).cluster(),
    row(NETWORKING, "ingresses", "Ingress", &["ing"]).with(STATUS),
    row(NETWORKING, "networkpolicies", "NetworkPolicy", &["netpol"]),
    row("policy", "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"]).with(STATUS),
    row(RBAC, "clusterrolebindings", "ClusterRoleBinding", &[]).cluster(),
    row(RBAC, "clusterroles", "ClusterRole", &[]).cluster(),
    row(RBAC, "rolebindings", "RoleBinding", &[]),
    row(RBAC, "roles", "Role", &[]),
    row("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"])
        .cluster()
        .in_category(&["api-extensions"])
        .with(STATUS),
    row(STORAGE, "csidrivers", "CSIDriver", &[]).cluster(),
    row(STORAGE, "csinodes", "CSINode", &[]).cluster(),
    row(STORAGE, "csistoragecapacities", "CSIStorageCapacity", &[]),
    row(STORAGE, "storageclasses", "StorageClass", &["sc"]).cluster(),
    row(STORAGE, "volumeattachments", "VolumeAttachment", &[]).cluster().with(STATUS),
    row(STORAGE, "volumeattributesclasses", "VolumeAttributesClass", &["vac"]).cluster(),
    row("scheduling.k8s.io", "priorityclasses", "PriorityClass", &["pc"]).cluster(),
    row("coordination.k8s.io", "leases", "Lease", &[]),
    row("node.k8s.io", "runtimeclasses", "RuntimeClass", &[]).cluster(),
    row("discovery.k8s.io", "endpointslices", "EndpointSlice", &[]),
    row(DEVICES, "deviceclasses", "DeviceClass", &[]).cluster(),
    row(DEVICES, "resourceclaims", "ResourceClaim", &[]).with(STATUS),
    row(DEVICES, "resourceclaimtemplates", "ResourceClaimTemplate", &[]),
    row(DEVICES, "resourceslices", "ResourceSlice", &[]).cluster(),
    Row { version: "v1beta1", ..row(METRICS, "nodes", "NodeMetrics", &[]).cluster().verbs(Verbs::Read) },
    Row { version: "v1beta1", ..row(METRICS, "pods", "PodMetrics", &[]).verbs(Verbs::Read) },
    Row { version: "v1alpha1", ..row("selkie.dev", "applications", "Application", &["app", "apps"]).with(STATUS) },
    Row {
        version: "v1alpha1",
        ..row("selkie.dev", "applicationsets", "ApplicationSet", &["appset", "appsets"]).with(STATUS)
    },
];
