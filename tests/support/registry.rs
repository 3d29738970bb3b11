//! A container registry over HTTPS: the distribution project's own, with a CA of its own and a password.
//! Ends when it is dropped.

use crate::daemon::wait_until;
use crate::ports;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

pub const USER: &str = "deployer";
pub const PASSWORD: &str = "hush-password";
/// Of the password, as the registry wants it.
const BCRYPT: &str = "$2b$04$VLfMr/2JoYybPu58Evt2k.C84luRm.4CaCKnu9lhDEq7nvT0OA7yi";

pub struct Registry {
    pub port: u16,
    /// The CA's certificate in PEM format.
    pub authority: String,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Registry {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a CA").pem();
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
        let certificate = names.signed_by(&own, &issuer).expect("a certificate").pem();
        let port = ports::free();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}', tls: {{certificate: {}, key: {}}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            path("data"),
            path("certificate"),
            path("key"),
            path("passwords"),
        );
        for (name, text) in [
            ("config.yml", config),
            ("certificate", certificate),
            ("key", own.serialize_pem()),
            ("passwords", format!("{USER}:{BCRYPT}\n")),
            ("ca.crt", authority.clone()),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut registry = Self { port, authority, child: None, folder };
        registry.serve();
        registry
    }

    /// Over plain HTTP, for whoever reaches this machine.
    pub fn start_plain() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let port = ports::free();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '0.0.0.0:{port}'}}\n",
            folder.path().join("data").display()
        );
        std::fs::write(folder.path().join("config.yml"), config).expect("a file");
        let mut registry = Self { port, authority: String::new(), child: None, folder };
        registry.serve();
        registry
    }

    /// Starts, or starts again at the same address with what it had.
    pub fn serve(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(self.folder.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("docker-registry: run ./examples/setup test, which installs it");
        self.child = Some(child);
        let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        wait_until("the registry listens", log, &mut || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A file with its CA.
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    pub fn url(&self) -> String {
        format!("oci://127.0.0.1:{}/team/app", self.port)
    }

    /// What `podman login` writes.
    pub fn logins(&self) -> String {
        let login = serde_json::json!({"username": USER, "password": PASSWORD});
        serde_json::json!({"auths": {format!("127.0.0.1:{}", self.port): login}}).to_string()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
