//! Bases in other repositories, as an application fetches them.

use super::Follower;
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::{GitRepository, git};
use serde_json::json;
use std::path::PathBuf;

/// A second repository beside `repo.git`, with a base of one ConfigMap.
struct Base {
    bare: PathBuf,
    work: PathBuf,
}

impl Base {
    fn beside(repository: &GitRepository) -> Self {
        let folder = repository.folder.path();
        let (bare, work) = (folder.join("base.git"), folder.join("base"));
        git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", &bare.display().to_string()]);
        git(folder, &["init", "--quiet", "--initial-branch=main", &work.display().to_string()]);
        Self { bare, work }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Returns the commit.
    fn push(&self, greeting: &str) -> String {
        self.write("maps/kustomization.yaml", "resources: [greeting.yaml]\n");
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\n  labels: {app: x}\ndata:\n";
        self.write("maps/greeting.yaml", &format!("{map}  text: {greeting}\n"));
        git(&self.work, &["add", "-A"]);
        git(&self.work, &["commit", "--quiet", "-m", greeting]);
        git(&self.work, &["push", "--quiet", "--tags", &self.bare.display().to_string(), "HEAD:main"]);
        git(&self.work, &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

#[test]
fn a_base_on_the_own_server_is_fetched_with_the_own_credentials_where_that_is_allowed() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let server = HttpsServer::start(repository.folder.path());
    let first = base.push("first base");
    let entry = format!("https://{}/base.git//maps?ref=main", server.address);
    std::fs::write(repository.work().join("kustomization.yaml"), format!("resources:\n- {entry}\n")).unwrap();
    repository.commit("a kustomization");
    repository.push();
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    follower.wait_refused(&["kustomization.yaml:2:3", "remote bases are not allowed", "spec.kustomize.remoteBases"]);
    follower.patch(json!({"spec": {"kustomize": {"remoteBases": true}}}));
    follower.wait_greeting("first base");
    let bases = || follower.status("app", "{.status.remoteBases}");
    follower.daemon.wait_for("the status pins the base", || bases().contains(&first));
}
