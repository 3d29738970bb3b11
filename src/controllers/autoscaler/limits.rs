//! How far and how fast replicas may change: stabilization windows, scaling policies, the smallest and
//! the largest number. Pure; the rules and words are Kubernetes'.

use super::metrics::milli;
use super::replicas::Tolerances;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// Without rules of its own, an autoscaler goes down to what was asked for at most in this time.
const DOWNSCALE_STABILIZATION: SignedDuration = SignedDuration::from_mins(5);
/// The longest window and the longest period that the API takes.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
const TOLERANCE: f64 = 0.1;

/// What an autoscaler asked for and did before. Lost in a restart, like Kubernetes'.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Before stabilization, oldest first.
    recommendations: Vec<(Timestamp, i32)>,
    /// Replicas added (negative: removed).
    changes: Vec<(Timestamp, i32)>,
}

impl History {
    pub fn is_empty(&self) -> bool {
        self.recommendations.is_empty()
    }

    pub fn recommended(&mut self, now: Timestamp, replicas: i32) {
        prune(&mut self.recommendations, now);
        self.recommendations.push((now, replicas));
    }

    pub fn scaled(&mut self, now: Timestamp, by: i32) {
        prune(&mut self.changes, now);
        self.changes.push((now, by));
    }

    fn since(&self, window: SignedDuration, now: Timestamp) -> impl Iterator<Item = i32> + '_ {
        within(&self.recommendations, window, now)
    }

    /// Replicas at the begin of a period that ends now with `current`.
    fn before(&self, period: SignedDuration, current: i32, now: Timestamp) -> i32 {
        within(&self.changes, period, now).fold(current, i32::saturating_sub)
    }
}

fn prune(entries: &mut Vec<(Timestamp, i32)>, now: Timestamp) {
    entries.retain(|(time, _)| now.duration_since(*time) <= REMEMBERED);
}

fn within(entries: &[(Timestamp, i32)], span: SignedDuration, now: Timestamp) -> impl Iterator<Item = i32> + '_ {
    entries.iter().filter(move |(time, _)| now.duration_since(*time) < span).map(|(_, replicas)| *replicas)
}

/// A number and why it is that: reason and message of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub replicas: i32,
    pub reason: &'static str,
    pub message: &'static str,
}

/// What is asked for, and between what.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub current: i32,
    pub desired: i32,
    pub min: i32,
    pub max: i32,
}

pub fn tolerances(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> Tolerances {
    let of = |rules: Option<&HPAScalingRules>| {
        let told = rules.and_then(|rules| milli(&rules.tolerance.as_ref()?.0));
        told.map_or(TOLERANCE, |milli| milli as f64 / 1000.0)
    };
    Tolerances {
        down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

/// The wish among those of the last minutes: as little of a change as any of them asked for.
pub fn stabilize(
    wish: Wish,
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    history: &History,
    now: Timestamp,
) -> Limited {
    let (window_up, window_down) = windows(behavior);
    let least = history.since(window_up, now).fold(wish.desired, i32::min);
    let most = history.since(window_down, now).fold(wish.desired, i32::max);
    let stable = match behavior {
        Some(_) => wish.current.max(least).min(most),
        None => most,
    };
    let (reason, message) = match stable {
        stable if stable == wish.desired => ("ReadyForNewScale", "recommended size matches current size"),
        _ if behavior.is_some() && wish.desired >= wish.current => (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        ),
        _ => (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        ),
    };
    Limited { replicas: stable, reason, message }
}

fn windows(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> (SignedDuration, SignedDuration) {
    let of = |rules: Option<&HPAScalingRules>, default: SignedDuration| {
        let told = rules.and_then(|rules| rules.stabilization_window_seconds);
        told.map_or(default, |seconds| SignedDuration::from_secs(seconds.into()))
    };
    (
        of(behavior.and_then(|behavior| behavior.scale_up.as_ref()), SignedDuration::ZERO),
        of(behavior.and_then(|behavior| behavior.scale_down.as_ref()), DOWNSCALE_STABILIZATION),
    )
}

/// The wish within the bounds and the speed allowed; the number differs from the wish's exactly where it
/// was limited.
pub fn limit(
    wish: Wish,
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    history: &History,
    now: Timestamp,
) -> Limited {
    let Wish { current, desired, min, max } = wish;
    let (fastest_up, fastest_down) = match behavior {
        Some(behavior) => {
            let step = |rules, direction| fastest(direction, rules, current, history, now);
            let up = if desired > current { step(behavior.scale_up.as_ref(), Direction::Up).max(current) } else { max };
            let down =
                if desired < current { step(behavior.scale_down.as_ref(), Direction::Down).min(current) } else { min };
            (up, down)
        }
        None => (current.saturating_mul(2).max(4), min),
    };
    if desired > max.min(fastest_up) {
        return match max > fastest_up {
            true => Limited {
                replicas: fastest_up,
                reason: "ScaleUpLimit",
                message: "the desired replica count is increasing faster than the maximum scale rate",
            },
            false => Limited {
                replicas: max,
                reason: "TooManyReplicas",
                message: "the desired replica count is more than the maximum replica count",
            },
        };
    }
    if desired < min.max(fastest_down) {
        return match min < fastest_down {
            true => Limited {
                replicas: fastest_down,
                reason: "ScaleDownLimit",
                message: "the desired replica count is decreasing faster than the maximum scale rate",
            },
            false => Limited {
                replicas: min,
                reason: "TooFewReplicas",
                message: "the desired replica count is less than the minimum replica count",
            },
        };
    }
    let message = "the desired count is within the acceptable range";
    Limited { replicas: desired, reason: "DesiredWithinRange", message }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// The number of replicas that the policies let it get to now.
fn fastest(
    direction: Direction,
    rules: Option<&HPAScalingRules>,
    current: i32,
    history: &History,
    now: Timestamp,
) -> i32 {
    let select = rules.and_then(|rules| rules.select_policy.as_deref()).unwrap_or("Max");
    if select == "Disabled" {
        return current;
    }
    let policies = rules.and_then(|rules| rules.policies.clone()).unwrap_or_else(|| default_policies(direction));
    let reached = policies.iter().map(|policy| {
        let period = SignedDuration::from_secs(policy.period_seconds.into());
        let before = history.before(period, current, now);
        match (policy.type_.as_str(), direction) {
            ("Pods", Direction::Up) => before.saturating_add(policy.value),
            ("Pods", Direction::Down) => before.saturating_sub(policy.value),
            // Rounded so that something happens.
            (_, Direction::Up) => (f64::from(before) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
            (_, Direction::Down) => (f64::from(before) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    });
    // `Min` is the smallest change, not the smallest number.
    let most = (select == "Min") == (direction == Direction::Down);
    (if most { reached.max() } else { reached.min() }).unwrap_or(current)
}

fn default_policies(direction: Direction) -> Vec<HPAScalingPolicy> {
    let policy = |type_: &str, value| HPAScalingPolicy { type_: type_.into(), value, period_seconds: 15 };
    match direction {
        Direction::Up => vec![policy("Pods", 4), policy("Percent", 100)],
        Direction::Down => vec![policy("Percent", 100)],
    }
}

#[cfg(test)]
mod tests;
