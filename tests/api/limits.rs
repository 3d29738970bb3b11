//! ResourceQuotas and LimitRanges as people meet them.

use crate::Server;

const QUOTA: &[&str] = &["create", "quota", "q", "--hard=pods=2,requests.cpu=2,count/deployments.apps=1"];
const RANGE: &str = r#"{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"r"},"spec":{"limits":[{"type":"Container",
    "default":{"cpu":"1"},"defaultRequest":{"cpu":"500m"},"min":{"cpu":"100m"},"max":{"cpu":"2"}}]}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_never_exceeded() {
    let server = Server::start().await;
    server.ok(QUOTA, "");
    let unset = "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: a";
    server.fails(&["run", "a", "--image=i"], "", unset);
    server.ok(&["create", "-f", "-"], RANGE);
    // Several at once: what is left is shared out once.
    let names: Vec<String> = (0..6).map(|n| format!("p{n}")).collect();
    let (names, asked) = (&names, &server);
    let made = std::thread::scope(|scope| {
        let tries: Vec<_> =
            names.iter().map(|name| scope.spawn(move || asked.kubectl(&["run", name, "--image=i"], "").ok)).collect();
        tries.into_iter().map(|attempt| attempt.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(made, 2);
    let over = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2";
    server.fails(&["run", "z", "--image=i"], "", over);
    server.ok(&["create", "deploy", "d", "--image=i"], "");
    let over = "deployments.apps \"e\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1";
    server.fails(&["create", "deploy", "e", "--image=i"], "", over);
    server.says(&["get", "quota", "q"], "", "pods: 2/2, requests.cpu: 1/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_and_kept() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], RANGE);
    server.ok(&["run", "a", "--image=i"], "");
    let resources = "jsonpath={.spec.containers[0].resources}";
    server.says(&["get", "pod", "a", "-o", resources], "", r#"{"limits":{"cpu":"1"},"requests":{"cpu":"500m"}}"#);
    let pod = |resources: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"b"}},"spec":{{"containers":[{{"name":"c","image":"i","resources":{resources}}}]}}}}"#
        )
    };
    let most = "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3";
    server.fails(&["create", "-f", "-"], &pod(r#"{"limits":{"cpu":"3"}}"#), most);
    let least = "minimum cpu usage per Container is 100m, but request is 50m";
    server.fails(&["create", "-f", "-"], &pod(r#"{"requests":{"cpu":"50m"}}"#), least);
    let wrong = RANGE.replace(r#""min":{"cpu":"100m"}"#, r#""min":{"cpu":"5"}"#).replace("\"r\"", "\"s\"");
    server.fails(
        &["create", "-f", "-"],
        &wrong,
        "spec.limits[0].min[cpu]: Invalid value: \"5\": min value 5 is greater than max value 2",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_of_scopes_count_what_they_can() {
    let server = Server::start().await;
    let why = "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource";
    server.fails(&["create", "quota", "q", "--hard=cpu=1", "--scopes=BestEffort"], "", why);
    let both = &["create", "quota", "q", "--hard=pods=1", "--scopes=BestEffort,NotBestEffort"];
    server.fails(both, "", "conflicting scopes");
    server.ok(&["create", "quota", "q", "--hard=pods=1", "--scopes=BestEffort"], "");
    let other = r#"{"spec":{"scopes":["NotBestEffort"]}}"#;
    server.fails(
        &["patch", "quota", "q", "-p", other],
        "",
        "spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable",
    );
    server.ok(&["run", "a", "--image=i"], "");
    server.fails(&["run", "b", "--image=i"], "", "exceeded quota: q");
}
