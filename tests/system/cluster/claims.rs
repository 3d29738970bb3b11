//! PersistentVolumeClaims: a StatefulSet's data outlives its pods, and goes with its claim.

use crate::daemon::Daemon;
use crate::setting::{Folder, Setting};

const DB: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: localhost/selkie-demo:1
        securityContext: {runAsUser: 1000}
        command: [sh, -c]
        args: ['echo $HOSTNAME >> /data/starts; trap \"exit 0\" TERM; while true; do sleep 5 & wait $!; done']
        volumeMounts: [{name: data, mountPath: /data}]
      - name: part
        image: localhost/selkie-demo:1
        command: [sh, -c]
        args: ['echo here > /part/file; trap \"exit 0\" TERM; while true; do sleep 5 & wait $!; done']
        volumeMounts: [{name: data, mountPath: /part, subPath: below/part}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

fn apply(daemon: &Daemon, manifest: &str) {
    let path = daemon.data.join("manifest.yaml");
    std::fs::write(&path, manifest).expect("a manifest");
    daemon.kubectl(&["apply", "-f", path.to_str().expect("a path")]);
}

#[test]
fn data_outlives_the_pod_and_goes_with_the_claim() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    apply(daemon, DB);
    daemon.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    assert_eq!(daemon.value(&["pvc", "data-db-0"], "{.status.phase} {.spec.storageClassName}"), "Bound podman");
    let read = |file: &str| daemon.try_kubectl(&["exec", "db-0", "-c", "db", "--", "cat", file]).stdout;
    daemon.wait_for("it has written", || read("/data/starts") == b"db-0\n");
    let first = daemon.value(&["pod", "db-0"], "{.metadata.uid}");
    daemon.kubectl(&["delete", "pod", "db-0"]);
    daemon.wait_for("its successor runs", || {
        let path = "{.metadata.uid} {.status.conditions[?(@.type=='Ready')].status}";
        let seen = daemon.value(&["pod", "db-0"], path);
        seen.ends_with(" True") && !seen.starts_with(&first)
    });
    daemon.wait_for("it finds what the first one wrote", || read("/data/starts") == b"db-0\ndb-0\n");
    daemon.wait_for("the other container writes below it", || read("/data/below/part/file") == b"here\n");

    let volumes = || setting.folder.volumes();
    assert_eq!(volumes().len(), 1, "{:?}", volumes());
    daemon.kubectl(&["delete", "pvc", "data-db-0", "--wait=false"]);
    assert_eq!(daemon.value(&["pvc", "data-db-0"], "{.status.phase}"), "Bound", "a pod uses it");
    daemon.kubectl(&["delete", "statefulset", "db"]);
    daemon.wait_for("the claim is gone", || daemon.value(&["pvc"], "{.items[*].metadata.name}").is_empty());
    daemon.wait_for("the volume is gone, too", || daemon.value(&["pv"], "{.items[*].metadata.name}").is_empty());
    daemon.wait_for("nothing is left on the host", || volumes().is_empty());
}

/// A class that says where has directories for volumes; one that keeps them keeps the files.
#[test]
fn volumes_may_be_directories() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let place = setting.folder.path().join("volumes");
    let class = |name: &str, policy: &str| {
        format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {name}}}\nprovisioner: podman.selkie.dev\n\
             reclaimPolicy: {policy}\nvolumeBindingMode: WaitForFirstConsumer\nparameters: {{path: {}}}\n---\n",
            place.display()
        )
    };
    let of_class = |class: &str| {
        let storage = format!("spec: {{storageClassName: {class}, accessModes:");
        DB.replace("spec: {accessModes:", &storage)
            .replace("name: db", &format!("name: {class}"))
            .replace("app: db", &format!("app: {class}"))
    };
    let (disk, kept) = (of_class("disk"), of_class("kept"));
    apply(daemon, &format!("{}{}{disk}---\n{kept}", class("disk", "Delete"), class("kept", "Retain")));
    let mut folders = Vec::new();
    for name in ["disk", "kept"] {
        daemon.kubectl(&["rollout", "status", &format!("statefulset/{name}"), "--timeout=60s"]);
        let volume = daemon.value(&["pvc", &format!("data-{name}-0")], "{.spec.volumeName}");
        let folder = place.join(volume);
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        daemon.wait_for("it has written", || read("starts") == format!("{name}-0\n"));
        daemon.wait_for("the other container writes below it", || read("below/part/file") == "here\n");
        folders.push(folder);
    }
    assert!(setting.folder.volumes().is_empty(), "{:?}", setting.folder.volumes());
    // Its disk is gone, as it were: nothing begins anew elsewhere.
    let away = setting.folder.path().join("away");
    std::fs::rename(&place, &away).expect("the disk goes");
    daemon.kubectl(&["delete", "pod", "kept-0"]);
    daemon.wait_for("the pod says what is missing", || {
        let events = daemon.value(&["events", "--field-selector", "involvedObject.name=kept-0"], "{.items[*].message}");
        events.contains("is missing: is its disk mounted?")
    });
    assert!(!place.exists());
    std::fs::rename(&away, &place).expect("the disk comes back");
    daemon.kubectl(&["rollout", "status", "statefulset/kept", "--timeout=60s"]);
    daemon.kubectl(&["delete", "statefulset", "disk", "kept"]);
    daemon.kubectl(&["delete", "pvc", "data-disk-0", "data-kept-0"]);
    daemon.wait_for("the directory goes with its claim", || !folders[0].exists());
    daemon.wait_for("the kept volume is released", || daemon.value(&["pv"], "{.items[*].status.phase}") == "Released");
    assert!(folders[1].join("starts").exists(), "it was to be kept");
}

/// A volume that somebody made by hand, with a directory of the host behind it.
const OWN: &str = "apiVersion: v1
kind: PersistentVolume
metadata: {name: own}
spec:
  storageClassName: manual
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: PLACE, type: DirectoryOrCreate}
";
const USER: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: CLAIM}
spec: {storageClassName: manual, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: CLAIM}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: localhost/selkie-demo:1
    command: [sh, -c, 'echo CLAIM >>/data/file']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: CLAIM}}]
";

#[test]
fn what_is_retained_is_for_another_claim_when_somebody_says_so() {
    let setting = Setting::start(Folder::new(), &[]);
    let daemon = &setting.daemon;
    let place = setting.folder.path().join("own");
    std::fs::create_dir(&place).expect("a directory");
    apply(daemon, &OWN.replace("PLACE", &place.display().to_string()));
    let file = || std::fs::read_to_string(place.join("file")).unwrap_or_default();
    let phase = || daemon.value(&["pv", "own"], "{.status.phase}");
    let end = |claim: &str| {
        daemon.wait_for("the pod is done", || daemon.value(&["pod", claim], "{.status.phase}") == "Succeeded");
        daemon.kubectl(&["delete", &format!("pod/{claim}"), &format!("pvc/{claim}")]);
    };
    apply(daemon, &USER.replace("CLAIM", "first"));
    end("first");
    daemon.wait_for("the volume is released", || phase() == "Released");
    assert_eq!(file(), "first\n");
    apply(daemon, &USER.replace("CLAIM", "second"));
    let events = || daemon.value(&["events", "--field-selector", "involvedObject.name=second"], "{.items[*].message}");
    daemon.wait_for("it is nobody's to take", || events().contains("unbound immediate PersistentVolumeClaims"));
    assert_eq!((phase().as_str(), file().as_str()), ("Released", "first\n"));

    daemon.kubectl(&["patch", "pv", "own", "--type=merge", "-p", "{\"spec\": {\"claimRef\": null}}"]);
    end("second");
    assert_eq!(file(), "first\nsecond\n");
    daemon.wait_for("the volume is released again", || phase() == "Released");
    daemon.kubectl(&["delete", "pv", "own"]);
    daemon.wait_for("the object is gone", || phase().is_empty());
    assert_eq!(file(), "first\nsecond\n", "and nothing else");
}

#[test]
fn a_pod_goes_back_to_the_host_that_has_its_volume() {
    let daemon = Daemon::start(&["--hollow-hosts", "5"]);
    apply(&daemon, DB);
    daemon.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    let place = || daemon.value(&["pod", "db-0"], "{.spec.nodeName} {.metadata.uid}");
    let (host, uid) = place().split_once(' ').map(|(host, uid)| (host.to_owned(), uid.to_owned())).expect("a host");
    daemon.kubectl(&["cordon", &host]);
    daemon.kubectl(&["delete", "pod", "db-0"]);
    let refusal = || {
        let path = "{.status.conditions[?(@.type=='PodScheduled')].message}";
        daemon.value(&["pod", "db-0"], path)
    };
    daemon.wait_for("no other host will do", || refusal().contains("4 node(s) had volume node affinity conflict"));
    assert!(refusal().contains("1 node(s) were unschedulable"), "{}", refusal());
    daemon.kubectl(&["uncordon", &host]);
    daemon.wait_for("it is back", || {
        place().split_once(' ').is_some_and(|(now, successor)| now == host && successor != uid)
    });
}
