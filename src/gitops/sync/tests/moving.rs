//! Objects that move between Applications, and such that two want.

use super::*;

const APPLICATIONS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications";

fn folder(files: &[&str]) -> Folder {
    let folder = Folder(tempfile::tempdir().unwrap());
    files.iter().for_each(|name| folder.write(&format!("{name}.yaml"), &map(name, "1")));
    folder
}

fn application(name: &str, folder: &Folder, adopt: bool) -> Value {
    let spec = json!({"source": {"path": folder.0.path()}, "interval": "1h", "adopt": adopt});
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn status_of(rig: &Rig, name: &str) -> Value {
    rig.get(&format!("{APPLICATIONS}/{name}")).await.unwrap()["status"].clone()
}

/// The names in the inventories of both.
async fn held(rig: &Rig) -> (Vec<String>, Vec<String>) {
    let names = |status: &Value| {
        let ids = status["inventory"].as_array().cloned().unwrap_or_default();
        ids.iter().map(|id| id["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    (names(&rig.status().await), names(&status_of(rig, "other").await))
}

async fn until_held(rig: &Rig, shop: &[&str], other: &[&str]) {
    rig.until(async || {
        let (a, b) = held(rig).await;
        (a == shop && b == other).then_some(())
    })
    .await;
}

async fn uid(rig: &Rig, name: &str) -> Value {
    rig.map(name).await.unwrap()["metadata"]["uid"].clone()
}

async fn label(rig: &Rig, name: &str) -> Value {
    rig.map(name).await.unwrap()["metadata"]["labels"][LABEL].clone()
}

/// Two applications in sync: shop has `a` and `x`, other has `b`.
async fn two() -> (Rig, Folder, Folder) {
    let rig = Rig::new().await;
    let (shop, other) = (folder(&["a", "x"]), folder(&["b"]));
    let _ = rig.start(shop.0.path().to_str().unwrap()).await;
    rig.create(APPLICATIONS, &application("other", &other, false)).await;
    until_held(&rig, &["a", "x"], &["b"]).await;
    (rig, shop, other)
}

#[tokio::test]
async fn a_file_that_moves_to_another_source_moves_its_object() {
    let (rig, shop, other) = two().await;
    let before = uid(&rig, "x").await;
    fs::rename(shop.0.path().join("x.yaml"), other.0.path().join("x.yaml")).unwrap();
    until_held(&rig, &["a"], &["b", "x"]).await;
    assert_eq!((uid(&rig, "x").await, label(&rig, "x").await), (before.clone(), json!("other")));
    // And back.
    fs::rename(other.0.path().join("x.yaml"), shop.0.path().join("x.yaml")).unwrap();
    until_held(&rig, &["a", "x"], &["b"]).await;
    assert_eq!((uid(&rig, "x").await, label(&rig, "x").await), (before, json!("shop")));
}

#[tokio::test]
async fn what_another_wants_first_is_refused_until_it_is_let_go() {
    let (rig, shop, other) = two().await;
    let before = uid(&rig, "x").await;
    other.write("x.yaml", &map("x", "2"));
    let errors = rig.until(async || status_of(&rig, "other").await["errors"][0].as_str().map(str::to_owned)).await;
    let (theirs, ours) = (other.0.path().display(), shop.0.path().display());
    let expected = format!(
        "{theirs}/x.yaml:1:1: ConfigMap default/x belongs to application \"shop\" ({ours}/x.yaml:1) (an object can have one \
                    source only: remove it from one of them, or take it over with spec.adopt: true in application \
                    \"other\")"
    );
    assert_eq!(errors, expected);
    shop.remove("x.yaml");
    until_held(&rig, &["a"], &["b", "x"]).await;
    let x = rig.map("x").await.unwrap();
    assert_eq!((&x["metadata"]["uid"], &x["data"]["k"]), (&before, &json!("2")));
}

#[tokio::test]
async fn an_application_that_is_renamed_keeps_its_objects() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let source = folder(&["a", "x"]);
    let _ = rig.start(source.0.path().to_str().unwrap()).await;
    rig.until(async || (rig.status().await["inventory"].as_array()?.len() == 2).then_some(())).await;
    let before = (uid(&rig, "a").await, uid(&rig, "x").await);
    // It has not been looked at yet when the first one is deleted.
    rig.create(APPLICATIONS, &application("other", &source, false)).await;
    delete(&rig, "").await;
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    rig.until(async || (status_of(&rig, "other").await["inventory"].as_array()?.len() == 2).then_some(())).await;
    assert_eq!((uid(&rig, "a").await, uid(&rig, "x").await), before);
    assert_eq!((label(&rig, "a").await, label(&rig, "x").await), (json!("other"), json!("other")));
}

#[tokio::test]
async fn what_moved_while_no_daemon_ran_moves_when_one_starts() {
    let (rig, shop, other) = two().await;
    let before = uid(&rig, "x").await;
    rig.stop.cancel();
    fs::rename(shop.0.path().join("x.yaml"), other.0.path().join("x.yaml")).unwrap();
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop);
    let (sender, _events) = mpsc::unbounded_channel();
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    until_held(&rig, &["a"], &["b", "x"]).await;
    assert_eq!(uid(&rig, "x").await, before);
}

#[tokio::test]
async fn one_that_adopts_takes_an_object_and_the_other_lets_it() {
    let (rig, shop, other) = two().await;
    let before = uid(&rig, "x").await;
    other.write("x.yaml", &map("x", "2"));
    rig.patch(&format!("{APPLICATIONS}/other"), json!({"spec": {"adopt": true}})).await;
    until_held(&rig, &["a"], &["b", "x"]).await;
    let said = rig
        .until(async || {
            let conditions = rig.status().await["conditions"].as_array().cloned()?;
            conditions.into_iter().find(|one| one["reason"] == "Lost")?["message"].as_str().map(str::to_owned)
        })
        .await;
    let ours = shop.0.path().display();
    let expected = format!(
        "ConfigMap default/x ({ours}/x.yaml:1:1) was taken over by application \"other\", which adopts: remove it \
                    from this source"
    );
    assert_eq!(said, expected);
    let x = rig.map("x").await.unwrap();
    assert_eq!((&x["metadata"]["uid"], &x["data"]["k"]), (&before, &json!("2")));
}

#[tokio::test]
async fn fields_of_others_are_refused_where_the_application_does_not_force() {
    let rig = Rig::new().await;
    rig.create(
        "/api/v1/namespaces/default/configmaps?fieldManager=kubectl-edit",
        &json!({"metadata": {"name": "a"}, "data": {"k": "9"}}),
    )
    .await;
    let gentle = Options { application: "shop".into(), ..Options::default() };
    let error = rig.apply(&[("a.yaml", &map("a", "1"))], &gentle).await.unwrap_err().to_string();
    assert!(
        error.starts_with("a.yaml:6:3: ConfigMap default/a: ") && error.contains("conflict with \"kubectl-edit\""),
        "{error}"
    );
    assert!(error.contains(".data.k"), "{error}");
}
