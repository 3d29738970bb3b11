//! The pods that `web-1`, `pod/web-1` or `deploy/web` on a command line means.

use super::CliError;
use super::resources;
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

/// Whose containers a verb is about.
#[derive(Args)]
pub struct Target {
    /// POD, or TYPE/NAME for the pods of a workload
    #[arg(value_name = "POD|TYPE/NAME")]
    pub what: String,
    /// Namespace of the pod
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Container [default: what the pod's annotation kubectl.kubernetes.io/default-container names, else the first]
    #[arg(short, long)]
    pub container: Option<String>,
}

/// Names the container that is meant where nobody says.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";

impl Target {
    /// The container that is meant, and what is to be said about it where nobody named it and there are several.
    pub fn container_of(&self, pod: &Pod) -> (Option<String>, Option<String>) {
        if self.container.is_some() {
            return (self.container.clone(), None);
        }
        let Some(spec) = &pod.spec else { return (None, None) };
        let named = pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT));
        if let Some(named) = named.filter(|name| spec.containers.iter().any(|one| one.name == **name)) {
            return (Some(named.clone()), None);
        }
        let Some(first) = spec.containers.first().map(|container| container.name.clone()) else { return (None, None) };
        let main = spec.containers.iter().map(|one| one.name.clone());
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|one| format!("{} (ephem)", one.name));
        let init = spec.init_containers.iter().flatten().map(|one| format!("{} (init)", one.name));
        let all: Vec<String> = main.chain(ephemeral).chain(init).collect();
        let said = (all.len() > 1).then(|| format!("Defaulted container {first:?} out of: {}", all.join(", ")));
        (Some(first), said)
    }
}

/// A pod by its name, or all pods of a workload, those that run first. Never empty.
pub async fn of(client: &Client, namespace: &str, what: &str) -> Result<Vec<Pod>, CliError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (kind, name) = what.split_once('/').unwrap_or(("pod", what));
    if ["pod", "pods", "po"].contains(&kind) {
        return Ok(vec![pods.get(name).await?]);
    }
    let known = resources::discover(client).await?;
    let resource = resources::find(&known, kind)?.swap_remove(0);
    let object = resource.api(client, Some(namespace)).get(name).await?;
    let selector = selector(&object.data).ok_or_else(|| CliError::new(format!("{what} has no pods of its own")))?;
    let mut found = pods.list(&ListParams::default().labels(&selector)).await?.items;
    if found.is_empty() {
        return Err(CliError::new(format!("{what} has no pods now")));
    }
    found.sort_by_key(|pod| (!is_running(pod), pod.name_any()));
    Ok(found)
}

fn selector(workload: &Value) -> Option<String> {
    let labels = workload.pointer("/spec/selector/matchLabels").or_else(|| workload.pointer("/spec/selector"))?;
    let pairs = labels.as_object()?.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let selector = pairs.collect::<Vec<_>>().join(",");
    if selector.is_empty() { None } else { Some(selector) }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_is_chosen_as_kubectl_does() {
        let pod = |annotations: Value| {
            let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
            serde_json::from_value::<Pod>(json!({"metadata": {"annotations": annotations}, "spec": spec}))
        };
        let target = |container: Option<&str>| Target {
            what: "web".into(),
            namespace: "default".into(),
            container: container.map(str::to_owned),
        };
        let of = |container, annotations| pod(annotations).map(|pod| target(container).container_of(&pod)).ok();
        let some = |name: &str, said: Option<&str>| Some((Some(name.to_owned()), said.map(str::to_owned)));
        assert_eq!(of(Some("i"), json!({})), some("i", None));
        assert_eq!(of(None, json!({})), some("a", Some("Defaulted container \"a\" out of: a, b, i (init)")));
        assert_eq!(of(None, json!({DEFAULT: "b"})), some("b", None));
        let gone = of(None, json!({DEFAULT: "gone"}));
        assert_eq!(gone, some("a", Some("Defaulted container \"a\" out of: a, b, i (init)")));
    }

    #[test]
    fn workloads_select_by_labels_and_others_have_none() {
        let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "web", "tier": "front"}}}});
        assert_eq!(selector(&deployment), Some("app=web,tier=front".to_owned()));
        assert_eq!(selector(&json!({"spec": {"selector": {"app": "web"}}})), Some("app=web".to_owned()));
        assert_eq!(selector(&json!({"data": {}})), None);
    }
}
