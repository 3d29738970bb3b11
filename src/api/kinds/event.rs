//! Events: one storage, served as core/v1 and events.k8s.io/v1.

use super::json::text;
use super::{Column, Kind, table};
use crate::api::error::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// The rules of Event, by the group that serves it; the stored form is always core's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// core/v1
    Core,
    /// events.k8s.io/v1
    Events,
}

/// What events.k8s.io calls fields that can be selected, and their names in core.
const ALIASES: [(&str, &str); 8] = [
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
];

impl Kind for Event {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let involved = text(object, &["involvedObject", "namespace"]);
        let namespace = text(object, &["metadata", "namespace"]);
        if involved != namespace && !(involved.is_empty() && namespace == "default") {
            let why = "does not match event.namespace";
            return vec![FieldError::invalid("involvedObject.namespace", &involved.into(), why)];
        }
        Vec::new()
    }

    fn field_names(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |name: &str| match name.split_once('.') {
            Some((part, field)) => text(object, &[part, field]),
            None if name == "source" => match text(object, &["source", "component"]) {
                "" => text(object, &["reportingComponent"]),
                component => component,
            },
            None => text(object, &[name]),
        };
        self.field_names().iter().map(|name| (*name, value(name).to_string())).collect()
    }

    fn selects(&self, field: &str) -> bool {
        match self {
            Self::Core => self.field_names().contains(&field),
            Self::Events => matches!(field, "reason" | "type") || self.field_alias(field).is_some(),
        }
    }

    fn field_alias(&self, field: &str) -> Option<&'static str> {
        let known = ALIASES.iter().find(|(alias, _)| *self == Self::Events && *alias == field);
        known.map(|(_, name)| *name)
    }

    fn unknown_field(&self, field: &str) -> String {
        super::label_not_supported(field)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(
            "Last Seen:string, Type:string, Reason:string, Object:string, Subobject:string:1, Source:string:1, Message:string, First Seen:string:1, Count:string:1, Name:string:name:1",
        )
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let first_of = |paths: &[&[&str]]| {
            paths.iter().map(|path| text(object, path)).find(|time| !time.is_empty()).unwrap_or_default().to_string()
        };
        let last = first_of(&[&["series", "lastObservedTime"], &["lastTimestamp"], &["eventTime"]]);
        let first = first_of(&[&["firstTimestamp"], &["eventTime"]]);
        let count = match object["series"]["count"].as_i64().or(object["count"].as_i64()) {
            Some(count) if count > 0 => count,
            _ => 1,
        };
        let involved = &object["involvedObject"];
        let target = match (text(involved, &["kind"]), text(involved, &["name"])) {
            (kind, "") => kind.to_lowercase(),
            (kind, name) => format!("{}/{name}", kind.to_lowercase()),
        };
        vec![
            table::since(&last, now).into(),
            text(object, &["type"]).into(),
            text(object, &["reason"]).into(),
            target.into(),
            text(involved, &["fieldPath"]).into(),
            source(object).into(),
            text(object, &["message"]).trim().into(),
            table::since(&first, now).into(),
            count.into(),
            table::name(object),
        ]
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn source(event: &Value) -> String {
    let pair = |component: &str, host: &str| match host {
        "" => component.to_string(),
        host => format!("{component}, {host}"),
    };
    match text(event, &["source", "component"]) {
        "" => pair(text(event, &["reportingComponent"]), text(event, &["reportingInstance"])),
        component => pair(component, text(event, &["source", "host"])),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_names_the_object_and_when() {
        let event = json!({"metadata": {"name": "e", "namespace": "d"}, "type": "Warning", "reason": "BackOff", "message": "again\n",
            "lastTimestamp": "2026-01-01T00:00:00Z", "count": 3, "source": {"component": "kubelet", "host": "n1"},
            "involvedObject": {"kind": "Pod", "name": "web", "namespace": "d"}});
        let row = Event::Core.row(&event, "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(row[0], "5m");
        assert_eq!(row[3], "pod/web");
        assert_eq!(row[5], "kubelet, n1");
        assert_eq!(row[6], "again");
        assert_eq!(Event::Core.fields(&event)[9], ("source", "kubelet".into()));
    }
}
