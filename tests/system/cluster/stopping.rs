//! SIGTERM ends the daemon within five seconds, whatever it is doing.

use crate::setting::{Folder, Setting};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A kubectl that goes on until the daemon ends it.
struct Client(Child);

impl Client {
    fn start(setting: &Setting, args: &[&str]) -> Self {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(setting.daemon.kubeconfig()).args(args);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_daemon_stops_in_time_whatever_goes_on() {
    let folder = Folder::new();
    // A registry and a git server that accept and never answer.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let git = TcpListener::bind("127.0.0.1:0").unwrap();
    let manifests = folder.path().join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    let pod = |name: &str, image: &str, grace: u32| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: {grace}\n  \
             containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, \"trap '' TERM; while :; do echo up; sleep 1; done\"]\n"
        )
    };
    let pulls = format!("{}/nobody/image:1", registry.local_addr().unwrap());
    std::fs::write(manifests.join("pulls.yaml"), pod("pulls", &pulls, 30)).unwrap();
    std::fs::write(manifests.join("runs.yaml"), pod("runs", "localhost/selkie-demo:1", 30)).unwrap();
    std::fs::write(manifests.join("stays.yaml"), pod("stays", "localhost/selkie-demo:1", 30)).unwrap();
    let local = format!("local={}", manifests.display());
    let hanging = format!("hanging=https://{}/r.git", git.local_addr().unwrap());
    let mut setting = Setting::start(folder, &["--app", &local, "--app", &hanging]);
    for name in ["runs", "stays"] {
        setting
            .daemon
            .wait_for("its container runs", || setting.daemon.value(&["pod", name], "{.status.phase}") == "Running");
    }
    // A sync waits for `pulls`, whose image is being pulled; `stays` is being stopped and resists.
    setting.daemon.wait_for("the pull began", || {
        setting.daemon.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]).contains("Pulling image")
    });
    setting.daemon.kubectl(&["delete", "pod", "stays", "--wait=false"]);
    let mut clients = [
        Client::start(&setting, &["get", "pods", "--watch"]),
        Client::start(&setting, &["logs", "--follow", "runs"]),
        Client::start(&setting, &["exec", "runs", "--", "sleep", "1000"]),
    ];
    setting.daemon.wait_for("the exec runs", || {
        let listed = setting.daemon.try_kubectl(&["exec", "runs", "--", "ps"]);
        String::from_utf8_lossy(&listed.stdout).contains("sleep 1000")
    });
    assert!(clients.iter_mut().all(Client::is_running));
    let took = setting.daemon.stop();
    assert!(took.as_secs() < 5, "it stopped after {took:?}");
    let running = setting.folder.containers("{{.Names}} {{.Status}}");
    assert!(
        running.iter().any(|name| name.contains("runs")),
        "containers are left alone: {running:?}\n{}",
        setting.folder.rig.storage.cli(&["ps", "--all", "--no-trunc"])
    );
}
