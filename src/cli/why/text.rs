//! The chain as text: what is wrong first, then from the commit down to the containers. Pure.

use super::chain::{Condition, Container, Event, Host, Link, Others, PodLink, Why};
use super::source::Source;
use crate::api::changeset::ObjectId;
use crate::api::kinds::table::since;
use crate::api::verdict::PodVerdict;
use crate::cli::output::color::{ADD, CHANGE, DELETE, FAINT, STRONG, WARNING, paint};
use crate::cli::output::{clean, count, near, one_line};
use crate::cli::standing::Standing;
use crate::cli::status::painted;
use crate::gitops::render::describe;
use crate::gitops::sources::short;
use jiff::Timestamp;
use std::fmt::Write;

/// Conditions of which `True` is bad news.
const BAD_WHEN_TRUE: [&str; 10] = [
    "DiskPressure",
    "DisruptionTarget",
    "Failed",
    "FailureTarget",
    "MemoryPressure",
    "NetworkUnavailable",
    "PIDPressure",
    "ReplicaFailure",
    "Stalled",
    "Suspended",
];

/// `now`: what ages are counted to.
pub fn text(why: &Why, now: Timestamp) -> String {
    let mut text = headline(why);
    text.push_str(&source(why, now));
    for link in &why.chain {
        text.push_str(&link_lines(link, now));
    }
    for pod in &why.pods {
        text.push_str(&pod_lines(pod, now));
    }
    text.push_str(&others(why.other_pods));
    text
}

/// What the object is, and the first thing wrong.
fn headline(why: &Why) -> String {
    let mut text =
        format!("{} is {}{}\n", strong(&why.object), painted(why.standing.status), colon(&why.standing.message));
    if let Some(cause) = &why.cause {
        let container = match cause.container.as_str() {
            "" => String::new(),
            name => format!("container {} of ", clean(name)),
        };
        let said = format!("{}{}", clean(&cause.reason), colon(&cause.message));
        let _ = writeln!(text, "because {container}{}: {}", describe(&cause.object), paint(DELETE, said));
    }
    text
}

fn strong(id: &ObjectId) -> String {
    paint(STRONG, clean(&describe(id)))
}

/// `: message`, on one line.
fn colon(message: &str) -> String {
    let message = one_line(message);
    if message.is_empty() { message } else { format!(": {message}") }
}

fn ago(time: &str, now: Timestamp) -> String {
    if time.is_empty() { String::new() } else { format!("{} ago", since(time, now)) }
}

fn line(text: &mut String, title: &str, rest: &str) {
    let _ = writeln!(text, "  {}", format!("{title:<10} {rest}").trim_end());
}

fn source(why: &Why, now: Timestamp) -> String {
    let mut text = format!("\n{}\n", paint(STRONG, "Source"));
    let Some(source) = &why.source else {
        line(&mut text, "app", "none holds it");
        for manager in &why.managers {
            let when = ago(&manager.time, now);
            line(&mut text, "set by", &format!("{} ({}, {when})", clean(&manager.name), manager.operation));
        }
        return text;
    };
    let Source { application, revision, number, origin, .. } = source;
    let from = if origin.is_empty() { String::new() } else { format!(" of {}", clean(near(origin))) };
    line(&mut text, "app", &format!("{application}, revision {number} ({}){from}", short(revision)));
    if let Some(commit) = &source.commit {
        let by = if commit.author.is_empty() { String::new() } else { format!(" by {}", clean(&commit.author)) };
        line(&mut text, "commit", &format!("{:?}{by}", clean(&commit.subject)));
    }
    match &source.place {
        Some(place) => line(&mut text, "manifest", &format!("{}:{}", clean(near(&place.file)), place.line)),
        None => line(&mut text, "manifest", "not in the history"),
    }
    line(&mut text, "applied", &ago(&source.applied, now));
    if !source.pinned.is_empty() {
        line(&mut text, "pinned", &one_line(&source.pinned));
    }
    for error in &source.errors {
        line(&mut text, &paint(DELETE, "refused   "), &one_line(near(error)));
    }
    text
}

fn title(link: &Link) -> String {
    let Standing { status, message } = &link.standing;
    format!("\n{}  {}{}\n", strong(&link.object), painted(status), colon(message))
}

fn link_lines(link: &Link, now: Timestamp) -> String {
    let mut text = title(link);
    for condition in link.conditions.iter().filter(|condition| is_telling(condition)) {
        condition_line(&mut text, condition, now);
    }
    events(&mut text, &link.events, now);
    text
}

/// Whether a condition says that something is not as it should be.
fn is_telling(condition: &Condition) -> bool {
    (condition.status == "True") == BAD_WHEN_TRUE.contains(&condition.kind.as_str())
}

fn condition_line(text: &mut String, condition: &Condition, now: Timestamp) {
    let Condition { kind, status, reason, message, since } = condition;
    let reason = if reason.is_empty() { String::new() } else { format!(" {}", clean(reason)) };
    let when = paint(FAINT, format!("  {}", ago(since, now)));
    line(
        text,
        "condition",
        &format!("{}{reason}{}{when}", paint(CHANGE, format!("{}={status}", clean(kind))), colon(message)),
    );
}

fn events(text: &mut String, events: &[Event], now: Timestamp) {
    for event in events {
        let style = if event.kind == "Warning" { WARNING } else { ADD };
        let times = if event.count > 1 { format!(", {} times", event.count) } else { String::new() };
        let who = if event.component.is_empty() { String::new() } else { format!("{}, ", clean(&event.component)) };
        let tail = paint(FAINT, format!("  {who}{}{times}", ago(&event.time, now)));
        line(text, "event", &format!("{}{}{tail}", paint(style, clean(&event.reason)), colon(&event.message)));
    }
}

fn pod_lines(pod: &PodLink, now: Timestamp) -> String {
    let mut text = title(&pod.link);
    scheduler(&mut text, pod, now);
    if let Some(Host { name, standing, runtime }) = &pod.host {
        let runtime = if runtime.is_empty() { String::new() } else { format!("  {}", clean(runtime)) };
        line(&mut text, "host", &format!("{name}  {}{}{runtime}", painted(standing.status), colon(&standing.message)));
    }
    // What the containers say is told by them, and what the scheduler says above.
    let known = ["Ready", "ContainersReady", "PodScheduled"];
    let conditions = pod.link.conditions.iter().filter(|one| is_telling(one) && !known.contains(&one.kind.as_str()));
    conditions.for_each(|condition| condition_line(&mut text, condition, now));
    pod.containers.iter().for_each(|one| container(&mut text, one, now));
    events(&mut text, &pod.link.events, now);
    text
}

fn scheduler(text: &mut String, pod: &PodLink, now: Timestamp) {
    let Some(said) = &pod.verdict else {
        let scheduled = pod.link.conditions.iter().find(|condition| condition.kind == "PodScheduled");
        let told = match (&pod.host, scheduled) {
            (Some(host), _) => format!("{}; why is not known any more", host.name),
            (None, Some(condition)) if !condition.message.is_empty() => one_line(&condition.message),
            (None, _) => "has not looked at it".to_owned(),
        };
        return line(text, "scheduler", &told);
    };
    let PodVerdict { host, verdict, time, .. } = said;
    let when = paint(FAINT, format!("  {}", ago(time, now)));
    if host.is_empty() {
        line(text, "scheduler", &format!("{}{}{when}", paint(DELETE, "no host"), colon(&verdict.message)));
    } else {
        let fitting = if verdict.feasible == 1 {
            "the only one that fits".to_owned()
        } else {
            format!("the best of {} that fit", verdict.feasible)
        };
        line(text, "scheduler", &format!("{host}, {fitting}{when}"));
    }
    let width = verdict.hosts.iter().map(|one| one.host.chars().count()).max().unwrap_or(0);
    for one in &verdict.hosts {
        let reason = match one.score {
            Some(score) if one.host == *host => paint(ADD, format!("chosen, score {score}")),
            Some(score) => format!("score {score}"),
            None => one_line(&one.reasons.join(", ")),
        };
        let _ = writeln!(text, "    {:<width$}  {reason}", one.host);
    }
}

fn container(text: &mut String, container: &Container, now: Timestamp) {
    let Container { name, image, state, reason, message, exit_code, ready, restarts, last, log } = container;
    let style = match (*state, ready, exit_code) {
        ("Running", true, _) | ("Terminated", _, Some(0)) => ADD,
        ("Waiting", ..) | ("Terminated", ..) if !reason.is_empty() && reason != "ContainerCreating" => DELETE,
        _ => CHANGE,
    };
    let mut said = match (*state, ready) {
        ("Running", false) => "Running, not ready".to_owned(),
        _ => (*state).to_owned(),
    };
    if !reason.is_empty() {
        let _ = write!(said, ": {}", clean(reason));
    }
    if let Some(code) = exit_code {
        let _ = write!(said, ", exit code {code}");
    }
    let restarts = match *restarts {
        0 => String::new(),
        restarts => format!(", {}", count(restarts as usize, "restart")),
    };
    line(text, "container", &format!("{}  {}  {}{restarts}", clean(name), clean(image), paint(style, said)));
    if !message.is_empty() {
        let _ = writeln!(text, "    {}", one_line(message));
    }
    if let Some(last) = last {
        let reason = if last.reason.is_empty() { String::new() } else { format!(": {}", clean(&last.reason)) };
        let when = ago(&last.finished, now);
        let _ = writeln!(
            text,
            "    the run before ended {when}{reason}, exit code {}{}",
            last.exit_code,
            colon(&last.message)
        );
    }
    for written in log {
        let _ = writeln!(text, "    {} {}", paint(FAINT, "|"), clean(written).trim_end());
    }
}

fn others(others: Others) -> String {
    let total = others.ready + others.not_ready;
    let pods = count(total, "more pod");
    match (total, others.not_ready) {
        (0, _) => String::new(),
        (_, 0) => format!("\n{pods}, ready.\n"),
        (_, not_ready) => format!("\n{pods}, {not_ready} of them not ready.\n"),
    }
}
