//! Label selectors against the behaviour and texts of Kubernetes.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn matches(selector: &str, pairs: &[(&str, &str)]) -> bool {
    LabelSelector::parse(selector).unwrap().matches(&labels(pairs))
}

#[test]
fn every_operator_matches() {
    let web = [("app", "web"), ("n", "5")];
    for yes in [
        "",
        "app=web",
        "app==web",
        "app!=db",
        "app in (web,db)",
        "app notin (db)",
        "app",
        "!tier",
        "tier!=x",
        "tier notin (x)",
        "n>4",
        "n<6",
        "app=web,n=5",
        " app = web , n ",
        "app in(web)",
    ] {
        assert!(matches(yes, &web), "{yes}");
    }
    for no in [
        "app=db",
        "app!=web",
        "app in (db)",
        "app notin (web)",
        "!app",
        "tier",
        "n>5",
        "n<5",
        "x>1",
        "app=",
        "app=web,!n",
    ] {
        assert!(!matches(no, &web), "{no}");
    }
    assert!(matches("a=", &[("a", "")]));
    assert!(matches("a in (,b)", &[("a", "")]));
    assert!(matches("in=notin", &[("in", "notin")]));
}

#[test]
fn errors_read_as_those_of_kubernetes() {
    for (text, expected) in [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "a in ()",
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
    ] {
        let error = LabelSelector::parse(text).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, expected), "{text}");
    }
    let error = LabelSelector::parse("a=-b").unwrap_err().message;
    assert!(
        error.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be")
    );
    assert!(LabelSelector::parse("a/b/c=d").is_err());
}

#[test]
fn the_object_form() {
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "NotIn", "values": ["b", "a"]}, {"key": "canary", "operator": "DoesNotExist"}]});
    let selector = LabelSelector::from_object(&selector).unwrap();
    assert_eq!(selector.to_string(), "app=web,!canary,tier notin (a,b)");
    assert!(selector.matches(&labels(&[("app", "web")])));
    assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "a")])));
    assert!(LabelSelector::from_object(&json!({})).unwrap().is_everything());
    assert!(!LabelSelector::from_object(&Value::Null).unwrap().matches(&labels(&[])));
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    assert_eq!(LabelSelector::from_object(&bad).unwrap_err(), "\"Is\" is not a valid label selector operator");
    assert!(LabelSelector::from_map(&json!({"a": "b"})).matches(&labels(&[("a", "b"), ("c", "d")])));
    assert!(!LabelSelector::from_map(&json!({})).matches(&labels(&[])));
}

proptest! {
    #[test]
    fn any_text_is_answered_and_prints_as_itself(text in "[a-c!=<>(), ]{0,16}|\\PC{0,12}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string());
            prop_assert_eq!(again.unwrap().to_string(), selector.to_string());
        }
    }
}
