//! Flags, `SELKIE_*` variables and the configuration file, in that order of precedence.
//!
//! The file's keys are the flags' names in camelCase; its values become the flags' defaults, so
//! that clap gives all three the same parsing and the same errors.

use super::output::color::Color;
use super::output::live::Above;
use super::{Cli, CliError};
use crate::daemon::paths::Paths;
use clap::{Args, Command, CommandFactory, FromArgMatches};
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the configuration file says: each key with its values.
type Values = BTreeMap<String, Vec<String>>;

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Configuration file [default: ~/.config/selkie/config.yaml, for root /etc/selkie/config.yaml]
    #[arg(long, global = true, env = "SELKIE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the daemon keeps its state [default: ~/.local/share/selkie, for root /var/lib/selkie]
    #[arg(long, global = true, env = "SELKIE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Kubeconfig of the cluster to speak to [default: KUBECONFIG, else the one in --data-dir]
    #[arg(long, global = true, env = "SELKIE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, env = "SELKIE_COLOR", value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// What to log to stderr, e.g. info or selkie::kubelet=debug
    #[arg(long, global = true, env = "SELKIE_LOG", value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

impl Global {
    /// The data directory in force.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        if let Some(dir) = &self.data_dir {
            return std::path::absolute(dir)
                .map_err(|error| CliError::new(format!("--data-dir {}: {error}", dir.display())));
        }
        if is_root() {
            return Ok("/var/lib/selkie".into());
        }
        home("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("selkie")).ok_or_else(|| {
            CliError::new("neither HOME nor XDG_DATA_HOME is set").hint("name the data directory with --data-dir")
        })
    }

    /// Starts logging as `--log` says.
    pub fn start_logging(&self, to: Above) -> Result<(), CliError> {
        crate::telemetry::logging::init(&self.log, move || to.clone())
            .map_err(|error| CliError::new(format!("--log: {error}")).code(2))
    }

    /// A kubeconfig the user named, by flag or variable. The data directory's own is none: it leads
    /// where we go anyway.
    pub fn named_kubeconfig(&self) -> Option<PathBuf> {
        let own = self.data_dir().ok().and_then(|dir| Paths::new(dir).kubeconfig().canonicalize().ok());
        let named = self.kubeconfig.clone().or_else(|| {
            let path = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty())?;
            // kubectl merges a list; the first existing file holds the current context in practice.
            let paths: Vec<PathBuf> = std::env::split_paths(&path).collect();
            paths.iter().find(|path| path.exists()).or(paths.first()).cloned()
        })?;
        let is_own = own.is_some() && named.canonicalize().ok() == own;
        (!is_own).then_some(named)
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The directory that a variable names, else the one below the home directory.
pub fn home(variable: &str, below: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(variable).or_else(|| set("HOME").map(|home| home.join(below)))
}

fn default_config() -> Option<PathBuf> {
    if is_root() {
        Some("/etc/selkie/config.yaml".into())
    } else {
        home("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("selkie/config.yaml"))
    }
}

/// Reads the three sources. Help and usage errors exit here, as clap prints them.
pub fn parse() -> Result<Cli, CliError> {
    let args: Vec<_> = std::env::args_os().collect();
    let file = config_file(&args)?;
    let mut command = Cli::command();
    if let Some((path, values)) = file {
        let known = flag_names(&command);
        if let Some(key) = values.keys().find(|key| !known.contains(&key.as_str().to_string())) {
            return Err(CliError::new(format!("{}: unknown key {key:?}", path.display()))
                .hint(format!("known keys: {}", known.join(", "))));
        }
        command = with_defaults(command, &values);
    }
    let matches = command.get_matches_from(args);
    Cli::from_arg_matches(&matches).map_err(|error| CliError::new(error.to_string()).code(2))
}

/// The file named by `--config` or `SELKIE_CONFIG` (which must exist), else the default one if it does.
fn config_file(args: &[std::ffi::OsString]) -> Result<Option<(PathBuf, Values)>, CliError> {
    let named = args.iter().enumerate().find_map(|(at, arg)| {
        let arg = arg.to_str()?;
        if arg == "--config" {
            args.get(at + 1).map(PathBuf::from)
        } else {
            arg.strip_prefix("--config=").map(PathBuf::from)
        }
    });
    let named = named.or_else(|| std::env::var_os("SELKIE_CONFIG").map(PathBuf::from));
    let must_exist = named.is_some();
    let Some(path) = named.or_else(default_config) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => read_config(&path, &text).map(|values| Some((path, values))),
        Err(error) if !must_exist && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::new(format!("cannot read the configuration file {}: {error}", path.display()))),
    }
}

fn read_config(path: &Path, text: &str) -> Result<Values, CliError> {
    let wrong = |what: String| CliError::new(format!("{}: {what}", path.display()));
    let values: BTreeMap<String, Value> = if text.trim().is_empty() {
        BTreeMap::new()
    } else {
        serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?
    };
    let mut read = BTreeMap::new();
    for (key, value) in values {
        let list = match &value {
            Value::Sequence(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>(),
            // `host: {h1: unix:///...}` is the same as `host: [h1=unix:///...]`.
            Value::Mapping(map) => {
                map.iter().map(|(name, value)| Some(format!("{}={}", scalar(name)?, scalar(value)?))).collect()
            }
            other => scalar(other).map(|one| vec![one]),
        };
        let list =
            list.ok_or_else(|| wrong(format!("{key}: expected a value, a list, or a map of names to values")))?;
        read.insert(key, list);
    }
    Ok(read)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn camel_case(id: &str) -> String {
    let mut name = String::new();
    let mut upper = false;
    for c in id.chars() {
        match c {
            '_' | '-' => upper = true,
            c if upper => {
                name.extend(c.to_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    name
}

fn settable(arg: &clap::Arg) -> bool {
    arg.get_long().is_some_and(|long| !["config", "help", "version"].contains(&long))
}

fn flag_names(command: &Command) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .chain(command.get_subcommands().flat_map(Command::get_arguments))
        .filter(|arg| settable(arg))
        .filter_map(|arg| arg.get_long().map(camel_case))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn with_defaults(command: Command, values: &Values) -> Command {
    let set =
        |arg: clap::Arg| match arg.get_long().filter(|_| settable(&arg)).and_then(|long| values.get(&camel_case(long)))
        {
            Some(list) => {
                let list: Vec<clap::builder::OsStr> = list.iter().map(clap::builder::OsStr::from).collect();
                arg.default_values(list)
            }
            None => arg,
        };
    command.mut_args(set).mut_subcommands(|sub| sub.mut_args(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(config: &str, args: &[&str]) -> clap::ArgMatches {
        let values = read_config(Path::new("config.yaml"), config).unwrap();
        with_defaults(Cli::command(), &values).try_get_matches_from(args).unwrap()
    }

    #[test]
    fn the_file_sets_what_no_flag_does() {
        let config = "dataDir: /srv/selkie\nlisten: 127.0.0.1:7443\nhost:\n  h1: unix:///run/h1.sock\n";
        let matches = parse_with(config, &["selkie", "up"]);
        let up = matches.subcommand_matches("up").unwrap();
        assert_eq!(up.get_many::<String>("host").unwrap().collect::<Vec<_>>(), ["h1=unix:///run/h1.sock"]);
        assert_eq!(up.get_one::<PathBuf>("data_dir").unwrap(), Path::new("/srv/selkie"));
        let matches = parse_with(config, &["selkie", "up", "--data-dir", "/elsewhere"]);
        assert_eq!(
            matches.subcommand_matches("up").unwrap().get_one::<PathBuf>("data_dir").unwrap(),
            Path::new("/elsewhere")
        );
    }

    #[test]
    fn an_unreadable_value_is_named() {
        let error = read_config(Path::new("c.yaml"), "host: [[1]]").unwrap_err();
        assert!(format!("{error:?}").contains("c.yaml: host: expected"));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
