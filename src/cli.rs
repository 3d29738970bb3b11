//! The command line: one file per verb, settings, output. Nothing below knows that a person looks.

/// The verbs of a command with their arguments, and running the one that was given.
macro_rules! verbs {
    ($($verb:ident($arguments:ty),)+) => {
        #[derive(clap::Subcommand)]
        enum Verb {
            $($verb($arguments),)+
        }

        impl Verb {
            async fn run(self, global: Global) -> Result<std::process::ExitCode, CliError> {
                match self {
                    $(Self::$verb(verb) => verb.run(global).await,)+
                }
            }
        }
    };
}

mod actual;
mod adopt;
mod age_keys;
mod app;
mod apply;
mod completion;
mod connection;
mod contact;
mod delete;
mod diff;
mod error;
mod exec;
mod follow;
mod get;
mod git_credential;
mod git_hook;
mod health;
mod hosts;
mod kubeconfig;
mod logs;
mod manifests;
mod objects;
pub mod output;
mod plan;
mod pods;
mod push;
mod render;
mod resources;
mod settings;
mod snapshot;
mod standing;
mod status;
mod tree;
mod up;
mod values;
mod wait;
mod why;

pub use error::CliError;
pub use settings::Global;

use clap::Parser;
use std::process::ExitCode;

const ABOUT: &str = "Run containers on plain machines from git";

const AFTER_HELP: &str = "\
Every flag is also a variable (SELKIE_DATA_DIR for --data-dir) and a key of the configuration file
(dataDir); a flag wins over the variable, the variable over the file.

Verbs that speak to a cluster find it by --kubeconfig or KUBECONFIG, else by --data-dir. apply, plan,
diff, get, status, why and tree need no daemon: without one they open the data directory themselves.

Examples:
  selkie up --app hello=examples/hello       start the daemon and watch a directory
  selkie plan -f examples/hello              show what would change
  selkie apply -f examples/hello             change it, and wait until it is ready
  selkie why deploy/hello                    what makes it what it is, from the commit to the container
  kubectl --kubeconfig /var/lib/selkie/kubeconfig get pods";

#[derive(Parser)]
#[command(name = "selkie", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

verbs! {
    Up(up::Up),
    Apply(apply::Apply),
    Adopt(adopt::Adopt),
    Plan(plan::Plan),
    Render(render::Render),
    Push(push::Push),
    Snapshot(snapshot::Snapshot),
    Diff(diff::Diff),
    Status(status::StatusArgs),
    Why(why::WhyArgs),
    Tree(tree::TreeArgs),
    App(app::App),
    Undo(app::requests::Undo),
    Get(get::Get),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Delete(delete::Delete),
    Wait(wait::Wait),
    Kubeconfig(kubeconfig::Kubeconfig),
    GitHook(git_hook::GitHook),
    GitCredential(git_credential::GitCredential),
    Completion(completion::Completion),
    Version(completion::Version),
}

/// `selkie get pods | head` ends when its reader has enough, as other programs do, rather than with a
/// panic of `println!`. Not for the daemon, which must outlive its readers.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.contains("Broken pipe")) {
            // What a shell sees of a program that SIGPIPE ends.
            std::process::exit(141);
        }
        usual(panic);
    }));
}

/// Parses the command line and runs the verb; every error ends here, once, on stderr.
pub fn main() -> ExitCode {
    let cli = match settings::parse() {
        Ok(cli) => cli,
        Err(error) => return error.report(),
    };
    let global = cli.global;
    global.color.apply();
    if !matches!(cli.verb, Verb::Up(_)) {
        end_with_the_reader();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::new(format!("cannot start the async runtime: {error}")).report(),
    };
    let result = runtime.block_on(cli.verb.run(global));
    // Blocking reads (stdin, notify) must not keep the process alive.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| error.report())
}
