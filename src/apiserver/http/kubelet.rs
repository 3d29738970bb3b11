//! `nodes/x/proxy`: what a kubelet serves of its own, as far as it is known here: health, its settings, its pods, the
//! logs of their containers, commands in them, what they use, and the logs of the host. A kubelet of this process has no port of its own to pass requests on to.

use super::body::Body;
use super::respond;
use super::verbs::Ask;
use crate::api::error::{ApiError, Target};
use crate::api::meta::Envelope;
use crate::apiserver::HostLog;
use crate::apiserver::resources::object::parse;
use crate::apiserver::resources::view::View;
use crate::apiserver::usage::{Rate, Reading};
use crate::store::{self, Record};
use futures::StreamExt;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write;
use std::future::ready;
use std::sync::Arc;

/// The port that kubelets have.
const PORT: &str = "10250";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PODS: Target<'static> = Target { group: "", resource: "pods", kind: "Pod" };

/// What a kubelet is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Health,
    Pods,
    Summary,
    Metrics,
    Settings,
    Logs(Container<'a>),
    Exec(Container<'a>),
    Attach(Container<'a>),
    /// A path below `/var/log`.
    HostLog(&'a str),
}

#[derive(Debug, PartialEq, Eq)]
struct Container<'a> {
    namespace: &'a str,
    pod: &'a str,
    /// Given where another pod of that name must not be meant.
    uid: Option<&'a str>,
    name: &'a str,
}

impl<'a> Container<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let parts: Vec<_> = path.split('/').collect();
        match parts[..] {
            [namespace, pod, name] => Some(Self { namespace, pod, uid: None, name }),
            [namespace, pod, uid, name] => Some(Self { namespace, pod, uid: Some(uid), name }),
            _ => None,
        }
    }
}

impl<'a> Wanted<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let path = path.trim_matches('/');
        match path {
            "healthz" | "healthz/ping" | "healthz/log" | "healthz/syncloop" => return Some(Self::Health),
            "pods" => return Some(Self::Pods),
            "stats/summary" => return Some(Self::Summary),
            "metrics/resource" => return Some(Self::Metrics),
            "configz" => return Some(Self::Settings),
            "logs" => return Some(Self::HostLog("")),
            _ => {}
        }
        let (first, rest) = path.split_once('/')?;
        match first {
            "logs" => Some(Self::HostLog(rest)),
            "containerLogs" => Container::read(rest).filter(|one| one.uid.is_none()).map(Self::Logs),
            "exec" => Container::read(rest).map(Self::Exec),
            "attach" => Container::read(rest).map(Self::Attach),
            _ => None,
        }
    }

    /// Whether something happens: then it is asked for by POST too.
    fn acts(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Attach(_))
    }
}

impl Ask<'_> {
    /// Answers as the kubelet of the node that the path names.
    pub(super) async fn kubelet(&self, (name, port): (&str, &str)) -> Result<Response<Body>, ApiError> {
        let view = self.server.view();
        let node = view.get(&store::key("", "nodes", "", name));
        let node = node.ok_or_else(|| ApiError::not_found(self.at().target(), name))?;
        if !port.is_empty() && port != PORT {
            let message =
                format!("error trying to reach service: {name}:{port}: only its kubelet (port {PORT}) can be reached");
            return Err(ApiError::new(503, "ServiceUnavailable", message));
        }
        let Some(wanted) = Wanted::read(self.path.rest) else {
            return Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
        };
        let allowed = matches!(self.parts.method, Method::GET | Method::HEAD)
            || wanted.acts() && self.parts.method == Method::POST;
        if !allowed {
            return Ok(respond::text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"));
        }
        if !self.server.streams.serves(name) {
            let message = format!("error trying to reach service: no kubelet serves node {name:?}");
            return Err(ApiError::new(503, "ServiceUnavailable", message));
        }
        match wanted {
            Wanted::Health => Ok(respond::text(StatusCode::OK, "ok")),
            Wanted::Pods => Ok(self.pods_of(name)),
            Wanted::Summary => {
                self.server.usage.ask().await;
                Ok(respond::json(StatusCode::OK, &self.summary(&node.envelope), self.style))
            }
            Wanted::Metrics => {
                self.server.usage.ask().await;
                Ok(respond::build(StatusCode::OK, METRICS, self.metrics(name).into()))
            }
            Wanted::Settings => {
                let settings = json!({"kubeletconfig": self.server.streams.settings(name).await?});
                Ok(respond::json(StatusCode::OK, &settings, self.style))
            }
            Wanted::Logs(one) => self.log_of(name, &self.pod_of(name, &one)?, one.name).await,
            Wanted::Exec(one) => self.session_of(name, self.pod_of(name, &one)?, one.name, false),
            Wanted::Attach(one) => self.session_of(name, self.pod_of(name, &one)?, one.name, true),
            Wanted::HostLog(path) => self.host_log(name, path).await,
        }
    }

    async fn host_log(&self, node: &str, path: &str) -> Result<Response<Body>, ApiError> {
        Ok(match self.server.streams.host_log(node, path).await? {
            None => respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Some(HostLog::File(bytes)) => {
                // What cannot be read ends it: the head of the answer is out by then.
                let bytes =
                    bytes.take_while(|bytes| ready(bytes.is_ok())).filter_map(|bytes| ready(bytes.ok())).boxed();
                respond::build(StatusCode::OK, "text/plain; charset=utf-8", Body::Stream(bytes))
            }
            Some(HostLog::Directory(names)) => respond::build(StatusCode::OK, HTML, listed(&names).into()),
        })
    }

    fn records_of(&self, node: &str) -> Vec<Arc<Record>> {
        let on_node = |record: &Arc<Record>| {
            record.envelope.fields.iter().any(|(field, value)| *field == "spec.nodeName" && value == node)
        };
        self.server.view().scan(&store::bucket("", "pods")).into_iter().filter(on_node).collect()
    }

    fn pods_of(&self, node: &str) -> Response<Body> {
        let items: Vec<Value> = self.records_of(node).iter().map(|record| parse(record)).collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        respond::json(StatusCode::OK, &list, self.style)
    }

    /// The pod of a container, on this node.
    fn pod_of(&self, node: &str, one: &Container<'_>) -> Result<Value, ApiError> {
        let record = self.server.view().get(&store::key("", "pods", one.namespace, one.pod));
        let here =
            |pod: &Value| pod["spec"]["nodeName"] == node && one.uid.is_none_or(|uid| pod["metadata"]["uid"] == uid);
        let pod = record.map(|record| parse(&record)).filter(here);
        pod.ok_or_else(|| ApiError::not_found(PODS, one.pod))
    }

    /// As Kubernetes' `stats.Summary`, of what is read here.
    fn summary(&self, node: &Envelope) -> Value {
        let usage = &self.server.usage;
        let machine = usage.machine(&node.name);
        let mut of_node = json!({"nodeName": node.name});
        match (machine, usage.of_host(&node.name)) {
            (Some(reading), rate) => fill(&mut of_node, &reading, rate),
            (None, Some(rate)) => fill_rate(&mut of_node, &rate),
            (None, None) => {}
        }
        let pods = self.measured(&node.name).into_iter().map(|pod| {
            let containers = pod.containers.iter().map(|(name, reading, rate)| {
                let mut container = json!({"name": name});
                fill(&mut container, reading, *rate);
                container
            });
            let mut of_pod = json!({
                "podRef": {"name": pod.record.envelope.name, "namespace": pod.record.envelope.namespace,
                    "uid": pod.record.envelope.uid},
                "containers": containers.collect::<Vec<_>>(),
            });
            if let Some((reading, rate)) = pod.total() {
                fill(&mut of_pod, &reading, rate);
            }
            of_pod
        });
        let pods: Vec<Value> = pods.collect();
        json!({"node": of_node, "pods": pods})
    }

    /// As the kubelet's `/metrics/resource`.
    fn metrics(&self, node: &str) -> String {
        let pods = self.measured(node);
        let of_containers = |value: &dyn Fn(&Reading) -> Option<f64>| -> Vec<Sample> {
            let all = pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)));
            let samples = all.filter_map(|(pod, (name, reading, _))| {
                let envelope = &pod.record.envelope;
                let labels = format!("container={name:?},namespace={:?},pod={:?}", envelope.namespace, envelope.name);
                Some((labels, value(reading)?, reading.time))
            });
            samples.collect()
        };
        let of_pods = |value: &dyn Fn(&Reading) -> Option<f64>| -> Vec<Sample> {
            let samples = pods.iter().filter_map(|pod| {
                let (reading, envelope) = (pod.total()?.0, &pod.record.envelope);
                let labels = format!("namespace={:?},pod={:?}", envelope.namespace, envelope.name);
                Some((labels, value(&reading)?, reading.time))
            });
            samples.collect()
        };
        let machine = self.server.usage.machine(node);
        let of_node = |value: &dyn Fn(&Reading) -> Option<f64>| -> Vec<Sample> {
            machine.iter().filter_map(|reading| Some((String::new(), value(reading)?, reading.time))).collect()
        };
        let cpu = |reading: &Reading| Some(reading.cpu_nanos as f64 / 1e9);
        let memory = |reading: &Reading| Some(reading.memory as f64);
        let started = |reading: &Reading| Some(reading.started.as_millisecond() as f64 / 1e3);
        let (seconds, bytes) = ("Cumulative cpu time consumed by the", "Current working set of the");
        let mut text = String::new();
        let mut family = |name: &str, help: &str, kind: &str, samples: Vec<Sample>| {
            print(&mut text, (name, help, kind), &samples);
        };
        let help = |what: &str, whose: &str, unit: &str| format!("[STABLE] {what} {whose} in {unit}");
        family(
            "container_cpu_usage_seconds_total",
            &help(seconds, "container", "core-seconds"),
            "counter",
            of_containers(&cpu),
        );
        family(
            "container_memory_working_set_bytes",
            &help(bytes, "container", "bytes"),
            "gauge",
            of_containers(&memory),
        );
        let since = "[STABLE] Start time of the container since unix epoch in seconds";
        family("container_start_time_seconds", since, "gauge", of_containers(&started));
        family("node_cpu_usage_seconds_total", &help(seconds, "node", "core-seconds"), "counter", of_node(&cpu));
        family("node_memory_working_set_bytes", &help(bytes, "node", "bytes"), "gauge", of_node(&memory));
        family("pod_cpu_usage_seconds_total", &help(seconds, "pod", "core-seconds"), "counter", of_pods(&cpu));
        family("pod_memory_working_set_bytes", &help(bytes, "pod", "bytes"), "gauge", of_pods(&memory));
        let failed = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
        text.push_str(&format!(
            "# HELP resource_scrape_error {failed}\n# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n"
        ));
        text
    }

    /// The pods of a node whose containers have been read.
    fn measured(&self, node: &str) -> Vec<Measured> {
        let usage = &self.server.usage;
        let pods = self.records_of(node).into_iter().map(|record| {
            let mut containers = usage.readings(node, &record.envelope.uid);
            containers.sort_by(|one, other| one.0.cmp(&other.0));
            Measured { record, containers }
        });
        pods.filter(|pod| !pod.containers.is_empty()).collect()
    }
}

/// Labels, value, and when it was read.
type Sample = (String, f64, Timestamp);

struct Measured {
    record: Arc<Record>,
    containers: Vec<(String, Reading, Option<Rate>)>,
}

impl Measured {
    /// All containers together, since the first of them started.
    fn total(&self) -> Option<(Reading, Option<Rate>)> {
        let readings = self.containers.iter().map(|(_, reading, _)| *reading);
        let reading = readings.reduce(|one, other| Reading {
            started: one.started.min(other.started),
            time: one.time.min(other.time),
            cpu_nanos: one.cpu_nanos.saturating_add(other.cpu_nanos),
            memory: one.memory.saturating_add(other.memory),
        })?;
        let rates = self.containers.iter().map(|(_, _, rate)| *rate);
        Some((reading, rates.reduce(|one, other| Some(one?.plus(other?))).flatten()))
    }
}

fn fill(object: &mut Value, reading: &Reading, rate: Option<Rate>) {
    let time = reading.time.to_string();
    object["startTime"] = seconds(reading.started).into();
    object["cpu"] = json!({"time": time, "usageCoreNanoSeconds": reading.cpu_nanos});
    object["memory"] = json!({"time": time, "workingSetBytes": reading.memory});
    if let Some(rate) = rate {
        object["cpu"]["usageNanoCores"] = rate.nanocores.into();
    }
}

fn fill_rate(object: &mut Value, rate: &Rate) {
    let time = rate.time.to_string();
    object["cpu"] = json!({"time": time, "usageNanoCores": rate.nanocores});
    object["memory"] = json!({"time": time, "workingSetBytes": rate.memory});
}

/// A directory as Go's file server shows it.
fn listed(names: &[String]) -> String {
    let escaped =
        |name: &str| name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    let lines = names.iter().map(|name| {
        let link: String = name.bytes().map(in_path).collect();
        format!("<a href=\"{}\">{}</a>\n", escaped(&link), escaped(name))
    });
    format!(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{}</pre>\n",
        lines.collect::<String>()
    )
}

fn in_path(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"-_.~/$&+=@,;!'()*".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// One family in Prometheus' text format; nothing of one without samples.
fn print(text: &mut String, (name, help, kind): (&str, &str, &str), samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    for (labels, value, time) in samples {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}{labels} {value} {}", time.as_millisecond());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kubelet_is_asked_for() {
        assert_eq!(Wanted::read("healthz"), Some(Wanted::Health));
        assert_eq!(Wanted::read("pods/"), Some(Wanted::Pods));
        assert_eq!(Wanted::read("stats/summary"), Some(Wanted::Summary));
        assert_eq!(Wanted::read("metrics/resource"), Some(Wanted::Metrics));
        let container = |uid| Container { namespace: "n", pod: "p", uid, name: "c" };
        assert_eq!(Wanted::read("containerLogs/n/p/c"), Some(Wanted::Logs(container(None))));
        assert_eq!(Wanted::read("exec/n/p/c"), Some(Wanted::Exec(container(None))));
        assert_eq!(Wanted::read("attach/n/p/u/c"), Some(Wanted::Attach(container(Some("u")))));
        assert_eq!(Wanted::read("configz"), Some(Wanted::Settings));
        assert_eq!(Wanted::read("logs/"), Some(Wanted::HostLog("")));
        assert_eq!(Wanted::read("logs/a/b.log"), Some(Wanted::HostLog("a/b.log")));
        for unknown in ["", "run/n/p/c", "exec/n/p", "containerLogs/n/p", "containerLogs/n/p/c/d"] {
            assert_eq!(Wanted::read(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn directories_are_listed_with_links() {
        let list = listed(&["a b.log".into(), "x<y/".into()]);
        assert!(
            list.ends_with("<pre>\n<a href=\"a%20b.log\">a b.log</a>\n<a href=\"x%3Cy/\">x&lt;y/</a>\n</pre>\n"),
            "{list}"
        );
    }

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut text = String::new();
        let time = Timestamp::from_millisecond(1500).unwrap_or_default();
        print(&mut text, ("a", "b", "gauge"), &[("x=\"y\"".into(), 2.5, time), (String::new(), 3.0, time)]);
        print(&mut text, ("c", "d", "gauge"), &[]);
        assert_eq!(text, "# HELP a b\n# TYPE a gauge\na{x=\"y\"} 2.5 1500\na 3 1500\n");
    }
}
