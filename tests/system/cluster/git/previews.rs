//! Previews of branches: a copy in a namespace of its own, while somebody works on the branch.

use super::Follower;
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::GitRepository;
use serde_json::json;

impl Follower {
    /// The previews, by namespace: what their greetings say.
    fn previews(&self) -> Vec<String> {
        let path = "{range .items[*]}{.metadata.namespace}={.data.text}{'\\n'}{end}";
        let all =
            self.daemon.value(&["configmaps", "-A", "-l", "selkie.dev/application!=app,selkie.dev/application"], path);
        all.lines().map(str::to_owned).collect()
    }

    fn wait_previews(&self, expected: &[&str]) {
        self.daemon.wait_for(&format!("the previews are {expected:?}"), || self.previews() == expected);
    }
}

fn commit_to(repository: &GitRepository, branch: &str, greeting: &str) {
    repository.git(&["checkout", "--quiet", "-B", "work", "main"]);
    repository.commit(greeting);
    repository.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:{branch}")]);
}

#[test]
fn a_branch_has_a_preview_as_long_as_somebody_works_on_it() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    follower.wait_greeting("first");
    follower.patch(json!({"spec": {"previews": {"branches": ["preview-*", "refs/pull/*/head"]}}}));
    assert!(follower.previews().is_empty());

    commit_to(&repository, "preview-a", "from a");
    commit_to(&repository, "refs/pull/7/head", "from a pull request");
    commit_to(&repository, "elsewhere", "of no concern");
    follower.daemon.wait_for("both are there", || {
        let previews = follower.previews();
        previews.len() == 2 && previews[0] == "app-preview-a=from a" && previews[1].starts_with("app-pull-7-")
    });
    assert_eq!(follower.greeting(), "first", "the original stays as it is");
    let listed = follower.daemon.selkie(&["app", "list"]);
    assert!(listed.contains("app-preview-a"), "{listed}");

    // It follows its branch, and goes with it.
    commit_to(&repository, "preview-a", "more");
    repository.git(&["push", "--quiet", "origin", ":refs/pull/7/head"]);
    follower.wait_previews(&["app-preview-a=more"]);
    let namespaces = || follower.daemon.kubectl(&["get", "namespaces", "-o", "name"]);
    follower.daemon.wait_for("the namespace is gone, too", || !namespaces().contains("app-pull-7"));

    // A branch that rests ends it, the next commit brings it back.
    follower.patch(json!({"spec": {"previews": {"ttl": "2s"}}}));
    follower.wait_previews(&[]);
    follower.daemon.wait_for("the namespace is gone", || !namespaces().contains("app-preview-a"));
    follower.patch(json!({"spec": {"previews": {"ttl": "1h"}}}));
    commit_to(&repository, "preview-a", "again");
    follower.wait_previews(&["app-preview-a=again"]);

    // They go with the original.
    follower.daemon.kubectl(&["delete", "applications.selkie.dev", "app", "-n", "selkie-system"]);
    follower.wait_previews(&[]);
    follower.daemon.wait_for("nothing is left", || !namespaces().contains("app-preview-a"));
}
