//! `selkie git-hook`: what git runs when somebody pushes to an application. Asks the daemon, and passes
//! on what it says; the exit code is the verdict.

use super::{CliError, Global};
use crate::gitops::push::hook::{Call, Hook, PUSH, SOCKET, Update, ask};
use clap::{Args, ValueEnum};
use std::io::Read;
use std::process::ExitCode;

/// More than git tells of a push that anybody would look at.
const LONGEST_INPUT: u64 = 1 << 19;

/// Run by git, in a repository that is pushed to
#[derive(Args)]
#[command(hide = true)]
pub struct GitHook {
    #[arg(value_enum)]
    hook: Name,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    PreReceive,
    PostReceive,
}

impl GitHook {
    pub async fn run(self, _: Global) -> Result<ExitCode, CliError> {
        let hook = match self.hook {
            Name::PreReceive => Hook::PreReceive,
            Name::PostReceive => Hook::PostReceive,
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let (socket, push) = (variable(SOCKET), variable(PUSH));
        if socket.is_empty() {
            return Err(CliError::new("git-hook is for git, when somebody pushes to an application"));
        }
        let mut input = String::new();
        std::io::stdin().take(LONGEST_INPUT).read_to_string(&mut input)?;
        let updates = input.lines().filter_map(Update::parse).collect();
        let quarantine = std::env::var_os("GIT_QUARANTINE_PATH").map(Into::into);
        let count = variable("GIT_PUSH_OPTION_COUNT").parse().unwrap_or(0u32);
        let options = (0..count).map(|number| variable(&format!("GIT_PUSH_OPTION_{number}"))).collect();
        let call = Call { push, hook, updates, quarantine, options };
        // git passes both streams on; whoever pushes reads them as `remote: ...`.
        match ask(&socket, &call, |text| eprint!("{text}")).await {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(_) if hook == Hook::PreReceive => {
                eprintln!("the daemon stopped: nothing was changed; push again when it is back");
                Ok(ExitCode::FAILURE)
            }
            Err(_) => {
                eprintln!("the daemon stopped: it goes on with what was pushed when it is back");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
