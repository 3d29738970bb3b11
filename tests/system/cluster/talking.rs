//! Talking to containers on a real host with kubectl: commands, terminals, files, main processes, ports.

use crate::daemon::{Daemon, wait_until};
use crate::setting::{Folder, Setting};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/selkie-demo:1
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir /tmp/www; echo hello >/tmp/www/page; httpd -f -p 8080 -h /tmp/www']
  - name: echo
    image: localhost/selkie-demo:1
    imagePullPolicy: IfNotPresent
    stdin: true
    command: [sh, -c, 'while read line; do echo \"got $line\"; echo \"heard $line\" >&2; done; echo end of input; sleep 1000']
  - name: shell
    image: localhost/selkie-demo:1
    imagePullPolicy: IfNotPresent
    stdin: true
    tty: true
    command: [sh, -c, 'while read line; do echo \"got $line of $(stty size)\"; done']
";

fn kubectl(daemon: &Daemon) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(daemon.kubeconfig());
    command
}

/// With `input` and then its end.
fn fed(daemon: &Daemon, args: &[&str], input: &[u8]) -> Output {
    let mut command = kubectl(daemon);
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

/// A client that is spoken to, ended when it goes out of scope.
struct Client {
    child: Child,
    heard: Arc<Mutex<String>>,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let heard: Arc<Mutex<String>> = Arc::default();
        let (into, mut output) = (heard.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, heard }
    }

    fn say(&mut self, what: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(what.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    fn hears(&self, what: &str) {
        wait_until(&format!("{what:?} is heard"), || self.heard(), &mut || self.heard().contains(what));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn setting() -> Setting {
    let setting = Setting::start(Folder::new(), &[]);
    let path = setting.daemon.data.join("pod.yaml");
    std::fs::write(&path, POD).unwrap();
    setting.daemon.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    setting.daemon.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    setting
}

/// kubectl in a terminal of that size.
fn in_terminal(daemon: &Daemon, size: &str, args: &str) -> Command {
    let kubeconfig = daemon.kubeconfig();
    let line = format!("stty {size}; exec kubectl --kubeconfig {} {args}", kubeconfig.display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).env("TERM", "xterm");
    command
}

#[test]
fn commands_have_input_a_terminal_and_an_exit_code() {
    let setting = setting();
    let daemon = &setting.daemon;
    let exec = |args: &[&str], input: &[u8]| fed(daemon, &[&["exec", "web", "-c", "web"], args].concat(), input);

    let done = exec(&["--", "sh", "-c", "echo out; echo err >&2; exit 42"], b"");
    assert_eq!(done.status.code(), Some(42));
    assert_eq!(done.stdout, b"out\n");
    assert!(done.stderr.starts_with(b"err\n") && done.stderr.ends_with(b"command terminated with exit code 42\n"));
    // More than any buffer on the way, and its end.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let back = exec(&["-i", "--", "cat"], &sent);
    assert!(back.status.success() && back.stdout == sent, "{} bytes came back", back.stdout.len());
    let none = exec(&["--", "no-such-command"], b"");
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("no-such-command"), "{none:?}");

    // The size of a terminal is told once it is there, as in Kubernetes.
    let script = "'tty; until stty size 2>/dev/null | grep 33; do sleep 0.1; done; read line; echo said $line; exit 7'";
    let mut shell =
        Client::start(&mut in_terminal(daemon, "cols 77 rows 33", &format!("exec web -c web -it -- sh -c {script}")));
    shell.hears("/dev/pts/0\r\n33 77\r\n");
    shell.say("hello\r");
    shell.hears("said hello\r\n");
    assert_eq!(shell.child.wait().unwrap().code(), Some(7));
}

#[test]
fn files_are_copied_either_way() {
    let setting = setting();
    let daemon = &setting.daemon;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n * 11 % 253) as u8).collect();
    std::fs::create_dir_all(path("sent/below")).unwrap();
    std::fs::write(path("sent/below/bytes"), &bytes).unwrap();
    std::fs::write(path("sent/note"), "a note\n").unwrap();

    daemon.kubectl(&["cp", &path("sent"), "web:/tmp/got", "-c", "web"]);
    let exec = |script: &str| daemon.kubectl(&["exec", "web", "-c", "web", "--", "sh", "-c", script]);
    assert_eq!(exec("cat /tmp/got/note; wc -c </tmp/got/below/bytes"), "a note\n2000000\n");
    daemon.kubectl(&["cp", "-c", "web", "default/web:/tmp/got", &path("back")]);
    assert_eq!(std::fs::read(path("back/below/bytes")).unwrap(), bytes);
    daemon.kubectl(&["cp", "-c", "web", "web:/tmp/got/note", &path("one")]);
    assert_eq!(std::fs::read_to_string(path("one")).unwrap(), "a note\n");
}

#[test]
fn main_processes_are_attached_to() {
    let setting = setting();
    let daemon = &setting.daemon;
    let mut attached = Client::start(kubectl(daemon).args(["attach", "web", "-c", "echo", "-i"]));
    attached.say("one\n");
    attached.hears("got one\n");
    let second = Client::start(kubectl(daemon).args(["attach", "web", "-c", "echo"]));
    wait_until("another one hears it as well", || second.heard(), &mut || {
        attached.say("again\n");
        second.heard().contains("got again\n")
    });
    attached.hears("got again\n");
    assert!(!second.heard().contains("got one"), "what was said before is in the log");
    let log = daemon.kubectl(&["logs", "web", "-c", "echo"]);
    assert!(log.contains("got one\n") && log.contains("heard one\n") && log.contains("got again\n"), "{log}");

    let mut shell = Client::start(&mut in_terminal(daemon, "cols 66 rows 22", "attach web -c shell -it"));
    shell.hears("try pressing enter");
    // kubectl tells two sizes, so that programs draw anew.
    let heard = shell.heard.clone();
    let heard = || heard.lock().unwrap().clone();
    wait_until("it answers in a terminal of that size", heard, &mut || {
        shell.say("hello\r");
        heard().contains("got hello of 22 66\r\n")
    });
    drop(shell);
    let restarts = "{.status.containerStatuses[*].restartCount}";
    assert_eq!(daemon.value(&["pod", "web"], restarts), "0 0 0", "they go on when a client leaves");
}

#[test]
fn ports_of_containers_are_forwarded() {
    let setting = setting();
    let daemon = &setting.daemon;
    let client = Client::start(kubectl(daemon).args(["port-forward", "pod/web", ":8080"]));
    client.hears(" -> 8080\n");
    let heard = client.heard();
    let port = heard.lines().find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:")?.split(' ').next());
    let port: u16 = port.unwrap().parse().unwrap();
    let page = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    for _ in 0..3 {
        let said = page();
        assert!(said.starts_with("HTTP/1.") && said.ends_with("\r\n\r\nhello\n"), "{said:?}");
    }
    std::thread::scope(|scope| {
        let pages: Vec<_> = (0..5).map(|_| scope.spawn(page)).collect();
        assert!(pages.into_iter().all(|page| page.join().unwrap().ends_with("hello\n")));
    });
}
