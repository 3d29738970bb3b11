//! Who a StatefulSet's pods are: names, labels, hostnames and claims by ordinal. Pure.

use crate::controllers::claim::controller_reference;
use crate::controllers::pods;
use crate::controllers::revisions::HASH_LABEL;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use std::collections::BTreeMap;

pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

pub fn set_name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// `spec.replicas`.
pub fn wanted(set: &StatefulSet) -> i64 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0).into()
}

/// `spec.ordinals.start`.
pub fn start(set: &StatefulSet) -> i64 {
    set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0).into()
}

/// The ordinals that shall exist.
pub fn ordinals(set: &StatefulSet) -> std::ops::Range<i64> {
    start(set)..start(set) + wanted(set)
}

/// The ordinal of a pod by its name; `None` for a name that is not `SET-ORDINAL`.
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i64> {
    let digits = pods::name(pod).strip_prefix(set_name(set))?.strip_prefix('-')?;
    let number: i32 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(number.into())
}

pub fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten())
}

fn template_name(claim: &PersistentVolumeClaim) -> &str {
    claim.metadata.name.as_deref().unwrap_or_default()
}

/// The names of the claims of one ordinal.
pub fn claim_names(set: &StatefulSet, ordinal: i64) -> impl Iterator<Item = String> {
    claim_templates(set).map(move |claim| format!("{}-{}-{ordinal}", template_name(claim), set_name(set)))
}

/// The claims of one ordinal as they are made, without owners.
pub fn claims(set: &StatefulSet, ordinal: i64) -> impl Iterator<Item = PersistentVolumeClaim> {
    let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.as_ref());
    claim_templates(set).zip(claim_names(set, ordinal)).map(move |(template, name)| {
        let mut claim = template.clone();
        claim.metadata.name = Some(name);
        claim.metadata.namespace = set.metadata.namespace.clone();
        let own = selected.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        claim.metadata.labels.get_or_insert_default().extend(own);
        claim.status = None;
        claim
    })
}

/// What every pod of this name carries besides its template's labels.
pub fn labels(name: &str, ordinal: i64) -> BTreeMap<String, String> {
    [(POD_NAME, name.to_owned()), (POD_INDEX, ordinal.to_string())].map(|(key, value)| (key.to_owned(), value)).into()
}

/// The pod of an ordinal after `template`, which is that of the revision called `revision`.
pub fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i64) -> Pod {
    let name = format!("{}-{ordinal}", set_name(set));
    let mut pod = pods::from_template(template, set.metadata.namespace.clone(), &name, controller_reference(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let own = pod.metadata.labels.get_or_insert_default();
    own.extend(labels(&name, ordinal));
    own.insert(HASH_LABEL.into(), revision.to_owned());
    let Some(spec) = pod.spec.as_mut() else { return pod };
    spec.hostname = Some(name);
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    let volumes = spec.volumes.get_or_insert_default();
    for (template, claim_name) in claim_templates(set).zip(claim_names(set, ordinal)) {
        let volume = template_name(template);
        volumes.retain(|known| known.name != volume);
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        volumes.push(Volume { name: volume.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() });
    }
    pod
}
