//! How often a remote repository is asked, under virtual time: a server of git's own that counts.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const APPLICATIONS: usize = 12;

/// `git daemon` on the repositories of a directory; ends when it is dropped.
struct GitDaemon {
    child: Child,
    port: u16,
    /// Requests, each of which lists references; those for a pack go on from there.
    asked: Arc<AtomicUsize>,
}

impl GitDaemon {
    fn serve(directory: &Path) -> Self {
        // Freed again at once: the daemon says when it could not have it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not by `git daemon`, which would be the process to end and leaves it behind.
        let mut child = Command::new(format!("{}/git-daemon", git(directory, &["--exec-path"])))
            .args(["--export-all", "--verbose", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", directory.display()))
            .arg(directory)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to rumble"));
        assert!(ready, "git daemon does not serve");
        let asked = Arc::<AtomicUsize>::default();
        let counter = asked.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                counter.fetch_add(usize::from(line.contains("Request upload-pack")), Ordering::SeqCst);
            }
        });
        Self { child, port, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A repository with a directory for each application.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    fs::create_dir(&path).unwrap();
    git(&path, &["init", "-q"]);
    for number in 0..APPLICATIONS {
        let directory = path.join(format!("d{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("map.yaml"), map(&format!("map-{number}"), "1")).unwrap();
    }
    git(&path, &["add", "."]);
    git(&path, &["commit", "-qm", "first"]);
    folder
}

/// Returns when all of them are in force.
async fn follow(rig: &Rig, server: &GitDaemon, webhook: bool, interval: Option<&str>) {
    for number in 0..APPLICATIONS {
        let mut source = json!({"repoURL": format!("git://127.0.0.1:{}/r", server.port), "ref": "main",
            "directory": format!("d{number}")});
        if webhook {
            source["webhook"] = json!({"secretRef": {"name": "hook"}});
        }
        let mut spec = json!({"source": source});
        if let Some(interval) = interval {
            spec["interval"] = json!(interval);
        }
        let application = json!({"metadata": {"name": format!("app-{number}")}, "spec": spec});
        rig.create(&format!("/apis/selkie.dev/v1alpha1/namespaces/{NAMESPACE}/applications"), &application).await;
    }
    let mut events = rig.run(Clock::System);
    for _ in 0..APPLICATIONS {
        // However long that takes in virtual time.
        while applied(&events.recv().await.unwrap()).is_none() {}
    }
}

/// How often the server is asked within a time.
async fn asked_within(server: &GitDaemon, minutes: u64) -> usize {
    let before = server.asked();
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
    server.asked() - before
}

#[tokio::test(start_paused = true)]
async fn a_repository_with_a_webhook_is_asked_once_an_hour_for_all_its_applications() {
    let (rig, folder) = (Rig::new().await, repository());
    let server = GitDaemon::serve(folder.path());
    follow(&rig, &server, true, None).await;
    let first = server.asked();
    assert!((1..=3).contains(&first), "one clone for {APPLICATIONS} applications, not {first}");
    assert_eq!(asked_within(&server, 50).await, 0, "pushes are told");
    let asked = asked_within(&server, 20).await;
    assert_eq!(asked, 1, "for a push whose webhook got lost");

    commit(&folder.path().join("r"), "d7/map.yaml", &map("map-7", "2"));
    asked_within(&server, 61).await;
    rig.until(async || rig.map("map-7").await.filter(|found| found["data"]["k"] == "2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_repository_is_asked_once_an_interval_for_all_its_applications() {
    let (rig, folder) = (Rig::new().await, repository());
    let server = GitDaemon::serve(folder.path());
    follow(&rig, &server, false, None).await;
    let asked = asked_within(&server, 10).await;
    assert!((18..=21).contains(&asked), "{asked} times in ten minutes, every 30 s by default");
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_is_given_counts_with_a_webhook_too() {
    let (rig, folder) = (Rig::new().await, repository());
    let server = GitDaemon::serve(folder.path());
    follow(&rig, &server, true, Some("2m")).await;
    let asked = asked_within(&server, 60).await;
    assert!((28..=31).contains(&asked), "{asked} times in an hour, every two minutes");
}
