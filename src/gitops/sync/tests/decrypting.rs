//! Encrypted files of an Application's source: with which keys, and what happens when these are others.

use super::*;

const SECRETS: &str = "/api/v1/namespaces/selkie-system/secrets";
const DEPLOYED: &str = "/api/v1/namespaces/default/secrets/only";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitops/sops/fixtures");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The engine on a source with an encrypted Secret and a ConfigMap.
async fn start(rig: &Rig) -> (Folder, mpsc::UnboundedReceiver<Event>) {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("secret.yaml", &fixture("only.yaml"));
    folder.write("a.yaml", &map("a", "one"));
    let decryption = json!({"provider": "sops", "secretRef": {"name": "age"}});
    rig.declare(json!({"source": {"path": folder.0.path()}, "interval": "1h", "decryption": decryption})).await;
    let events = rig.run(Clock::System);
    (folder, events)
}

async fn give(rig: &Rig, key: &str) {
    rig.patch(&format!("{SECRETS}/age"), json!({"stringData": {"shop.agekey": fixture(key)}})).await;
}

#[tokio::test]
async fn with_other_keys_an_application_stays_as_it_is() {
    let rig = Rig::new().await;
    rig.create(SECRETS, &json!({"metadata": {"name": "age"}, "stringData": {"shop.agekey": fixture("one.txt")}})).await;
    let (folder, mut events) = start(&rig).await;
    let deployed = async || rig.get(DEPLOYED).await.filter(|secret| secret["data"]["a"] == "aHVudGVyMg==");
    let secret = rig.until(deployed).await;
    assert!(secret.get("sops").is_none(), "{secret}");

    folder.write("a.yaml", &map("a", "two"));
    rig.until(async || rig.map("a").await.filter(|found| found["data"]["k"] == "two")).await;
    give(&rig, "other.txt").await;
    let errors = next(&mut events, failed).await;
    let told = "the file is encrypted with SOPS: it is for age1vazlwcxyqz0zf04mpru55dweer7qtlu6zytf8j4zmqzmz8hqdglqsum06f; \
                in Secret selkie-system/age there is age1pulkrh6qlsqflsdp5xzq8hc5zr5pd6tgp3w52mspg45ph0xm9s0su4qcsd";
    assert!(errors.len() == 1 && errors[0].ends_with(&format!("/secret.yaml:9:1: {told}")), "{errors:?}");
    // Nothing of the source counts, and what others change is set right all the same.
    folder.write("a.yaml", &map("a", "three"));
    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "drift"}})).await;
    rig.until(async || rig.map("a").await.filter(|found| found["data"]["k"] == "two")).await;
    let status = rig.until(async || {
        let status = rig.status().await;
        status.to_string().contains("the file is encrypted with SOPS").then_some(status)
    });
    let status = status.await.to_string();
    assert!(deployed().await.is_some() && status.contains("secret.yaml:9:1"), "{status}");
    assert!(!status.contains("hunter2") && !status.contains("AGE-SECRET-KEY"), "{status}");

    give(&rig, "one.txt").await;
    rig.until(async || rig.map("a").await.filter(|found| found["data"]["k"] == "three")).await;
    rig.until(async || (!rig.status().await.to_string().contains("SOPS")).then_some(())).await;
}

#[tokio::test]
async fn keys_of_one_application_are_used_for_no_other() {
    const APPLICATIONS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications";
    let rig = Rig::new().await;
    for (name, key) in [("age", "one.txt"), ("stranger", "other.txt")] {
        let secret = json!({"metadata": {"name": name}, "stringData": {"own.agekey": fixture(key)}});
        rig.create(SECRETS, &secret).await;
    }
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("secret.yaml", &fixture("only.yaml"));
    folder.write("kustomization.yaml", "resources: [secret.yaml]\n");
    for namespace in ["ours", "theirs", "nobodys"] {
        rig.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
    }
    // All of the same source, and the one with the right key first.
    let spec = |namespace: &str, decryption: Option<Value>| {
        let mut spec = json!({"source": {"path": folder.0.path()}, "namespace": namespace, "interval": "1h"});
        decryption.into_iter().for_each(|decryption| spec["decryption"] = decryption);
        spec
    };
    let with = |secret: &str| Some(json!({"provider": "sops", "secretRef": {"name": secret}}));
    rig.declare(spec("ours", with("age"))).await;
    let _events = rig.run(Clock::System);
    let deployed = async |namespace: &str| rig.get(&format!("/api/v1/namespaces/{namespace}/secrets/only")).await;
    rig.until(async || deployed("ours").await).await;
    for (name, decryption, told) in [
        ("theirs", with("stranger"), "in Secret selkie-system/stranger there is age1pulkrh6"),
        ("nobodys", None, "Secret only is encrypted with SOPS, and nothing says with which keys"),
    ] {
        let metadata = json!({"name": name, "namespace": "selkie-system"});
        rig.create(APPLICATIONS, &json!({"metadata": metadata, "spec": spec(name, decryption)})).await;
        let status =
            async || rig.get(&format!("{APPLICATIONS}/{name}")).await.filter(|found| found.to_string().contains(told));
        rig.until(status).await;
        assert!(deployed(name).await.is_none(), "{name}");
    }
    // Nor the other way round, whoever looks again.
    folder.write("kustomization.yaml", "resources: [secret.yaml]\nnamePrefix: new-\n");
    let renamed = async |namespace: &str| rig.get(&format!("/api/v1/namespaces/{namespace}/secrets/new-only")).await;
    rig.until(async || renamed("ours").await).await;
    for other in ["theirs", "nobodys"] {
        assert!(renamed(other).await.is_none() && deployed(other).await.is_none());
    }
}

#[tokio::test]
async fn without_keys_nothing_is_applied() {
    let rig = Rig::new().await;
    let (_folder, mut events) = start(&rig).await;
    let gone = next(&mut events, failed).await;
    let told = "Secret selkie-system/age (spec.decryption.secretRef): it does not exist; create it in the namespace \
                selkie-system";
    assert_eq!(gone, [told]);
    rig.create(SECRETS, &json!({"metadata": {"name": "age"}, "stringData": {"shop.agekey": "hunter2"}})).await;
    let odd = next(&mut events, failed).await;
    assert!(odd[0].contains("shop.agekey, line 1: this is no age key") && !odd[0].contains("hunter2"), "{odd:?}");
    rig.patch(SHOP, json!({"spec": {"decryption": null}})).await;
    let none = next(&mut events, failed).await;
    assert!(none[0].contains("secret.yaml:9:1: Secret only is encrypted with SOPS, and nothing says"), "{none:?}");
    assert!(rig.map("a").await.is_none() && rig.get(DEPLOYED).await.is_none());
}

#[tokio::test]
async fn objects_of_encrypted_files_are_told_of_without_values() {
    let rig = Rig::new().await;
    let file = |value: &str| {
        let mut snapshot = Snapshot::of(&[("a.yaml", &map("a", value))]);
        snapshot.decrypted.insert("a.yaml".into());
        render(&snapshot, &*rig.registry, "default")
    };
    let options = Options::default();
    apply_once(&rig.client, &*rig.registry, &file("hunter2"), &options).await.unwrap();
    let planned = once(&rig.client, &*rig.registry, &file("hunter3"), &options, How::DryRun).await.unwrap();
    let fields = &planned.report.objects[0].fields;
    assert_eq!((fields.len(), fields[0].path()), (1, "data.k"));
    let told = format!("{:?}", planned.report);
    assert!(!told.contains("hunter"), "{told}");
    let mut wrong = file("hunter2");
    wrong.objects[0].value["data"]["k"] = json!({"a": "hunter3"});
    let error = once(&rig.client, &*rig.registry, &wrong, &options, How::DryRun).await.unwrap_err();
    let told = error.lines().join("\n");
    assert!(told.starts_with("a.yaml:") && told.contains("it holds values of an encrypted file"), "{told}");
    assert!(!told.contains("hunter"), "{told}");
}
