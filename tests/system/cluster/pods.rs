//! What containers find of their pod on a real host: its accounts' tokens, its group's files, its names;
//! and those that join it later.

use crate::setting::{Folder, Setting};

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, fsGroup: 1001}
  hostAliases: [{ip: 10.0.0.9, hostnames: [db, db.shop]}]
  containers:
  - name: web
    image: localhost/selkie-demo:1
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    volumeMounts: [{name: api, mountPath: /api}]
  volumes:
  - name: api
    projected:
      defaultMode: 0440
      sources:
      - serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
";

#[test]
fn a_container_finds_its_token_its_groups_files_and_its_names() {
    let folder = Folder::new();
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;
    let path = daemon.data.join("pod.yaml");
    std::fs::write(&path, POD).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
    daemon.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let exec = |script: &str| daemon.kubectl(&["exec", "web", "-c", "web", "--", "sh", "-c", script]);

    assert_eq!(exec("stat -L -c '%a %u %g' /api/token /api/name"), "640 1000 1001\n440 0 1001\n");
    let review = format!(
        "apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nspec: {{token: {}, audiences: [vault]}}\n",
        exec("cat /api/token")
    );
    std::fs::write(&path, review).expect("a review");
    let answer = daemon.kubectl(&["create", "-f", path.to_str().expect("a path"), "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:default", "{answer}");
    assert_eq!(answer["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"][0], "web", "{answer}");

    // Every container has one for the API itself, with what it takes to reach it.
    const ACCESS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(exec(&format!("ls {ACCESS}; cat {ACCESS}/namespace")), "ca.crt\nnamespace\ntoken\ndefault");
    let ca = std::fs::read_to_string(daemon.data.join("pki/ca.crt")).expect("the CA");
    assert_eq!(exec(&format!("cat {ACCESS}/ca.crt")), ca);
    let token = exec(&format!("cat {ACCESS}/token"));
    let flag = format!("--token={token}");
    assert!(daemon.kubectl(&["auth", "whoami", &flag]).contains("system:serviceaccount:default:default"));

    let hosts = exec("cat /etc/hosts");
    assert!(hosts.starts_with("# Kubernetes-managed hosts file.\n"), "{hosts}");
    assert!(hosts.contains("\tweb\n") && hosts.contains("\n10.0.0.9\tdb\tdb.shop\n"), "{hosts}");

    let image = "--image=localhost/selkie-demo:1";
    let debug = ["debug", "web", image, "--image-pull-policy=IfNotPresent", "--target=web", "-c", "look"];
    daemon.kubectl(&[&debug[..], &["--", "sh", "-c", "ps; sleep 1000"]].concat());
    daemon.wait_for("the added container runs", || {
        daemon.value(&["pod", "web"], "{.status.ephemeralContainerStatuses[0].state.running}").contains("startedAt")
    });
    daemon.wait_for("it sees the processes of the other", || {
        daemon.kubectl(&["logs", "web", "-c", "look"]).contains("sleep 1000")
    });
    let joined = "{.status.containerStatuses[0].restartCount}{.status.phase}";
    assert_eq!(daemon.value(&["pod", "web"], joined), "0Running");

    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n";
    std::fs::write(&path, service).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
    daemon.wait_for("the service has its pod", || daemon.value(&["endpoints", "web"], "{.subsets}").contains("8080"));
    exec("mkdir /tmp/www; echo hello >/tmp/www/page; httpd -p 8080 -h /tmp/www");
    for name in ["pods/web:8080", "pods/http:web:8080", "services/web:80", "services/http:web:80"] {
        let path = format!("/api/v1/namespaces/default/{name}/proxy/page?x=1");
        assert_eq!(daemon.kubectl(&["get", "--raw", &path]), "hello\n", "{name}");
    }
    let closed = daemon.try_kubectl(&["get", "--raw", "/api/v1/namespaces/default/pods/web:81/proxy/page"]);
    let said = String::from_utf8_lossy(&closed.stderr).into_owned();
    assert!(!closed.status.success() && said.contains("error trying to reach service"), "{said}");

    // What asks for more than a host gives fails at once, with the reason.
    let refused = POD
        .replace("{name: web, ", "{name: greedy, ")
        .replace("fsGroup: 1001", "sysctls: [{name: kernel.shmmax, value: '1'}]");
    std::fs::write(&path, refused).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
    daemon.wait_for("the pod is refused", || daemon.value(&["pod", "greedy"], "{.status.reason}") == "SysctlForbidden");
    assert_eq!(daemon.value(&["pod", "greedy"], "{.status.phase}"), "Failed");
}

const CALLER: &str = "apiVersion: v1
kind: Namespace
metadata: {name: callers}
---
apiVersion: v1
kind: Pod
metadata: {name: caller, namespace: callers}
spec:
  serviceAccountName: bot
  hostNetwork: true
  restartPolicy: Never
  containers:
  - name: caller
    image: localhost/selkie-demo:1
    imagePullPolicy: IfNotPresent
    command: [/tools/kubectl, auth, whoami, --cache-dir=/tmp]
    env:
    - {name: KUBERNETES_SERVICE_HOST, value: 127.0.0.1}
    - {name: KUBERNETES_SERVICE_PORT, value: 'PORT'}
    volumeMounts: [{name: tools, mountPath: /tools, readOnly: true}]
  volumes:
  - name: tools
    hostPath: {path: TOOLS}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bot, namespace: callers}
";

/// Where this machine has its kubectl, which is one file.
fn tools() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find_map(|folder| folder.join("kubectl").canonicalize().ok());
    let found = found.expect("kubectl on the PATH");
    found.parent().expect("a folder").display().to_string()
}

/// What its programs find there is what clients of Kubernetes look for: they check the server by the CA, and
/// are known by the token.
#[test]
fn a_pod_calls_the_api_as_its_account() {
    let folder = Folder::new();
    let setting = Setting::start(folder, &[]);
    let daemon = &setting.daemon;
    let server = daemon.kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let port = server.rsplit(':').next().expect("a port");
    let path = daemon.data.join("caller.yaml");
    std::fs::write(&path, CALLER.replace("PORT'", &format!("{port}'")).replace("TOOLS", &tools())).expect("manifests");
    // Namespace, account and pod in one: none of them is there before the others.
    daemon.selkie(&["apply", "-f", path.to_str().expect("a path"), "--wait=false"]);
    daemon.wait_for("the call is over", || {
        let phase = daemon.value(&["pod", "caller", "-n", "callers"], "{.status.phase}");
        ["Succeeded", "Failed"].contains(&phase.as_str())
    });
    let said = daemon.kubectl(&["logs", "caller", "-n", "callers"]);
    assert!(said.contains("system:serviceaccount:callers:bot"), "{said}");
    assert!(said.contains("authentication.kubernetes.io/pod-name"), "{said}");
}
