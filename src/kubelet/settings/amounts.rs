//! Amounts of a host's resources that are not for pods.

use crate::api::quantity::Quantity;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What can be reserved.
const RESERVABLE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Why a setting cannot be so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("{given:?}: expected {expected}")]
    Shape { given: String, expected: &'static str },
    #[error("{given:?}: {name:?} is not one of {known}")]
    Unknown { given: String, name: String, known: String },
    #[error("{given:?}: {amount:?} is no amount: expected {expected}")]
    Amount { given: String, amount: String, expected: &'static str },
    #[error("{given:?}: {name} is given twice")]
    Twice { given: String, name: String },
    #[error(
        "--image-gc-low-threshold {low} is not below --image-gc-high-threshold {high}: images are removed from the high percentage on until the low one is reached"
    )]
    Order { high: u8, low: u8 },
}

/// `RESOURCE=AMOUNT,...`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(BTreeMap<String, Quantity>);

impl Reserved {
    pub fn of(&self, resource: &str) -> Quantity {
        self.0.get(resource).copied().unwrap_or_default()
    }

    pub fn amounts(&self) -> &BTreeMap<String, Quantity> {
        &self.0
    }
}

impl FromStr for Reserved {
    type Err = SettingError;

    fn from_str(given: &str) -> Result<Self, SettingError> {
        let mut amounts = BTreeMap::new();
        for one in given.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let shape = || SettingError::Shape {
                given: given.into(),
                expected: "RESOURCE=AMOUNT,..., e.g. cpu=500m,memory=1Gi",
            };
            let (name, amount) = one.split_once('=').ok_or_else(shape)?;
            if !RESERVABLE.contains(&name) {
                let known = RESERVABLE.join(", ");
                return Err(SettingError::Unknown { given: given.into(), name: name.into(), known });
            }
            let parsed = amount.parse().ok().filter(|amount: &Quantity| !amount.is_negative());
            let wrong = || SettingError::Amount {
                given: given.into(),
                amount: amount.into(),
                expected: "a quantity of at least 0, e.g. 500m or 1Gi",
            };
            if amounts.insert(name.to_owned(), parsed.ok_or_else(wrong)?).is_some() {
                return Err(SettingError::Twice { given: given.into(), name: name.into() });
            }
        }
        Ok(Self(amounts))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reservations_name_resources_and_amounts() {
        let reserved: Reserved = "cpu=500m, memory=1Gi".parse().unwrap();
        assert_eq!(reserved.of("cpu").to_string(), "500m");
        assert_eq!(reserved.of("memory").to_string(), "1Gi");
        assert!(reserved.of("pods").is_zero());
        let told = |text: &str| text.parse::<Reserved>().unwrap_err().to_string();
        assert_eq!(told("cpu"), "\"cpu\": expected RESOURCE=AMOUNT,..., e.g. cpu=500m,memory=1Gi");
        assert_eq!(told("pods=1"), "\"pods=1\": \"pods\" is not one of cpu, memory, ephemeral-storage");
        let amount = "\"cpu=-1\": \"-1\" is no amount: expected a quantity of at least 0, e.g. 500m or 1Gi";
        assert_eq!(told("cpu=-1"), amount);
        assert_eq!(told("cpu=1,cpu=2"), "\"cpu=1,cpu=2\": cpu is given twice");
    }
}
