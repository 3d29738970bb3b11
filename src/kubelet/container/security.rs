//! What a container's processes may, as its pod and itself say. Pure.

use crate::kubelet::pod::spec;
use crate::kubelet::runtime::{AppArmor, HostInfo, ImageInfo, Seccomp, SecurityContext};
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, SELinuxOptions, SeccompProfile};

/// An error is the message of `CreateContainerConfigError`.
pub fn security(
    pod: &Pod,
    container: &Container,
    image: &ImageInfo,
    host: &HostInfo,
) -> Result<SecurityContext, String> {
    let own = container.security_context.as_ref();
    let of_pod = spec(pod).security_context.as_ref();
    let run_as_user = own.and_then(|s| s.run_as_user).or(of_pod.and_then(|s| s.run_as_user));
    let run_as_group = own.and_then(|s| s.run_as_group).or(of_pod.and_then(|s| s.run_as_group));
    let non_root = own.and_then(|s| s.run_as_non_root).or(of_pod.and_then(|s| s.run_as_non_root));
    if non_root == Some(true) {
        check_non_root(container, run_as_user, image)?;
    }
    let strict = of_pod.and_then(|s| s.supplemental_groups_policy.as_deref()) == Some("Strict");
    let run_as = if strict { alone(container, run_as_user, run_as_group, image)? } else { (run_as_user, run_as_group) };
    let mut supplemental = of_pod.and_then(|s| s.supplemental_groups.clone()).unwrap_or_default();
    supplemental.extend(of_pod.and_then(|s| s.fs_group));
    let capabilities = own.and_then(|s| s.capabilities.as_ref());
    let profile = own.and_then(|s| s.seccomp_profile.as_ref()).or(of_pod.and_then(|s| s.seccomp_profile.as_ref()));
    Ok(SecurityContext {
        run_as_user: run_as.0,
        run_as_group: run_as.1,
        supplemental_groups: supplemental,
        privileged: own.and_then(|s| s.privileged) == Some(true),
        read_only_root: own.and_then(|s| s.read_only_root_filesystem) == Some(true),
        allow_privilege_escalation: own.and_then(|s| s.allow_privilege_escalation),
        add_capabilities: capabilities.and_then(|c| c.add.clone()).unwrap_or_default(),
        drop_capabilities: capabilities.and_then(|c| c.drop.clone()).unwrap_or_default(),
        seccomp: seccomp(container, profile, &host.seccomp_root)?,
        app_armor: app_armor(app_armor_profile(pod, container)),
        se_linux: se_linux(pod, container).map(labels).unwrap_or_default(),
        unmasked_proc: own.and_then(|s| s.proc_mount.as_deref()) == Some("Unmasked"),
    })
}

/// User and group without those groups that the image's /etc/group gives the user, which Podman adds to a user
/// whose group is not said.
fn alone(
    container: &Container,
    user: Option<i64>,
    group: Option<i64>,
    image: &ImageInfo,
) -> Result<(Option<i64>, Option<i64>), String> {
    let mut of_image = image.config.user.split(':');
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let is_root = |name: &str| name.is_empty() || name == "root";
    let name = of_image.next().unwrap_or_default();
    let found = user.or(number(Some(name))).or(is_root(name).then_some(0));
    // The group of another user than the image's is another, too; root's is root.
    let same = user.is_none() || user == number(Some(name));
    let own_group = number(of_image.next()).filter(|_| same);
    let group = group.or(own_group).or((found == Some(0)).then_some(0));
    match (found, group) {
        (Some(user), Some(group)) => Ok((Some(user), Some(group))),
        _ => Err(format!(
            "supplementalGroupsPolicy Strict needs runAsUser and runAsGroup as numbers on this host: Podman adds the \
             groups of the image to any other user (container: {})",
            container.name
        )),
    }
}

fn seccomp(container: &Container, profile: Option<&SeccompProfile>, root: &str) -> Result<Seccomp, String> {
    let Some(profile) = profile else { return Ok(Seccomp::RuntimeDefault) };
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Unconfined", _) => Ok(Seccomp::Unconfined),
        // Kept from before the API looked at such paths, perhaps.
        ("Localhost", Some(file)) if file.starts_with('/') || file.split('/').any(|part| part == "..") => {
            Err(format!("seccomp profile {file:?} must stay below {root} (container: {})", container.name))
        }
        ("Localhost", Some(file)) => Ok(Seccomp::Localhost(format!("{}/{file}", root.trim_end_matches('/')))),
        ("Localhost", None) => Err("localhostProfile must be set if seccompProfile type is Localhost.".into()),
        _ => Ok(Seccomp::RuntimeDefault),
    }
}

fn app_armor_profile<'a>(pod: &'a Pod, container: &'a Container) -> Option<&'a AppArmorProfile> {
    let own = container.security_context.as_ref().and_then(|s| s.app_armor_profile.as_ref());
    own.or(spec(pod).security_context.as_ref().and_then(|s| s.app_armor_profile.as_ref()))
}

fn app_armor(profile: Option<&AppArmorProfile>) -> AppArmor {
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.clone())) {
        Some(("Unconfined", _)) => AppArmor::Unconfined,
        Some(("Localhost", Some(name))) => AppArmor::Localhost(name),
        _ => AppArmor::RuntimeDefault,
    }
}

fn se_linux<'a>(pod: &'a Pod, container: &'a Container) -> Option<&'a SELinuxOptions> {
    let own = container.security_context.as_ref().and_then(|s| s.se_linux_options.as_ref());
    own.or(of_pod(pod))
}

fn of_pod(pod: &Pod) -> Option<&SELinuxOptions> {
    spec(pod).security_context.as_ref().and_then(|s| s.se_linux_options.as_ref())
}

/// `type:container_t` and so on, of what is said.
fn labels(options: &SELinuxOptions) -> Vec<String> {
    let parts = [("user", &options.user), ("role", &options.role), ("type", &options.type_), ("level", &options.level)];
    let said = parts.into_iter().filter_map(|(key, value)| Some((key, value.as_deref().filter(|v| !v.is_empty())?)));
    said.map(|(key, value)| format!("{key}:{value}")).collect()
}

/// The label of the pod's own processes.
pub fn sandbox_labels(pod: &Pod) -> Vec<String> {
    of_pod(pod).map(labels).unwrap_or_default()
}

/// What the container asks for and this host has not, for people. As in Kubernetes it runs all the same.
pub fn unenforced(pod: &Pod, container: &Container, host: &HostInfo) -> Option<String> {
    let asked = se_linux(pod, container).map(labels).filter(|labels| host.no_selinux && !labels.is_empty())?;
    let (name, asked) = (&container.name, asked.join(","));
    Some(format!("Container {name}: seLinuxOptions {asked} not enforced: SELinux is not enabled on the host"))
}

fn check_non_root(container: &Container, run_as_user: Option<i64>, image: &ImageInfo) -> Result<(), String> {
    let name = &container.name;
    match run_as_user {
        Some(0) => {
            return Err(format!("container's runAsUser breaks non-root policy (container: {name})"));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image.config.user.split(':').next().unwrap_or_default();
    match user.parse::<i64>() {
        Ok(0) => Err(format!("container has runAsNonRoot and image will run as root (container: {name})")),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() || user == "root" => {
            Err(format!("container has runAsNonRoot and image will run as root (container: {name})"))
        }
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (container: {name})"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: Value, user: &str, host: &HostInfo) -> Result<SecurityContext, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let mut image = ImageInfo::default();
        image.config.user = user.into();
        security(&pod, &pod.spec.as_ref().unwrap().containers[0], &image, host)
    }

    fn both(of_pod: Value, own: Value, user: &str) -> Result<SecurityContext, String> {
        let host = HostInfo { seccomp_root: "/var/lib/selkie/seccomp".into(), ..HostInfo::default() };
        let spec =
            json!({"securityContext": of_pod, "containers": [{"name": "c", "image": "i", "securityContext": own}]});
        of(spec, user, &host)
    }

    #[test]
    fn refuses_root_where_it_must() {
        let made = |user| both(json!({"runAsNonRoot": true}), json!({}), user);
        assert!(made("").unwrap_err().contains("image will run as root"));
        assert!(made("nobody").unwrap_err().contains("non-numeric user (nobody)"));
        made("1000:1000").unwrap();
    }

    #[test]
    fn the_containers_own_words_count_before_the_pods() {
        let profile = |kind: &str, name: Value| json!({"type": kind, "localhostProfile": name});
        let of_pod = json!({"appArmorProfile": profile("Localhost", json!("k8s-web")),
            "seccompProfile": profile("Localhost", json!("profiles/audit.json")),
            "seLinuxOptions": {"type": "spc_t", "level": "s0:c1,c2"}});
        let made = both(of_pod.clone(), json!({}), "").unwrap();
        assert_eq!(made.app_armor, AppArmor::Localhost("k8s-web".into()));
        assert_eq!(made.seccomp, Seccomp::Localhost("/var/lib/selkie/seccomp/profiles/audit.json".into()));
        assert_eq!(made.se_linux, ["type:spc_t", "level:s0:c1,c2"]);
        let own = json!({"appArmorProfile": profile("Unconfined", Value::Null), "procMount": "Unmasked",
            "seccompProfile": profile("RuntimeDefault", Value::Null), "seLinuxOptions": {"user": "u"}});
        let made = both(of_pod, own, "").unwrap();
        assert_eq!((made.app_armor, made.seccomp), (AppArmor::Unconfined, Seccomp::RuntimeDefault));
        assert_eq!((made.se_linux, made.unmasked_proc), (vec!["user:u".to_owned()], true));
        let made = both(json!({}), json!({}), "").unwrap();
        assert!(made.se_linux.is_empty() && !made.unmasked_proc);
    }

    #[test]
    fn profiles_of_the_host_are_in_one_directory() {
        for file in ["/etc/passwd", "../x.json"] {
            let profile = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": file}});
            assert!(both(profile, json!({}), "").unwrap_err().contains("must stay below"), "{file}");
        }
    }

    #[test]
    fn strict_pods_have_no_groups_of_the_image() {
        let made = |more: Value, user: &str| {
            let mut of_pod = json!({"supplementalGroupsPolicy": "Strict", "supplementalGroups": [7]});
            of_pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            both(of_pod, json!({}), user).map(|made| (made.run_as_user, made.run_as_group))
        };
        assert_eq!(made(json!({}), ""), Ok((Some(0), Some(0))));
        assert_eq!(made(json!({"runAsUser": 5, "runAsGroup": 6}), "9:9"), Ok((Some(5), Some(6))));
        assert_eq!(made(json!({}), "9:8"), Ok((Some(9), Some(8))));
        assert_eq!(made(json!({"runAsGroup": 6}), "9"), Ok((Some(9), Some(6))));
        for (more, user) in [(json!({"runAsUser": 5}), "9:9"), (json!({}), "nobody"), (json!({}), "9")] {
            assert!(made(more, user).unwrap_err().contains("needs runAsUser and runAsGroup"), "{user}");
        }
        let merged = both(json!({"runAsUser": 5}), json!({}), "9:9").unwrap();
        assert_eq!((merged.run_as_user, merged.run_as_group), (Some(5), None));
    }

    #[test]
    fn labels_that_nobody_looks_at_are_told() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"securityContext": {"seLinuxOptions": {"type": "x"}},
            "containers": [{"name": "c"}]}}))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let without = HostInfo { no_selinux: true, ..HostInfo::default() };
        let words = "Container c: seLinuxOptions type:x not enforced: SELinux is not enabled on the host";
        assert_eq!(unenforced(&pod, container, &without).as_deref(), Some(words));
        assert_eq!(unenforced(&pod, container, &HostInfo::default()), None);
        assert_eq!(sandbox_labels(&pod), ["type:x"]);
        assert_eq!(unenforced(&Pod::default(), container, &without), None);
    }
}
