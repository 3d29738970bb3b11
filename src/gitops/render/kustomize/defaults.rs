//! The fields that kustomize's transformers change without being told, as of its release 5.5.

use super::fieldspec::FieldSpec;
use super::transformer_config::{NameReference, TransformerConfig};
use std::sync::LazyLock;

/// Where kinds have their pod spec.
const WORKLOADS: [(&str, &str); 9] = [
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
];
/// References that kustomize looks for in all of them but one.
const NOT_IN_CONTROLLERS: [&str; 1] = ["ReplicationController"];
const NOT_IN_VARS: [&str; 2] = ["PodTemplate", "ReplicationController"];
const NOT_IN_TEMPLATES: [&str; 2] = ["PodTemplate", "ReplicaSet"];

/// The API groups of kinds whose field specs are for one group only.
fn group_of(kind: &str) -> &'static str {
    match kind {
        "StatefulSet" => "apps",
        "Job" | "CronJob" => "batch",
        "PodDisruptionBudget" => "policy",
        "NetworkPolicy" => "networking.k8s.io",
        _ => "",
    }
}

fn spec(kind: &str, path: impl Into<String>, create: bool) -> FieldSpec {
    let version = if matches!(kind, "Service" | "ReplicationController") { "v1" } else { "" };
    FieldSpec::of(kind, path, create).in_group(group_of(kind)).in_version(version)
}

/// Made once: every base has them.
static CONFIG: LazyLock<TransformerConfig> = LazyLock::new(make);

pub fn config() -> TransformerConfig {
    CONFIG.clone()
}

fn make() -> TransformerConfig {
    let mut label_fields = selectors();
    label_fields.extend(metadata("labels"));
    let replicated = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"];
    let mut config = TransformerConfig {
        name_prefix: vec![FieldSpec::any("metadata/name", false)],
        name_suffix: vec![FieldSpec::any("metadata/name", false)],
        namespace: vec![
            FieldSpec::of("Namespace", "metadata/name", true),
            FieldSpec::of("APIService", "spec/service/namespace", true).in_group("apiregistration.k8s.io"),
            FieldSpec::of("CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/namespace", false)
                .in_group("apiextensions.k8s.io"),
        ],
        common_labels: label_fields,
        labels: Vec::new(),
        template_labels: metadata("labels"),
        common_annotations: metadata("annotations"),
        name_reference: name_references(),
        images: ["spec", "spec/template/spec"]
            .iter()
            .flat_map(|spec| ["containers", "initContainers"].map(|list| format!("{spec}/{list}[]/image")))
            .map(|path| FieldSpec::any(&path, true))
            .collect(),
        replicas: replicated.map(|kind| FieldSpec::of(kind, "spec/replicas", true)).to_vec(),
        var_reference: var_references(),
    };
    config.sort();
    config
}

/// Selectors that labels with `includeSelectors` go into.
fn selectors() -> Vec<FieldSpec> {
    let mut specs = vec![
        spec("Service", "spec/selector", true),
        spec("ReplicationController", "spec/selector", true),
        spec("Deployment", "spec/selector/matchLabels", true),
        spec("ReplicaSet", "spec/selector/matchLabels", true),
        spec("DaemonSet", "spec/selector/matchLabels", true),
        spec("StatefulSet", "spec/selector/matchLabels", true),
        spec("Job", "spec/selector/matchLabels", false),
        spec("CronJob", "spec/jobTemplate/spec/selector/matchLabels", false),
        spec("PodDisruptionBudget", "spec/selector/matchLabels", false),
        spec("NetworkPolicy", "spec/podSelector/matchLabels", false),
        spec("NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", false),
        spec("NetworkPolicy", "spec/egress/to/podSelector/matchLabels", false),
    ];
    for kind in ["Deployment", "StatefulSet"] {
        let mut placement = |path: String| {
            let path = format!("spec/template/spec/{path}/labelSelector/matchLabels");
            specs.push(FieldSpec::of(kind, path, false).in_group("apps"));
        };
        for affinity in ["podAffinity", "podAntiAffinity"] {
            placement(format!("affinity/{affinity}/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm"));
            placement(format!("affinity/{affinity}/requiredDuringSchedulingIgnoredDuringExecution"));
        }
        placement("topologySpreadConstraints".to_owned());
    }
    specs
}

/// `labels` or `annotations` of objects and of what they make.
fn metadata(field: &str) -> Vec<FieldSpec> {
    let mut specs = vec![FieldSpec::any(&format!("metadata/{field}"), true)];
    let template = format!("spec/template/metadata/{field}");
    for kind in ["ReplicationController", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job"] {
        let made = spec(kind, &template, true);
        // Annotations go to StatefulSets of any group.
        let any_group = field == "annotations" && kind == "StatefulSet";
        specs.push(if any_group { made.in_group("") } else { made });
    }
    if field == "labels" {
        specs.push(spec("StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true));
    }
    specs.push(spec("CronJob", format!("spec/jobTemplate/metadata/{field}"), true));
    specs.push(spec("CronJob", format!("spec/jobTemplate/spec/template/metadata/{field}"), true));
    specs
}

fn in_pods(not_in: &[&str], fields: &[&str]) -> Vec<FieldSpec> {
    let kinds = WORKLOADS.iter().filter(|(kind, _)| !not_in.contains(kind));
    kinds
        .flat_map(|(kind, spec)| fields.iter().map(move |field| FieldSpec::of(kind, format!("{spec}/{field}"), false)))
        .collect()
}

fn elsewhere(fields: &[(&str, &str, &str)]) -> Vec<FieldSpec> {
    fields.iter().map(|(kind, group, path)| FieldSpec::of(kind, *path, false).in_group(group)).collect()
}

/// Where vars may be.
fn var_references() -> Vec<FieldSpec> {
    const FIELDS: [&str; 4] = ["args", "command", "env/value", "volumeMounts/mountPath"];
    let lists = ["containers", "initContainers"];
    let fields: Vec<_> = lists.iter().flat_map(|list| FIELDS.map(|field| format!("{list}/{field}"))).collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    let servers = ["Deployment", "ReplicaSet", "DaemonSet", "Job"]
        .map(|kind| (kind, "", "spec/template/spec/volumes/nfs/server"));
    let others = elsewhere(&[
        ("Pod", "", "spec/volumes/nfs/server"),
        // As kustomize has it; no such fields exist.
        ("CronJob", "", "spec/jobTemplate/spec/template/volumes/nfs/server"),
        ("StatefulSet", "", "spec/volumeClaimTemplates/spec/nfs/server"),
        ("PersistentVolume", "", "spec/nfs/server"),
        ("Deployment", "", "spec/template/metadata/annotations"),
        ("Ingress", "", "spec/rules/host"),
        ("Ingress", "", "spec/tls/hosts"),
        ("Ingress", "", "spec/tls/secretName"),
        ("Service", "", "spec/ports/port"),
        ("Service", "", "spec/ports/targetPort"),
    ]);
    let anywhere = ["labels", "annotations"].map(|field| FieldSpec::any(&format!("metadata/{field}"), false));
    [in_pods(&NOT_IN_VARS, &fields), elsewhere(&servers), others, anywhere.to_vec()].concat()
}

/// Names that objects refer to others by.
fn name_references() -> Vec<NameReference> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    const HOOKS: &str = "admissionregistration.k8s.io";
    let to = |kind: &str, group: &str, version: &str, fields: Vec<FieldSpec>| NameReference {
        kind: kind.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        field_specs: fields,
    };
    let scaled = || elsewhere(&[("HorizontalPodAutoscaler", "", "spec/scaleTargetRef/name")]);
    let config_maps = [
        in_pods(
            &NOT_IN_CONTROLLERS,
            &[
                "volumes/configMap/name",
                "containers/env/valueFrom/configMapKeyRef/name",
                "initContainers/env/valueFrom/configMapKeyRef/name",
                "containers/envFrom/configMapRef/name",
                "initContainers/envFrom/configMapRef/name",
                "volumes/projected/sources/configMap/name",
            ],
        ),
        elsewhere(&[
            ("Node", "", "spec/configSource/configMap"),
            ("Role", "", "rules/resourceNames"),
            ("ClusterRole", "", "rules/resourceNames"),
            ("Ingress", "", "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap"),
        ]),
    ];
    let secrets = [
        in_pods(
            &NOT_IN_CONTROLLERS,
            &[
                "volumes/secret/secretName",
                "containers/env/valueFrom/secretKeyRef/name",
                "initContainers/env/valueFrom/secretKeyRef/name",
                "containers/envFrom/secretRef/name",
                "initContainers/envFrom/secretRef/name",
                "imagePullSecrets/name",
                "volumes/projected/sources/secret/name",
            ],
        ),
        elsewhere(&[
            ("Ingress", "", "spec/tls/secretName"),
            ("Ingress", "", "metadata/annotations/ingress.kubernetes.io\\/auth-secret"),
            ("Ingress", "", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret"),
            ("Ingress", "", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret"),
            ("ServiceAccount", "", "imagePullSecrets/name"),
            ("StorageClass", "", "parameters/secretName"),
            ("StorageClass", "", "parameters/adminSecretName"),
            ("StorageClass", "", "parameters/userSecretName"),
            ("StorageClass", "", "parameters/secretRef"),
            ("Role", "", "rules/resourceNames"),
            ("ClusterRole", "", "rules/resourceNames"),
            ("Service", "serving.knative.dev", "spec/template/spec/containers/env/valueFrom/secretKeyRef/name"),
            ("PersistentVolume", "", "spec/azureFile/secretName"),
        ]),
    ];
    let services = elsewhere(&[
        ("StatefulSet", "apps", "spec/serviceName"),
        ("Ingress", "", "spec/rules/http/paths/backend/serviceName"),
        ("Ingress", "", "spec/backend/serviceName"),
        ("Ingress", "", "spec/rules/http/paths/backend/service/name"),
        ("Ingress", "", "spec/defaultBackend/service/name"),
        ("APIService", "apiregistration.k8s.io", "spec/service/name"),
        ("ValidatingWebhookConfiguration", HOOKS, "webhooks/clientConfig/service"),
        ("MutatingWebhookConfiguration", HOOKS, "webhooks/clientConfig/service"),
    ]);
    let accounts = [
        in_pods(&NOT_IN_TEMPLATES, &["serviceAccountName"]),
        elsewhere(&[("RoleBinding", RBAC, "subjects"), ("ClusterRoleBinding", RBAC, "subjects")]),
    ];
    let cluster_roles = [("RoleBinding", RBAC, "roleRef/name"), ("ClusterRoleBinding", RBAC, "roleRef/name")];
    let volumes = [("PersistentVolumeClaim", "", "spec/volumeName"), ("ClusterRole", "", "rules/resourceNames")];
    let classes = [
        ("PersistentVolume", "", "spec/storageClassName"),
        ("PersistentVolumeClaim", "", "spec/storageClassName"),
        ("StatefulSet", "", "spec/volumeClaimTemplates/spec/storageClassName"),
    ];
    vec![
        to("Deployment", "", "", scaled()),
        to("ReplicationController", "", "", scaled()),
        to("ReplicaSet", "", "", scaled()),
        to("StatefulSet", "", "", scaled()),
        to("ConfigMap", "", "v1", config_maps.concat()),
        to("Secret", "", "v1", secrets.concat()),
        to("Service", "", "v1", services),
        to("Role", RBAC, "", elsewhere(&[("RoleBinding", RBAC, "roleRef/name")])),
        to("ClusterRole", RBAC, "", elsewhere(&cluster_roles)),
        to("ServiceAccount", "", "v1", accounts.concat()),
        to("PersistentVolumeClaim", "", "v1", in_pods(&NOT_IN_TEMPLATES, &["volumes/persistentVolumeClaim/claimName"])),
        to("PersistentVolume", "", "v1", elsewhere(&volumes)),
        to("StorageClass", "storage.k8s.io", "v1", elsewhere(&classes)),
        to("PriorityClass", "scheduling.k8s.io", "v1", in_pods(&NOT_IN_TEMPLATES, &["priorityClassName"])),
        // The group is written so in kustomize's own table, and thereby never met.
        to("IngressClass", "networking.k8s.io/v1", "v1", elsewhere(&[("Ingress", "", "spec/ingressClassName")])),
        to(
            "ValidatingAdmissionPolicy",
            HOOKS,
            "",
            elsewhere(&[("ValidatingAdmissionPolicyBinding", HOOKS, "spec/policyName")]),
        ),
    ]
}
