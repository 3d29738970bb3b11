//! What others change, as people see it: at once, with who did it.

use crate::daemon::Daemon;
use std::time::{Duration, Instant};

/// From the write to the diff: what is promised of an optimized build. Others are several times slower.
const MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

#[test]
fn drift_is_shown_and_set_right_within_a_second() {
    let (source, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: wanted}\n";
    std::fs::write(source.path().join("a.yaml"), manifest).expect("a manifest");
    let daemon = Daemon::start(&["--no-hosts"]);
    // Looked at so seldom that only a watch can tell.
    let application = format!(
        "apiVersion: selkie.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: selkie-system}}\n\
         spec: {{interval: 1h, source: {{path: {}}}}}\n",
        source.path().display()
    );
    let file = outside.path().join("shop.yaml");
    std::fs::write(&file, application).expect("a manifest");
    daemon.kubectl(&["apply", "-f", &file.display().to_string()]);
    let value = || daemon.value(&["configmap", "a"], "{.data.k}");
    daemon.wait_for("it is applied", || value() == "wanted");
    daemon.wait_for("and done", || daemon.log().contains("done:"));

    let quickest = (0..3).map(|n| {
        let other = format!("other-{n}");
        daemon.kubectl(&[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            &format!("{{\"data\":{{\"k\":\"{other}\"}}}}"),
        ]);
        let written = Instant::now();
        daemon.wait_for("the drift is shown", || daemon.log().contains(&other));
        let shown = written.elapsed();
        daemon.wait_for("and set right", || value() == "wanted");
        shown
    });
    let quickest = quickest.min().expect("a time");
    assert!(quickest <= MOST, "kubectl's write -> the daemon's diff took {quickest:?}");

    let log = daemon.log();
    let (_, told) = log.split_once("drift").expect("a title");
    for part in [
        "set right:",
        "~ ConfigMap default/a",
        "data.k",
        "\"other-0\" -> \"wanted\"",
        "changed by",
        "kubectl-patch",
        " at 20",
    ] {
        assert!(told.contains(part), "no {part:?} in\n{told}");
    }
    let kept = daemon.value(&["application", "shop", "-n", "selkie-system"], "{.status.lastDriftCorrection.changes}");
    assert!(kept.contains("kubectl-patch"), "{kept}");

    // A file that changes is heard of, too.
    std::fs::write(source.path().join("a.yaml"), manifest.replace("wanted", "new")).expect("a manifest");
    daemon.wait_for("the new manifest is applied", || value() == "new");
}
