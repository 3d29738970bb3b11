//! Many applications of one repository.

use super::*;

const APPLICATIONS: usize = 1000;

fn commit_all(repository: &Path, value: &str) {
    for number in 0..APPLICATIONS {
        let directory = repository.join(format!("app-{number}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("map.yaml"), map(&format!("map-{number}"), value)).unwrap();
    }
    git(repository, &["add", "."]);
    git(repository, &["commit", "-qm", value]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_applications_follow_one_repository() {
    let rig = Rig::new().await;
    let repository = tempfile::tempdir().unwrap();
    git(repository.path(), &["init", "-q"]);
    commit_all(repository.path(), "first");
    for number in 0..APPLICATIONS {
        let source = format!("git+{}#main:app-{number}", repository.path().display());
        let spec = json!({"source": ApplicationSource::parse(&source).unwrap(), "interval": "1h"});
        let application = json!({"metadata": {"name": format!("app-{number}")}, "spec": spec});
        rig.create(&format!("/apis/selkie.dev/v1alpha1/namespaces/{NAMESPACE}/applications"), &application).await;
    }
    let mut events = rig.run(Clock::System);
    for _ in 0..APPLICATIONS {
        assert_eq!(next(&mut events, applied).await, (1, 0, 0));
    }
    // Nobody asks from time to time: the repository's refs are watched.
    commit_all(repository.path(), "second");
    for _ in 0..APPLICATIONS {
        assert_eq!(next(&mut events, applied).await, (0, 1, 0));
    }
    for number in [0, APPLICATIONS - 1] {
        assert_eq!(rig.map(&format!("map-{number}")).await.unwrap()["data"]["k"], "second");
    }
}
