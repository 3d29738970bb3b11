//! What generators come to, and what becomes of it.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::gitops::sources::Branch;

fn set(spec: Value) -> ApplicationSet {
    serde_json::from_value(json!({"metadata": {"name": "shops", "uid": "u"}, "spec": spec})).unwrap()
}

/// Applications of these names, as the set has made them.
fn made(names: &[&str]) -> Vec<Application> {
    let one = |name: &&str| {
        let labels = json!({LABEL: "shops"});
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": labels}})).unwrap()
    };
    names.iter().map(one).collect()
}

fn git(more: Value) -> GitGenerator {
    let mut git = json!({"repoURL": "https://h/r", "secretRef": {"name": "s"}});
    git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(git).unwrap()
}

#[test]
fn directories_are_those_that_patterns_take() {
    let all = ["apps", "apps/web", "apps/My_Api", "apps/old", "apps/web/base", "infra/x/y"].map(str::to_owned);
    let found = |patterns: Value| -> Vec<String> {
        let elements = git(json!({"directories": patterns})).of_directories(&all);
        elements.iter().map(|element| element.parameters["path"].clone()).collect()
    };
    assert_eq!(found(json!([{"path": "apps/*"}, {"path": "apps/old", "exclude": true}])), ["apps/web", "apps/My_Api"]);
    assert_eq!(found(json!([{"path": "./apps/w*/"}])), ["apps/web"]);
    assert_eq!(found(json!([{"path": "**/base"}, {"path": "infra/**"}])), ["apps/web/base", "infra/x/y"]);
    assert_eq!(found(json!([{"path": "*", "exclude": true}])), [""; 0]);
    let elements = git(json!({"directories": [{"path": "apps/My*"}]})).of_directories(&all);
    assert_eq!(elements[0].show(), "path=apps/My_Api path.basename=My_Api path.basenameNormalized=my-api");
    let source = json!({"repoURL": "https://h/r", "directory": "apps/My_Api", "secretRef": {"name": "s"}});
    assert_eq!(elements[0].source, source);
}

#[test]
fn applications_are_the_template_with_an_elements_parameters() {
    let template = json!({"metadata": {"name": "shop-${branchNormalized}", "labels": {"team": "a"}},
        "spec": {"namespace": "shop-${branchNormalized}", "prune": false,
            "postBuild": {"substitute": {"BRANCH": "${branch}", "DOLLAR": "$${x}"}}}});
    let set = set(json!({"template": template}));
    let branches = [
        Branch { name: "feature/Cart".into(), commit: "1".into() },
        Branch { name: "main".into(), commit: "2".into() },
    ];
    let elements = git(json!({"branches": ["feature/*"]})).of_branches(&branches);
    let applications = generate(&set, &elements).unwrap();
    let one = &applications["shop-feature-cart"];
    assert_eq!(
        one["spec"]["source"],
        json!({"repoURL": "https://h/r", "ref": "feature/Cart", "secretRef": {"name": "s"}})
    );
    assert_eq!(one["spec"]["postBuild"]["substitute"], json!({"BRANCH": "feature/Cart", "DOLLAR": "${x}"}));
    assert_eq!(one["metadata"]["labels"], json!({"team": "a", LABEL: "shops"}));
    assert_eq!(one["metadata"]["ownerReferences"][0]["uid"], "u");
}

#[test]
fn a_source_of_its_own_counts() {
    let template = json!({"metadata": {"name": "${name}"}, "spec": {"source": {"path": "/srv/${name}"}}});
    let spec = json!({"template": template, "generators": [{"list": {"elements": [{"name": "a"}, {"name": "b"}]}}]});
    let set = set(spec);
    let elements = set.spec.generators[0].list.as_ref().unwrap().elements();
    let applications = generate(&set, &elements).unwrap();
    assert_eq!(applications["b"]["spec"]["source"], json!({"path": "/srv/b"}));
}

#[test]
fn everything_wrong_is_told_and_nothing_made() {
    let template = json!({"metadata": {"name": "${name}"}, "spec": {"namespace": "${space}"}});
    let elements = |names: &[(&str, &str)]| -> Vec<Element> {
        let element = |(name, space): &(&str, &str)| {
            let mut parameters: BTreeMap<_, _> = [("name".to_owned(), (*name).to_owned())].into();
            if !space.is_empty() {
                parameters.insert("space".to_owned(), (*space).to_owned());
            }
            Element { parameters, source: Value::Null }
        };
        names.iter().map(element).collect()
    };
    let set = set(json!({"template": template}));
    let errors = generate(&set, &elements(&[("a", "x"), ("b", ""), ("a", "y"), ("", "x")])).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert_eq!(errors[0], "name=b: spec.template.spec.namespace: there is no variable \"space\"; there are name");
    assert_eq!(errors[1], "application \"a\" is made twice: of name=a space=x, and of name=a space=y");
    assert!(errors[2].contains("metadata.name is empty"), "{errors:#?}");
    let many: Vec<String> = (0..=MOST).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    assert!(generate(&set, &elements(&many)).unwrap_err()[0].contains("more than the 500"));
}

#[test]
fn what_is_not_wanted_goes_unless_it_is_too_much_at_once() {
    let wanted = |names: &[&str]| -> BTreeMap<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect()
    };
    let mut shops = set(json!({}));
    let there = made(&["a", "b", "c", "d"]);
    let gone = compare(&shops, &wanted(&["a", "b"]), &there).unwrap();
    let names: Vec<(&str, &str)> = gone.delete.iter().map(|id| (id.name.as_str(), id.uid.as_str())).collect();
    assert_eq!(names, [("c", "c"), ("d", "d")]);

    let held = compare(&shops, &wanted(&[]), &there).unwrap();
    assert!(held.delete.is_empty() && held.held.contains("4 of 4 applications"), "{held:?}");
    let confirmation = held.held.rsplit('=').next().unwrap().to_owned();
    shops.metadata.annotations = Some([(CONFIRM_PRUNE.to_owned(), confirmation)].into());
    assert_eq!(compare(&shops, &wanted(&[]), &there).unwrap().delete.len(), 4);
    assert!(!compare(&shops, &wanted(&["e"]), &there).unwrap().held.is_empty(), "that was not confirmed");

    shops.spec.prune = Some(false);
    assert_eq!(compare(&shops, &wanted(&["a"]), &there).unwrap(), Gone { delete: Vec::new(), held: String::new() });
}

#[test]
fn what_others_made_is_theirs() {
    let wanted: BTreeMap<String, Value> = [("a".to_owned(), Value::Null)].into();
    let mut there = made(&["a", "b"]);
    there[0].metadata.labels = None;
    let errors = compare(&set(json!({})), &wanted, &there).unwrap_err();
    assert!(errors[0].contains("\"a\" that this set has not made"), "{errors:?}");
    there[1].metadata.labels = None;
    assert!(compare(&set(json!({})), &BTreeMap::new(), &there).unwrap().delete.is_empty());
}
