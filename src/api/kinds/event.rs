//! Events: one storage, served as core/v1 and events.k8s.io/v1.

use super::json::{has, text};
use super::pod_spec::Context;
use super::{Column, Kind, names, table};
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
        let mut cx = Context::new();
        let involved = text(object, &["involvedObject", "namespace"]);
        let namespace = text(object, &["metadata", "namespace"]);
        let is_new = has(object, "eventTime");
        let anywhere = namespace == "default" || is_new && namespace == "kube-system";
        if involved != namespace && !(involved.is_empty() && anywhere) {
            let why = "does not match event.namespace";
            cx.invalid("involvedObject.namespace".into(), &involved.into(), why);
        }
        if is_new {
            self.reported(object, &mut cx);
        }
        if *self == Self::Events {
            if !is_new {
                cx.required("eventTime".into(), "");
            }
            let kind = text(object, &["type"]);
            if !matches!(kind, "Normal" | "Warning") {
                cx.invalid("type".into(), &"".into(), &format!("has invalid value: {kind}"));
            }
            for (field, is_set) in [
                ("firstTimestamp", has(object, "firstTimestamp")),
                ("lastTimestamp", has(object, "lastTimestamp")),
                ("count", object["count"].as_i64().unwrap_or(0) != 0),
                ("source", ["component", "host"].iter().any(|part| !text(object, &["source", part]).is_empty())),
            ] {
                if is_set {
                    cx.invalid(field.into(), &"".into(), "needs to be unset");
                }
            }
        }
        cx.errors
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

impl Event {
    /// Checks who tells what of an event of the newer sort.
    fn reported(self, object: &Value, cx: &mut Context) {
        const SHORT: usize = 128;
        const LONG: usize = 1024;
        let controller = if self == Self::Core { "reportingComponent" } else { "reportingController" };
        match text(object, &["reportingComponent"]) {
            "" => cx.required(controller.into(), ""),
            name => cx.names(controller, &name.into(), names::qualified(name)),
        }
        for field in ["reportingInstance", "action", "reason"] {
            let said = text(object, &[field]);
            if said.is_empty() {
                cx.required(field.into(), "");
            } else if said.len() > SHORT {
                cx.invalid(field.into(), &"".into(), &format!("can have at most {SHORT} characters"));
            }
        }
        if text(object, &["message"]).len() > LONG {
            cx.invalid("message".into(), &"".into(), &format!("can have at most {LONG} characters"));
        }
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
    fn events_of_the_newer_sort_say_who_tells_what() {
        let new = json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "d"}, "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "c-1", "action": "Do", "reason": "R"});
        assert!(Event::Events.validate(&new).is_empty() && Event::Core.validate(&new).is_empty());
        let fields = |event: &Event, object: &Value| {
            event.validate(object).into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        let old = json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "d"}, "count": 2,
            "source": {"component": "kubelet"}, "firstTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(fields(&Event::Core, &old), [""; 0]);
        assert_eq!(fields(&Event::Events, &old), ["eventTime", "type", "firstTimestamp", "count", "source"]);
        let mut silent = new.clone();
        silent["reportingComponent"] = "".into();
        silent["action"] = "x".repeat(129).into();
        assert_eq!(fields(&Event::Events, &silent), ["reportingController", "action"]);
        assert_eq!(fields(&Event::Core, &silent), ["reportingComponent", "action"]);
        silent["involvedObject"]["namespace"] = "other".into();
        assert_eq!(fields(&Event::Core, &silent)[0], "involvedObject.namespace");
    }

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
