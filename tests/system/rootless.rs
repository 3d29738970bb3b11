//! selkie and Podman as an ordinary user: storage, networks and ports without root.

use crate::daemon::{PATIENCE, SELKIE, run, text, wait_until};
use selkie::kubelet::runtime::podman::Podman;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// What rootless.sh ends with where it cannot work.
const CANNOT: i32 = 77;

/// `selkie up` of an ordinary user. Its user, processes and storage go with it.
struct Session {
    folder: tempfile::TempDir,
    child: Child,
}

impl Session {
    /// `None`, said aloud, where this machine cannot have one; under `CI=true` that fails.
    fn start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("selkie-rootless-").tempdir().expect("a directory");
        // The user may not look into this checkout.
        let selkie = folder.path().join("selkie");
        std::fs::copy(SELKIE, &selkie).expect("a copy");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/rootless.sh");
        let child = Command::new(script)
            .arg(folder.path())
            .arg(&selkie)
            .args(["up", "--listen", "127.0.0.1:0", "--log", "info"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("rootless.sh runs");
        let mut session = Self { folder, child };
        let log_path = session.folder.path().join("log");
        let log = || std::fs::read_to_string(&log_path).unwrap_or_default();
        let mut ended: Option<ExitStatus> = None;
        wait_until("the daemon of an ordinary user is ready", log, &mut || {
            ended = session.child.try_wait().expect("its state");
            ended.is_some() || session.answers()
        });
        let Some(status) = ended else { return Some(session) };
        let log = session.log();
        assert_eq!(status.code(), Some(CANNOT), "the session ended with {status}:\n{log}");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "rootless Podman must work under CI: {log}");
        eprintln!("NOT TESTED: {log}");
        None
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("home/.local/share/selkie")
    }

    fn answers(&self) -> bool {
        self.data().join("kubeconfig").exists() && self.kubectl(&["get", "--raw", "/readyz"]).status.success()
    }

    fn kubectl(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.data().join("kubeconfig"));
        command.arg(format!("--cache-dir={}", self.folder.path().join("cache").display()));
        command.args(args).stdin(Stdio::null()).output().expect("kubectl on the PATH")
    }

    fn build_image(&self) {
        let image = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/image/build");
        let podman = format!("podman --remote --url {}", self.socket());
        let built = Command::new(image).env("PODMAN", podman).output().expect("examples/image/build runs");
        text("examples/image/build", &built);
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.data().join("podman/podman.sock").display())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn an_ordinary_user_serves_the_example() {
    let Some(session) = Session::start() else { return };
    session.build_image();
    let port = crate::ports::free();
    let hello = example(session.folder.path(), port);
    let kubeconfig = session.data().join("kubeconfig");
    let (kubeconfig, hello) = (kubeconfig.display().to_string(), hello.display().to_string());
    let said = Command::new(SELKIE).args(["apply", "--kubeconfig", &kubeconfig, "-f", &hello]).output().unwrap();
    let events = String::from_utf8_lossy(&session.kubectl(&["get", "events"]).stdout).into_owned();
    assert!(said.status.success(), "{}\n{events}\n{}", String::from_utf8_lossy(&said.stderr), session.log());
    wait_until("the page is served", || session.log(), &mut || page(port).contains("Hello from selkie"));

    // Whether limits hold is the machine's matter; whether that is said is ours.
    let info = tokio::runtime::Runtime::new().unwrap().block_on(async {
        use selkie::kubelet::runtime::ContainerRuntime;
        Podman::connect(&session.socket(), "observer").await.unwrap().info().await.unwrap()
    });
    assert!(info.rootless);
    let nodes = String::from_utf8_lossy(&session.kubectl(&["get", "nodes", "-o", "json"]).stdout).into_owned();
    let lacks = !info.unenforced.is_empty() || info.lone_containers;
    assert_eq!(nodes.contains("selkie.dev/LimitsNotEnforced"), lacks, "{nodes}");
    assert_eq!(events.contains("memory limit 64Mi"), !info.enforces("memory"), "{events}");
    run(SELKIE, &["delete", "--kubeconfig", &kubeconfig, "-f", &hello]);
    let left = || String::from_utf8_lossy(&session.kubectl(&["get", "pods", "-o", "name"]).stdout).into_owned();
    wait_until("the pods are gone", left, &mut || left().trim().is_empty());
}

/// A pod whose user is none of the daemon's, and who lets nobody else look at what it writes.
const WRITER: &str = r#"apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disk}
provisioner: podman.selkie.dev
volumeBindingMode: WaitForFirstConsumer
parameters: {path: PLACE}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: disk, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000}
  containers:
  - name: writer
    image: localhost/selkie-demo:1
    imagePullPolicy: Never
    command: [sh, -c]
    args:
    - |
      for place in /data /scratch /memory; do
        mkdir -p $place/deep/er && echo x >$place/deep/er/file && chmod -R go= $place/deep && ln -s KEPT $place/link
      done
      touch /data/written
      trap 'exit 0' TERM; while :; do sleep 5 & wait $!; done
    volumeMounts: [{name: data, mountPath: /data}, {name: scratch, mountPath: /scratch}, {name: memory, mountPath: /memory}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
"#;

#[test]
fn what_other_users_of_its_containers_wrote_goes_with_its_volume() {
    let Some(session) = Session::start() else { return };
    session.build_image();
    let home = session.folder.path().join("home");
    let (place, kept) = (home.join("volumes"), home.join(".local/share/selkie"));
    let manifest = WRITER.replace("PLACE", &place.display().to_string()).replace("KEPT", &kept.display().to_string());
    let file = session.folder.path().join("writer.yaml");
    std::fs::write(&file, manifest).unwrap();
    text("kubectl apply", &session.kubectl(&["apply", "-f", file.to_str().unwrap()]));
    let value = |what: &[&str], path: &str| {
        let output = format!("jsonpath={path}");
        let said = session.kubectl(&[&["get"], what, &["-o", &output]].concat());
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    let volume = || place.join(value(&["pvc", "data"], "{.spec.volumeName}"));
    wait_until("the pod has written", || session.log(), &mut || volume().join("written").exists());
    let (volume, uid) = (volume(), value(&["pod", "writer"], "{.metadata.uid}"));
    let hosts = std::fs::read_dir(session.data().join("nodes")).unwrap();
    let host = hosts.map(|entry| entry.unwrap().path()).next().expect("a host");
    let files = host.join("pods").join(uid);
    let (daemons, writers) = (owner(&session.data()), owner(&volume.join("deep")));
    assert_ne!(daemons, writers, "else this tests nothing");
    assert_eq!(owner(&files.join("volumes/scratch/deep")), writers);

    text("kubectl delete", &session.kubectl(&["delete", "pod", "writer"]));
    wait_until("the pod's files are gone", || session.log(), &mut || !files.exists());
    text("kubectl delete", &session.kubectl(&["delete", "pvc", "data"]));
    wait_until("the claim's files are gone", || session.log(), &mut || !volume.exists());
    wait_until("the volume is gone", || session.log(), &mut || value(&["pv"], "{.items[*].metadata.name}").is_empty());
    assert!(place.exists() && kept.join("kubeconfig").exists(), "what links lead to stays");
    let log = session.log();
    assert!(!log.contains("left behind") && !log.contains("cannot remove a volume"), "{log}");
}

fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).uid()
}

/// examples/hello on a port of its own.
fn example(folder: &Path, port: u16) -> PathBuf {
    let to = folder.join("hello");
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello")).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        std::fs::write(to.join(entry.file_name()), text.replace("hostPort: 8080", &format!("hostPort: {port}")))
            .unwrap();
    }
    to
}

fn page(port: u16) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().unwrap_or_default()
}
