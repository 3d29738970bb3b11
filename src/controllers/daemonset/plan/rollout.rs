//! How a DaemonSet gets from one template to the next: some hosts at a time, without their pod
//! (`maxUnavailable`) or with two (`maxSurge`). Pure.

use super::{Host, Observed};
use crate::controllers::daemonset::hosts::Wish;
use crate::controllers::pods;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

/// In hosts; both are 0 where updates are left to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub unavailable: usize,
    pub surge: usize,
}

impl Limits {
    /// `desired` hosts run a pod. Percentages are rounded up.
    pub fn of(set: &DaemonSet, desired: usize) -> Self {
        let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return Self { unavailable: 0, surge: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let count = |value: Option<&IntOrString>| match value {
            None => None,
            Some(IntOrString::Int(count)) => Some((*count).max(0) as usize),
            Some(IntOrString::String(text)) => {
                let percent = text.trim_end_matches('%').parse::<usize>().unwrap_or(0);
                Some((percent * desired).div_ceil(100))
            }
        };
        let surge = count(rolling.and_then(|rolling| rolling.max_surge.as_ref())).unwrap_or(0);
        let unavailable = count(rolling.and_then(|rolling| rolling.max_unavailable.as_ref())).unwrap_or(1);
        // With neither, nothing would ever move.
        Self { unavailable: if surge == 0 { unavailable.max(1) } else { unavailable }, surge }
    }
}

/// A host's pods that are to stay, by template.
struct Pair {
    old: Option<Arc<Pod>>,
    new: Option<Arc<Pod>>,
}

impl Pair {
    /// `None` where there are several of a kind: those are sorted out first.
    fn of(observed: &Observed, host: &Host) -> Option<Self> {
        let staying = host.pods.iter().filter(|pod| !observed.is_leaving(pod));
        let (new, old): (Vec<_>, Vec<_>) = staying.partition(|pod| observed.is_updated(pod));
        let single = |pods: Vec<&Arc<Pod>>| (pods.len() < 2).then(|| pods.first().map(|pod| (*pod).clone()));
        Some(Self { old: single(old)?, new: single(new)? })
    }
}

pub(super) fn roll<'a>(
    observed: &Observed,
    hosts: &[Host<'a>],
    limits: &Limits,
    create: &mut Vec<&'a str>,
    delete: &mut Vec<Arc<Pod>>,
) {
    if limits.surge > 0 {
        surge(observed, hosts, limits.surge, create, delete);
    } else if limits.unavailable > 0 {
        replace(observed, hosts, limits.unavailable, delete);
    }
}

/// Takes old pods away: those that serve nobody at once, the others as far as the limit goes.
fn replace(observed: &Observed, hosts: &[Host], limit: usize, delete: &mut Vec<Arc<Pod>>) {
    let (mut missing, mut candidates) = (0, Vec::new());
    for host in
        hosts.iter().filter(|host| host.wish != Wish::Never && (host.wish == Wish::Run || !host.pods.is_empty()))
    {
        match Pair::of(observed, host) {
            Some(Pair { new: None, old: Some(old) }) if observed.is_available(&old) => candidates.push(old),
            Some(Pair { new: None, old: Some(old) }) => {
                missing += 1;
                if !pods::is_finished(&old) {
                    delete.push(old);
                }
            }
            Some(Pair { new: Some(new), old: None }) if observed.is_available(&new) => {}
            _ => missing += 1,
        }
    }
    delete.extend(candidates.into_iter().take(limit.saturating_sub(missing)));
}

/// Makes new pods beside the old ones. That the old one goes when the new one is available is part
/// of what is done for each host anyway.
fn surge<'a>(
    observed: &Observed,
    hosts: &[Host<'a>],
    limit: usize,
    create: &mut Vec<&'a str>,
    delete: &mut Vec<Arc<Pod>>,
) {
    let (mut extra, mut candidates) = (0, Vec::new());
    for host in hosts.iter().filter(|host| host.wish == Wish::Run) {
        // A pod that leaves slowly still takes its place beside the others.
        let leaving = host.pods.iter().any(|pod| observed.is_leaving(pod));
        match Pair::of(observed, host) {
            None => extra += 1,
            Some(Pair { old: None, .. }) => {}
            Some(Pair { new: None, old: Some(old) }) if pods::is_finished(&old) => {}
            Some(Pair { new: None, old: Some(old) }) if leaving || observed.is_available(&old) => {
                candidates.push(host.name);
            }
            // It serves nobody: its successor costs no room.
            Some(Pair { new: None, old: Some(_) }) => create.push(host.name),
            Some(Pair { new: Some(new), old: Some(old) }) if observed.is_available(&new) => delete.push(old),
            Some(_) => extra += 1,
        }
    }
    create.extend(candidates.into_iter().take(limit.saturating_sub(extra)));
}
