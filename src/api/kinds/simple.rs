//! Kinds that need little: one row of facts each.

mod cells;
mod checks;
mod defaults;

use super::names::NameRule;
use super::{ALL_METADATA, Column, Deletion, Kind, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// A kind described by data.
pub struct Simple {
    /// Columns in `table::columns` form; empty: Name and Created At.
    columns: &'static str,
    row: Option<fn(&Value, Timestamp) -> Vec<Value>>,
    default: Option<fn(&mut Value)>,
    validate: Option<fn(&Value) -> Vec<FieldError>>,
    validate_update: Option<fn(&Value, &Value) -> Vec<FieldError>>,
    validate_status: Option<fn(&Value, &Value) -> Vec<FieldError>>,
    status: bool,
    generation: bool,
    create_on_update: bool,
    returns_object: bool,
    path_segment_names: bool,
    /// Fields that objects can be selected by, each by its path.
    selectable: &'static [&'static str],
    /// A write of the status touches nothing of the metadata.
    apart: bool,
}

/// A kind without facts: shown by name and creation time.
const PLAIN: Simple = Simple {
    columns: "",
    row: None,
    default: None,
    validate: None,
    validate_update: None,
    validate_status: None,
    status: false,
    generation: false,
    create_on_update: false,
    returns_object: false,
    path_segment_names: false,
    selectable: &[],
    apart: false,
};

impl Kind for Simple {
    fn default(&self, object: &mut Value) {
        if let Some(default) = self.default {
            default(object);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        self.validate.map(|validate| validate(object)).unwrap_or_default()
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.validate_update.map(|validate| validate(new, old)).unwrap_or_default()
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.validate_status.map(|validate| validate(new, old)).unwrap_or_default()
    }

    fn kept_by_status(&self) -> &'static [&'static str] {
        if self.apart { ALL_METADATA } else { &["ownerReferences"] }
    }

    fn has_status(&self) -> bool {
        self.status
    }

    fn has_generation(&self) -> bool {
        self.generation
    }

    fn columns(&self) -> Vec<Column> {
        match self.columns {
            "" => table::columns("Name:string:name, Created At:date"),
            columns => table::columns(columns),
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self.row {
            Some(row) => row(object, now),
            None => vec![table::name(object), object["metadata"]["creationTimestamp"].clone()],
        }
    }

    fn deletion(&self) -> Deletion {
        if self.returns_object { Deletion::Object } else { Deletion::Status }
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn field_names(&self) -> &'static [&'static str] {
        self.selectable
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |name: &str| name.split('.').fold(object, |value, part| &value[part]).as_str().unwrap_or_default();
        self.selectable.iter().map(|name| (*name, value(name).to_owned())).collect()
    }

    fn name_rule(&self) -> NameRule {
        if self.path_segment_names { NameRule::PathSegment } else { NameRule::Subdomain }
    }
}

/// The facts of a built-in kind; those of an unknown one for anything else.
pub fn of(group: &str, kind: &str) -> Simple {
    match group {
        "" => core(kind),
        "apps" => apps(kind),
        "rbac.authorization.k8s.io" => access(kind),
        "networking.k8s.io" => networking(kind),
        "storage.k8s.io" => storage(kind),
        "resource.k8s.io" => devices(kind),
        _ => other(group, kind),
    }
}

fn access(kind: &str) -> Simple {
    if !kind.ends_with("Binding") {
        return Simple {
            create_on_update: true,
            path_segment_names: true,
            validate: Some(checks::access::role),
            ..PLAIN
        };
    }
    Simple {
        create_on_update: true,
        path_segment_names: true,
        columns: "Name:string:name, Role:string, Age:string, Users:string:1, Groups:string:1, ServiceAccounts:string:1",
        row: Some(cells::binding),
        default: Some(defaults::binding),
        validate: Some(checks::access::binding),
        validate_update: Some(checks::access::binding_update),
        ..PLAIN
    }
}

fn networking(kind: &str) -> Simple {
    match kind {
        "Ingress" => Simple {
            columns: "Name:string:name, Class:string, Hosts:string, Address:string, Ports:string, Age:string",
            row: Some(cells::more::ingress),
            validate: Some(checks::networking::ingress),
            generation: true,
            status: true,
            ..PLAIN
        },
        "IngressClass" => Simple {
            columns: "Name:string:name, Controller:string, Parameters:string, Age:string",
            row: Some(cells::more::ingress_class),
            generation: true,
            ..PLAIN
        },
        "NetworkPolicy" => Simple {
            columns: "Name:string:name, Pod-Selector:string, Age:string",
            row: Some(cells::more::network_policy),
            default: Some(defaults::network_policy),
            validate: Some(checks::policies::network_policy),
            generation: true,
            ..PLAIN
        },
        _ => PLAIN,
    }
}

fn storage(kind: &str) -> Simple {
    match kind {
        "StorageClass" => Simple {
            columns: "Name:string:name, Provisioner:string, ReclaimPolicy:string, VolumeBindingMode:string, AllowVolumeExpansion:string, Age:string",
            row: Some(cells::more::storage_class),
            default: Some(defaults::storage_class),
            validate: Some(checks::storage::storage_class),
            validate_update: Some(checks::storage::storage_class_update),
            returns_object: true,
            ..PLAIN
        },
        "CSIDriver" => Simple {
            columns: "Name:string:name, AttachRequired:boolean, PodInfoOnMount:boolean, StorageCapacity:boolean, TokenRequests:string, RequiresRepublish:boolean, Modes:string, Age:string",
            row: Some(cells::storage::csi_driver),
            default: Some(defaults::csi_driver),
            validate: Some(checks::storage::csi_driver),
            validate_update: Some(checks::storage::csi_driver_update),
            returns_object: true,
            ..PLAIN
        },
        "CSINode" => Simple {
            columns: "Name:string:name, Drivers:integer, Age:string",
            row: Some(cells::storage::csi_node),
            validate: Some(checks::storage::csi_node),
            validate_update: Some(checks::storage::csi_node_update),
            returns_object: true,
            ..PLAIN
        },
        "CSIStorageCapacity" => Simple {
            validate: Some(checks::storage::csi_capacity),
            validate_update: Some(checks::storage::csi_capacity_update),
            returns_object: true,
            ..PLAIN
        },
        "VolumeAttachment" => Simple {
            columns: "Name:string:name, Attacher:string:name, PV:string, Node:string, Attached:boolean, Age:string",
            row: Some(cells::storage::attachment),
            validate: Some(checks::storage::attachment),
            validate_update: Some(checks::storage::attachment_update),
            validate_status: Some(checks::storage::attachment_status),
            status: true,
            apart: true,
            returns_object: true,
            ..PLAIN
        },
        "VolumeAttributesClass" => Simple {
            columns: "Name:string:name, DriverName:string, Age:string",
            row: Some(cells::storage::attributes_class),
            validate: Some(checks::storage::attributes_class),
            validate_update: Some(checks::storage::attributes_class_update),
            returns_object: true,
            ..PLAIN
        },
        _ => PLAIN,
    }
}

fn devices(kind: &str) -> Simple {
    match kind {
        "DeviceClass" => Simple {
            columns: "Name:string:name, Age:string",
            row: Some(cells::name_and_age),
            validate: Some(checks::devices::class),
            generation: true,
            returns_object: true,
            ..PLAIN
        },
        "ResourceClaim" => Simple {
            columns: "Name:string:name, State:string, Age:string",
            row: Some(cells::devices::claim),
            default: Some(defaults::device_claim),
            validate: Some(checks::devices::claim),
            validate_update: Some(checks::devices::fixed_spec),
            validate_status: Some(checks::claim_status::status),
            status: true,
            apart: true,
            returns_object: true,
            ..PLAIN
        },
        "ResourceClaimTemplate" => Simple {
            columns: "Name:string:name, Age:string",
            row: Some(cells::name_and_age),
            default: Some(defaults::device_claim_template),
            validate: Some(checks::devices::template),
            validate_update: Some(checks::devices::fixed_spec),
            returns_object: true,
            ..PLAIN
        },
        "ResourceSlice" => Simple {
            columns: "Name:string:name, Node:string, Driver:string, Pool:string, Age:string",
            row: Some(cells::devices::slice),
            validate: Some(checks::device_slices::slice),
            validate_update: Some(checks::device_slices::slice_update),
            selectable: &["spec.driver", "spec.nodeName"],
            generation: true,
            returns_object: true,
            ..PLAIN
        },
        _ => PLAIN,
    }
}

fn core(kind: &str) -> Simple {
    match kind {
        "ComponentStatus" => Simple {
            columns: "Name:string:name, Status:string, Message:string, Error:string",
            row: Some(cells::component),
            ..PLAIN
        },
        "ServiceAccount" => Simple {
            columns: "Name:string:name, Age:string",
            row: Some(cells::name_and_age),
            returns_object: true,
            ..PLAIN
        },
        "PersistentVolumeClaim" => Simple {
            columns: "Name:string:name, Status:string, Volume:string, Capacity:string, Access Modes:string, StorageClass:string, VolumeAttributesClass:string, Age:string, VolumeMode:string:1",
            row: Some(cells::claim),
            default: Some(defaults::claim),
            validate: Some(checks::volumes::claim),
            validate_update: Some(checks::volumes::claim_update),
            status: true,
            returns_object: true,
            ..PLAIN
        },
        "PersistentVolume" => Simple {
            columns: "Name:string:name, Capacity:string, Access Modes:string, Reclaim Policy:string, Status:string, Claim:string, StorageClass:string, VolumeAttributesClass:string, Reason:string, Age:string, VolumeMode:string:1",
            row: Some(cells::volume),
            default: Some(defaults::volume),
            validate: Some(checks::volumes::volume),
            status: true,
            returns_object: true,
            ..PLAIN
        },
        "PodTemplate" => Simple {
            columns: "Name:string:name, Containers:string, Images:string, Pod Labels:string",
            row: Some(cells::pod_template),
            default: Some(defaults::pod_template),
            returns_object: true,
            ..PLAIN
        },
        "ReplicationController" => Simple {
            columns: "Name:string:name, Desired:integer, Current:integer, Ready:integer, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
            row: Some(cells::replication_controller),
            default: Some(defaults::replication_controller),
            validate: Some(checks::workloads::replication_controller),
            status: true,
            generation: true,
            ..PLAIN
        },
        "ResourceQuota" => Simple {
            columns: "Name:string:name, Request:string, Limit:string, Age:string",
            row: Some(cells::quota),
            validate: Some(checks::quotas::resource_quota),
            validate_update: Some(checks::quotas::resource_quota_update),
            status: true,
            returns_object: true,
            ..PLAIN
        },
        "LimitRange" => Simple {
            create_on_update: true,
            default: Some(defaults::limit_range),
            validate: Some(checks::quotas::limit_range),
            ..PLAIN
        },
        _ => PLAIN,
    }
}

fn apps(kind: &str) -> Simple {
    match kind {
        "StatefulSet" => Simple {
            columns: "Name:string:name, Ready:string, Age:string, Containers:string:1, Images:string:1",
            row: Some(cells::stateful_set),
            default: Some(defaults::stateful_set),
            validate: Some(checks::workloads::stateful_set),
            validate_update: Some(checks::workloads::stateful_set_update),
            status: true,
            generation: true,
            ..PLAIN
        },
        "DaemonSet" => Simple {
            columns: "Name:string:name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, Node Selector:string, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
            row: Some(cells::daemon_set),
            default: Some(defaults::daemon_set),
            validate: Some(checks::workloads::daemon_set),
            validate_update: Some(super::workloads::fixed_selector),
            status: true,
            generation: true,
            ..PLAIN
        },
        "ControllerRevision" => Simple {
            columns: "Name:string:name, Controller:string, Revision:string, Age:string",
            row: Some(cells::controller_revision),
            validate: Some(checks::workloads::controller_revision),
            validate_update: Some(checks::workloads::controller_revision_update),
            ..PLAIN
        },
        _ => PLAIN,
    }
}

fn other(group: &str, kind: &str) -> Simple {
    match (group, kind) {
        ("batch", "CronJob") => Simple {
            columns: "Name:string:name, Schedule:string, Timezone:string, Suspend:boolean, Active:integer, Last Schedule:string, Age:string, Containers:string:1, Images:string:1, Selector:string:1",
            row: Some(cells::cron_job),
            default: Some(defaults::cron_job),
            validate: Some(checks::workloads::cron_job),
            status: true,
            generation: true,
            ..PLAIN
        },
        ("policy", "PodDisruptionBudget") => Simple {
            columns: "Name:string:name, Min Available:string, Max Unavailable:string, Allowed Disruptions:integer, Age:string",
            row: Some(cells::disruption_budget),
            validate: Some(checks::quotas::disruption_budget),
            status: true,
            generation: true,
            ..PLAIN
        },
        ("autoscaling", _) => Simple {
            columns: "Name:string:name, Reference:string, Targets:string, MinPods:string, MaxPods:string, Replicas:string, Age:string",
            row: Some(cells::more::autoscaler),
            default: Some(defaults::autoscaler),
            validate: Some(checks::autoscaling::autoscaler),
            status: true,
            ..PLAIN
        },
        ("node.k8s.io", "RuntimeClass") => Simple {
            columns: "Name:string:name, Handler:string, Age:string",
            row: Some(cells::runtime_class),
            validate: Some(checks::node::runtime_class),
            validate_update: Some(checks::node::runtime_class_update),
            create_on_update: true,
            ..PLAIN
        },
        _ => PLAIN,
    }
}
