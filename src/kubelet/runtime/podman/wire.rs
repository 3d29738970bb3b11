//! The parts of Podman's answers that we read, tolerant of what versions 4.3 to 5.x leave out or
//! spell differently. Pure: JSON in, our types out.

use crate::kubelet::runtime::{
    ContainerIdentity, ContainerState, ContainerStatus, EventKind, Exit, PodIdentity, ProcessUser, RuntimeEvent, labels,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, net::IpAddr};

type Labels = BTreeMap<String, String>;

/// Go writes an empty list or map as null.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// Go's zero time is the year 1: not set.
fn set(time: Timestamp) -> Option<Timestamp> {
    (time.as_second() > 0).then_some(time)
}

/// One element of `GET containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    #[serde(default)]
    pub created: Timestamp,
    #[serde(default)]
    pub started_at: i64,
    #[serde(default)]
    pub exited_at: i64,
    #[serde(default)]
    pub exit_code: i32,
    #[serde(default)]
    pub image: String,
    #[serde(default, rename = "ImageID")]
    pub image_id: String,
    #[serde(default)]
    pub is_infra: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub pod: String,
    #[serde(default)]
    pub state: String,
    /// Only where it was asked for.
    #[serde(default)]
    pub size: Option<Size>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Bytes in the container's own layer.
    #[serde(default)]
    pub rw_size: i64,
}

impl Listed {
    /// The container, unless it is an infra container or not one of a pod's.
    pub fn into_status(self) -> Option<ContainerStatus> {
        let identity = ContainerIdentity::from_labels(&self.labels).filter(|_| !self.is_infra)?;
        let started = Timestamp::from_second(self.started_at).ok().and_then(set);
        let finished = Timestamp::from_second(self.exited_at).ok().and_then(set);
        let raw = RawState { started, finished, exit_code: self.exit_code, pid: self.pid, ..RawState::default() };
        let state = raw.named(&self.state, self.created);
        Some(ContainerStatus {
            state: if is_lone(&self.labels) { of_lone(state, started, finished) } else { state },
            id: self.id,
            identity,
            sandbox: self.pod,
            image: self.image,
            image_id: self.image_id,
            created: self.created,
            labels: self.labels,
            log_path: String::new(),
            user: None,
            ips: Vec::new(),
        })
    }

    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

#[derive(Default)]
struct RawState {
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    exit_code: i32,
    pid: u32,
    oom_killed: bool,
    message: Option<String>,
}

impl RawState {
    fn named(self, name: &str, created: Timestamp) -> ContainerState {
        let started = self.started.unwrap_or(created);
        match name {
            "running" | "stopping" => ContainerState::Running { started, pid: self.pid },
            "paused" => ContainerState::Paused { started },
            // "stopped": 5.x between the exit and the clean-up after it.
            "exited" | "stopped" | "removing" => ContainerState::Exited(Exit {
                code: self.exit_code,
                started: self.started,
                finished: self.finished.unwrap_or(started),
                oom_killed: self.oom_killed,
                message: self.message,
            }),
            "created" | "configured" | "initialized" => ContainerState::Created,
            _ => ContainerState::Lost,
        }
    }
}

/// `GET containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    pub id: String,
    #[serde(default)]
    pub created: Timestamp,
    pub state: InspectedState,
    /// The image's id, in spite of its name.
    #[serde(default)]
    pub image: String,
    #[serde(default)]
    pub image_name: String,
    #[serde(default)]
    pub pod: String,
    #[serde(default)]
    pub network_settings: Option<NetworkSettings>,
    pub config: InspectedConfig,
    /// What the OCI runtime was given, on the host.
    #[serde(default, rename = "OCIConfigPath")]
    pub oci_config_path: String,
    #[serde(default)]
    pub host_config: HostConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedState {
    #[serde(default)]
    pub status: String,
    #[serde(default, rename = "OOMKilled")]
    pub oom_killed: bool,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub conmon_pid: u32,
    #[serde(default)]
    pub exit_code: i32,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub started_at: Timestamp,
    #[serde(default)]
    pub finished_at: Timestamp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    #[serde(default, rename = "IPAddress")]
    ip_address: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    ipv6_address: String,
    /// The file of its network namespace.
    #[serde(default)]
    pub sandbox_key: String,
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, NetworkSettings>,
}

impl NetworkSettings {
    /// The container's addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let of = |settings: &Self| [settings.ip_address.clone(), settings.ipv6_address.clone()];
        let all = of(self).into_iter().chain(self.networks.values().flat_map(of));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all.filter_map(|text| text.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedConfig {
    #[serde(default, deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(default)]
    pub tty: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    #[serde(default)]
    pub log_config: LogConfig,
    #[serde(default)]
    pub memory: i64,
    /// Memory and swap together; 0 where that is not limited.
    #[serde(default)]
    pub memory_swap: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    #[serde(default)]
    pub path: String,
}

impl Inspected {
    pub fn state(&self) -> ContainerState {
        let state = &self.state;
        let raw = RawState {
            started: set(state.started_at),
            finished: set(state.finished_at),
            exit_code: state.exit_code,
            pid: state.pid,
            oom_killed: state.oom_killed,
            message: (!state.error.is_empty()).then(|| state.error.clone()),
        };
        raw.named(&state.status, self.created)
    }

    /// The container; `None` when its labels are not those of a pod's container.
    pub fn into_status(self) -> Option<ContainerStatus> {
        let lone = is_lone(&self.config.labels);
        let state = if lone {
            of_lone(self.state(), set(self.state.started_at), set(self.state.finished_at))
        } else {
            self.state()
        };
        let has_network = state.is_running() || self.state.status == "initialized";
        let own = self.network_settings.as_ref().filter(|_| lone && has_network);
        Some(ContainerStatus {
            identity: ContainerIdentity::from_labels(&self.config.labels)?,
            state,
            ips: own.map(NetworkSettings::addresses).unwrap_or_default(),
            id: self.id,
            sandbox: self.pod,
            image: self.image_name,
            image_id: self.image,
            created: self.created,
            labels: self.config.labels,
            log_path: self.host_config.log_config.path,
            user: None,
        })
    }
}

/// Whether nobody else has the container's namespaces.
fn is_lone(labels: &Labels) -> bool {
    labels.contains_key(labels::LONE)
}

/// One that was started and is shown as not started yet ran until its host went down. Of others their sandbox tells
/// that, which this one does not have.
fn of_lone(state: ContainerState, started: Option<Timestamp>, finished: Option<Timestamp>) -> ContainerState {
    match &state {
        ContainerState::Created if started.is_some() => ContainerState::Lost,
        // So later versions show it, as if it had come to a good end.
        ContainerState::Exited(exit) if exit.code == 0 && started.is_some() && finished.is_none() => {
            ContainerState::Lost
        }
        _ => state,
    }
}

/// The part of an OCI configuration that says as whom a process is started.
#[derive(Debug, Deserialize)]
pub struct OciConfig {
    process: OciProcess,
}

#[derive(Debug, Deserialize)]
struct OciProcess {
    user: OciUser,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciUser {
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

impl OciConfig {
    pub fn user(self) -> ProcessUser {
        let user = self.process.user;
        let groups = user.additional_gids.into_iter().map(i64::from).collect();
        ProcessUser { uid: user.uid.into(), gid: user.gid.into(), groups }
    }
}

/// One line of `GET events`.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(default, rename = "timeNano")]
    time_nano: i128,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, rename = "Attributes", deserialize_with = "nullable")]
    attributes: Labels,
}

impl Event {
    /// What it means to a kubelet, if anything: an event of this cluster's containers that changes one.
    pub fn decode(self, cluster: &str) -> Option<RuntimeEvent> {
        let attributes = &self.actor.attributes;
        if self.kind != "container" || attributes.get(labels::CLUSTER).map(String::as_str) != Some(cluster) {
            return None;
        }
        let kind = match self.action.as_str() {
            "create" => EventKind::Created,
            "start" => EventKind::Started,
            "died" => {
                let code = attributes.get("containerExitCode").and_then(|code| code.parse().ok());
                EventKind::Died { exit_code: code.unwrap_or(-1) }
            }
            "oom" => EventKind::OutOfMemory,
            "remove" => EventKind::Removed,
            "pause" | "unpause" | "restore" | "checkpoint" | "rename" => EventKind::Changed,
            _ => return None,
        };
        Some(RuntimeEvent {
            time: Timestamp::from_nanosecond(self.time_nano).unwrap_or_default(),
            kind,
            pod: PodIdentity::from_labels(attributes)?,
            container: ContainerIdentity::from_labels(attributes),
            id: self.actor.id,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listing_of_4_3_1() {
        let listed: Vec<Listed> = serde_json::from_str(include_str!("recorded/list-4.3.1.json")).unwrap();
        let infra: Vec<bool> = listed.iter().map(|found| found.is_infra).collect();
        assert_eq!(infra.iter().filter(|infra| **infra).count(), 2);
        // None of them carries a whole pod's identity.
        assert!(listed.into_iter().all(|found| found.into_status().is_none()));
    }

    #[test]
    fn an_exited_container_of_4_3_1() {
        let found: Inspected = serde_json::from_str(include_str!("recorded/exited-4.3.1.json")).unwrap();
        let ContainerState::Exited(exit) = found.state() else { panic!("{:?}", found.state()) };
        assert_eq!((exit.code, exit.oom_killed, exit.message), (3, false, None));
        assert_eq!(exit.finished, "2026-11-22T18:18:17.358624466Z".parse().unwrap());
        assert!(exit.started.unwrap() < exit.finished);
        assert!(found.host_config.log_config.path.ends_with("/ctr.log"));
    }

    #[test]
    fn users_of_oci_configurations() {
        let read = |text: &str| serde_json::from_str::<OciConfig>(text).unwrap().user();
        let user =
            read(r#"{"ociVersion":"1","process":{"terminal":false,"user":{"uid":7,"gid":8,"additionalGids":[8,9]}}}"#);
        assert_eq!(user, ProcessUser { uid: 7, gid: 8, groups: vec![8, 9] });
        assert_eq!(read(r#"{"process":{"user":{}}}"#), ProcessUser::default());
    }

    #[test]
    fn a_running_infra_container_has_the_pods_address() {
        let found: Inspected = serde_json::from_str(include_str!("recorded/infra-4.3.1.json")).unwrap();
        assert!(matches!(found.state(), ContainerState::Running { pid: 15551, .. }));
        let addresses = found.network_settings.unwrap().addresses();
        assert_eq!(addresses, ["10.88.0.3".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_has_no_holder_goes_down_with_its_host() {
        let state = |lone: &str, status: &str, started: &str| {
            let text = format!(
                r#"{{"Id":"c","Created":"2026-01-01T00:00:00Z","State":{{"Status":"{status}","StartedAt":"{started}",
                "FinishedAt":"0001-01-01T00:00:00Z"}},"Config":{{"Labels":{{{lone}"io.selkie.container.name":"c",
                "io.selkie.pod.uid":"u","io.selkie.pod.name":"p","io.selkie.pod.namespace":"n"}}}}}}"#
            );
            serde_json::from_str::<Inspected>(&text).unwrap().into_status().unwrap().state
        };
        let lone = r#""io.selkie.sandbox.lone":"true","#;
        let (once, never) = ("2026-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        assert_eq!(state(lone, "created", once), ContainerState::Lost, "it ran, and its end was not seen");
        assert_eq!(state(lone, "exited", once), ContainerState::Lost, "the same, in later versions");
        assert_eq!(state(lone, "created", never), ContainerState::Created, "it never ran");
        assert_eq!(state("", "created", once), ContainerState::Created, "its sandbox tells");
    }

    #[test]
    fn what_5_x_says_differently() {
        let state = r#"{"Id":"c","Created":"2026-01-01T00:00:00Z","State":{"Status":"stopped","ExitCode":137,"OOMKilled":true,
            "Error":"it hurts","StartedAt":"2026-01-01T00:00:01Z","FinishedAt":"2026-01-01T00:00:02Z"},
            "Config":{"Labels":null,"StopSignal":"SIGTERM"}}"#;
        let found: Inspected = serde_json::from_str(state).unwrap();
        let ContainerState::Exited(exit) = found.state() else { panic!("{:?}", found.state()) };
        assert!(exit.oom_killed);
        assert_eq!((exit.signal(), exit.message.as_deref()), (Some(9), Some("it hurts")));
    }

    #[test]
    fn events_of_4_3_1() {
        let lines: Vec<Event> = include_str!("recorded/events-4.3.1.jsonl")
            .lines()
            .map(|line| {
                serde_json::from_str(&line.replace(
                    "io.selkie.pod.uid",
                    "io.selkie.pod.name\":\"n\",\"io.selkie.pod.namespace\":\"s\",\"io.selkie.pod.uid",
                ))
                .unwrap()
            })
            .collect();
        let decoded = lines.into_iter().filter_map(|event| event.decode("c1"));
        let kinds: Vec<(EventKind, bool)> = decoded.map(|event| (event.kind, event.container.is_some())).collect();
        let of_container: Vec<EventKind> =
            kinds.iter().filter(|(_, container)| *container).map(|(kind, _)| *kind).collect();
        assert_eq!(of_container[..3], [EventKind::Created, EventKind::Started, EventKind::Died { exit_code: 3 }]);
        let foreign = include_str!("recorded/events-4.3.1.jsonl").lines().next().unwrap();
        assert_eq!(serde_json::from_str::<Event>(foreign).unwrap().decode("another"), None);
    }
}
