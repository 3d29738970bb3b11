//! Custom resources, as kubectl defines and uses them.

use super::Server;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: crontabs.stable.example.com
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What to run, and how often.
            required: [cronSpec]
            properties:
              cronSpec:
                type: string
                description: When to run.
                pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              mode: {type: string, enum: [Once, Always]}
              started: {type: string, format: date-time}
              port: {x-kubernetes-int-or-string: true}
              extra: {type: object, x-kubernetes-preserve-unknown-fields: true}
              steps:
                type: array
                maxItems: 2
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string}
                    args: {type: array, items: {type: string}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                items:
                  type: object
                  properties:
                    type: {type: string}
                    status: {type: string}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.mode}]
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Image, type: string, priority: 1, jsonPath: .spec.image}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
"#;

fn cron(name: &str, spec: &str) -> String {
    format!("apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

async fn server() -> Server {
    let server = Server::start().await;
    server.ok(&["apply", "-f", "-"], DEFINITION);
    server.ok(&["wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=5s"], "");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_defines_a_kind_and_uses_it() {
    let server = server().await;
    server.says(&["get", "crd"], "", "crontabs.stable.example.com");
    server.says(&["api-resources", "--api-group=stable.example.com"], "", "crontabs");
    server.says(&["explain", "crd.spec.scope"], "", "scope");
    server.says(&["explain", "crontab.spec"], "", "What to run, and how often.");
    server.says(&["explain", "ct.spec.cronSpec"], "", "When to run.");
    server.ok(&["apply", "-f", "-"], &cron("nightly", "cronSpec: '0 3 * * *', steps: [{name: a}]"));
    let text = server.ok(&["get", "ct"], "");
    assert!(text.starts_with("NAME      SPEC        REPLICAS   AGE\nnightly   0 3 * * *   1          "), "{text}");
    server.says(&["get", "all", "-o", "wide"], "", "busybox");
    server.says(&["get", "ct", "nightly", "-o", "jsonpath={.spec.image} {.metadata.generation}"], "", "busybox 1");
    server.ok(&["apply", "-f", "-"], &cron("nightly", "cronSpec: '0 4 * * *', mode: Once"));
    server.says(&["get", "ct", "nightly", "-o", "jsonpath={.spec.cronSpec} {.metadata.generation}"], "", "0 4 * * * 2");
    server.says(
        &["get", "ct", "--field-selector=spec.mode=Once", "-o", "name"],
        "",
        "crontab.stable.example.com/nightly",
    );
    assert_eq!(server.ok(&["get", "ct", "--field-selector=spec.mode=Always", "-o", "name"], ""), "");
    server.fails(&["get", "ct", "--field-selector=spec.image=x"], "", "field label not supported: spec.image");
    server.ok(&["label", "ct", "nightly", "a=b"], "");
    server.says(&["describe", "ct", "nightly"], "", "Cron Spec:  0 4 * * *");
    server.fails(
        &["patch", "ct", "nightly", "--type=strategic", "-p", "{}"],
        "",
        "application/strategic-merge-patch+json",
    );
    server.says(&["delete", "ct", "nightly"], "", "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    let server = server().await;
    let refused = |spec: &str, expected: &str| server.fails(&["create", "-f", "-"], &cron("bad", spec), expected);
    refused("image: x", "spec.cronSpec: Required value");
    refused("cronSpec: nope", "spec.cronSpec: Invalid value: \"nope\": spec.cronSpec in body should match '^(");
    refused(
        "cronSpec: '* * * * *', replicas: 11",
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
    );
    refused(
        "cronSpec: '* * * * *', replicas: many",
        "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
    );
    refused(
        "cronSpec: '* * * * *', mode: Never",
        "spec.mode: Unsupported value: \"Never\": supported values: \"Once\", \"Always\"",
    );
    refused("cronSpec: '* * * * *', started: noon", "spec.started in body must be of type date-time: \"noon\"");
    refused("cronSpec: '* * * * *', colour: red", "unknown field \"spec.colour\"");
    refused("cronSpec: '* * * * *', steps: [{name: a}, {name: a}]", "spec.steps[1]: Duplicate value: {\"name\":\"a\"}");
    refused(
        "cronSpec: '* * * * *', steps: [{name: a}, {name: b}, {name: c}]",
        "spec.steps: Too many: 3: must have at most 2 items",
    );
    server.ok(
        &["create", "-f", "-"],
        &cron("good", "cronSpec: '* * * * *', port: http, extra: {any: [1, {thing: x}]}, replicas: null"),
    );
    server.says(&["get", "ct", "good", "-o", "jsonpath={.spec.extra.any[1].thing} {.spec.replicas}"], "", "x 1");
    server.ok(&["create", "--validate=ignore", "-f", "-"], &cron("loose", "cronSpec: '* * * * *', colour: red"));
    assert_eq!(server.ok(&["get", "ct", "loose", "-o", "jsonpath={.spec.colour}"], ""), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_and_apply_work_as_for_built_in_kinds() {
    let server = server().await;
    let apply = ["apply", "--server-side", "-f", "-"];
    server.ok(&apply, &cron("web", "cronSpec: '* * * * *', steps: [{name: a, args: [x]}]"));
    let other = cron("web", "cronSpec: '* * * * *', steps: [{name: b}]");
    server.ok(&["apply", "--server-side", "--field-manager=other", "-f", "-"], &other);
    server.says(&["get", "ct", "web", "-o", "jsonpath={.spec.steps[*].name}"], "", "a b");
    let wanted = cron("web", "cronSpec: '1 * * * *'");
    server.fails(
        &["apply", "--server-side", "--field-manager=other", "-f", "-"],
        &wanted,
        "conflict with \"kubectl\": .spec.cronSpec",
    );
    server.ok(&["scale", "ct", "web", "--replicas=3"], "");
    server.says(&["get", "ct", "web", "-o", "jsonpath={.spec.replicas}"], "", "3");
    server.fails(&["scale", "ct", "web", "--replicas=30"], "", "should be less than or equal to 10");
    server.ok(&["patch", "ct", "web", "--type=merge", "-p", r#"{"status":{"replicas":9}}"#], "");
    assert_eq!(server.ok(&["get", "ct", "web", "-o", "jsonpath={.status}"], ""), "");
    let status = r#"{"status":{"replicas":2,"selector":"a=b","conditions":[{"type":"Ready","status":"True"}]}}"#;
    server.ok(&["patch", "ct", "web", "--subresource=status", "--type=merge", "-p", status], "");
    server.says(
        &["get", "ct", "web", "--subresource=scale", "-o", "jsonpath={.status}"],
        "",
        r#"{"replicas":2,"selector":"a=b"}"#,
    );
    server.ok(&["wait", "--for=condition=Ready", "ct/web", "--timeout=5s"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    for (from, to, expected) in [
        ("name: crontabs.stable", "name: tabs.stable", "must be spec.names.plural+\".\"+spec.group"),
        ("storage: true", "storage: false", "must have exactly one version marked as storage version"),
        ("scope: Namespaced", "scope: World", "\"World\": supported values: \"Cluster\", \"Namespaced\""),
        ("image: {type: string, default: busybox}", "image: {}", "must not be empty for specified object fields"),
        ("default: 1}", "default: 99}", "should be less than or equal to 10"),
        ("pattern: '^", "pattern: '^[", "must be a valid regular expression"),
        ("jsonPath: .spec.cronSpec", "jsonPath: '.spec['", "is an invalid jsonpath"),
        ("list-map-keys: [name]", "list-map-keys: [id]", "entries must all be names of item properties"),
    ] {
        let changed = DEFINITION.replace(from, to);
        assert_ne!(changed, DEFINITION);
        server.fails(&["create", "-f", "-"], &changed, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_differ_by_name() {
    let server = Server::start().await;
    let beta = DEFINITION
        .split("  - name: v1\n")
        .nth(1)
        .unwrap()
        .replace("storage: true", "storage: false\n    deprecated: true");
    server.ok(&["apply", "-f", "-"], &format!("{DEFINITION}  - name: v1beta1\n{beta}"));
    server.ok(&["apply", "-f", "-"], &cron("old", "cronSpec: '* * * * *'").replace("com/v1", "com/v1beta1"));
    let shown = server.ok(&["get", "crontabs.v1beta1.stable.example.com", "old", "-o", "jsonpath={.apiVersion}"], "");
    assert!(
        shown.contains("stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab"),
        "{shown}"
    );
    assert!(shown.contains("stable.example.com/v1beta1"), "{shown}");
    assert_eq!(server.ok(&["get", "ct", "old", "-o", "jsonpath={.apiVersion}"], ""), "stable.example.com/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_checked() {
    let server = Server::start().await;
    let rules = r#"
            x-kubernetes-validations:
            - {rule: "!has(self.mode) || self.mode != 'Once' || self.replicas == 1", message: one is enough, fieldPath: .replicas}
            - {rule: "self.replicas >= oldSelf.replicas", messageExpression: "'never below ' + string(oldSelf.replicas)"}
            required: [cronSpec]"#;
    let definition = DEFINITION.replace("\n            required: [cronSpec]", rules);
    server.ok(&["apply", "-f", "-"], &definition);
    server.fails(
        &["create", "-f", "-"],
        &cron("a", "cronSpec: '* * * * *', mode: Once, replicas: 2"),
        "spec.replicas: Invalid value: one is enough",
    );
    server.ok(&["apply", "-f", "-"], &cron("a", "cronSpec: '* * * * *', replicas: 4"));
    server.fails(&["scale", "ct", "a", "--replicas=3"], "", "spec: Invalid value: never below 4");
    server.ok(&["scale", "ct", "a", "--replicas=5"], "");
    server.fails(
        &["create", "-f", "-"],
        &cron("b", "replicas: 4"),
        "some validation rules were not checked because the object was invalid",
    );
    let wrong = definition.replace("self.replicas == 1", "self.replicas == nothing");
    server.fails(&["apply", "-f", "-"], &wrong, "undeclared reference to 'nothing'");
    let wrong = definition.replace("self.replicas == 1", "self.repicas == 1");
    server.fails(&["apply", "-f", "-"], &wrong, "undefined field 'repicas'");
}
