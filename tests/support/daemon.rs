//! A real `selkie up` in a directory of its own, and kubectl pointed at it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const SELKIE: &str = env!("CARGO_BIN_EXE_selkie");
/// Long enough for a loaded machine; a passing test never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that is killed, and whose containers are removed, when it goes out of scope.
pub struct Daemon {
    child: Child,
    pub data: PathBuf,
    args: Vec<String>,
    /// What the shell that becomes the daemon does first.
    prelude: String,
    _folder: Option<tempfile::TempDir>,
}

impl Daemon {
    /// Starts `selkie up` on an own data directory and port with `args` and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let data = folder.path().join("data");
        let mut daemon = Self::start_in(&data, args);
        daemon._folder = Some(folder);
        daemon
    }

    /// The same on a data directory that outlives the daemon.
    pub fn start_in(data: &Path, args: &[&str]) -> Self {
        Self::start_with(data, args, ":")
    }

    /// The same in a process that has run `prelude`, a shell's command.
    pub fn start_with(data: &Path, args: &[&str], prelude: &str) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_string()).collect();
        let child = spawn(data, &args, prelude);
        let mut daemon = Self { child, data: data.into(), args, prelude: prelude.into(), _folder: None };
        daemon.wait_ready();
        daemon
    }

    fn wait_ready(&mut self) {
        let (data, pid) = (self.data.clone(), self.pid());
        let answer = RefCell::new(String::from("there is no kubeconfig"));
        let context = || format!("{}\nkubectl: {}\n{}", log(&data), answer.borrow(), threads(pid));
        wait_until("the daemon is ready", context, &mut || {
            if let Some(status) = self.child.try_wait().expect("the daemon's state") {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            if !self.kubeconfig().exists() {
                return false;
            }
            let ready = self.try_kubectl(&["get", "--raw", "/readyz"]);
            *answer.borrow_mut() = String::from_utf8_lossy(&ready.stderr).into_owned();
            ready.status.success()
        });
        let hollow = self.args.iter().skip_while(|arg| *arg != "--hollow-hosts").nth(1);
        if let Some(count) = hollow.and_then(|count| count.parse::<usize>().ok()) {
            self.wait_for("the simulated hosts take pods", || self.hosts_that_take_pods() == count);
        }
    }

    /// Hosts that are ready, and that the node controller no longer holds for new.
    fn hosts_that_take_pods(&self) -> usize {
        let path =
            "{range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {.spec.taints[*].key}{\"\\n\"}{end}";
        let hosts = self.value(&["nodes"], path);
        hosts.lines().filter(|host| host.starts_with("True") && !host.contains("not-ready")).count()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon printed so far, both streams.
    pub fn log(&self) -> String {
        log(&self.data)
    }

    /// `kill -9`, at whatever line it is.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; returns how long the daemon took to end, and fails if it did not end well.
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        run("kill", &["-TERM", &self.pid().to_string()]);
        let status = self.child.wait().expect("the daemon's end");
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
        begun.elapsed()
    }

    /// The same daemon again, after `kill` or `stop`.
    pub fn restart(&mut self) {
        let _ = std::fs::remove_file(self.kubeconfig());
        self.child = spawn(&self.data, &self.args, &self.prelude);
        self.wait_ready();
    }

    pub fn try_kubectl(&self, args: &[&str]) -> Output {
        Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg(format!("--cache-dir={}", self.data.join("kubectl-cache").display()))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("kubectl on the PATH")
    }

    /// kubectl's standard output; fails the test when kubectl fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        text(&format!("kubectl {args:?}"), &self.try_kubectl(args))
    }

    pub fn try_selkie(&self, args: &[&str]) -> Output {
        selkie(&self.data, args)
    }

    /// selkie's standard output; fails the test when selkie fails.
    pub fn selkie(&self, args: &[&str]) -> String {
        text(&format!("selkie {args:?}"), &self.try_selkie(args))
    }

    /// One value by JSONPath, empty when there is none.
    pub fn value(&self, what: &[&str], path: &str) -> String {
        let output = format!("jsonpath={path}");
        let mut args = vec!["get"];
        args.extend(what);
        args.extend(["-o", &output]);
        String::from_utf8_lossy(&self.try_kubectl(&args).stdout).trim().to_string()
    }

    /// Looks again until `condition` holds.
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, || self.log(), &mut condition);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the daemon's output:\n{}", self.log());
        }
    }
}

/// Runs `selkie` on a data directory, without the user's own settings.
pub fn selkie(data: &Path, args: &[&str]) -> Output {
    clean(Command::new(SELKIE).args(args), data).stdin(Stdio::null()).output().expect("selkie runs")
}

fn clean<'a>(command: &'a mut Command, data: &Path) -> &'a mut Command {
    command.env("SELKIE_DATA_DIR", data).env("SELKIE_CONFIG", "/dev/null").env_remove("KUBECONFIG").env("NO_COLOR", "1")
}

fn log(data: &Path) -> String {
    std::fs::read_to_string(log_path(data)).unwrap_or_default()
}

fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn spawn(data: &Path, args: &[String], prelude: &str) -> Child {
    std::fs::create_dir_all(data).expect("a data directory");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(data)).expect("a log file");
    let errors = log.try_clone().expect("a log file");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{prelude}; exec \"$0\" \"$@\""), SELKIE]);
    command.args(["up", "--listen", "127.0.0.1:0", "--log", "info"]).args(args);
    clean(&mut command, data).stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("selkie starts")
}

/// What each thread of a process does, for one that does not answer.
fn threads(pid: u32) -> String {
    let stacks =
        Command::new("gdb").args(["-batch", "-ex", "thread apply all backtrace", "-p", &pid.to_string()]).output();
    if let Ok(stacks) = stacks {
        return String::from_utf8_lossy(&stacks.stdout).into_owned();
    }
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |path: &Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default().trim().to_owned();
    let state = |path: PathBuf| format!("{}: {}\n", read(&path, "stat"), read(&path, "wchan"));
    tasks.map(|task| state(task.path())).collect()
}

/// Looks again until `condition` holds; `context` is shown when it never does.
pub fn wait_until(what: &str, context: impl Fn() -> String, condition: &mut dyn FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}\n{}", context());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Makes a program of a script. Not by this process: what other tests start meanwhile would inherit the open
/// file for a moment, and it could not be run.
pub fn write_program(path: &Path, script: &str) {
    let text = path.with_extension("text");
    std::fs::write(&text, script).expect("a script");
    run("install", &[Path::new("-m755"), &text, path]);
}

/// A command's standard output; fails the test when it fails.
pub fn run<S: AsRef<OsStr> + std::fmt::Debug>(program: &str, args: &[S]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    text(&format!("{program} {args:?}"), &output)
}

pub fn text(what: &str, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} ended with {}:\n{out}{err}", output.status);
    out.into_owned()
}
