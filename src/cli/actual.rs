//! The second layer of difference: what the API says runs, against the containers there are.

use super::output::color::{ADD, CHANGE, DELETE, STRONG, paint};
use super::output::{clean, one_line};
use super::{CliError, Global};
use crate::daemon::options::Host;
use crate::daemon::paths::Paths;
use crate::kubelet::pod::{container_hash, is_terminal};
use crate::kubelet::runtime::podman::Podman;
use crate::kubelet::runtime::{ContainerRuntime, ContainerStatus};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Longer than Podman takes to list a full host.
const LISTING: Duration = Duration::from_secs(20);

/// What a kubelet would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The pod wants it and it does not run.
    Missing,
    /// No pod wants it.
    Extra,
    /// It was made from another spec.
    Altered,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    pub what: What,
    pub host: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Containers {
    pub differences: Vec<Difference>,
    /// Hosts that were not looked at, with the reason.
    pub not_compared: Vec<Unreached>,
}

#[derive(Debug, Serialize)]
pub struct Unreached {
    pub host: String,
    pub why: String,
}

/// Compares the pods of every host that is reachable from here.
pub async fn compare(client: &kube::Client, global: &Global) -> Result<Containers, CliError> {
    let mut compared = Containers::default();
    let paths = Paths::new(global.data_dir()?);
    let elsewhere = |why: &str| Containers {
        not_compared: vec![Unreached { host: "all hosts".into(), why: why.into() }],
        ..Containers::default()
    };
    if global.named_kubeconfig().is_some() {
        return Ok(elsewhere("a kubeconfig tells no hosts; run this where the daemon runs, without --kubeconfig"));
    }
    let (Some(hosts), Ok(cluster)) = (paths.read_hosts(), std::fs::read_to_string(paths.cluster_id())) else {
        return Ok(elsewhere("no daemon and no apply has run on this data directory"));
    };
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items;
    for Host { name, url } in hosts {
        let found = async { Podman::new(&url, cluster.trim())?.list().await };
        match tokio::time::timeout(LISTING, found).await {
            Ok(Ok(listing)) => compared.differences.extend(differences(&name, &pods, &listing.containers)),
            Ok(Err(error)) => compared.not_compared.push(Unreached { host: name, why: CliError::chain(&error) }),
            Err(_) => {
                compared.not_compared.push(Unreached { host: name, why: format!("no answer within {LISTING:?}") });
            }
        }
    }
    compared.differences.sort();
    Ok(compared)
}

fn differences(host: &str, pods: &[Pod], containers: &[ContainerStatus]) -> Vec<Difference> {
    let mine: BTreeMap<&str, &Pod> = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(host))
        .filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod)))
        .collect();
    let mut found = Vec::new();
    for container in containers.iter().filter(|container| container.state.is_running()) {
        let identity = &container.identity;
        let wanted = mine.get(identity.pod.uid.as_str()).and_then(|pod| wanted(pod, &identity.container));
        let what = match wanted {
            None => What::Extra,
            Some(spec) if container_hash(spec) != identity.hash => What::Altered,
            Some(_) => continue,
        };
        let (namespace, pod, container) =
            (identity.pod.namespace.clone(), identity.pod.name.clone(), identity.container.clone());
        found.push(Difference { what, host: host.into(), namespace, pod, container });
    }
    for (uid, pod) in mine {
        for name in should_run(pod) {
            let runs = containers
                .iter()
                .any(|one| one.state.is_running() && one.identity.pod.uid == uid && one.identity.container == name);
            if !runs {
                let text = |part: &Option<String>| part.clone().unwrap_or_default();
                found.push(Difference {
                    what: What::Missing,
                    host: host.into(),
                    namespace: text(&pod.metadata.namespace),
                    pod: text(&pod.metadata.name),
                    container: name.to_string(),
                });
            }
        }
    }
    found
}

fn wanted<'a>(pod: &'a Pod, container: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref().filter(|_| !is_terminal(pod))?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|one| one.name == container)
}

/// The containers that the API shows as running.
fn should_run(pod: &Pod) -> impl Iterator<Item = &str> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    statuses
        .iter()
        .filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
        .filter(|_| !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none())
        .map(|status| status.name.as_str())
}

impl Containers {
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// For people; programs find it in the verb's document.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for one in &self.differences {
            let (symbol, style, why) = match one.what {
                What::Missing => ("+", ADD, "the API says it runs, it does not"),
                What::Extra => ("-", DELETE, "it runs, no pod of the API wants it"),
                What::Altered => ("~", CHANGE, "it was made from another spec"),
            };
            let Difference { container, namespace, pod, host, .. } = one;
            let symbol = paint(style, symbol);
            // Anybody may have labelled a container.
            let named = clean(&format!("container {container} of pod {namespace}/{pod} on host {host}"));
            let _ = writeln!(text, "{symbol} {named}: {why}");
        }
        let count = self.differences.len();
        let sum = match (count, self.not_compared.is_empty()) {
            (0, true) => "as the API says.".to_string(),
            (0, false) => "not all compared; those that were are as the API says.".to_string(),
            _ => format!("{count} to set right."),
        };
        let _ = writeln!(text, "{} {sum}", paint(STRONG, "Containers:"));
        text
    }

    /// Which hosts were not looked at, for people.
    pub fn omissions(&self) -> String {
        let line =
            |Unreached { host, why }: &Unreached| format!("containers of {host} not compared: {}\n", one_line(why));
        self.not_compared.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> Containers {
        let one = |what, container: &str| Difference {
            what,
            host: "h1".into(),
            namespace: "shop".into(),
            pod: "web-1".into(),
            container: container.into(),
        };
        Containers {
            differences: vec![one(What::Missing, "web"), one(What::Extra, "old"), one(What::Altered, "log")],
            not_compared: vec![Unreached { host: "h2".into(), why: "no answer within 20s".into() }],
        }
    }

    #[test]
    fn differences_of_containers_as_text_and_for_programs() {
        let text = format!("{}{}", example().omissions(), example().text());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        insta::assert_snapshot!(text.replace('\u{1b}', "␛"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&example()).unwrap());
        let same = anstream::adapter::strip_str(&Containers::default().text()).to_string();
        assert_eq!(same, "Containers: as the API says.\n");
    }
}
