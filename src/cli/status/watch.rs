//! `selkie status --watch`: shown again whenever something changes. Told by watches, not by looking.

use super::{Lists, cell, overview, shown};
use crate::base::ids::Ids;
use crate::base::wake::Wake;
use crate::cli::CliError;
use crate::cli::objects::{list, typed};
use crate::cli::output::screen::Screen;
use crate::cli::output::{Either, count, yaml};
use crate::client::{Informer, Informers, Kind};
use crate::gitops::application::Application;
use crate::gitops::sets::ApplicationSet;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What happens at the same moment is shown at once.
const GATHER: Duration = Duration::from_millis(100);
/// How often the server is asked whether it is there: watches only fall silent.
const ALIVE: Duration = Duration::from_secs(2);

/// What the keys of pods without a host begin with.
const WAITING: &str = "pod/";

/// Follows until interrupted.
pub async fn follow(client: &kube::Client, output: Either) -> Result<(), CliError> {
    // What cannot be listed is an error here; informers would try for ever.
    Lists::read(client).await?;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let changed = Wake::default();
    // They end when this is dropped.
    let informers = Informers::with(client.clone(), Ids::random(), stop);
    let watched = Watched::start(&informers, &changed).await;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut alive = tokio::time::interval(ALIVE);
    let mut view = View::open(output)?;
    let mut away = None;
    loop {
        let now = overview(&watched.lists());
        view.show(&now, away.as_deref())?;
        tokio::select! {
            () = changed.wait() => tokio::time::sleep(GATHER).await,
            // Drawn to the new size.
            _ = resized.recv() => {}
            _ = alive.tick() => away = absence(client).await,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    view.close();
    Ok(())
}

/// Why the server does not answer, if it does not.
async fn absence(client: &kube::Client) -> Option<String> {
    match tokio::time::timeout(ALIVE, client.apiserver_version()).await {
        Ok(answer) => answer.err().map(|error| CliError::chain(&error)),
        Err(_) => Some(format!("no answer within {} s", ALIVE.as_secs())),
    }
}

/// The objects of a kind as they are now.
type Objects = Box<dyn Fn() -> Vec<Value>>;

struct Watched {
    applications: Objects,
    application_sets: Objects,
    workloads: Vec<Objects>,
    pods: Objects,
    nodes: Objects,
}

impl Watched {
    /// Returns when everything was listed once.
    async fn start(informers: &Informers, changed: &Wake) -> Self {
        Self {
            applications: watched::<Application>(informers, changed).await,
            application_sets: watched::<ApplicationSet>(informers, changed).await,
            workloads: vec![
                watched::<Deployment>(informers, changed).await,
                watched::<StatefulSet>(informers, changed).await,
                watched::<DaemonSet>(informers, changed).await,
                watched::<Job>(informers, changed).await,
                watched::<ReplicaSet>(informers, changed).await,
            ],
            pods: watched::<Pod>(informers, changed).await,
            nodes: watched::<Node>(informers, changed).await,
        }
    }

    fn lists(&self) -> Lists {
        Lists {
            applications: (self.applications)(),
            application_sets: (self.application_sets)(),
            workloads: self.workloads.iter().flat_map(|objects| objects()).collect(),
            pods: (self.pods)(),
            nodes: (self.nodes)(),
        }
    }
}

async fn watched<K: Kind + Serialize>(informers: &Informers, changed: &Wake) -> Objects {
    let informer: Informer<K> = informers.of();
    informer.synced().await;
    let changed = changed.clone();
    informer.subscribe(Box::new(move |_| changed.ring()));
    let of_kind = move |object: Value| typed(object, &K::api_version(&()), &K::kind(&()));
    Box::new(move || {
        informer.list().iter().filter_map(|object| serde_json::to_value(&**object).ok()).map(of_kind).collect()
    })
}

/// Where it is shown, and what was shown last.
enum View {
    Screen(Screen, Value),
    Lines(Option<Value>),
    Documents(Either, Option<Value>),
}

impl View {
    fn open(output: Either) -> Result<Self, CliError> {
        Ok(match output {
            Either::Text => match Screen::open()? {
                Some(screen) => Self::Screen(screen, Value::Null),
                None => Self::Lines(None),
            },
            Either::Json | Either::Yaml => Self::Documents(output, None),
        })
    }

    /// `away`: why the server does not answer.
    fn show(&mut self, now: &Value, away: Option<&str>) -> Result<(), CliError> {
        match self {
            Self::Screen(screen, last) => {
                let note = away.map(|why| format!("The server does not answer: {why}\n\n")).unwrap_or_default();
                screen.draw(&format!("{note}{}", shown(now)))?;
                *last = now.clone();
            }
            Self::Lines(last) => {
                match last {
                    None => anstream::print!("{}", shown(now)),
                    Some(before) => {
                        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
                        changes(before, now).iter().for_each(|line| anstream::println!("{time}  {line}"));
                    }
                }
                *last = Some(now.clone());
            }
            Self::Documents(output, last) => {
                if last.as_ref() == Some(now) {
                    return Ok(());
                }
                match output {
                    Either::Yaml => print!("---\n{}", yaml(now)),
                    _ => println!("{now}"),
                }
                *last = Some(now.clone());
            }
        }
        Ok(())
    }

    /// Leaves what was seen last where it can be read.
    fn close(self) {
        if let Self::Screen(screen, last) = self {
            drop(screen);
            anstream::print!("{}", shown(&last));
        }
    }
}

/// A line for each entry that came, changed or went.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (entries(before), entries(after));
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| match key.starts_with(WAITING) {
        true => format!("{key}  waits no longer"),
        false => format!("{key}  gone"),
    });
    let new =
        after.iter().filter(|(key, line)| before.get(*key) != Some(line)).map(|(key, line)| format!("{key}  {line}"));
    gone.chain(new).collect()
}

/// Each entry of an overview in a line, by what it is about.
fn entries(overview: &Value) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for one in list(overview, "/applications") {
        entries.insert(format!("app/{}", cell(one, "name")), sentence(&[&cell(one, "revision")], one));
    }
    for one in list(overview, "/applicationSets") {
        let applications = count(one["applications"].as_u64().unwrap_or(0) as usize, "application");
        entries.insert(format!("appset/{}", cell(one, "name")), sentence(&[&applications], one));
    }
    for one in list(overview, "/workloads") {
        let key = format!("{}/{} in {}", cell(one, "kind").to_lowercase(), cell(one, "name"), cell(one, "namespace"));
        entries.insert(key, sentence(&[&format!("{}/{}", one["ready"], one["wanted"])], one));
    }
    for one in list(overview, "/hosts") {
        let cordoned = if one["schedulable"] == false { "SchedulingDisabled" } else { "" };
        entries.insert(
            format!("host/{}", cell(one, "name")),
            sentence(&[&count(one["pods"].as_u64().unwrap_or(0) as usize, "pod"), cordoned], one),
        );
    }
    for one in list(overview, "/unscheduled") {
        let key = format!("{WAITING}{} in {}", cell(one, "name"), cell(one, "namespace"));
        entries.insert(key, format!("waits for a host: {}", cell(one, "reason")));
    }
    entries
}

/// `1/2  Progressing: 1 of 2 updated pods ready`.
fn sentence(facts: &[&str], one: &Value) -> String {
    let status = cell(one, "status");
    let message = match cell(one, "message") {
        message if message.is_empty() => message,
        message => format!(": {message}"),
    };
    let facts: String = facts.iter().filter(|fact| !fact.is_empty()).map(|fact| format!("{fact}  ")).collect();
    format!("{facts}{status}{message}")
}
