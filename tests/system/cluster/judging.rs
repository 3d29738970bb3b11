//! Custom resources by the rules of an application, as people meet them.

use crate::daemon::Daemon;
use std::path::Path;

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.example.org}
spec:
  group: example.org
  names: {kind: Database, plural: databases}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("a manifest");
}

#[test]
fn commands_wait_by_the_rules_of_the_application() {
    let (source, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write(source.path(), "crd.yaml", DEFINITION);
    write(source.path(), "store.yaml", "apiVersion: example.org/v1\nkind: Database\nmetadata: {name: store}\n");
    let daemon = Daemon::start(&["--no-hosts"]);
    let application = |current: &str| {
        let spec = format!(
            "apiVersion: selkie.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: selkie-system}}\nspec:\n  \
             source: {{path: {}}}\n  healthChecks:\n    - apiVersion: example.org/v1\n      kind: Database\n      \
             failed: status.phase == 'Failed'\n      current: {current}\n",
            source.path().display()
        );
        write(outside.path(), "shop.yaml", &spec);
        daemon.try_kubectl(&["apply", "-f", &outside.path().join("shop.yaml").display().to_string()])
    };
    let refused = application("status.phase = 'Running'");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success()
            && said.contains("spec.healthChecks[0].current")
            && said.contains("line 1, column 14"),
        "{said}"
    );
    assert!(application("status.phase == 'Running'").status.success());
    daemon.wait_for("the database is there", || daemon.try_kubectl(&["get", "database", "store"]).status.success());

    let late = daemon.try_selkie(&["wait", "database/store", "--timeout=3s"]);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(
        !late.status.success() && said.contains("is not ready after 3 s: health check failed: no such key: status"),
        "{said}"
    );
    let late = daemon.try_selkie(&["app", "sync", "shop", "--timeout=3s"]);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(!late.status.success() && said.contains("Database default/store"), "{said}");
    let say = |phase: &str| {
        let patch = format!("{{\"status\": {{\"phase\": \"{phase}\"}}}}");
        daemon.kubectl(&["patch", "database", "store", "--subresource=status", "--type=merge", "-p", &patch]);
    };
    say("Failed");
    let failed = daemon.try_selkie(&["wait", "database/store"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        !failed.status.success() && said.contains("it failed: health check failed: status.phase == 'Failed'"),
        "{said}"
    );
    let failed = "health check failed: status.phase == 'Failed'";
    for shown in [&["why", "database/store"][..], &["why", "app/shop"], &["tree", "shop"]] {
        let said = daemon.selkie(shown);
        assert!(said.contains(failed), "{shown:?}: {said}");
    }
    say("Running");
    daemon.selkie(&["wait", "database/store"]);
    daemon.selkie(&["app", "sync", "shop"]);
    daemon.wait_for("the application is ready", || daemon.selkie(&["status"]).contains("Ready"));
    for shown in [&["why", "database/store"][..], &["tree", "shop"]] {
        let said = daemon.selkie(shown);
        assert!(!said.contains("health check") && said.contains("Ready"), "{shown:?}: {said}");
    }
}

#[test]
fn a_plan_goes_by_the_rules_of_its_application_and_of_those_among_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let deploy = folder.path().join("deploy");
    std::fs::create_dir(&deploy).expect("a folder");
    let web = |replicas: u32| {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  selector: \
             {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: \
             [{{name: web, image: 'web:1'}}]}}\n"
        );
        write(&deploy, "web.yaml", &text);
    };
    web(1);
    let shop = format!(
        "apiVersion: selkie.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: selkie-system}}\nspec:\n  \
         source: {{path: {}}}\n  healthChecks:\n    - apiVersion: apps/v1\n      kind: Deployment\n      failed: \
         spec.replicas > 2\n      current: status.availableReplicas == spec.replicas\n",
        deploy.display()
    );
    write(folder.path(), "shop.yaml", &shop);
    let daemon = Daemon::start(&["--hollow-hosts", "1"]);
    let both = folder.path().display().to_string();
    let plan = |args: &[&str]| daemon.selkie(&[&["plan"], args].concat());
    let failed = "Deployment default/web: NotReady: health check failed: spec.replicas > 2";
    // The application is not there yet: it is one of the files.
    assert!(!plan(&["-R", "-f", &both]).contains("Problems:"));
    web(3);
    let said = plan(&["-R", "-f", &both]);
    assert!(said.contains(failed), "{said}");
    let said = plan(&["-f", &deploy.display().to_string()]);
    assert!(!said.contains("Problems:"), "by the rules of the kind: {said}");

    web(1);
    daemon.selkie(&["apply", "-f", &folder.path().join("shop.yaml").display().to_string()]);
    daemon.wait_for("it runs", || daemon.value(&["deploy", "web"], "{.status.availableReplicas}") == "1");
    daemon.selkie(&["app", "suspend", "shop"]);
    web(2);
    let said = plan(&["--app", "shop"]);
    assert!(said.contains("spec.replicas") && !said.contains("Problems:"), "{said}");
    web(3);
    let said = plan(&["--app", "shop"]);
    assert!(said.contains(failed), "{said}");
}

#[test]
fn an_apply_waits_by_the_rules_of_the_applications_among_its_files() {
    let (source, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write(source.path(), "map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n");
    write(files.path(), "crd.yaml", DEFINITION);
    let store = |size: u32| {
        let text =
            format!("apiVersion: example.org/v1\nkind: Database\nmetadata: {{name: store}}\nspec: {{size: {size}}}\n");
        write(files.path(), "store.yaml", &text);
    };
    store(1);
    let application = format!(
        "apiVersion: selkie.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: selkie-system}}\nspec:\n  \
         source: {{path: {}}}\n  healthChecks:\n    - apiVersion: example.org/v1\n      kind: Database\n      \
         failed: status.phase == 'Failed'\n      current: status.phase == 'Running'\n",
        source.path().display()
    );
    write(files.path(), "shop.yaml", &application);
    let daemon = Daemon::start(&["--no-hosts"]);
    let path = files.path().display().to_string();
    let late = daemon.try_selkie(&["apply", "-f", &path, "--timeout=3s"]);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(!late.status.success() && said.contains("Database default/store"), "{said}");
    let say = |phase: &str| {
        let patch = format!("{{\"status\": {{\"phase\": \"{phase}\"}}}}");
        daemon.kubectl(&["patch", "database", "store", "--subresource=status", "--type=merge", "-p", &patch]);
    };
    say("Failed");
    store(2);
    let failed = daemon.try_selkie(&["apply", "-f", &path, "--timeout=60s"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("status.phase == 'Failed'"), "{said}");
    say("Running");
    store(3);
    daemon.selkie(&["apply", "-f", &path]);
}
