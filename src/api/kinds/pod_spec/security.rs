//! Validation of security contexts, the pod's and its containers'.

use super::validate::Context;
use crate::api::error::FieldError;
use crate::api::kinds::json::{integer, list, text};
use serde_json::Value;

pub fn validate(spec: &Value, path: &str, cx: &mut Context) {
    let context = &spec["securityContext"];
    let field = format!("{path}.securityContext");
    ids(context, &["fsGroup", "runAsUser", "runAsGroup"], &field, cx);
    for (i, group) in list(context, &["supplementalGroups"]).iter().enumerate() {
        id(group, format!("{field}.supplementalGroups[{i}]"), cx);
    }
    let policy = &context["supplementalGroupsPolicy"];
    cx.one_of(format!("{field}.supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    profiles(context, &field, cx);
    host_users(spec, path, cx);
    sysctls(list(context, &["sysctls"]), &format!("{field}.sysctls"), cx);
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, container) in list(spec, &[kind]).iter().enumerate() {
            let field = format!("{path}.{kind}[{i}].securityContext");
            self::container(&container["securityContext"], &field, spec["hostUsers"] != Value::Bool(false), cx);
        }
    }
}

/// Whether a sysctl is known and may be set is the kubelet's business.
fn sysctls(sysctls: &[Value], field: &str, cx: &mut Context) {
    for (i, sysctl) in sysctls.iter().enumerate() {
        let (name, field) = (text(sysctl, &["name"]), format!("{field}[{i}].name"));
        if name.is_empty() {
            cx.required(field, "");
        } else if !is_sysctl(name) {
            let why = format!("must have at most {SYSCTL_LIMIT} characters and match regex {SYSCTL}");
            cx.invalid(field, &sysctl["name"], &why);
        } else if sysctls[..i].iter().any(|before| before["name"] == sysctl["name"]) {
            cx.errors.push(FieldError::duplicate(field, &sysctl["name"]));
        }
    }
}

const SYSCTL_LIMIT: usize = 253;
/// For messages; [`is_sysctl`] tells.
const SYSCTL: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn is_sysctl(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |part: &str| {
        part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || matches!(c, '-' | '_'))
    };
    name.len() <= SYSCTL_LIMIT && name.split(['.', '/']).all(segment)
}

fn container(context: &Value, field: &str, host_users: bool, cx: &mut Context) {
    ids(context, &["runAsUser", "runAsGroup"], field, cx);
    cx.one_of(format!("{field}.procMount"), &context["procMount"], &["Default", "Unmasked"]);
    if host_users && context["procMount"] == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        cx.invalid(format!("{field}.procMount"), &context["procMount"], why);
    }
    if context["allowPrivilegeEscalation"] == Value::Bool(false) {
        if context["privileged"] == Value::Bool(true) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            cx.invalid(field.into(), context, why);
        }
        let added = list(context, &["capabilities", "add"]);
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            cx.invalid(field.into(), context, why);
        }
    }
    profiles(context, field, cx);
}

/// Seccomp and AppArmor profiles, of a pod or a container.
fn profiles(context: &Value, field: &str, cx: &mut Context) {
    const TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
    for (name, kind) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let (profile, field) = (&context[name], format!("{field}.{name}"));
        if profile.is_null() {
            continue;
        }
        match text(profile, &["type"]) {
            "" => cx.required(format!("{field}.type"), &format!("type is required when {name} is set")),
            _ => cx.one_of(format!("{field}.type"), &profile["type"], &TYPES),
        }
        let (file, field) = (text(profile, &["localhostProfile"]), format!("{field}.localhostProfile"));
        if text(profile, &["type"]) != "Localhost" {
            if !file.is_empty() {
                let why = format!("can only be set when {kind} type is Localhost");
                cx.invalid(field, &profile["localhostProfile"], &why);
            }
        } else if file.trim().is_empty() {
            cx.required(field, &format!("must be set when {kind} type is Localhost"));
        } else if kind == "AppArmor" {
            if file.trim() != file {
                cx.invalid(field, &profile["localhostProfile"], "must not be padded with whitespace");
            }
        } else if file.starts_with('/') {
            cx.invalid(field, &profile["localhostProfile"], "must be a relative path");
        } else if file.split('/').any(|part| part == "..") {
            cx.invalid(field, &profile["localhostProfile"], "must not contain '..'");
        }
    }
}

/// What a pod with a user namespace of its own cannot share with the host.
fn host_users(spec: &Value, path: &str, cx: &mut Context) {
    if spec["hostUsers"] != Value::Bool(false) {
        return;
    }
    const WHY: &str = "when `hostUsers` is false";
    for name in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[name] == Value::Bool(true) {
            cx.errors.push(FieldError::forbidden(format!("{path}.{name}"), WHY));
        }
    }
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, container) in list(spec, &[kind]).iter().enumerate() {
            if !list(container, &["volumeDevices"]).is_empty() {
                cx.errors.push(FieldError::forbidden(format!("{path}.{kind}[{i}].volumeDevices"), WHY));
            }
        }
    }
}

fn ids(context: &Value, names: &[&str], field: &str, cx: &mut Context) {
    for name in names {
        id(&context[*name], format!("{field}.{name}"), cx);
    }
}

fn id(value: &Value, field: String, cx: &mut Context) {
    if integer(value, &[]).is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        cx.invalid(field, value, "must be between 0 and 2147483647, inclusive");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(spec: Value) -> Vec<String> {
        let mut cx = Context::new();
        validate(&spec, "spec", &mut cx);
        cx.errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn profiles_are_named_below_the_hosts_directory() {
        let with = |kind: &str, profile: Value| wrong(json!({"securityContext": {kind: profile}}));
        let path = "spec.securityContext";
        for kind in ["seccompProfile", "appArmorProfile"] {
            assert_eq!(with(kind, json!({"type": "Localhost", "localhostProfile": "a/b"})), [""; 0]);
            assert_eq!(
                with(kind, json!({})),
                [format!("{path}.{kind}.type: Required value: type is required when {kind} is set")]
            );
        }
        let profile = format!("{path}.seccompProfile.localhostProfile");
        let with = |file: &str| with("seccompProfile", json!({"type": "Localhost", "localhostProfile": file}));
        assert_eq!(with("/etc/a"), [format!("{profile}: Invalid value: \"/etc/a\": must be a relative path")]);
        assert_eq!(with("a/../b"), [format!("{profile}: Invalid value: \"a/../b\": must not contain '..'")]);
        assert_eq!(with(""), [format!("{profile}: Required value: must be set when seccomp type is Localhost")]);
        let none = json!({"type": "RuntimeDefault", "localhostProfile": "x"});
        assert_eq!(
            wrong(json!({"containers": [{"securityContext": {"appArmorProfile": none}}]})),
            ["spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: \"x\": can only be \
              set when AppArmor type is Localhost"]
        );
    }

    #[test]
    fn all_of_proc_is_for_users_of_their_own() {
        let with = |host_users: Value| {
            wrong(json!({"hostUsers": host_users, "hostPID": true,
                "containers": [{"securityContext": {"procMount": "Unmasked"}}]}))
        };
        let field = "spec.containers[0].securityContext.procMount";
        let why = "Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`";
        assert_eq!(with(Value::Null), [format!("{field}: {why}")]);
        assert_eq!(with(json!(false)), ["spec.hostPID: Forbidden: when `hostUsers` is false"]);
        assert_eq!(
            wrong(json!({"securityContext": {"supplementalGroupsPolicy": "None"}})),
            [
                "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"None\": supported values: \"Merge\", \"Strict\""
            ]
        );
    }

    #[test]
    fn sysctls_have_names() {
        for name in ["kernel.shmmax", "net/ipv4/tcp_syncookies", "safe-and-unsafe", "net.ipv4.conf.eth0"] {
            assert!(is_sysctl(name), "{name}");
        }
        for name in ["foo-", "bar..", "", ".a", "Kernel.x", "a b"] {
            assert!(!is_sysctl(name), "{name}");
        }
    }
}
