//! Programs that keep a user's logins, by the protocol of Docker's credential helpers: `docker-credential-NAME get`
//! is given a registry and prints who we are there. Only those run that the user's own files name; nothing of a Secret
//! is ever run.

use super::login::{Login, normal};
use crate::gitops::process::{Failed, Limits, run};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const PREFIX: &str = "docker-credential-";
/// It may ask a service, or the user.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), output: 64 << 10 };
/// What it says where it knows none.
const UNKNOWN: &str = "credentials not found";
/// In place of a user's name: what follows is an identity token.
const TOKEN: &str = "<token>";
/// What Docker calls its own registry where it asks for a login.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What the user's files name.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// By registry.
    of: Vec<(String, Helper)>,
    /// For all others. The first one counts.
    store: Option<Helper>,
}

#[derive(Debug, Clone)]
pub(super) struct Helper(String);

impl Helpers {
    /// Reads Docker's config.json, or containers-auth.json(5).
    pub fn read(&mut self, config: &[u8]) {
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        let helper = |name: &Value| {
            let name = name.as_str().filter(|name| !name.is_empty() && !name.contains('/'))?;
            Some(Helper(format!("{PREFIX}{name}")))
        };
        let of = config.get("credHelpers").and_then(Value::as_object).into_iter().flatten();
        self.of.extend(of.filter_map(|(registry, name)| Some((normal(registry), helper(name)?))));
        self.store = self.store.take().or_else(|| config.get("credsStore").and_then(helper));
    }

    pub fn of(&self, registry: &str) -> Option<&Helper> {
        self.of.iter().find(|(own, _)| own == registry).map(|(_, helper)| helper)
    }

    pub fn store(&self) -> Option<&Helper> {
        self.store.as_ref()
    }
}

impl Helper {
    /// `None`: it knows no login there. The error holds nothing of one.
    pub async fn ask(&self, registry: &str) -> Result<Option<Login>, String> {
        let Self(program) = self;
        let asked = if registry == "docker.io" { DOCKER_HUB } else { registry };
        // The shell keeps what it prints when it fails, which tells why.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "\"$0\" get || echo failed", program]);
        let output = run(command, asked.as_bytes(), LIMITS).await.map_err(|failed| match failed {
            Failed::Start(error) => format!("{program} cannot be run: {error}"),
            Failed::Time => format!("{program} took more than {} s", LIMITS.time.as_secs()),
            Failed::Output | Failed::Status(_) => format!("{program} failed"),
        })?;
        let said = String::from_utf8_lossy(&output);
        if let Ok(told) = serde_json::from_str::<Value>(&said) {
            let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok(Some(match text("Username") {
                name if name == TOKEN => Login { identity_token: text("Secret"), ..Login::default() },
                username => Login { username, password: text("Secret"), ..Login::default() },
            }));
        }
        match said.contains(UNKNOWN) {
            true => Ok(None),
            false => Err(format!("{program} failed; try: echo {asked} | {program} get")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// A program that does this, by its path.
    fn helper(folder: &tempfile::TempDir, script: &str) -> Helper {
        let path = folder.path().join("helper");
        let mut writer = Command::new("sh");
        writer.arg("-c").arg("printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"").arg(&path).arg(script);
        assert!(writer.status().unwrap().success());
        Helper(path.display().to_string())
    }

    #[tokio::test]
    async fn a_program_is_asked_for_a_login() {
        let folder = tempfile::tempdir().unwrap();
        let echo =
            r#"read -r host; printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}' "$host" "$1-$host" hunter2"#;
        let login = helper(&folder, echo).ask("h.example:5000").await.unwrap().unwrap();
        assert_eq!((&*login.username, &*login.password), ("get-h.example:5000", "hunter2"));
        let login = helper(&folder, echo).ask("docker.io").await.unwrap().unwrap();
        assert_eq!(login.username, format!("get-{DOCKER_HUB}"));
        let token = r#"printf '{"Username":"<token>","Secret":"hunter2"}'"#;
        let login = helper(&folder, token).ask("h").await.unwrap().unwrap();
        assert_eq!((&*login.username, &*login.identity_token), ("", "hunter2"));
        let unknown = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(helper(&folder, unknown).ask("h").await, Ok(None));
        let told = helper(&folder, "echo hunter2 is locked; exit 1").ask("h").await.unwrap_err();
        assert!(told.contains("helper failed; try: echo h | ") && !told.contains("hunter2"), "{told}");
        let told = Helper("/nonexistent/helper".into()).ask("h").await.unwrap_err();
        assert!(told.contains("/nonexistent/helper failed"), "{told}");
    }

    #[test]
    fn helpers_are_named_by_registry_or_for_all() {
        let mut helpers = Helpers::default();
        helpers.read(
            json!({"credHelpers": {"https://h.example/v2/": "one", "bad.example": "../x"}}).to_string().as_bytes(),
        );
        helpers.read(json!({"credsStore": "all"}).to_string().as_bytes());
        helpers.read(json!({"credsStore": "later"}).to_string().as_bytes());
        helpers.read(b"[");
        assert_eq!(helpers.of("h.example").unwrap().0, "docker-credential-one");
        assert!(helpers.of("bad.example").is_none() && helpers.of("other.example").is_none());
        assert_eq!(helpers.store().unwrap().0, "docker-credential-all");
    }
}
