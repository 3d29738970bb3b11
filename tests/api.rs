//! The API server as real clients meet it: kubectl over TLS against the memory store.
#![allow(clippy::unwrap_used)]

#[path = "api/accounts.rs"]
mod accounts;
#[path = "api/custom.rs"]
mod custom;
#[path = "api/forward.rs"]
mod forward;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/raw.rs"]
mod raw;
#[path = "api/resize.rs"]
mod resize;
#[path = "api/validation.rs"]
mod validation;
#[path = "api/versions.rs"]
mod versions;
#[path = "api/whole.rs"]
mod whole;
#[path = "api/workloads.rs"]
mod workloads;

use selkie::api::registry::Registry;
use selkie::apiserver::auth::pki::Pki;
use selkie::apiserver::{ApiServer, Config, NoStreams, PodStreams, Tokens, User};
use selkie::store::Store;
use selkie::store::memory::Memory;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A served API and a kubectl to ask it with.
struct Server {
    directory: tempfile::TempDir,
    address: String,
    token: String,
    api: Arc<ApiServer>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Output {
    ok: bool,
    text: String,
}

impl Server {
    async fn start() -> Self {
        Self::with(Arc::new(NoStreams)).await
    }

    async fn with(streams: Arc<dyn PodStreams>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::load_or_create(directory.path(), &[]).unwrap();
        let store: Arc<dyn Store> = Memory::new();
        let config = Config {
            tokens: Tokens::new([(pki.token.clone(), User::master("admin"))]),
            account_keys: Some(pki.account_keys.clone()),
            streams,
            ..Config::new(store.clone(), Arc::new(Registry::builtin()))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let api = ApiServer::new(config);
        tokio::spawn(api.clone().serve(listener, pki.tls, stop.clone().cancelled_owned()));
        let server = Self { directory, address, token: pki.token, api, store, stop };
        server.ok(&["create", "namespace", "default"], "");
        server
    }

    /// kubectl as the administrator; later flags override.
    fn command(&self, arguments: &[&str]) -> Command {
        let ca: PathBuf = self.directory.path().join("pki/ca.crt");
        let mut command = Command::new("kubectl");
        command.env("HOME", self.directory.path()).env_remove("KUBECONFIG");
        command.args(["--server", &self.address, "--token", &self.token, "--certificate-authority"]).arg(ca);
        command.args(arguments);
        command
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Output { ok: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl(arguments, input);
        assert!(output.ok, "kubectl {arguments:?}: {}", output.text);
        output.text
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], input: &str, expected: &str) {
        let text = self.ok(arguments, input);
        assert!(text.contains(expected), "kubectl {arguments:?}: {text:?} lacks {expected:?}");
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], input: &str, expected: &str) {
        let output = self.kubectl(arguments, input);
        assert!(
            !output.ok && output.text.contains(expected),
            "kubectl {arguments:?}: {:?} lacks {expected:?}",
            output.text
        );
    }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx:1
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: blue
";

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_creates_reads_and_changes() {
    let server = Server::start().await;
    server.says(&["version"], "", "Server Version: v1.36");
    server.says(&["apply", "-f", "-"], WEB, "deployment.apps/web created");
    server.says(&["apply", "-f", "-"], WEB, "deployment.apps/web unchanged");
    server.says(&["apply", "-f", "-"], &WEB.replace("replicas: 2", "replicas: 4"), "deployment.apps/web configured");
    server.says(&["get", "deploy", "-o", "wide"], "", "nginx:1");
    server.says(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"], "", "4");
    server.says(&["get", "configmaps", "-A"], "", "settings");
    server.says(&["get", "deploy/web", "-o", "yaml"], "", "kind: Deployment");
    server.says(&["scale", "deploy/web", "--replicas=1"], "", "scaled");
    server.says(&["label", "cm", "settings", "tier=back"], "", "labeled");
    server.says(&["annotate", "cm", "settings", "a/b=c"], "", "annotated");
    server.says(&["patch", "cm", "settings", "-p", r#"{"data":{"size":"big"}}"#], "", "patched");
    server.says(&["get", "cm", "settings", "-o", "jsonpath={.data}"], "", r#""size":"big""#);
    server.says(
        &["patch", "cm", "settings", "--type=json", "-p", r#"[{"op":"remove","path":"/data/size"}]"#],
        "",
        "patched",
    );
    server.says(&["create", "configmap", "typed", "--from-literal=k=v"], "", "configmap/typed created");
    server.says(
        &["create", "configmap", "typed", "--from-literal=k=v", "--dry-run=server", "-o", "name"]
            .map(|a| if a == "typed" { "dry" } else { a }),
        "",
        "configmap/dry",
    );
    server.fails(&["get", "cm", "dry"], "", "Error from server (NotFound): configmaps \"dry\" not found");
    server.says(&["delete", "cm", "typed"], "", "configmap \"typed\" deleted");
    server.says(&["delete", "deploy", "web", "--wait=true", "--timeout=10s"], "", "deployment.apps \"web\" deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_discovers_and_explains() {
    let server = Server::start().await;
    server.says(&["api-resources"], "", "deployments");
    server.says(&["api-versions"], "", "apps/v1");
    server.says(&["auth", "can-i", "create", "pods"], "", "yes");
    server.says(&["get", "--raw", "/readyz?verbose"], "", "[+]store ok");
    server.says(&["get", "--raw", "/metrics"], "", "apiserver_request_total");
    server.fails(&["get", "bogus"], "", "the server doesn't have a resource type \"bogus\"");
    let wrong = WEB.replace("replicas: 2", "replicaz: 2");
    server.fails(&["apply", "-f", "-"], &wrong, "unknown field \"spec.replicaz\"");
    server.says(&["explain", "deployment.spec.replicas"], "", "KIND:       Deployment");
    server.says(&["explain", "runtimeclass.handler"], "", "handler specifies the underlying runtime");
    server.says(&["explain", "application"], "", "A source of manifests that this cluster is kept in sync with.");
    let source = server.ok(&["explain", "application.spec.source"], "");
    assert_eq!(source.matches("Where the manifests come from.").count(), 1, "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_waits_and_watches() {
    let server = Server::start().await;
    server.ok(&["apply", "-f", "-"], WEB);
    server.says(&["wait", "cm/settings", "--for=jsonpath={.data.colour}=blue", "--timeout=10s"], "", "condition met");
    server.says(&["get", "cm", "--watch-only=false", "-l", "app!=x"], "", "settings");
    server.says(&["apply", "-f", "-", "--server-side", "--force-conflicts"], WEB, "serverside-applied");
    let diff = server.kubectl(&["diff", "-f", "-"], &WEB.replace("blue", "green"));
    assert!(!diff.ok && diff.text.contains("+  colour: green"), "{}", diff.text);
    server.says(&["describe", "deploy", "web"], "", "RollingUpdateStrategy");
    server.says(&["create", "secret", "generic", "s", "--from-literal=p=w"], "", "created");
    server.says(&["expose", "deploy", "web", "--port=80"], "", "service/web exposed");
    server.says(&["get", "svc", "web"], "", "ClusterIP");
    server.says(&["run", "one", "--image=nginx"], "", "pod/one created");
    server.says(&["get", "pods"], "", "Pending");
    server.says(&["delete", "pod", "one", "--timeout=10s"], "", "deleted");
    server.says(&["create", "deployment", "d2", "--image=nginx", "--replicas=3"], "", "created");
    server.says(&["set", "image", "deploy/d2", "nginx=nginx:2"], "", "image updated");
    server.says(&["rollout", "restart", "deploy/d2"], "", "restarted");
}
