//! Rules that hold, fail, compare and must end.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::schema::custom::compile::Compiler;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The errors of one rule at the root of an object.
fn errors(schema: Value, rule: Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut source = json!({"type": "object", "properties": schema});
    source["x-kubernetes-validations"] = json!([rule]);
    let schema = Compiler::new(Arc::default()).root(&source, "");
    let mut errors = Vec::new();
    check(&schema, object, old, &mut errors);
    errors.into_iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
}

fn schema() -> Value {
    json!({
        "min": {"type": "integer"}, "max": {"type": "integer"}, "ratio": {"type": "number"},
        "name": {"type": "string"}, "when": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}, "v": {"type": "integer"}}}},
        "dashed-name": {"type": "string"},
        "port": {"x-kubernetes-int-or-string": true},
    })
}

fn object() -> Value {
    json!({"min": 1, "max": 3, "ratio": 2, "name": "web-1", "when": "2026-01-02T03:04:05Z", "wait": "1m30s",
        "tags": {"a": "b"}, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "dashed-name": "d", "port": "80"})
}

#[test]
fn rules_that_hold() {
    for rule in [
        "self.min <= self.max && self.max - self.min == 2",
        "self.min < 2.5 && self.ratio == 2.0 && self.ratio / 4.0 == 0.5",
        "has(self.name) && !has(self.nothing)",
        "self.name.startsWith('web') && self.name.matches('^[a-z]+-[0-9]+$') && self.name.size() == 5",
        "size(self.list) == 2 && self.list.all(i, i.v > 0) && self.list.exists(i, i.n == 'y')",
        "self.list.exists_one(i, i.v == 2) && self.list.map(i, i.v).sum() == 3",
        "self.list.filter(i, i.v > 1).map(i, i.n) == ['y'] && 'x' in self.list.map(i, i.n)",
        "'a' in self.tags && self.tags['a'] == 'b' && self.tags.all(k, k == 'a')",
        "self.list.all(i, item, item.v == i + 1) && self.tags.exists(k, v, v == 'b')",
        "self.when > timestamp('2026-01-01T00:00:00Z') && self.when.getFullYear() == 2026",
        "self.wait == duration('90s') && self.wait.getSeconds() == 90",
        "self.dashed__dash__name == 'd'",
        "type(self.port) == string ? int(self.port) == 80 : self.port == 80",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('10m') && !isQuantity('x')",
        "url('https://a.b:80/c?d=e').getHostname() == 'a.b' && isURL('/x') && url('http://h').getPort() == ''",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.1.1') && !isIP('10.0.0')",
        "isCIDR('fd00::/8') && cidr('10.0.0.0/8').prefixLength() == 8",
        "'a,b,c'.split(',').size() == 3 && ['a', 'b'].join('-') == 'a-b' && 'abc'.substring(1, 2) == 'b'",
        "'%s is %d'.format(['x', 3]) == 'x is 3' && 'ABC'.lowerAscii() == 'abc' && 'aXa'.indexOf('X') == 1",
        "'abc'.replace('b', 'x') == 'axc' && '  a '.trim() == 'a' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "self.?nothing.orValue('z') == 'z' && self.?name.hasValue() && optional.of(1).optMap(x, x + 1).value() == 2",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1]) && [3, 1].min() == 1 && [1, 2].isSorted()",
        "true || self.nothing == 1",
        "[1, 2, 3].exists(x, x / 0 == 1 || x == 2)",
        "{'a': 1}.a == 1 && string(1) == '1' && double('1.5') == 1.5 && semver('1.2.3').minor() == 2",
    ] {
        assert_eq!(errors(schema(), json!({ "rule": rule }), &object(), None), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn failures_say_why() {
    let fails = |rule: Value| errors(schema(), rule, &object(), None).join("; ");
    assert_eq!(fails(json!({"rule": "self.min > self.max"})), "<nil>: Invalid value: failed rule: self.min > self.max");
    assert_eq!(fails(json!({"rule": "false", "message": "no", "fieldPath": ".min"})), "min: Invalid value: no");
    assert_eq!(
        fails(
            json!({"rule": "false", "messageExpression": "'max is ' + string(self.max)", "reason": "FieldValueForbidden"})
        ),
        "<nil>: Forbidden: max is 3"
    );
    assert_eq!(
        fails(json!({"rule": "self.nothing == 1"})),
        "<nil>: Invalid value: \"object\": no such key: nothing evaluating rule: self.nothing == 1"
    );
    assert!(fails(json!({"rule": "self.port + 1 > 2"})).contains("'no such overload': call arguments did not match"));
    assert!(fails(json!({"rule": "1 / (self.min - 1) == 1"})).contains("division by zero evaluating rule"));
    assert!(Rule::compile(&json!({"rule": "self.a >"})).problem().is_some());
    assert!(Rule::compile(&json!({"rule": "nope > 1"})).problem().unwrap().contains("undeclared reference to 'nope'"));
    assert!(Rule::compile(&json!({"rule": "nope(self)"})).problem().is_some());
}

#[test]
fn transitions_compare_with_before() {
    let rule = json!({"rule": "self.min >= oldSelf.min", "message": "may only grow"});
    let less = json!({"min": 0});
    assert!(errors(schema(), rule.clone(), &less, None).is_empty());
    assert_eq!(errors(schema(), rule, &less, Some(&object())), ["<nil>: Invalid value: may only grow"]);
    let rule = json!({"rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": true});
    assert!(errors(schema(), rule.clone(), &object(), None).is_empty());
    assert_eq!(errors(schema(), rule, &less, None).len(), 1);
}

#[test]
fn hostile_rules_end() {
    let list: Vec<Value> = (0..5000).map(|v| json!({"n": "x", "v": v})).collect();
    let object = json!({"list": list, "name": "a".repeat(100_000)});
    for rule in [
        "self.list.all(a, self.list.all(b, self.list.all(c, a.v + b.v + c.v >= 0)))",
        "self.list.map(a, self.list.map(b, b.n + a.n)).size() > 0",
        "self.list.all(a, !self.name.matches('(a*)*b'))",
        "self.list.map(a, self.name).join('').size() > 0 && self.list.map(a, self.name.replace('a', 'bbbbbbbbbbb')).size() > 1",
        "[1,2,3,4,5,6,7,8,9].all(a, self.list.filter(b, b.v in self.list.map(c, c.v)).size() > 0)",
    ] {
        let start = Instant::now();
        let said = errors(schema(), json!({ "rule": rule }), &object, None);
        assert!(said[0].contains("cost"), "{rule}: {said:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{rule} took {:?}", start.elapsed());
    }
}
