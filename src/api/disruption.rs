//! What disruption budgets ask for. Pure: evictions ask it at their moment, the controller for the
//! budgets' statuses.

use serde_json::Value;

/// The pods of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub expected: i64,
    pub healthy: i64,
    pub desired: i64,
}

impl Count {
    /// `spec`: the budget's.
    pub fn new(spec: &Value, expected: i64, healthy: i64) -> Self {
        Self { expected, healthy, desired: desired(spec, expected) }
    }

    /// How many healthy pods may be disrupted now.
    pub fn allowed(self) -> i64 {
        if self.expected > 0 { (self.healthy - self.desired).max(0) } else { 0 }
    }
}

/// How many must stay healthy; percentages of `expected` are rounded up.
fn desired(spec: &Value, expected: i64) -> i64 {
    let scaled = |value: &Value| match value.as_str().map(|text| text.trim_end_matches('%').parse::<i64>()) {
        Some(percent) => percent.unwrap_or_default().saturating_mul(expected).saturating_add(99) / 100,
        None => value.as_i64().unwrap_or_default(),
    };
    match (&spec["maxUnavailable"], &spec["minAvailable"]) {
        (Value::Null, Value::Null) => expected.saturating_sub(1),
        (Value::Null, least) => scaled(least),
        (most, _) => expected.saturating_sub(scaled(most)).max(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_must_stay_healthy() {
        assert_eq!(desired(&json!({"minAvailable": 2}), 5), 2);
        assert_eq!(desired(&json!({"minAvailable": "50%"}), 5), 3);
        assert_eq!(desired(&json!({"maxUnavailable": "30%"}), 5), 3);
        assert_eq!(desired(&json!({"maxUnavailable": 9}), 5), 0);
    }
}
