//! Validation of `spec.notifications`.

use crate::api::error::FieldError;
use crate::api::kinds::json::{list, text};
use crate::api::kinds::names;
use crate::api::kinds::pod_spec::Context;
use crate::api::notifications::{EVENTS, FORGES, LISTENERS, template};
use serde_json::Value;

pub fn validate(spec: &Value) -> Vec<FieldError> {
    let mut cx = Context::new();
    let all = list(spec, &["notifications"]);
    for (index, one) in all.iter().enumerate() {
        let field = |name: &str| format!("spec.notifications[{index}].{name}");
        let name = text(one, &["name"]);
        cx.names(&field("name"), &one["name"], names::label(name));
        if all[..index].iter().any(|earlier| text(earlier, &["name"]) == name) {
            cx.errors.push(FieldError::duplicate(field("name"), &one["name"]));
        }
        let kind = text(one, &["type"]);
        let types = [LISTENERS.as_slice(), &FORGES].concat();
        match kind {
            "" => cx.required(field("type"), &format!("must be one of {}", types.join(", "))),
            _ => cx.one_of(field("type"), &one["type"], &types),
        }
        let forge = FORGES.contains(&kind);
        destination(one, forge, &field, &mut cx);
        for (place, event) in list(one, &["events"]).iter().enumerate() {
            cx.one_of(field(&format!("events[{place}]")), event, &EVENTS);
        }
        if forge && !list(one, &["events"]).is_empty() {
            let why = "a commit always gets its status: pending, success or failure";
            cx.errors.push(FieldError::forbidden(field("events"), why));
        }
        // What looks like a document is meant to be one.
        let document = kind == "webhook" || kind == "slack" && text(one, &["template"]).trim_start().starts_with('{');
        for (name, json) in [("template", document), ("targetURL", false)] {
            if let Err(why) = readable(text(one, &[name]), json) {
                cx.invalid(field(name), &one[name], &why);
            }
        }
        if !forge {
            for name in ["repository", "targetURL"].iter().filter(|name| !one[**name].is_null()) {
                cx.errors.push(FieldError::forbidden(field(name), "is for commit statuses"));
            }
        }
    }
    cx.errors
}

/// Where it goes, and with what right.
fn destination(one: &Value, forge: bool, field: &dyn Fn(&str) -> String, cx: &mut Context) {
    let (url, secret) = (text(one, &["url"]), text(one, &["secretRef", "name"]));
    if !one["secretRef"].is_null() && secret.is_empty() {
        cx.required(field("secretRef.name"), "must name a Secret");
    }
    if forge && secret.is_empty() {
        cx.required(field("secretRef"), "must name the Secret whose key token may write statuses of commits");
    }
    if !forge && url.is_empty() && secret.is_empty() {
        cx.required(field("url"), "must be set, or secretRef name a Secret with the key address");
    }
    let usable = |url: &str| {
        let uri = url.parse::<http::Uri>().ok()?;
        let scheme = matches!(uri.scheme_str(), Some("https" | "http"));
        (scheme && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
    };
    match usable(url) {
        None if !url.is_empty() => cx.invalid(field("url"), &url.into(), "must be an https or http URL"),
        // Whoever may read Applications would read the password.
        Some(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            cx.errors.push(FieldError::forbidden(field("url"), "must not hold a password; put it into the Secret"));
        }
        _ => {}
    }
    let repository = text(one, &["repository"]);
    let parts: Vec<&str> = repository.split('/').collect();
    if !repository.is_empty() && (parts.len() < 2 || parts.iter().any(|part| part.is_empty() || *part == "..")) {
        cx.invalid(field("repository"), &repository.into(), "must be OWNER/REPOSITORY");
    }
}

fn readable(text: &str, json: bool) -> Result<(), String> {
    template(text)?;
    if json && !text.is_empty() {
        serde_json::from_str::<Value>(text).map_err(|error| format!("must be a JSON document: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(one: Value) -> Vec<String> {
        validate(&json!({"notifications": [one]})).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn notifications_are_checked_field_by_field() {
        let chat = json!({"name": "ops", "type": "slack", "url": "https://chat/hook", "events": ["Refused"],
            "template": "${name}: ${message}"});
        let hook =
            json!({"name": "ci", "type": "webhook", "secretRef": {"name": "s"}, "template": "{\"a\": \"${name}\"}"});
        let forge = json!({"name": "git", "type": "gitea", "secretRef": {"name": "s"}, "repository": "a/b",
            "url": "https://git/api/v1", "targetURL": "https://ci/${revision}"});
        for good in [&chat, &hook, &forge] {
            assert!(wrong(good.clone()).is_empty(), "{good}");
        }
        for (good, field, value) in [
            (&chat, "name", json!("Not a name")),
            (&chat, "type", json!("mail")),
            (&chat, "url", Value::Null),
            (&chat, "url", json!("ftp://chat")),
            (&chat, "url", json!("https://me:secret@chat/hook")),
            (&chat, "events[0]", json!("synced")),
            (&chat, "template", json!("${nobody}")),
            (&chat, "template", json!("{\"text\": ")),
            (&chat, "repository", json!("a/b")),
            (&hook, "template", json!("name=${name}")),
            (&hook, "secretRef.name", json!("")),
            (&forge, "secretRef", Value::Null),
            (&forge, "repository", json!("b")),
            (&forge, "targetURL", json!("${}")),
        ] {
            let mut bad = good.clone();
            match field.split_once(['[', '.']) {
                None => bad[field] = value.clone(),
                Some(("events", _)) => bad["events"][0] = value.clone(),
                Some((outer, inner)) => bad[outer][inner] = value.clone(),
            }
            let fields = wrong(bad);
            assert!(
                fields.iter().any(|wrong| *wrong == format!("spec.notifications[0].{field}")),
                "{field}: {fields:?}"
            );
        }
        let mut selective = forge.clone();
        selective["events"] = json!(["Synced"]);
        assert_eq!(wrong(selective), ["spec.notifications[0].events"]);
        let twice = validate(&json!({"notifications": [chat, chat]}));
        assert_eq!(twice[0].field, "spec.notifications[1].name");
    }
}
