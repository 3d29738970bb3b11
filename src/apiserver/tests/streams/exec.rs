//! `pods/x/exec` and `attach` as kube-rs speaks them, over a connection inside the process.

use super::{rig, script};
use crate::apiserver::User;
use crate::apiserver::tests::Rig;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pods(rig: &Rig) -> Api<Pod> {
    Api::default_namespaced(kube::Client::new(rig.server.service(User::master("test")), "default"))
}

async fn exec(rig: &Rig, command: &[&str], params: AttachParams) -> AttachedProcess {
    pods(rig).exec("one", command.iter().copied(), &params).await.unwrap()
}

/// The outcome as `status reason cause`.
async fn outcome(mut process: AttachedProcess) -> String {
    let status = process.take_status().unwrap().await.unwrap();
    let cause = status.details.and_then(|d| d.causes.into_iter().flatten().next()).and_then(|c| c.message);
    process.join().await.unwrap();
    [status.status, status.reason, cause].map(Option::unwrap_or_default).join(" ").trim().to_string()
}

#[tokio::test]
async fn outcomes() {
    let rig = rig().await;
    let run = async |command: &[&str]| outcome(exec(&rig, command, AttachParams::default()).await).await;
    assert_eq!(run(&["exit", "0"]).await, "Success");
    assert_eq!(run(&["exit", "7"]).await, "Failure NonZeroExitCode 7");
    assert_eq!(run(&["gone"]).await, "Failure InternalError");
    let attached = pods(&rig).attach("one", &AttachParams::default()).await.unwrap();
    assert_eq!(outcome(attached).await, "Success", "how the container ended is the pod's business");
}

#[tokio::test]
async fn input_ends_and_output_follows() {
    let rig = rig().await;
    let mut process = exec(&rig, &["cat"], AttachParams::default().stdin(true).stderr(false)).await;
    let (mut stdin, mut stdout) = (process.stdin().unwrap(), process.stdout().unwrap());
    let sent = vec![7u8; 3 << 20];
    let expected = sent.clone();
    tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).await.unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
    assert_eq!(outcome(process).await, "Success");
}

#[tokio::test]
async fn streams_are_apart_and_a_terminal_has_one() {
    let rig = rig().await;
    let mut process = exec(&rig, &["both"], AttachParams::default()).await;
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    process.stderr().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out", "err"));
    let mut process = exec(&rig, &["size"], AttachParams::interactive_tty()).await;
    let size = TerminalSize { width: 80, height: 24 };
    let _ = process.terminal_size().unwrap().try_send(size);
    let mut out = String::new();
    process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "80x24");
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let rig = rig().await;
    let mut process = exec(&rig, &["flood", "512"], AttachParams::default().stderr(false)).await;
    let mut stdout = process.stdout().unwrap();
    let (mut total, mut piece) = (0, vec![0; 4096]);
    loop {
        match stdout.read(&mut piece).await.unwrap() {
            0 => break,
            read => total += read,
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(total, 512 * (64 << 10));
    assert_eq!(outcome(process).await, "Success");
}

#[tokio::test]
async fn a_client_that_leaves_frees_a_silent_command() {
    let rig = rig().await;
    let process = exec(&rig, &["sleep"], AttachParams::default()).await;
    process.abort();
    drop(process);
    script::ENDED.notified().await;
}

#[tokio::test]
async fn refusals() {
    let rig = rig().await;
    let refused = async |path: &str, code: u16, expected: &str| {
        for method in ["GET", "POST"] {
            let (found, status) = rig.send(method, &format!("{PODS}/{path}"), "", "").await;
            let message = status["message"].as_str().unwrap_or_default();
            assert!(found == code && message.contains(expected), "{method} {path}: {found} {message}");
        }
    };
    refused("none/exec?command=x&stdout=1", 404, "pods \"none\" not found").await;
    refused("homeless/exec?command=x&stdout=1", 400, "pod homeless does not have a host assigned").await;
    refused("web/attach?stdout=1", 400, "a container name must be specified for pod web, choose one of: [a b]").await;
    refused("one/exec?stdout=1", 400, "you must specify at least one command for the container").await;
    refused("one/exec?command=x&stdout=false", 400, "you must specify at least 1 of stdin, stdout, stderr").await;
    refused("one/exec?command=x&stdout=true", 400, "Upgrade request required").await;
    refused("one/portforward?ports=80", 400, "Upgrade request required").await;
}

#[tokio::test]
async fn the_kubelet_of_a_node_runs_commands_too() {
    let rig = rig().await;
    assert_eq!(rig.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.0, 201);
    let of = |user| kube::Client::new(rig.server.service(user), "default");
    let ask =
        |path: &str| http::Request::get(format!("/api/v1/{path}&command=exit&command=7")).body(Vec::new()).unwrap();
    let path = "nodes/n/proxy/exec/default/one/c?output=1";
    let mut stream = of(User::master("test")).connect(ask(path)).await.unwrap().into_stream();
    let mut said = Vec::new();
    while let Some(Ok(message)) = stream.next().await {
        said.extend_from_slice(&message.into_data());
    }
    assert!(String::from_utf8_lossy(&said).contains("NonZeroExitCode"), "{said:?}");
    // To read is not to act, though it begins with a GET.
    let rule = json!({"apiGroups": [""], "resources": ["nodes/proxy", "pods/exec"], "verbs": ["get"]});
    let root = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "reader"}, "rules": [rule]});
    assert_eq!(rig.post(&format!("{root}/clusterroles"), role).await.0, 201);
    let binding = json!({"metadata": {"name": "reader"}, "subjects": [{"kind": "User", "name": "ann"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}});
    assert_eq!(rig.post(&format!("{root}/clusterrolebindings"), binding).await.0, 201);
    let ann = || of(User { name: "ann".into(), ..User::default() });
    for path in [path, "namespaces/default/pods/one/exec?stdout=1"] {
        let refused = ann().connect(ask(path)).await.err().unwrap().to_string();
        assert!(refused.contains("cannot create resource"), "{refused}");
    }
}
