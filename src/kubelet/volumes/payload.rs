//! The files of a configMap, secret, downwardAPI or projected volume. Pure.

use crate::kubelet::env::Sources;
use crate::kubelet::fields::{self, HostFacts};
use crate::kubelet::pod::{all_containers, spec};
use crate::kubelet::tokens;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};
use std::collections::BTreeMap;

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    pub owner: Owner,
}

/// Ids of user and group; `None`: root, or who the daemon runs as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub user: Option<u32>,
    pub group: Option<u32>,
}

impl File {
    pub fn of_root(data: Vec<u8>, mode: u32) -> Self {
        Self { data, mode, owner: Owner::default() }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The data may be a secret.
        write!(f, "File({} bytes, {:o})", self.data.len(), self.mode)
    }
}

/// By path relative to the volume.
pub type Files = BTreeMap<String, File>;

const DEFAULT_MODE: i32 = 0o644;

/// Errors read on after `MountVolume.SetUp failed for volume "x" : `.
pub fn payload(pod: &Pod, volume: &Volume, facts: &HostFacts, sources: &Sources) -> Result<Files, String> {
    let mut files = Files::new();
    let owner = owner(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let share = Share { name: &source.name, items: source.items.as_deref(), mode, optional: source.optional };
        share.of_config_map(&mut files, namespace, sources)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let share = Share { name, items: source.items.as_deref(), mode, optional: source.optional };
        share.of_secret(&mut files, namespace, sources)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(&mut files, pod, facts, source.items.as_deref().unwrap_or_default(), mode)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in projected.sources.iter().flatten() {
            if let Some(source) = &source.config_map {
                let share =
                    Share { name: &source.name, items: source.items.as_deref(), mode, optional: source.optional };
                share.of_config_map(&mut files, namespace, sources)?;
            } else if let Some(source) = &source.secret {
                let share =
                    Share { name: &source.name, items: source.items.as_deref(), mode, optional: source.optional };
                share.of_secret(&mut files, namespace, sources)?;
            } else if let Some(source) = &source.downward_api {
                downward(&mut files, pod, facts, source.items.as_deref().unwrap_or_default(), mode)?;
            } else if let Some(source) = &source.service_account_token {
                let token = sources.tokens.get(&tokens::wanted(source)).ok_or("its token was not asked for")?;
                // Nobody's but the pod's, where it is known whose that is.
                let private = owner.user.is_some() || owner.group.is_some();
                let mode = if private { 0o600 } else { bits(mode) };
                let data = token.clone().into_bytes();
                files.insert(source.path.clone(), File { data, mode, owner: Owner { user: owner.user, group: None } });
            } else {
                return Err("one of its projected sources is of a type this kubelet does not know".into());
            }
        }
    } else {
        return Err("its type is not supported by this kubelet; use configMap, secret, downwardAPI, projected, \
                    emptyDir or hostPath"
            .into());
    }
    if let Some(path) = files.keys().find(|path| !safe(path)) {
        return Err(format!("path {path:?} leaves the volume"));
    }
    // What belongs to the pod's group can be read by it.
    for file in files.values_mut().filter(|_| owner.group.is_some()) {
        file.owner.group = owner.group;
        file.mode |= 0o440;
    }
    Ok(files)
}

/// Whose the files are: the group of the pod's volumes, and the user, where all containers run as one.
pub fn owner(pod: &Pod) -> Owner {
    let spec = spec(pod);
    let security = spec.security_context.as_ref();
    let of_pod = security.and_then(|security| security.run_as_user);
    let mut users: Vec<_> = all_containers(spec)
        .map(|(_, container)| container.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod))
        .collect();
    users.dedup();
    let user = if let [user] = users[..] { user } else { None };
    let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    Owner { user: id(user), group: id(security.and_then(|security| security.fs_group)) }
}

/// What a volume takes of a ConfigMap or a Secret.
struct Share<'a> {
    name: &'a str,
    /// All keys if there are none.
    items: Option<&'a [KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
}

impl Share<'_> {
    fn of_config_map(&self, files: &mut Files, namespace: &str, sources: &Sources) -> Result<(), String> {
        let data = sources.config_map(self.name).map(|map| {
            let text = map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
            let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice()));
            text.chain(binary).collect()
        });
        self.put(files, data, namespace, "configmap", "config")
    }

    fn of_secret(&self, files: &mut Files, namespace: &str, sources: &Sources) -> Result<(), String> {
        let data = sources.secret(self.name);
        let data = data.map(|s| s.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect());
        self.put(files, data, namespace, "secret", "secret")
    }

    /// `what` and `keys` name the object and its keys in errors.
    fn put(
        &self,
        files: &mut Files,
        data: Option<BTreeMap<&str, &[u8]>>,
        namespace: &str,
        what: &str,
        keys: &str,
    ) -> Result<(), String> {
        let (name, optional) = (self.name, self.optional == Some(true));
        let Some(data) = data else {
            return if optional { Ok(()) } else { Err(format!("{what} {name:?} not found")) };
        };
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            for (key, value) in data {
                files.insert(key.to_string(), File::of_root(value.to_vec(), bits(self.mode)));
            }
            return Ok(());
        };
        for item in items {
            match data.get(item.key.as_str()) {
                Some(value) => {
                    let mode = bits(item.mode.unwrap_or(self.mode));
                    files.insert(item.path.clone(), File::of_root(value.to_vec(), mode));
                }
                None if optional => {}
                None => {
                    return Err(format!("{what} {namespace}/{name} references non-existent {keys} key: {}", item.key));
                }
            }
        }
        Ok(())
    }
}

fn downward(
    files: &mut Files,
    pod: &Pod,
    facts: &HostFacts,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<(), String> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(wanted), _) => fields::field(pod, facts, &wanted.field_path)?,
            (None, Some(wanted)) => fields::resource(pod, facts, "", wanted)?,
            (None, None) => return Err(format!("{} refers to no field", item.path)),
        };
        let mode = bits(item.mode.unwrap_or(mode));
        files.insert(item.path.clone(), File::of_root(text.into_bytes(), mode));
    }
    Ok(())
}

fn bits(mode: i32) -> u32 {
    (mode as u32) & 0o777
}

fn safe(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && !path.starts_with("..") && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn run(volume: Value) -> Result<Vec<(String, String, u32)>, String> {
        let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"bin": "AAE="}});
        let secret = json!({"data": {"key": "c2VjcmV0"}});
        let sources = Sources {
            config_maps: [("cm".to_string(), Some(Arc::new(serde_json::from_value(map).unwrap())))].into(),
            secrets: [("sec".to_string(), Some(Arc::new(serde_json::from_value(secret).unwrap())))].into(),
            ..Sources::default()
        };
        let meta = json!({"name": "p", "namespace": "ns", "labels": {"x": "y"}});
        let pod = Pod { metadata: serde_json::from_value(meta).unwrap(), ..Pod::default() };
        let files = payload(&pod, &serde_json::from_value(volume).unwrap(), &HostFacts::default(), &sources)?;
        Ok(files.into_iter().map(|(p, f)| (p, String::from_utf8_lossy(&f.data).into_owned(), f.mode)).collect())
    }

    #[test]
    fn whole_objects_and_single_keys() {
        let all = run(json!({"name": "v", "configMap": {"name": "cm"}})).unwrap();
        assert_eq!(all.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["a", "b", "bin"]);
        let items = json!([{"key": "a", "path": "dir/x", "mode": 256}]);
        let one = run(json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 420, "items": items}})).unwrap();
        assert_eq!(one, [("dir/x".into(), "1".into(), 0o400)]);
    }

    #[test]
    fn projected_volumes_join_their_sources() {
        let sources = json!([{"configMap": {"name": "cm", "items": [{"key": "a", "path": "a"}]}}, {"secret": {"name": "sec"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]);
        let files = run(json!({"name": "v", "projected": {"sources": sources, "defaultMode": 288}})).unwrap();
        assert_eq!(files[1], ("key".into(), "secret".into(), 0o440));
        assert_eq!(files[2].1, "x=\"y\"");
    }

    #[test]
    fn what_is_missing_is_an_error_unless_optional() {
        assert_eq!(run(json!({"name": "v", "configMap": {"name": "no"}})).unwrap_err(), "configmap \"no\" not found");
        let items = json!([{"key": "no", "path": "x"}]);
        let error = run(json!({"name": "v", "secret": {"secretName": "sec", "items": items}})).unwrap_err();
        assert_eq!(error, "secret ns/sec references non-existent secret key: no");
        assert_eq!(run(json!({"name": "v", "secret": {"secretName": "no", "optional": true}})).unwrap(), []);
        let items = json!([{"key": "a", "path": "../x"}]);
        assert!(run(json!({"name": "v", "configMap": {"name": "cm", "items": items}})).is_err());
    }
}
