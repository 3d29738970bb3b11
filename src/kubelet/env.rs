//! A container's environment: literal values, references, `envFrom`, service variables, and the
//! `$(VAR)` expansion of values, command and arguments. Pure; [`Sources`] is fetched beforehand.

pub mod expand;
pub mod services;

use crate::kubelet::fields::{self, HostFacts};
use crate::kubelet::pod::ephemeral_containers;
use crate::kubelet::tokens::Issued;
use crate::kubelet::volumes::claims::Backings;
use expand::expand;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects a pod refers to, as they are now; `None`: looked for and missing.
#[derive(Clone, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
    /// Variables of the namespace's services and of `default/kubernetes`.
    pub services: BTreeMap<String, String>,
    /// Tokens for its service account projections.
    pub tokens: Issued,
    /// What is behind its claims on this host.
    pub claims: Backings,
}

impl Sources {
    pub fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_deref()
    }

    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_deref()
    }
}

/// Names of the ConfigMaps and Secrets that a pod's containers read through their environment.
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    let Some(spec) = &pod.spec else { return (config_maps, secrets) };
    let added: Vec<_> = ephemeral_containers(spec).collect();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()).chain(&added) {
        for from in container.env_from.iter().flatten() {
            config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
            secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
            config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
            secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// The variables of `container`, in name order. An error is the message of
/// `CreateContainerConfigError`.
pub fn environment(
    pod: &Pod,
    container: &Container,
    facts: &HostFacts,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = from_objects(pod, container, sources)?;
    for var in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, var, facts, sources, &env)? {
            env.insert(var.name.clone(), value);
        }
    }
    for (name, value) in &sources.services {
        env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(env)
}

/// Command or arguments with their references expanded; unlike in values, every variable counts.
pub fn expand_all(words: &[String], env: &BTreeMap<String, String>) -> Vec<String> {
    words.iter().map(|word| expand(word, |name| env.get(name).cloned())).collect()
}

fn from_objects(pod: &Pod, container: &Container, sources: &Sources) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(wanted) = &from.config_map_ref {
            match sources.config_map(&wanted.name) {
                Some(map) => env.extend(map.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone()))),
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", wanted.name)),
            }
        }
        if let Some(wanted) = &from.secret_ref {
            match sources.secret(&wanted.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        env.insert(format!("{prefix}{key}"), text(namespace, &wanted.name, key, &value.0)?);
                    }
                }
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", wanted.name)),
            }
        }
    }
    Ok(env)
}

/// `None`: the variable is left out (an optional key that is missing).
fn value_of(
    pod: &Pod,
    container: &Container,
    var: &EnvVar,
    facts: &HostFacts,
    sources: &Sources,
    before: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else {
        let lookup = |name: &str| before.get(name).or_else(|| sources.services.get(name)).cloned();
        return Ok(Some(expand(var.value.as_deref().unwrap_or_default(), lookup)));
    };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(wanted) = &from.field_ref {
        return fields::field(pod, facts, &wanted.field_path).map(Some);
    }
    if let Some(wanted) = &from.resource_field_ref {
        return fields::resource(pod, facts, &container.name, wanted).map(Some);
    }
    if let Some(wanted) = &from.config_map_key_ref {
        let optional = wanted.optional == Some(true);
        let Some(map) = sources.config_map(&wanted.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap {:?} not found", wanted.name)) };
        };
        return match map.data.as_ref().and_then(|d| d.get(&wanted.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", wanted.key, wanted.name)),
        };
    }
    if let Some(wanted) = &from.secret_key_ref {
        let optional = wanted.optional == Some(true);
        let Some(secret) = sources.secret(&wanted.name) else {
            return if optional { Ok(None) } else { Err(format!("secret {:?} not found", wanted.name)) };
        };
        return match secret.data.as_ref().and_then(|d| d.get(&wanted.key)) {
            Some(value) => text(namespace, &wanted.name, &wanted.key, &value.0).map(Some),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {namespace}/{}", wanted.key, wanted.name)),
        };
    }
    Err(format!("env var {}: its valueFrom has no source that this kubelet knows", var.name))
}

/// Environment variables are text here; the value itself stays out of the message.
fn text(namespace: &str, secret: &str, key: &str, value: &[u8]) -> Result<String, String> {
    String::from_utf8(value.to_vec())
        .map_err(|_| format!("key {key} in Secret {namespace}/{secret} is not UTF-8 text; mount it as a file instead"))
}

#[cfg(test)]
mod tests;
