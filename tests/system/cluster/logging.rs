//! What kubectl and selkie show of containers' logs on a real host: over files that are begun anew, and over restarts.

use crate::daemon::{Daemon, SELKIE, wait_until};
use crate::setting::{Folder, Setting};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A client whose output goes to a file.
struct Client {
    child: Child,
    output: PathBuf,
}

impl Client {
    fn kubectl(daemon: &Daemon, output: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(daemon.kubeconfig()).args(args);
        Self::start(command, output)
    }

    fn selkie(daemon: &Daemon, output: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(SELKIE);
        command.args(args).env("SELKIE_DATA_DIR", &daemon.data).env("SELKIE_CONFIG", "/dev/null");
        command.env_remove("KUBECONFIG");
        Self::start(command, output)
    }

    fn start(mut command: Command, output: &Path) -> Self {
        let child = command.stdin(Stdio::null()).stdout(File::create(output).unwrap()).spawn().unwrap();
        Self { child, output: output.into() }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// The last of it, if it is long.
    fn end(&self) -> String {
        let mut file = File::open(&self.output).unwrap();
        let from = file.metadata().unwrap().len().saturating_sub(2000);
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut text)).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn says(&self, what: &str, is: impl Fn(&str) -> bool) {
        wait_until(what, || self.end(), &mut || is(&self.end()));
    }

    fn ends(&mut self) -> bool {
        let mut ended = None;
        let said = self.output.clone();
        wait_until("the client ends", || fs::read_to_string(&said).unwrap(), &mut || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.is_some_and(|status| status.success())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn apply(daemon: &Daemon, name: &str, script: &str) {
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "volumes": [{"name": "data", "emptyDir": {}}], "containers": [{
            "name": "c", "image": "localhost/selkie-demo:1", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }]},
    });
    let path = daemon.data.join(format!("{name}.json"));
    fs::write(&path, pod.to_string()).unwrap();
    daemon.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    daemon.kubectl(&["wait", "--for=condition=Ready", "pod", name, "--timeout=60s"]);
}

const LINES: usize = 45_000;
/// What each line of the output ends in. That many fill a file.
const REST: &str = concat!(
    " of many lines, so long that there are not too many of them, but that all of them together are longer than ",
    "what one file is to hold, and that another one is begun when these are written and somebody has looked at it",
);
/// Writes LINES lines, numbered on, when /tmp/go is there, and one to its errors when /tmp/err is. Lines of the two are in
/// the log as conmon gets them, be it in the middle of each other.
const WRITER: &str = "from=1; while :; do
  if [ -e /tmp/go ]; then
    rm /tmp/go
    seq $from $((from + LINES - 1)) | sed 's/$/REST/'
    from=$((from + LINES))
  fi
  if [ -e /tmp/err ]; then rm /tmp/err; echo \"errors up to $from\" >&2; fi
  sleep 0.1
done";

/// The numbers of the output's lines; fails where two lines do not follow each other.
fn numbers(log: &str) -> Vec<usize> {
    let output = log.lines().filter(|line| !line.starts_with("errors"));
    let numbers = output.map(|line| line.strip_suffix(REST).and_then(|line| line.parse().ok()));
    let numbers: Vec<usize> =
        numbers.enumerate().map(|(at, number)| number.unwrap_or_else(|| panic!("line {at} is broken"))).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "lines are lost, or there twice");
    }
    numbers
}

/// What is written to the errors after that many lines.
fn errors(lines: usize) -> String {
    format!("errors up to {}\n", lines + 1)
}

/// The files of a log, each once, with their sizes.
fn files(log: &Path) -> Vec<u64> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(log.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("ctr.log") {
            let file = entry.metadata().unwrap();
            found.insert(file.ino(), file.len());
        }
    }
    found.into_values().collect()
}

#[test]
fn a_log_is_kept_in_files_and_read_as_one() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    apply(daemon, "writer", &WRITER.replace("LINES", &LINES.to_string()).replace("REST", REST));
    let id = daemon.value(&["pod", "writer"], "{.status.containerStatuses[0].containerID}");
    let id = id.strip_prefix("podman://").unwrap();
    let log = setting.folder.rig.storage.cli(&["inspect", "--format", "{{.HostConfig.LogConfig.Path}}", id]);
    let log = PathBuf::from(log.trim());
    let logs = |args: &[&str]| daemon.kubectl(&[&["logs", "writer"], args].concat());
    let mut written = 0;
    // Has that many lines written and waits until another file is begun.
    let mut write = || {
        written += LINES;
        let before = fs::metadata(&log).unwrap().ino();
        daemon.kubectl(&["exec", "writer", "--", "touch", "/tmp/go"]);
        daemon.wait_for("another file is begun", || fs::metadata(&log).unwrap().ino() != before);
        let last = format!("{written}{REST}\n");
        daemon.wait_for("all is written", || logs(&["--tail=1"]) == last);
        daemon.kubectl(&["exec", "writer", "--", "touch", "/tmp/err"]);
        daemon.wait_for("the error is written", || logs(&["--tail=1"]) == errors(written));
    };
    write();
    write();
    assert!(files(&log).len() >= 3, "{:?}", files(&log));

    let whole = logs(&[]);
    assert_eq!(numbers(&whole), (1..=2 * LINES).collect::<Vec<_>>());
    assert!(whole.contains(&errors(LINES)) && whole.ends_with(&errors(2 * LINES)));
    // From the newest file; from the one before.
    for tail in [1, 10, LINES + LINES / 2] {
        let lines = logs(&["--tail", &tail.to_string()]);
        let expected: Vec<&str> = whole.lines().rev().take(tail).collect();
        assert_eq!(lines.lines().rev().collect::<Vec<_>>(), expected, "{tail}");
    }
    let limited = logs(&["--limit-bytes", "12000000"]);
    assert_eq!(limited.len(), 12_000_000);
    assert!(whole.starts_with(&limited));
    assert_eq!(logs(&["--since", "1h"]), whole);
    // All since a second in which lines of the second file were written.
    let stamped = logs(&["--timestamps"]);
    let second = &stamped.lines().nth(LINES + LINES / 2).unwrap()[.."2026-01-01T00:00:00".len()];
    let from = stamped.lines().position(|line| line.starts_with(second)).unwrap();
    let since = logs(&["--since-time", &format!("{second}Z")]);
    let expected: String = whole.split_inclusive('\n').skip(from).collect();
    // The rest of a line, too, that was begun in the second before.
    assert!(since.ends_with(&expected) && since.lines().count() <= expected.lines().count() + 1);
    assert!(from > 0 && stamped.lines().all(|line| line.as_bytes()[29] == b'Z' && line.as_bytes()[30] == b' '));
    let one = |stream: &str| {
        daemon.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/writer/log?stream={stream}")])
    };
    assert_eq!(one("Stderr"), errors(LINES) + &errors(2 * LINES));
    assert_eq!(one("Stdout").lines().count(), 2 * LINES);
    assert_eq!(one("All"), whole);
    let tail = "/api/v1/namespaces/default/pods/writer/log?stream=Stderr&tailLines=1";
    let refused = daemon.try_kubectl(&["get", "--raw", tail]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("`tailLines` and specific `stream` are mutually exclusive"),
        "{said}"
    );

    // Who follows sees all that is written over the files to come, by which the oldest have to go.
    let kubectl = Client::kubectl(daemon, &daemon.data.join("kubectl.out"), &["logs", "-f", "--tail=1", "writer"]);
    let selkie = Client::selkie(daemon, &daemon.data.join("selkie.out"), &["logs", "-f", "writer"]);
    kubectl.says("it follows", |said| !said.is_empty());
    for _ in 0..5 {
        write();
    }
    kubectl.says("all is followed", |said| said.ends_with(&errors(7 * LINES)));
    selkie.says("all is followed", |said| said.ends_with(&errors(7 * LINES)));
    assert_eq!(numbers(&kubectl.said()), (2 * LINES + 1..=7 * LINES).collect::<Vec<_>>());
    assert_eq!(numbers(&selkie.said()), (1..=7 * LINES).collect::<Vec<_>>());
    daemon.wait_for("the oldest have gone", || files(&log).len() == 5);
    let sizes = files(&log);
    assert!(sizes.iter().sum::<u64>() < 70 << 20, "{sizes:?}");
    // What is left may begin in the middle of a line.
    let left = logs(&[]);
    let left = numbers(left.split_once('\n').unwrap().1);
    assert!(left[0] > 1 && left.len() > 3 * LINES && left.ends_with(&[7 * LINES]), "{}..{}", left[0], left.len());

    // They go with the container.
    daemon.kubectl(&["delete", "pod", "writer"]);
    daemon.wait_for("nothing is left of it", || !log.parent().unwrap().exists());
}

/// Says which life it is, and ends when it is told to.
const MORTAL: &str = "n=$(cat /data/n || echo 0)
echo $((n + 1)) >/data/n
echo life $n
while [ ! -e /data/end$n ]; do sleep 0.1; done
echo end $n
exit 1";

#[test]
fn logs_over_restarts() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    apply(daemon, "mortal", &MORTAL.replace("cat /data/n", "cat /data/n 2>/dev/null"));
    let logs = |args: &[&str]| daemon.kubectl(&[&["logs", "mortal"], args].concat());
    let end = |life: &str| daemon.kubectl(&["exec", "mortal", "--", "touch", &format!("/data/end{life}")]);
    let none = daemon.try_kubectl(&["logs", "mortal", "--previous"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("previous terminated container \"c\" in pod \"mortal\" not found"), "{said}");

    let mut kubectl = Client::kubectl(daemon, &daemon.data.join("kubectl.out"), &["logs", "-f", "mortal"]);
    let mut selkie = Client::selkie(daemon, &daemon.data.join("selkie.out"), &["logs", "-f", "mortal"]);
    kubectl.says("it follows", |said| said == "life 0\n");
    selkie.says("it follows", |said| said == "life 0\n");
    end("0");
    // In Kubernetes who follows follows one life, and its end is no error.
    assert!(kubectl.ends());
    assert_eq!(kubectl.said(), "life 0\nend 0\n");
    // As soon as the next one says something, whatever the status says by then.
    daemon.wait_for("the next life speaks", || logs(&[]) == "life 1\n");
    assert_eq!(logs(&["--previous"]), "life 0\nend 0\n");
    selkie.says("it goes on", |said| said == "life 0\nend 0\nlife 1\n");

    end("1");
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    daemon.wait_for("it waits for its next life", || daemon.value(&["pod", "mortal"], waiting) == "CrashLoopBackOff");
    assert_eq!((logs(&[]), logs(&["-p"])), ("life 1\nend 1\n".to_owned(), "life 1\nend 1\n".to_owned()));
    daemon.wait_for("the next life speaks", || logs(&[]) == "life 2\n");
    assert_eq!(logs(&["-p"]), "life 1\nend 1\n");
    selkie.says("it goes on", |said| said == "life 0\nend 0\nlife 1\nend 1\nlife 2\n");
    daemon.kubectl(&["delete", "pod", "mortal"]);
    assert!(selkie.ends(), "nothing is to come of a pod that is gone");
    assert_eq!(selkie.said(), "life 0\nend 0\nlife 1\nend 1\nlife 2\n");
}
