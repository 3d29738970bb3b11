//! Webhooks of git servers, as they would send them, against a repository that is asked once an hour.

use super::Follower;
use crate::daemon::{Daemon, run};
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::GitRepository;
use ring::hmac;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What is promised of an optimized build. Others are several times slower.
const AT_ONCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 100 });
const SECRET: &str = "hush-webhook-secret";

struct Sender {
    follower: Follower,
    repository: GitRepository,
    server: HttpsServer,
    address: String,
}

/// Code and text of an answer.
type Answer = (String, String);

impl Sender {
    /// Applications `main` and `dev` of these branches, in namespaces of the same names, with a secret
    /// for webhooks; and `silent`, without one.
    fn start() -> Self {
        let repository = GitRepository::new();
        repository.git(&["push", "--quiet", "origin", "HEAD:dev"]);
        let server = HttpsServer::start(repository.folder.path());
        let follower = Follower { daemon: Daemon::start(&["--no-hosts"]) };
        let secret = |name: &str, values: Value| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "selkie-system"},
                "stringData": values})
        };
        let mut items = vec![
            secret("login", json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD})),
            secret("hook", json!({"token": format!("{SECRET}\n")})),
        ];
        for name in ["main", "dev", "silent"] {
            items.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
            let reference = if name == "dev" { "dev" } else { "main" };
            let mut source = json!({"repoURL": server.url(), "ref": reference, "secretRef": {"name": "login"}});
            let mut spec = json!({"namespace": name});
            // With a webhook that is how often it is asked anyway.
            match name {
                "silent" => spec["interval"] = json!("1h"),
                _ => source["webhook"] = json!({"secretRef": {"name": "hook"}}),
            }
            spec["source"] = source;
            items.push(json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
                "metadata": {"name": name, "namespace": "selkie-system"}, "spec": spec}));
        }
        follower.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        let kubeconfig = std::fs::read_to_string(follower.daemon.kubeconfig()).unwrap();
        let address = kubeconfig.split("server: ").nth(1).unwrap().lines().next().unwrap().trim().to_string();
        let sender = Self { follower, repository, server, address };
        ["main", "dev", "silent"].iter().for_each(|namespace| sender.wait_greeting(namespace, "first"));
        sender
    }

    fn greeting(&self, namespace: &str) -> String {
        self.follower.daemon.value(&["configmap", "greeting", "-n", namespace], "{.data.text}")
    }

    fn wait_greeting(&self, namespace: &str, greeting: &str) {
        let what = format!("{greeting:?} is in force in {namespace}");
        self.follower.daemon.wait_for(&what, || self.greeting(namespace) == greeting);
    }

    fn post(&self, name: &str, headers: &[&str], body: &str) -> Answer {
        let file = self.follower.daemon.data.with_extension("body");
        std::fs::write(&file, body).unwrap();
        let (url, data) = (format!("{}/hooks/{name}", self.address), format!("@{}", file.display()));
        let mut args = vec!["-sk", "--max-time", "30", "-w", "\n%{http_code}", "--data-binary", &data, &url];
        headers.iter().for_each(|header| args.extend(["-H", header]));
        let answer = run("curl", &args);
        let (text, code) = answer.rsplit_once('\n').unwrap();
        (code.to_string(), text.to_string())
    }

    /// The codes of the answers to many requests with one header and then one with another, in no time.
    fn hammer(&self, name: &str, header: &str, last: &str, body: &str) -> Vec<String> {
        let file = self.follower.daemon.data.with_extension("body");
        std::fs::write(&file, body).unwrap();
        let (url, data) = (format!("{}/hooks/{name}", self.address), format!("@{}", file.display()));
        let one = |url: &str, header: &str| {
            let all = ["-sk", "-o", "/dev/null", "-w", "%{http_code}\n", "--data-binary", &data, url, "-H", header];
            all.map(str::to_owned)
        };
        let args = [&one(&format!("{url}#[1-40]"), header)[..], &["--next".to_owned()], &one(&url, last)].concat();
        run("curl", &args).lines().map(str::to_owned).collect()
    }

    /// What GitHub sends after a push.
    fn push_event(&self, branch: &str) -> String {
        json!({"ref": format!("refs/heads/{branch}"), "repository": {"clone_url": self.server.url(),
            "default_branch": "main"}})
        .to_string()
    }

    fn commit(&self, greeting: &str, branch: &str) {
        self.repository.commit(greeting);
        self.repository.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:{branch}")]);
    }

    fn asked(&self) -> usize {
        self.server.asked.load(Ordering::SeqCst)
    }
}

fn signature(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_push_wakes_those_who_follow_what_was_pushed() {
    let sender = Sender::start();
    sender.commit("second", "main");
    let body = sender.push_event("main");
    let hub = format!("X-Hub-Signature-256: sha256={}", signature(&body));
    let one = ("202".to_string(), "1 application looks at its source\n".to_string());
    // The path names whose secret it is; the body, whom it is about.
    assert_eq!(sender.post("dev", &[&hub, "X-GitHub-Event: push"], &body), one);
    sender.wait_greeting("main", "second");
    // Who follows the same ref hears of it, too.
    sender.wait_greeting("silent", "second");
    assert_eq!(sender.greeting("dev"), "first");

    let (body, asked) = (sender.push_event("dev"), sender.asked());
    sender.commit("third", "dev");
    let gitea = format!("X-Gitea-Signature: {}", signature(&body));
    assert_eq!(sender.post("dev", &[&gitea, "X-Gitea-Event: push"], &body), one);
    sender.wait_greeting("dev", "third");
    assert!(sender.asked() > asked);

    sender.commit("fourth", "main");
    let token = format!("X-Gitlab-Token: {SECRET}");
    let gitlab = json!({"ref": "refs/heads/main", "project": {"git_http_url": sender.server.url()}}).to_string();
    assert_eq!(sender.post("main", &[&token, "X-Gitlab-Event: Push Hook"], &gitlab), one);
    sender.wait_greeting("main", "fourth");

    // Forms: GitHub signs what it sends, Gitea the JSON that is in it.
    for (sent, signs_form) in [("by GitHub", true), ("by Gitea", false)] {
        let greeting = format!("form {sent}");
        sender.commit(&greeting, "main");
        let json = sender.push_event("main");
        let encoded: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("payload={encoded}");
        let hub = format!("X-Hub-Signature-256: sha256={}", signature(if signs_form { &form } else { &json }));
        let kind = "Content-Type: application/x-www-form-urlencoded";
        assert_eq!(sender.post("dev", &[&hub, "X-GitHub-Event: push", kind], &form), one, "{sent}");
        sender.wait_greeting("main", &greeting);
    }

    // Whatever signs its body, and says no more than that there is something new.
    sender.commit("fifth", "main");
    assert_eq!(sender.post("main", &[&format!("X-Signature-256: {}", signature("new"))], "new"), one);
    sender.wait_greeting("main", "fifth");

    // A replay costs a fetch, and begins it at once.
    let body = sender.push_event("main");
    let hub = format!("X-Hub-Signature-256: sha256={}", signature(&body));
    let fetched = |_| {
        let asked = sender.asked();
        assert_eq!(sender.post("main", &[&hub], &body), one);
        let answered = Instant::now();
        sender.follower.daemon.wait_for("the repository is asked", || sender.asked() > asked);
        answered.elapsed()
    };
    let fastest = (0..5).map(fetched).min().unwrap();
    assert!(fastest < AT_ONCE, "it took {fastest:?}");
    assert_eq!(sender.greeting("main"), "fifth");
    let other = |url: &str| json!({"ref": "refs/heads/main", "repository": url}).to_string();
    for (event, body) in [("push", other("https://elsewhere.example/r.git")), ("ping", sender.push_event("main"))] {
        let (hub, event) = (format!("X-Hub-Signature-256: {}", signature(&body)), format!("X-GitHub-Event: {event}"));
        assert!(sender.post("main", &[&hub, &event], &body).1.starts_with("0 applications"), "{event}");
    }
    let metrics = sender.follower.daemon.kubectl(&["get", "--raw", "/metrics"]);
    assert!(metrics.contains("selkie_webhooks_total{outcome=\"accepted\"} 13"), "{metrics}");
    assert!(!sender.follower.everything_shown().contains(SECRET));
}

#[test]
fn strangers_learn_nothing_and_wake_nobody() {
    let sender = Sender::start();
    sender.commit("second", "main");
    let asked = sender.asked();
    let body = sender.push_event("main");
    let good = format!("X-Hub-Signature-256: sha256={}", signature(&body));
    let wrong = format!("X-Hub-Signature-256: sha256={}", signature("something else"));
    let refused = sender.post("main", &[&wrong], &body);
    assert_eq!(refused, ("401".into(), "unknown application, or wrong signature\n".into()));
    for (name, header) in [
        ("main", "X-Gitlab-Token: a guess"),
        ("main", "X-Gitlab-Token;"),
        ("main", "X-Nothing: 1"),
        ("nobody", good.as_str()),
        ("silent", good.as_str()),
        ("..", good.as_str()),
        ("%2e%2e%2fsecrets", good.as_str()),
    ] {
        let answer = sender.post(name, &[header, "X-GitHub-Event: push"], &body);
        assert!(answer == refused || name == "..", "{name} {header}: {answer:?}");
    }
    let get = run("curl", &["-sk", "-w", "%{http_code}", &format!("{}/hooks/main", sender.address)]);
    assert_eq!(get, "webhooks are posted\n405");
    let huge = " ".repeat(1 << 21);
    assert_eq!(sender.post("main", &[&format!("X-Signature-256: {}", signature(&huge))], &huge).0, "413");
    assert_eq!(sender.asked(), asked, "nobody asked the repository");
    assert_eq!(sender.greeting("main"), "first");

    // Who goes on is not listened to for a while.
    sender.follower.daemon.wait_for("not even to what is right", || {
        let codes = sender.hammer("main", &wrong, &good, &body);
        // A second makes room for one more.
        codes.iter().rev().take(2).all(|code| code == "429")
    });
    sender.follower.daemon.wait_for("it is forgiven", || sender.post("main", &[&good], &body).0 == "202");
    sender.wait_greeting("main", "second");
    let metrics = sender.follower.daemon.kubectl(&["get", "--raw", "/metrics"]);
    for outcome in ["accepted", "refused", "limited"] {
        assert!(metrics.contains(&format!("selkie_webhooks_total{{outcome=\"{outcome}\"}}")), "{metrics}");
    }
}
