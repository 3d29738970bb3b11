//! Statuses of commits, as GitHub, GitLab and Gitea get them from a daemon that follows a repository; and how many
//! messages a server gets at once.

use crate::daemon::Daemon;
use crate::http_server::{HttpServer, Received};
use crate::repository::GitRepository;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const APPLICATION: [&str; 3] = ["applications.selkie.dev/app", "-n", "selkie-system"];

/// What is sent to a forge, as its documentation says that it is to be.
struct Forge {
    kind: &'static str,
    server: HttpServer,
    /// Below its own address.
    api: &'static str,
    repository: &'static str,
    /// The path up to the commit.
    statuses: &'static str,
    headers: &'static [(&'static str, &'static str)],
    failure: &'static str,
}

fn forges() -> [Forge; 3] {
    [
        Forge {
            kind: "github",
            server: HttpServer::start(),
            api: "/api/v3",
            repository: "ann/shop",
            statuses: "/api/v3/repos/ann/shop/statuses/",
            headers: &[
                ("authorization", "Bearer hush-github"),
                ("accept", "application/vnd.github+json"),
                ("x-github-api-version", "2022-11-28"),
            ],
            failure: "failure",
        },
        Forge {
            kind: "gitlab",
            server: HttpServer::start(),
            api: "/api/v4",
            repository: "group/sub/shop",
            statuses: "/api/v4/projects/group%2Fsub%2Fshop/statuses/",
            headers: &[("private-token", "hush-gitlab")],
            failure: "failed",
        },
        Forge {
            kind: "gitea",
            server: HttpServer::start(),
            api: "/api/v1",
            repository: "ann/shop",
            statuses: "/api/v1/repos/ann/shop/statuses/",
            headers: &[("authorization", "token hush-gitea")],
            failure: "failure",
        },
    ]
}

impl Forge {
    fn notification(&self) -> Value {
        let mut notification = json!({"name": self.kind, "type": self.kind, "repository": self.repository,
            "url": format!("{}{}", self.server.url(), self.api), "secretRef": {"name": self.kind},
            "targetURL": "https://ci.example/${revision}?app=${name}"});
        if self.kind != "gitea" {
            notification["template"] = json!("${name} is ${event} at ${shortRevision}: ${message}");
        }
        notification
    }

    /// What came for a commit in this state.
    fn posts(&self, commit: &str, state: &str) -> Vec<Received> {
        let line = format!("POST {}{commit}", self.statuses);
        let is_it = |one: &Received| one.line == line && document(one)["state"] == state;
        self.server.received().into_iter().filter(is_it).collect()
    }

    /// All of a request that such a server looks at.
    fn check(&self, one: &Received, commit: &str, state: &str, message: &str) {
        for (name, value) in self.headers {
            assert_eq!(one.headers.get(*name).map(String::as_str), Some(*value), "{}: {one:?}", self.kind);
        }
        assert!(one.headers["content-type"].starts_with("application/json"), "{one:?}");
        let document = document(one);
        let short = &commit[..7];
        let description = match self.kind {
            "gitea" => message.to_owned(),
            // Its own word stands in the state; the template has that of selkie.
            _ => format!("app is {} at {short}: {message}", if state == "success" { state } else { "failure" }),
        };
        let said = document["description"].as_str().unwrap_or_default();
        assert!(said.starts_with(&description), "{}: {said:?} is not {description:?}...", self.kind);
        assert!(said.chars().count() <= if self.kind == "gitlab" { 255 } else { 140 }, "{said}");
        assert_eq!(document["context"], "selkie/app");
        assert_eq!(document["target_url"], format!("https://ci.example/{commit}?app=app"));
        assert_eq!(document["state"], state);
        assert_eq!(document.as_object().map(serde_json::Map::len), Some(4), "{document}");
    }
}

fn document(received: &Received) -> Value {
    serde_json::from_str(&received.body).unwrap_or_default()
}

/// The second from which a server that limits its clients answers again, and when that is here.
fn in_two_seconds() -> (u64, Instant) {
    let (now, here) = (SystemTime::now().duration_since(UNIX_EPOCH).expect("a time"), Instant::now());
    let reset = now.as_secs() + 2;
    (reset, here + (Duration::from_secs(reset) - now))
}

#[test]
fn every_forge_hears_of_every_commit_in_its_own_words() {
    let (repository, forges) = (GitRepository::new(), forges());
    let app = format!("app={}#main", repository.bare().display());
    let daemon = Daemon::start(&["--no-hosts", "--app", &app]);
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    daemon.wait_for("the first commit is ready", || daemon.value(&APPLICATION, ready) == "True");
    for forge in &forges {
        let token = format!("--from-literal=token=hush-{}", forge.kind);
        daemon.kubectl(&["create", "secret", "generic", forge.kind, "-n", "selkie-system", &token]);
    }
    let (reset, open) = in_two_seconds();
    let limit = format!("403 Forbidden\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: {reset}");
    for (forge, answer) in forges.iter().zip([&limit, "502 Bad Gateway", "429 Too Many Requests\r\nRetry-After: 2"]) {
        forge.server.answer(answer);
    }
    let all: Vec<Value> = forges.iter().map(Forge::notification).collect();
    let patch = json!({"spec": {"notifications": all}}).to_string();
    daemon.kubectl(&[&["patch"], APPLICATION.as_slice(), &["--type=merge", "-p", &patch]].concat());

    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    for forge in &forges {
        daemon
            .wait_for(&format!("{} hears at the second try", forge.kind), || forge.posts(&first, "success").len() == 2);
        let tries = forge.posts(&first, "success");
        tries.iter().for_each(|one| forge.check(one, &first, "success", "all objects are ready"));
        match forge.kind {
            "github" => assert!(tries[1].at >= open, "it is left alone until its limit is reset"),
            "gitea" => assert!(tries[1].at - tries[0].at >= Duration::from_millis(1900), "as long as it asks for"),
            _ => {}
        }
    }
    daemon.wait_for("the status says what they know", || {
        forges.iter().all(|forge| {
            let told = format!("{{.status.notifications.{}}}", forge.kind);
            let told: Value = serde_json::from_str(&daemon.value(&APPLICATION, &told)).unwrap_or_default();
            told["commit"] == format!("success@{first}") && told["error"] == ""
        })
    });

    std::fs::write(repository.work().join("broken.yaml"), "kind: ConfigMap\n").expect("a manifest");
    let broken = repository.commit("second");
    repository.push();
    for forge in &forges {
        daemon.wait_for("the broken commit fails", || !forge.posts(&broken, forge.failure).is_empty());
        let posts = forge.posts(&broken, forge.failure);
        forge.check(&posts[0], &broken, forge.failure, "broken.yaml:1");
    }
    let shown = [daemon.log(), daemon.kubectl(&["get", "events,applications.selkie.dev", "-A", "-o", "yaml"])];
    assert!(shown.iter().all(|text| !text.contains("hush-")));
}

/// More applications than a server is told of at once.
#[test]
fn a_server_is_told_no_more_than_it_can_be_asked_to_take() {
    const APPS: usize = 14;
    const BURST: usize = 10;
    let (server, source) = (HttpServer::start(), tempfile::tempdir().expect("a folder"));
    let daemon = Daemon::start(&["--no-hosts"]);
    let apps = (0..APPS).map(|n| {
        let directory = source.path().join(n.to_string());
        std::fs::create_dir(&directory).expect("a folder");
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{n}}}\n");
        std::fs::write(directory.join("map.yaml"), map).expect("a manifest");
        json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": format!("app-{n}"), "namespace": "selkie-system"},
            "spec": {"source": {"path": directory}, "notifications": [{"name": "hook", "type": "webhook",
                "url": server.url(), "events": ["Synced"]}]}})
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": apps.collect::<Vec<_>>()});
    let file = source.path().join("apps.json");
    std::fs::write(&file, list.to_string()).expect("applications");
    daemon.kubectl(&["apply", "-f", &file.display().to_string()]);
    daemon.wait_for("each has been told", || server.received().len() >= APPS);
    let mut heard: BTreeMap<String, usize> = BTreeMap::new();
    let received = server.received();
    for one in &received {
        *heard.entry(document(one)["name"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(heard.len() == APPS && heard.values().all(|count| *count == 1), "{heard:?}");
    for (count, one) in received.iter().enumerate().skip(BURST) {
        let least = Duration::from_millis((count - BURST) as u64 * 1000);
        let took = one.at - received[0].at;
        assert!(took >= least, "message {count} came after {took:?}");
    }
}
