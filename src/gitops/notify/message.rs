//! What is said to programs and people: the bodies of webhooks and of messages in a chat. Pure.
//!
//! A document is read first and its strings are filled in then, so that no value, whatever is in it, can
//! change what the document is.

use super::Notification;
use crate::api::notifications::{VARIABLES, template};
use crate::base::url::redact;
use crate::gitops::application::Application;
use crate::gitops::notices::Notice;
use crate::gitops::sources::short;
use serde_json::{Value, json};

const CHAT: &str = "*${name}* ${event}: ${message}";

/// The values of [`VARIABLES`], in their order.
pub struct Values([String; VARIABLES.len()]);

impl Values {
    pub fn new(application: &Application, notice: &Notice, time: &str) -> Self {
        let severity = if notice.reason.is_warning() { "error" } else { "info" };
        Self::with(application, (notice.reason.name(), severity), &notice.revision, &notice.message, time)
    }

    /// `what`: event and severity.
    pub fn with(application: &Application, what: (&str, &str), revision: &str, message: &str, time: &str) -> Self {
        let source = &application.spec.source;
        let source = if source.path.is_empty() { redact(&source.repo_url) } else { source.path.clone() };
        let name = application.name();
        Self([name, what.0, what.1, revision, short(revision), message, &source, time].map(str::to_owned))
    }

    /// A text with the values in it, each as `escape` writes it.
    pub fn fill(&self, text: &str, escape: impl Fn(&str) -> String) -> Result<String, String> {
        Ok(template(text)?.render(|place| self.0[place].as_str(), escape))
    }

    /// A document with the values in its strings.
    fn fill_document(&self, text: &str, escape: fn(&str) -> String) -> Result<Value, String> {
        let mut document = serde_json::from_str(text).map_err(|error| format!("template: {error}"))?;
        self.fill_strings(&mut document, escape)?;
        Ok(document)
    }

    fn fill_strings(&self, value: &mut Value, escape: fn(&str) -> String) -> Result<(), String> {
        match value {
            Value::String(text) => *text = self.fill(text, escape)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill_strings(item, escape))?,
            Value::Object(fields) => fields.values_mut().try_for_each(|field| self.fill_strings(field, escape))?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }
}

/// The body for a webhook or a chat, JSON.
pub fn body(notification: &Notification, values: &Values) -> Result<Value, String> {
    let template = notification.template.as_str();
    match (notification.kind.as_str(), template) {
        ("slack", text) if text.trim_start().starts_with('{') => values.fill_document(text, chat),
        ("slack", text) => {
            let text = if text.is_empty() { CHAT } else { text };
            Ok(json!({"text": values.fill(text, chat)?}))
        }
        (_, "") => Ok(VARIABLES.iter().zip(&values.0).map(|(name, value)| (*name, value.as_str())).collect()),
        (_, text) => values.fill_document(text, str::to_owned),
    }
}

/// A value that is no markup: what Slack asks to be escaped.
fn chat(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::notices::Reason;
    use proptest::prelude::*;

    fn values(message: &str) -> Values {
        let application = json!({"metadata": {"name": "shop"},
            "spec": {"source": {"repoURL": "https://me:secret@host/shop.git"}}});
        let notice = Notice { reason: Reason::Refused, revision: "0123456789".into(), message: message.into() };
        Values::new(&serde_json::from_value(application).unwrap(), &notice, "2026-01-01T00:00:00Z")
    }

    fn of(kind: &str, template: &str, message: &str) -> Value {
        let notification = Notification { kind: kind.into(), template: template.into(), ..Notification::default() };
        body(&notification, &values(message)).unwrap()
    }

    #[test]
    fn by_default_a_webhook_gets_everything() {
        let expected = json!({"name": "shop", "event": "Refused", "severity": "error", "revision": "0123456789",
            "shortRevision": "0123456", "message": "a \"b\"", "source": "https://***@host/shop.git",
            "time": "2026-01-01T00:00:00Z"});
        assert_eq!(of("webhook", "", "a \"b\""), expected);
    }

    #[test]
    fn chats_get_text_or_blocks_without_foreign_markup() {
        assert_eq!(of("slack", "", "<!channel> & co"), json!({"text": "*shop* Refused: &lt;!channel&gt; &amp; co"}));
        assert_eq!(
            of("slack", "<https://ci/${revision}|${name}>", ""),
            json!({"text": "<https://ci/0123456789|shop>"})
        );
        let blocks = r#"{"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "${message}"}}]}"#;
        assert_eq!(of("slack", blocks, "<x>")["blocks"][0]["text"]["text"], "&lt;x&gt;");
    }

    proptest! {
        /// Whatever a message holds, the document stays the one that was written.
        #[test]
        fn values_cannot_leave_their_string(message in ".*") {
            let template = r#"{"a": "m: ${message}", "list": ["${message}", 1, null], "${name}": true}"#;
            let expected = json!({"a": format!("m: {message}"), "list": [message.as_str(), 1, null], "${name}": true});
            let text = of("webhook", template, &message).to_string();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        }
    }
}
