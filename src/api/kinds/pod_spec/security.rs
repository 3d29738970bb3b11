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
    sysctls(list(context, &["sysctls"]), &format!("{field}.sysctls"), cx);
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, container) in list(spec, &[kind]).iter().enumerate() {
            self::container(&container["securityContext"], &format!("{path}.{kind}[{i}].securityContext"), cx);
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

fn container(context: &Value, field: &str, cx: &mut Context) {
    ids(context, &["runAsUser", "runAsGroup"], field, cx);
    cx.one_of(format!("{field}.procMount"), &context["procMount"], &["Default", "Unmasked"]);
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
    let profile = &context["seccompProfile"];
    if !profile.is_null() && text(profile, &["type"]) == "Localhost" && text(profile, &["localhostProfile"]).is_empty()
    {
        cx.required(format!("{field}.seccompProfile.localhostProfile"), "must be set when seccomp type is Localhost");
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
