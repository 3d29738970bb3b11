//! What stays when its manifest is gone: claims, and Namespaces that hold what others made.

use super::*;
use crate::gitops::plan::Action;

const NAMESPACE_SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
const CLAIM_PATH: &str = "/api/v1/namespaces/default/persistentvolumeclaims/c";

fn options() -> Options {
    Options { application: "shop".into(), prune: true, force: true, ..Options::default() }
}

fn deleted(outcome: &Outcome) -> Vec<String> {
    let objects = outcome.report.objects.iter().filter(|object| object.action == Action::Delete);
    objects.map(|object| describe(&object.id)).collect()
}

fn inside(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\n")
}

#[tokio::test]
async fn a_claim_stays_until_its_deletion_is_asked_for() {
    let rig = Rig::new().await;
    let a = map("a", "1");
    let first = rig.apply(&[("a.yaml", &a), ("c.yaml", CLAIM)], &options()).await.unwrap();
    let later = Options { inventory: first.inventory, ..options() };
    let planned = rig.diff(&[("a.yaml", &a)], &later).await.unwrap();
    let expected = "PersistentVolumeClaim default/c left the source and stays: its data would go with it (if that may \
                    go: kubectl annotate --overwrite -n default pvc c selkie.dev/prune=confirmed)";
    assert_eq!(planned.report.warnings, [expected]);
    let second = rig.apply(&[("a.yaml", &a)], &later).await.unwrap();
    assert_eq!((second.report.warnings.as_slice(), deleted(&second)), ([expected.to_owned()].as_slice(), vec![]));
    assert_eq!(second.inventory.len(), 2, "a later sync may delete it");
    assert!(rig.get(CLAIM_PATH).await.is_some());

    let confirmed = Options { delete_kept: true, inventory: second.inventory.clone(), ..options() };
    let planned = rig.diff(&[("a.yaml", &a)], &confirmed).await.unwrap();
    assert_eq!(deleted(&planned), ["PersistentVolumeClaim default/c"]);
    rig.patch(CLAIM_PATH, json!({"metadata": {"annotations": {"selkie.dev/prune": "confirmed"}}})).await;
    let later = Options { inventory: second.inventory, ..options() };
    let third = rig.apply(&[("a.yaml", &a)], &later).await.unwrap();
    assert_eq!(deleted(&third), ["PersistentVolumeClaim default/c"]);
    assert_eq!(third.inventory.len(), 1);
}

#[tokio::test]
async fn a_claim_is_not_what_makes_a_source_suspicious() {
    let rig = Rig::new().await;
    let first = rig.apply(&[("c.yaml", CLAIM)], &options()).await.unwrap();
    let empty = rig.apply(&[], &Options { inventory: first.inventory, ..options() }).await.unwrap();
    assert_eq!((empty.held, empty.inventory.len(), empty.report.warnings.len()), (None, 1, 1));
}

#[tokio::test]
async fn a_namespace_goes_only_when_nothing_of_others_is_in_it() {
    let rig = Rig::new().await;
    let (a, b) = (map("a", "1"), inside("b"));
    let files = [("a.yaml", a.as_str()), ("b.yaml", &b), ("shop.yaml", NAMESPACE_SHOP)];
    let first = rig.apply(&files, &options()).await.unwrap();
    let owner = first.inventory.iter().find(|id| id.name == "b").unwrap().uid.clone();
    let maps = "/api/v1/namespaces/shop/configmaps";
    let owned = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": owner}]);
    rig.create(maps, &json!({"metadata": {"name": "owned", "ownerReferences": owned}})).await;
    rig.create(maps, &json!({"metadata": {"name": "kube-root-ca.crt"}})).await;
    let later = Options { inventory: first.inventory.clone(), ..options() };
    let planned = rig.diff(&files[..1], &later).await.unwrap();
    assert_eq!(deleted(&planned), ["ConfigMap shop/b", "Namespace shop"], "{:?}", planned.report.warnings);

    rig.create(maps, &json!({"metadata": {"name": "foreign"}})).await;
    let second = rig.apply(&files[..1], &later).await.unwrap();
    let expected = "Namespace shop left the source and stays: it holds what does not leave with it: ConfigMap \
                    shop/foreign (if all of that may go: kubectl annotate --overwrite namespace shop \
                    selkie.dev/prune=confirmed)";
    assert_eq!((second.report.warnings.as_slice(), deleted(&second).len()), ([expected.to_owned()].as_slice(), 1));
    assert!(rig.get(&format!("{maps}/foreign")).await.is_some());

    let later = Options { inventory: second.inventory, ..options() };
    rig.patch(&format!("{maps}/foreign"), json!({"metadata": {"annotations": {"selkie.dev/prune": "disabled"}}})).await;
    assert_eq!(rig.apply(&files[..1], &later).await.unwrap().report.warnings.len(), 1);
    raw::request(&rig.client, Method::DELETE, &format!("{maps}/foreign"), None).await.unwrap();
    assert_eq!(deleted(&rig.apply(&files[..1], &later).await.unwrap()), ["Namespace shop"]);
}

#[tokio::test]
async fn a_deleted_application_leaves_claims_and_what_holds_them() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let claim = CLAIM.replace("{name: c}", "{name: c, namespace: shop}");
    let files = [("b.yaml", inside("b")), ("c.yaml", claim), ("shop.yaml", NAMESPACE_SHOP.to_owned())];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (_folder, mut events) = rig.follow(&files).await;
    assert_eq!(next(&mut events, applied).await, (3, 0, 0));
    delete(&rig, "").await;
    let warning = |event: &Event| if let Event::Warning(text) = event { Some(text.clone()) } else { None };
    let said = next(&mut events, warning).await;
    assert!(said.starts_with("PersistentVolumeClaim shop/c outlives its application: its data"), "{said}");
    let said = next(&mut events, warning).await;
    assert!(said.starts_with("Namespace shop outlives its application: it holds"), "{said}");
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    assert!(rig.get("/api/v1/namespaces/shop/configmaps/b").await.is_none());
    let left = rig.get("/api/v1/namespaces/shop/persistentvolumeclaims/c").await.unwrap();
    assert!(left["metadata"]["deletionTimestamp"].is_null());
}
