//! What the containers of a pod come to together.

use super::amount;
use crate::api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource name, e.g. `cpu`.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a `requests`, `limits`, `hard` or other such map.
pub fn amounts(map: &Value) -> Amounts {
    let fields = map.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect()
}

/// `map` as it is stored.
pub fn to_value(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(name, amount)| (name.clone(), Value::from(amount.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Adds `more` to `total`.
pub fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// Makes `total` the larger of both, for each resource.
pub fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = total.entry(name.clone()).or_insert(*amount);
        if *amount > *entry {
            *entry = *amount;
        }
    }
}

/// The `requests` or `limits` of a pod's containers: of those that run together, or of one of its init
/// containers with the sidecars started before it, where that is more.
pub fn of_containers(spec: &Value, kind: &str) -> Amounts {
    peak(spec, |container| amounts(&container["resources"][kind]))
}

/// As [`of_containers`], where `of` says what a container takes. Source: Kubernetes' resource helper.
pub fn peak(spec: &Value, of: impl Fn(&Value) -> Amounts) -> Amounts {
    let list = |name: &str| spec[name].as_array().into_iter().flatten();
    let (mut running, mut sidecars, mut peak) = (Amounts::new(), Amounts::new(), Amounts::new());
    list("containers").for_each(|container| add(&mut running, &of(container)));
    for container in list("initContainers") {
        let mut now = of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, &now);
    }
    raise(&mut running, &peak);
    running
}
