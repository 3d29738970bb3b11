//! Definitions to rows.

use super::{Definition, Resource, rows};
use crate::api::jsonpath::JsonPath;
use crate::api::kinds::Column;
use crate::api::kinds::custom::{Custom, ScalePaths};
use crate::api::schema::SchemaRef;
use crate::api::schema::custom::compile::Compiler;
use serde_json::Value;
use std::sync::Arc;

const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// How much a version is preferred: stable before beta before alpha, newer before older, anything
/// else last.
pub fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            tail if tail.starts_with("beta") => Some((2, major, tail[4..].parse().ok()?)),
            tail if tail.starts_with("alpha") => Some((1, major, tail[5..].parse().ok()?)),
            _ => None,
        }
    };
    parse().unwrap_or((0, 0, 0))
}

/// A row for each served version of a definition.
pub fn rows(definition: &Value, metadata: &SchemaRef) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let mut compiler = Compiler::new(metadata.clone());
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let served = versions.iter().filter(|version| version["served"] == true);
    served.map(|version| Arc::new(row(definition, version, versions, &mut compiler))).collect()
}

fn row(definition: &Value, version: &Value, versions: &[Value], compiler: &mut Compiler) -> Resource {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<String>>();
    let (group, name, kind) = (text(&spec["group"]), text(&version["name"]), text(&spec["names"]["kind"]));
    let source = &version["schema"]["openAPIV3Schema"];
    let reversed: Vec<&str> = group.rsplit('.').collect();
    let schema = compiler.root(source, &format!("{}.{name}.{kind}", reversed.join(".")));
    let rules = rules(version, schema.clone());
    let mut subresources = Vec::new();
    if rules.scale.is_some() {
        subresources.push(rows::SCALE);
    }
    if rules.status {
        subresources.push(rows::STATUS_SUB);
    }
    let storage = versions.iter().find(|version| version["storage"] == true).unwrap_or(version);
    let metadata = &definition["metadata"];
    let custom = Definition {
        uid: text(&metadata["uid"]),
        revision: metadata["resourceVersion"].as_str().and_then(|revision| revision.parse().ok()).unwrap_or_default(),
        storage_version: text(&storage["name"]),
        terminating: definition["metadata"]["deletionTimestamp"].is_string(),
        warning: warning(&group, version, versions, &kind),
        source: source.to_string().into(),
    };
    let singular = text(&spec["names"]["singular"]);
    let list_kind = text(&spec["names"]["listKind"]);
    Resource {
        plural: text(&spec["names"]["plural"]),
        singular: if singular.is_empty() { kind.to_lowercase() } else { singular },
        list_kind: if list_kind.is_empty() { format!("{kind}List") } else { list_kind },
        short_names: texts(&spec["names"]["shortNames"]),
        categories: texts(&spec["names"]["categories"]),
        namespaced: spec["scope"] != "Cluster",
        verbs: VERBS.to_vec(),
        subresources,
        schema,
        rules: Arc::new(rules),
        custom: Some(custom),
        group,
        version: name,
        kind,
    }
}

fn rules(version: &Value, schema: SchemaRef) -> Custom {
    let path = |value: &Value| JsonPath::parse(value.as_str()?).ok();
    let fields = |value: &Value| -> Option<Vec<String>> {
        Some(path(value)?.fields()?.into_iter().map(str::to_string).collect())
    };
    let scale = &version["subresources"]["scale"];
    let scale = fields(&scale["specReplicasPath"])
        .zip(fields(&scale["statusReplicasPath"]))
        .map(|(spec, status)| ScalePaths { spec, status, selector: fields(&scale["labelSelectorPath"]) });
    let columns = match version["additionalPrinterColumns"].as_array() {
        Some(columns) if !columns.is_empty() => columns.iter().filter_map(column).collect(),
        _ => {
            let age = serde_json::json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                "description": "CreationTimestamp of the object"});
            column(&age).into_iter().collect()
        }
    };
    let selectable = version["selectableFields"].as_array().into_iter().flatten().filter_map(|field| {
        let text = field["jsonPath"].as_str()?;
        Some((text.trim_start_matches('.').to_string(), JsonPath::parse(text).ok()?))
    });
    Custom {
        rules: crate::api::cel::has_rules(&schema),
        schema,
        status: version["subresources"]["status"].is_object(),
        scale,
        columns,
        selectable: selectable.collect(),
    }
}

fn column(column: &Value) -> Option<(Column, JsonPath)> {
    let text = |name: &str| column[name].as_str().unwrap_or_default().to_string();
    let path = text("jsonPath");
    let description = match text("description") {
        none if none.is_empty() => format!("Custom resource definition column (in JSONPath format): {path}"),
        some => some,
    };
    let priority = column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default();
    let parsed = JsonPath::parse(&path).ok()?;
    Some((Column { name: text("name"), kind: text("type"), format: text("format"), priority, description }, parsed))
}

/// What users of a deprecated version are told: the definition's words, or what to use instead.
fn warning(group: &str, version: &Value, versions: &[Value], kind: &str) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.into());
    }
    let name = version["name"].as_str().unwrap_or_default();
    let better = versions
        .iter()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .filter(|other| priority(other) > priority(name))
        .max_by_key(|other| priority(other));
    let instead = better.map(|better| format!("; use {group}/{better} {kind}")).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_first() {
        let mut versions = ["v1beta1", "v2", "foo", "v1alpha1", "v11", "v1", "v1beta2"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v11", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }
}
