//! What a pod gets of its service account: that there is one, how images are pulled, and a token to reach the
//! API by. Source: Kubernetes' ServiceAccount admission plugin.

use crate::api::access;
use crate::api::error::{ApiError, Target};
use crate::apiserver::resources::Writer;
use crate::apiserver::resources::object::parse;
use crate::base::ids::Ids;
use crate::store;
use serde_json::{Value, json};

const DEFAULT: &str = "default";
/// Pods of an account with it use no Secrets but those that the account lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// How an account that is not there is called.
const ACCOUNT: Target<'static> = Target { group: "", resource: "serviceaccount", kind: "ServiceAccount" };

/// Completes a new pod's spec. Returns whether its containers are to get a token: see [`mount`].
pub fn admit(writer: &Writer<'_>, spec: &mut Value) -> Result<bool, ApiError> {
    if spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        spec["serviceAccountName"] = DEFAULT.into();
    }
    spec["serviceAccount"] = spec["serviceAccountName"].clone();
    let account = account(writer, spec)?;
    if is_empty(&spec["imagePullSecrets"]) && !is_empty(&account["imagePullSecrets"]) {
        let names = items(&account["imagePullSecrets"]).map(|secret| json!({"name": secret["name"]}));
        spec["imagePullSecrets"] = names.collect();
    }
    if is_enforced(&account) {
        let refused = pod_secret(spec, &account).or_else(|| pull_secret(spec, &account));
        refused.map_or(Ok(()), |why| Err(forbidden(writer, why)))?;
    }
    let said = |object: &Value| object["automountServiceAccountToken"].as_bool();
    Ok(said(&*spec).or(said(&account)).unwrap_or(true))
}

/// The pod that shows a static pod has no account: what it runs was there before, and without the API.
pub fn admit_mirror(writer: &Writer<'_>, spec: &Value) -> Result<(), ApiError> {
    let refuse = |what: &str| Err(forbidden(writer, format!("a mirror pod may not reference {what}")));
    if !spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        return refuse("service accounts");
    }
    if uses_secrets(spec) {
        return refuse("secrets");
    }
    let mut projected = items(&spec["volumes"]).flat_map(|volume| items(&volume["projected"]["sources"]));
    if projected.any(|source| !source["serviceAccountToken"].is_null()) {
        return refuse("ServiceAccountToken volume projections");
    }
    Ok(())
}

fn uses_secrets(spec: &Value) -> bool {
    let containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(&spec[list]));
    let in_environment = containers.into_iter().any(|container| {
        items(&container["env"]).any(|variable| !variable["valueFrom"]["secretKeyRef"].is_null())
            || items(&container["envFrom"]).any(|from| !from["secretRef"].is_null())
    });
    let in_volumes = items(&spec["volumes"]).any(|volume| {
        !volume["secret"].is_null() || items(&volume["projected"]["sources"]).any(|source| !source["secret"].is_null())
    });
    in_environment || in_volumes || !is_empty(&spec["imagePullSecrets"])
}

/// What joins a running pod keeps to its account's Secrets, too.
pub fn admit_update(writer: &Writer<'_>, new: &Value, old: &Value) -> Result<(), ApiError> {
    let joining = &new["spec"]["ephemeralContainers"];
    if is_empty(joining) || *joining == old["spec"]["ephemeralContainers"] {
        return Ok(());
    }
    let account = account(writer, &new["spec"])?;
    let refused = is_enforced(&account).then(|| container_secret(joining, "ephemeral container", &account)).flatten();
    refused.map_or(Ok(()), |why| Err(forbidden(writer, why)))
}

/// What an account that newly asks for it is told.
pub fn warning(new: &Value, old: Option<&Value>) -> Option<String> {
    let asks = |account: &Value| !account["metadata"]["annotations"][ENFORCE].is_null();
    (asks(new) && !old.is_some_and(asks)).then(|| {
        format!(
            "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )
    })
}

/// Mounts the volume that the API is reached by in all containers that have nothing in its place.
pub fn mount(pod: &mut Value) {
    let letters = Ids::letters_of(pod["metadata"]["uid"].as_str().unwrap_or_default(), 5);
    let spec = &mut pod["spec"];
    let names = items(&spec["volumes"]).filter_map(|volume| volume["name"].as_str());
    let own = names.filter(|name| name.starts_with(access::PREFIX)).map(str::to_owned).next();
    let name = own.clone().unwrap_or_else(|| format!("{}{letters}", access::PREFIX));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if items(&container["volumeMounts"]).any(|mount| mount["mountPath"] == access::PATH) {
                continue;
            }
            push(container, "volumeMounts", json!({"name": name, "readOnly": true, "mountPath": access::PATH}));
            mounted = true;
        }
    }
    if mounted && own.is_none() {
        push(spec, "volumes", access::volume(&name));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object[field].as_array_mut() {
        Some(list) => list.push(item),
        None => object[field] = json!([item]),
    }
}

/// The account of a pod. The one that every namespace gets may be on its way, and is not waited for: pods of
/// a change set come in one transaction with their namespace.
fn account(writer: &Writer<'_>, spec: &Value) -> Result<Value, ApiError> {
    let (namespace, name) = (writer.at.namespace, spec["serviceAccountName"].as_str().unwrap_or_default());
    match writer.view.get(&store::key("", "serviceaccounts", namespace, name)) {
        Some(record) => Ok(parse(&record)),
        None if name == DEFAULT => Ok(Value::Null),
        None => {
            let missing = ApiError::not_found(ACCOUNT, name).message;
            Err(forbidden(writer, format!("error looking up service account {namespace}/{name}: {missing}")))
        }
    }
}

fn forbidden(writer: &Writer<'_>, why: String) -> ApiError {
    ApiError::forbidden(writer.at.target(), writer.at.name, why)
}

fn is_enforced(account: &Value) -> bool {
    // As Go reads booleans.
    let said = account["metadata"]["annotations"][ENFORCE].as_str();
    said.is_some_and(|said| ["1", "t", "T", "true", "TRUE", "True"].contains(&said))
}

fn lists(account: &Value, field: &str, name: &Value) -> bool {
    items(&account[field]).any(|secret| secret["name"] == *name)
}

/// Why a Secret that the pod uses may not be used.
fn pod_secret(spec: &Value, account: &Value) -> Option<String> {
    let volumes = items(&spec["volumes"]).map(|volume| &volume["secret"]["secretName"]);
    let refused = volumes.filter(|name| !name.is_null()).find(|name| !lists(account, "secrets", name));
    let refused = refused.map(|name| not_listed("volume with", name, account));
    refused
        .or_else(|| container_secret(&spec["initContainers"], "init container", account))
        .or_else(|| container_secret(&spec["containers"], "container", account))
}

fn container_secret(containers: &Value, kind: &str, account: &Value) -> Option<String> {
    let refused = |name: &&Value| !name.is_null() && !lists(account, "secrets", name);
    items(containers).find_map(|container| {
        let head = format!("{kind} {} with", text(&container["name"]));
        let variable = items(&container["env"]).find_map(|variable| {
            let name = Some(&variable["valueFrom"]["secretKeyRef"]["name"]).filter(refused)?;
            Some(not_listed(&format!("{head} envVar {} referencing", text(&variable["name"])), name, account))
        });
        variable.or_else(|| {
            let name = items(&container["envFrom"]).map(|from| &from["secretRef"]["name"]).find(refused)?;
            Some(not_listed(&format!("{head} envFrom referencing"), name, account))
        })
    })
}

fn not_listed(what: &str, secret: &Value, account: &Value) -> String {
    let account = text(&account["metadata"]["name"]);
    format!(
        "{what} secret.secretName=\"{}\" is not allowed because service account {account} does not reference that secret",
        text(secret)
    )
}

fn pull_secret(spec: &Value, account: &Value) -> Option<String> {
    let mut secrets = items(&spec["imagePullSecrets"]).map(|secret| &secret["name"]).enumerate();
    let (at, name) = secrets.find(|(_, name)| !lists(account, "imagePullSecrets", name))?;
    Some(format!(
        "imagePullSecrets[{at}].name=\"{}\" is not allowed because service account {} does not reference that imagePullSecret",
        text(name),
        text(&account["metadata"]["name"])
    ))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(container: &Value) -> Vec<&str> {
        items(&container["volumeMounts"]).map(|mount| text(&mount["name"])).collect()
    }

    #[test]
    fn secrets_are_found_wherever_a_pod_uses_them() {
        assert!(!uses_secrets(&json!({"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]})));
        for spec in [
            json!({"imagePullSecrets": [{"name": "s"}]}),
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
            json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"initContainers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}),
        ] {
            assert!(uses_secrets(&spec), "{spec}");
        }
    }

    #[test]
    fn containers_with_something_in_its_place_keep_that() {
        let own = json!({"name": "mine", "mountPath": access::PATH});
        let mut pod = json!({"metadata": {"uid": "u"}, "spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "c"}, {"name": "d", "volumeMounts": [own]}],
            "volumes": [{"name": "mine", "emptyDir": {}}],
        }});
        mount(&mut pod);
        let name = text(&pod["spec"]["volumes"][1]["name"]);
        assert!(name.starts_with(access::PREFIX) && name.len() == access::PREFIX.len() + 5, "{name}");
        assert_eq!(pod["spec"]["volumes"][1], access::volume(name));
        assert_eq!(mounts(&pod["spec"]["initContainers"][0]), [name]);
        assert_eq!(mounts(&pod["spec"]["containers"][0]), [name]);
        assert_eq!(mounts(&pod["spec"]["containers"][1]), ["mine"]);
        let before = pod.clone();
        mount(&mut pod);
        assert_eq!(pod, before, "once is enough");
    }

    #[test]
    fn a_volume_of_that_name_is_used() {
        let mut pod = json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "c"}],
            "volumes": [{"name": "kube-api-access-own", "emptyDir": {}}]}});
        mount(&mut pod);
        assert_eq!(mounts(&pod["spec"]["containers"][0]), ["kube-api-access-own"]);
        assert_eq!(items(&pod["spec"]["volumes"]).count(), 1);
        let mut full = json!({"metadata": {"uid": "u"}, "spec": {"containers": [
            {"name": "c", "volumeMounts": [{"name": "mine", "mountPath": access::PATH}]}]}});
        mount(&mut full);
        assert!(full["spec"]["volumes"].is_null(), "nobody mounts it");
    }

    #[test]
    fn an_account_may_say_which_secrets_its_pods_use() {
        let account = json!({"metadata": {"name": "a", "annotations": {ENFORCE: "true"}},
            "secrets": [{"name": "yes"}], "imagePullSecrets": [{"name": "pull"}]});
        assert!(is_enforced(&account));
        let end = "is not allowed because service account a does not reference that secret";
        let pod = |spec: Value| pod_secret(&spec, &account).or_else(|| pull_secret(&spec, &account));
        let volume = |name: &str| pod(json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]}));
        assert_eq!(volume("yes"), None);
        assert_eq!(volume("no"), Some(format!("volume with secret.secretName=\"no\" {end}")));
        let variable = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}});
        let said = format!("init container i with envVar V referencing secret.secretName=\"no\" {end}");
        assert_eq!(pod(json!({"initContainers": [{"name": "i", "env": [variable]}]})), Some(said));
        let said = format!("container c with envFrom referencing secret.secretName=\"no\" {end}");
        assert_eq!(pod(json!({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "no"}}]}]})), Some(said));
        assert_eq!(pod(json!({"imagePullSecrets": [{"name": "pull"}]})), None);
        let said = "imagePullSecrets[0].name=\"no\" is not allowed because service account a does not reference that imagePullSecret";
        assert_eq!(pod(json!({"imagePullSecrets": [{"name": "no"}]})), Some(said.into()));
    }

    #[test]
    fn who_newly_asks_for_that_is_told_better() {
        let (plain, asks) = (json!({"metadata": {}}), json!({"metadata": {"annotations": {ENFORCE: "false"}}}));
        assert!(warning(&asks, None).is_some() && warning(&asks, Some(&plain)).is_some());
        assert_eq!((warning(&asks, Some(&asks)), warning(&plain, None)), (None, None));
    }
}
