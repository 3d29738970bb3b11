//! What the cluster does because of a plan, as text: pods with their hosts and why, images, problems,
//! losses, assumptions.

use super::color::{ADD, CHANGE, DELETE, ERROR, FAINT, STRONG, WARNING, paint};
use crate::api::plan::{ClaimAtStake, ClaimFate, Consequences, HostVerdict, PodAction, PodStep, Workload};
use crate::gitops::render::describe;
use std::fmt::Write;

/// Pods of one workload that get a line each.
const LINES: usize = 12;
/// Hosts named in a reason.
const HOSTS: usize = 4;

/// Empty when nothing happens.
pub fn text(found: &Consequences) -> String {
    let mut text = String::new();
    let ended = found.cut_short.is_empty();
    if !ended {
        let _ = writeln!(text, "{} {}", paint(WARNING, "Not known to the end:"), cut_short(&found.cut_short));
    }
    if !found.workloads.is_empty() {
        title(&mut text, "Pods, in order");
        found.workloads.iter().for_each(|workload| pods(&mut text, workload, ended));
    }
    if !found.pulls.is_empty() {
        title(&mut text, "Images to pull");
        for pull in &found.pulls {
            let _ = writeln!(text, "  {}  on {}", pull.image, few(&pull.hosts));
        }
    }
    if !found.losses.is_empty() {
        title(&mut text, "Goes with what is deleted");
        for loss in &found.losses {
            let pods = count(loss.pods, "running pod");
            let volumes =
                if loss.volumes.is_empty() { String::new() } else { format!(", {}", loss.volumes.join(", ")) };
            let _ = writeln!(text, "  {} {}  {pods}{volumes}", paint(DELETE, "-"), describe(&loss.object));
        }
    }
    if !found.claims.is_empty() {
        title(&mut text, "Data at stake");
        found.claims.iter().for_each(|claim| self::claim(&mut text, claim));
    }
    if !found.problems.is_empty() {
        title(&mut text, "Problems");
        for problem in &found.problems {
            let pods = if problem.pods > 0 { format!("  {}", count(problem.pods, "pod")) } else { String::new() };
            let name = paint(STRONG, describe(&problem.object));
            let said = clean(&problem.message);
            let _ = writeln!(text, "  {} {name}{pods}: {}: {said}", paint(ERROR, "!"), problem.reason);
        }
    }
    if !found.assumptions.is_empty() {
        title(&mut text, "Assumed");
        for assumption in &found.assumptions {
            let _ = writeln!(text, "  {}", paint(FAINT, assumption));
        }
    }
    text
}

fn claim(text: &mut String, claim: &ClaimAtStake) {
    let (sign, style) = match claim.fate {
        ClaimFate::Deleted => ("-", DELETE),
        ClaimFate::Replaced => ("-/+", DELETE),
        ClaimFate::Kept => ("=", FAINT),
    };
    let name = paint(STRONG, describe(&claim.claim));
    let _ = writeln!(text, "  {} {name}  {}", paint(style, sign), clean(&what_becomes_of(claim)));
}

/// `10Gi deleted (volume pv-1, reclaim policy Delete): Namespace shop: its namespace is deleted with all that it holds`.
pub fn what_becomes_of(claim: &ClaimAtStake) -> String {
    let size = if claim.size.is_empty() { "its data" } else { &claim.size };
    let becomes = match claim.fate {
        ClaimFate::Kept => "kept",
        _ if claim.loses_data() => "deleted",
        _ => "kept in the volume, without the claim",
    };
    let policy = match claim.reclaim_policy.as_str() {
        "" => String::new(),
        policy => format!(", reclaim policy {policy}"),
    };
    let with = if claim.with == claim.claim { String::new() } else { format!("{}: ", describe(&claim.with)) };
    format!("{size} {becomes} (volume {}{policy}): {with}{}", claim.volume, claim.reason)
}

/// What a plan that was cut short can say of itself.
pub fn cut_short(why: &str) -> String {
    format!("{why}; more pods may come, go and restart than were seen until then")
}

fn title(text: &mut String, title: &str) {
    let _ = writeln!(text, "{}", paint(STRONG, format!("{title}:")));
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// `3 replaced, 1 created`.
pub fn summary(workload: &Workload) -> String {
    let parts = [
        (workload.replaced, "replaced"),
        (workload.restarted, "restarted in place"),
        (workload.created, "created"),
        (workload.deleted, "deleted"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "get a host".to_owned() } else { parts.join(", ") }
}

fn pods(text: &mut String, workload: &Workload, ended: bool) {
    let _ = writeln!(text, "  {}: {}", paint(STRONG, describe(&workload.id)), summary(workload));
    let shown = &workload.steps[..workload.steps.len().min(LINES)];
    let widest = |of: fn(&PodStep) -> &str| shown.iter().map(|step| of(step).chars().count()).max().unwrap_or(0);
    let (pod, host) = (widest(|step| &step.pod), widest(host_of));
    for step in shown {
        let (sign, style) = match step.action {
            PodAction::Create => ("+", ADD),
            PodAction::Delete => ("-", DELETE),
            PodAction::Restart | PodAction::Bind => ("~", CHANGE),
        };
        let place = host_of(step);
        let line = format!("{:<pod$}  {place:<host$}", step.pod);
        let why = why(step, ended);
        let why = if why.is_empty() { String::new() } else { format!("  {}", paint(FAINT, why)) };
        let _ =
            writeln!(text, "    {} {}{why}", paint(style, sign), if why.is_empty() { line.trim_end() } else { &line });
    }
    if workload.steps.len() > shown.len() {
        let _ = writeln!(text, "      {}", paint(FAINT, format!("and {} more", workload.steps.len() - shown.len())));
    }
}

fn host_of(step: &PodStep) -> &str {
    if step.host.is_empty() { "no host" } else { &step.host }
}

/// Why that host, or why none. `ended`: as it is in the end, not where the plan was cut short.
fn why(step: &PodStep, ended: bool) -> String {
    if step.action == PodAction::Delete && !step.ready {
        let why = if ended { "does not go while its host does not answer" } else { "not gone by then" };
        return why.to_owned();
    }
    let mut parts = Vec::new();
    if let Some(verdict) = &step.verdict {
        if !verdict.message.is_empty() && step.host.is_empty() {
            parts.push(clean(&verdict.message));
        }
        let own = verdict.hosts.iter().find(|one| one.host == step.host).and_then(|one| one.score);
        if let (Some(own), true) = (own, verdict.feasible > 1) {
            let others = verdict.hosts.iter().filter(|one| one.host != step.host);
            let others = others.filter_map(|one| Some(format!("{} {}", one.host, one.score?)));
            let others = few(&others.collect::<Vec<_>>());
            parts.push(if others.is_empty() { format!("score {own}") } else { format!("score {own}; {others}") });
        }
        let refused = verdict.hosts.iter().filter(|one| one.score.is_none() && !step.host.is_empty());
        let refused: Vec<String> = refused.map(reasons).collect();
        if !refused.is_empty() {
            parts.push(few(&refused));
        }
    }
    if !step.ready && !step.host.is_empty() {
        parts.push(if ended { "does not become ready" } else { "not ready by then" }.to_owned());
    }
    parts.join("; ")
}

fn reasons(one: &HostVerdict) -> String {
    format!("not {}: {}", one.host, clean(&one.reasons.join(", ")))
}

fn few(all: &[String]) -> String {
    let shown = all.iter().take(HOSTS).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > HOSTS { format!("{shown} and {} more", all.len() - HOSTS) } else { shown }
}

/// What comes from manifests must not be able to move the cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
