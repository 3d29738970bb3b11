//! What the oracle's cases do not reach: numbers, and that everything printed is read again.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::gitops::render::yaml;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn numbers_are_printed_as_go_does() {
    for (number, text) in [
        (json!(1.5), "1.5"),
        (json!(0.0001), "0.0001"),
        (json!(0.00001), "1e-05"),
        (json!(123456.5), "123456.5"),
        (json!(1234567.5), "1.2345675e+06"),
        (json!(1e18), "1000000000000000000"),
        (json!(1e30), "1e+30"),
        (json!(-2.5e-10), "-2.5e-10"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        assert_eq!(document(&number), format!("{text}\n"));
    }
}

#[test]
fn keys_are_in_natural_order() {
    let mut keys = vec!["b", "a10", "a9", "A", "1", "10", "2", "_", "a-b", "a.b", "aB", ""];
    keys.sort_by(|a, b| natural(a, b));
    assert_eq!(keys, ["", "_", "1", "2", "10", "A", "a-b", "a.b", "a9", "a10", "aB", "b"]);
}

#[test]
fn a_key_that_looks_like_a_merge_stays_a_key() {
    let value = json!({"<<": "<<"});
    assert_eq!(document(&value), "\"<<\": <<\n");
    assert_eq!(yaml::documents(&"a.yaml".into(), &document(&value)).unwrap()[0].value, value);
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![any::<String>(), "[ a:#\\-\n\t'\"]{0,120}", "[0-9:.eE+_-]{0,9}", "[a-zA-Z]{0,5}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ -~]{0,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_the_same(value in values()) {
        let printed = document(&json!({"a": value, "z": [value]}));
        let read = yaml::documents(&"a.yaml".into(), &printed).unwrap();
        prop_assert_eq!(&read[0].value, &json!({"a": value, "z": [value]}), "{}", printed);
    }
}
