//! `selkie app remote`: makes a working copy push to an application. All that it does are settings of
//! that one repository, which `git config` shows.

use super::find;
use crate::cli::connection::Connection;
use crate::cli::contact::Contact;
use crate::cli::{CliError, Global};
use crate::daemon::paths::write_private;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Set up a working copy so that `git push selkie` deploys an application
///
/// Adds a remote, has git trust the cluster's CA and speak HTTP/1.1 for its address, and makes it ask selkie for the
/// token there.
#[derive(Args)]
pub struct Remote {
    /// An application that was added with --push
    name: String,
    /// Name of the git remote
    #[arg(long, default_value = "selkie", value_name = "NAME")]
    remote: String,
    /// The working copy
    #[arg(short = 'C', long, default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

impl Remote {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let git = Git(&self.directory);
        // Where all working trees of a repository keep what they share.
        let shared = git.run(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).map_err(|error| {
            error.hint("run this in a working copy of what is to be pushed, or name one with -C; `git init` makes one")
        })?;
        let connection = Connection::to_server(&global).await?;
        let application = find(&connection.client, &self.name).await?;
        if !application.spec.source.push {
            return Err(CliError::new(format!("application {} takes no pushes", self.name)).hint(format!(
                "it follows another source; `selkie app add NAME --push` adds one that does, not {}",
                self.name
            )));
        }
        let contact = Contact::read(&global)?;
        let url = format!("{}/git/{}", contact.server, self.name);
        self.add(&git, &url)?;
        let scope = format!("{}/", contact.server);
        if let Some(authority) = &contact.authority {
            let file = Path::new(&shared).join("selkie").join(format!("{}.crt", self.remote));
            write_private(&file, authority)?;
            git.run(&["config", &format!("http.{scope}.sslCAInfo"), &file.display().to_string()])?;
        }
        // By HTTP/2, git may wait for ever at the end of a large push: it has read all that there is when curl asks
        // for more (git's remote-curl, up to 2.47 at least).
        git.run(&["config", &format!("http.{scope}.version"), "HTTP/1.1"])?;
        let helper = format!("credential.{scope}.helper");
        // The empty one makes git forget the others: none of them is to keep the token.
        git.run(&["config", "--replace-all", &helper, ""])?;
        git.run(&["config", "--add", &helper, &command(&contact.file)?])?;
        println!("remote {} is {url}", self.remote);
        warn_of_another_authority();
        eprintln!("git push {} HEAD:{} deploys what is committed", self.remote, application.spec.source.branch());
        Ok(ExitCode::SUCCESS)
    }

    fn add(&self, git: &Git<'_>, url: &str) -> Result<(), CliError> {
        let known = git.run(&["config", "--get", &format!("remote.{}.url", self.remote)]);
        match known {
            Ok(known) if known == url => Ok(()),
            // The same application at another address: a daemon that listens elsewhere now.
            Ok(known) if known.ends_with(&format!("/git/{}", self.name)) => {
                git.run(&["remote", "set-url", &self.remote, url]).map(|_| ())
            }
            Ok(known) => Err(CliError::new(format!(
                "there is a remote {} already: {}",
                self.remote,
                crate::base::url::redact(&known)
            ))
            .hint("choose another name with --remote, or remove it: git remote remove NAME")),
            Err(_) => git.run(&["remote", "add", &self.remote, url]).map(|_| ()),
        }
    }
}

/// Git takes a variable before the settings of a repository, and then refuses the cluster's certificate.
pub fn warn_of_another_authority() {
    const VARIABLE: &str = "GIT_SSL_CAINFO";
    if std::env::var_os(VARIABLE).is_some() {
        eprintln!(
            "warning: {VARIABLE} is set, and git takes it instead of the cluster's CA: unset it, or push with `env -u \
             {VARIABLE} git push`"
        );
    }
}

/// What git runs for the token: a shell's command, with the paths as they are now.
fn command(kubeconfig: &Path) -> Result<String, CliError> {
    let program = std::env::current_exe()?;
    let kubeconfig = std::path::absolute(kubeconfig)?;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    Ok(format!("!{} --kubeconfig {} git-credential", quoted(&program), quoted(&kubeconfig)))
}

/// git in a directory.
struct Git<'a>(&'a Path);

impl Git<'_> {
    /// What it prints, without the last newline.
    fn run(&self, args: &[&str]) -> Result<String, CliError> {
        let output = Command::new("git").arg("-C").arg(self.0).args(args).stdin(Stdio::null()).output();
        let output = output.map_err(|error| CliError::new(format!("git cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(CliError::new(format!("git {}: {}", args.first().unwrap_or(&""), said.trim_end())))
    }
}
