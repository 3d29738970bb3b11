//! Applications that others wait for.

use super::Task;
use super::recording::Revision;
use crate::gitops::application::Application;
use crate::gitops::render::Rendered;
use crate::gitops::sync::Event;
use crate::gitops::windows::Closed;
use std::sync::Arc;

/// Why `application` cannot be synced to `revision` yet; `None`: it can. `find`: any Application.
fn blocked(
    application: &Application,
    revision: &str,
    find: &dyn Fn(&str) -> Option<Arc<Application>>,
) -> Option<String> {
    if let Some(circle) = circle(application, find) {
        return Some(format!("spec.dependsOn goes in a circle: {}", circle.join(" -> ")));
    }
    application.spec.depends_on.iter().find_map(|wanted| {
        let name = &wanted.name;
        let Some(other) = find(name) else { return Some(format!("there is no application {name:?}")) };
        let status = &other.status;
        let source = (&application.spec.source, &other.spec.source);
        let same = source.0.repo_url == source.1.repo_url && source.0.reference == source.1.reference;
        // Of one commit, the part that is waited for comes first.
        if same && !source.0.repo_url.is_empty() && status.revision != revision && !other.spec.suspend {
            return Some(format!("application {name:?} is not at this revision yet"));
        }
        let seen = status.observed_generation >= other.metadata.generation.unwrap_or(0);
        (status.revision.is_empty() || !status.is_ready() || !seen)
            .then(|| format!("application {name:?} is not ready"))
    })
}

/// The way from an Application back to itself.
fn circle(application: &Application, find: &dyn Fn(&str) -> Option<Arc<Application>>) -> Option<Vec<String>> {
    let start = application.name();
    let mut seen: Vec<String> = Vec::new();
    let mut ways: Vec<Vec<String>> =
        application.spec.depends_on.iter().map(|one| vec![start.to_owned(), one.name.clone()]).collect();
    while let Some(way) = ways.pop() {
        let Some(last) = way.last().cloned() else { continue };
        if last == start {
            return Some(way);
        }
        if seen.contains(&last) {
            continue;
        }
        let next = find(&last);
        seen.push(last);
        let next = next.iter().flat_map(|other| other.spec.depends_on.iter());
        ways.extend(next.map(|one| way.iter().cloned().chain([one.name.clone()]).collect()));
    }
    None
}

/// Why a revision is not applied yet.
pub(super) enum Block {
    Dependency(String),
    Window(Closed),
}

impl Task {
    /// Manifests with errors wait for nothing: nothing of them is applied, and who wrote them hears of it.
    pub(super) fn blocked(&self, application: &Application, revision: &Revision, rendered: &Rendered) -> Option<Block> {
        let namespace = crate::gitops::application::NAMESPACE;
        let dependency =
            blocked(application, &revision.revision, &|name| self.shared.applications.get(namespace, name));
        // What was begun is brought to its end.
        let may_wait = rendered.errors.is_empty() && self.interrupted(revision).is_none();
        let window = self.closed.clone().filter(|_| may_wait).map(Block::Window);
        window.or(dependency.map(Block::Dependency))
    }

    /// Says what is waited for, once for each revision.
    pub(super) async fn wait_until_free(
        &mut self,
        application: &Application,
        revision: &str,
        block: Block,
        told: &str,
    ) {
        let (reason, why) = match block {
            Block::Dependency(why) => ("DependencyNotReady", why),
            Block::Window(closed) => ("WindowClosed", closed.to_string()),
        };
        if told != why || self.status.attempted_revision != revision {
            self.tell(Event::Blocked { revision: revision.to_owned(), why: why.clone() });
        }
        self.not_yet(application, revision, reason, &why).await;
        self.told_blocked = why;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn app(name: &str, depends_on: &[&str], status: Value) -> Arc<Application> {
        let depends_on: Vec<_> = depends_on.iter().map(|name| json!({"name": name})).collect();
        let source = json!({"repoURL": "https://host/repo.git", "ref": "main", "directory": name});
        let object = json!({"metadata": {"name": name}, "spec": {"source": source, "dependsOn": depends_on},
            "status": status});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn why(all: &[Arc<Application>]) -> Option<String> {
        blocked(&all[0], "new", &|name| all.iter().find(|app| app.name() == name).cloned())
    }

    fn status(revision: &str, ready: &str) -> Value {
        json!({"revision": revision, "conditions": [{"type": "Ready", "status": ready}]})
    }

    #[test]
    fn what_is_depended_on_comes_first_and_is_ready() {
        let shop = || app("shop", &["db"], json!({}));
        assert_eq!(why(&[shop()]).unwrap(), "there is no application \"db\"");
        assert_eq!(
            why(&[shop(), app("db", &[], status("old", "True"))]).unwrap(),
            "application \"db\" is not at this revision yet"
        );
        assert_eq!(why(&[shop(), app("db", &[], status("new", "False"))]).unwrap(), "application \"db\" is not ready");
        assert_eq!(why(&[shop(), app("db", &[], status("new", "True"))]), None);
        assert_eq!(why(&[app("shop", &[], json!({}))]), None);
    }

    #[test]
    fn circles_are_named() {
        let ready = || status("new", "True");
        let all = [app("a", &["d", "b"], ready()), app("b", &["c"], ready()), app("c", &["b", "a"], ready())];
        let said = why(&all).unwrap();
        assert!(said.ends_with("a -> b -> c -> a"), "{said}");
        let elsewhere = [app("x", &["b"], ready()), app("b", &["c"], ready()), app("c", &["b"], ready())];
        assert_eq!(why(&elsewhere), None, "that is for b and c to say");
    }
}
