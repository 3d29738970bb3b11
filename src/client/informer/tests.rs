//! Informers against a scripted server: canned answers, one after the other.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::base::wait::{self, Pace};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

/// Hands out scripted answers and writes down what was asked. Out of answers, it hangs.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn then(self, status: u16, frames: Vec<&str>) -> Self {
        let frames: Vec<_> = frames.into_iter().map(|text| Ok(Frame::data(Bytes::from(text.to_owned())))).collect();
        self.answer(status, StreamBody::new(stream::iter(frames)).boxed_unsync())
    }

    /// A watch that stays open; lines sent later arrive.
    fn open(self) -> (Self, mpsc::UnboundedSender<String>) {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        let lines =
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|line| (line, receiver)) });
        let body = StreamBody::new(lines.map(|line| Ok(Frame::data(Bytes::from(line))))).boxed_unsync();
        (self.answer(200, body), sender)
    }

    fn answer(self, status: u16, body: http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>) -> Self {
        self.answers.lock().push_back(Response::builder().status(status).body(body).unwrap());
        self
    }

    fn client(&self) -> kube::Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move {
                script.asked.lock().push(request.uri().to_string());
                let answer = script.answers.lock().pop_front();
                match answer {
                    Some(answer) => Ok::<_, Infallible>(answer),
                    None => std::future::pending().await,
                }
            }
        });
        kube::Client::new(service, "default")
    }
}

fn config_map(name: &str, revision: u64) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"ns","uid":"u-{name}","resourceVersion":"{revision}","labels":{{"app":"{name}","team":"x"}},"managedFields":[{{"manager":"x"}}],"ownerReferences":[{{"apiVersion":"v1","kind":"Pod","name":"o","uid":"owner-{name}","controller":true}}]}}}}"#
    )
}

fn list(revision: u64, items: &[String]) -> String {
    format!(
        r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{"resourceVersion":"{revision}"}},"items":[{}]}}"#,
        items.join(",")
    )
}

fn event(what: &str, object: &str) -> String {
    format!("{{\"type\":\"{what}\",\"object\":{object}}}\n")
}

/// What the informer told, as text.
fn record(informer: &Informer<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    informer.subscribe(Box::new(move |change: &Change<ConfigMap>| {
        let meta = &change.object().metadata;
        let what = match change {
            Change::Added(_) => '+',
            Change::Updated { .. } => '~',
            Change::Deleted(_) => '-',
        };
        log.lock().push(format!(
            "{what}{}@{}",
            meta.name.as_deref().unwrap(),
            meta.resource_version.as_deref().unwrap()
        ));
    }));
    told
}

#[tokio::test(start_paused = true)]
async fn lists_then_follows_the_watch() {
    let script = Script::default().then(200, vec![&list(5, &[config_map("a", 3), config_map("b", 4)])]);
    let (script, watch) = script.open();
    let informers = Informers::new(script.client());
    let informer = informers.of::<ConfigMap>();
    informer.synced().await;
    assert_eq!((informer.len(), informer.revision()), (2, 5));
    let told = record(&informer);

    // One event in two frames, then two events in one.
    let line = event("MODIFIED", &config_map("a", 6));
    watch.send(line[..20].into()).unwrap();
    watch.send(line[20..].into()).unwrap();
    watch.send(event("ADDED", &config_map("c", 7)) + &event("DELETED", &config_map("b", 8))).unwrap();
    watch
        .send(event("BOOKMARK", r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"20"}}"#))
        .unwrap();
    informer.reached(20).await;

    assert_eq!(*told.lock(), ["+a@3", "+b@4", "~a@6", "+c@7", "-b@8"]);
    let a = informer.get("ns", "a").unwrap();
    assert_eq!(a.metadata.managed_fields, None);
    assert_eq!(informer.owned_by("owner-a"), [a]);
    assert!(informer.owned_by("owner-b").is_empty());
    assert_eq!(informer.list_namespace("ns").len(), 2);
    assert!(informer.list_namespace("other").is_empty());
    assert_eq!(informer.by_index("name", |map| map.metadata.name.as_deref(), "c").len(), 1);
    let labelled = |wanted: &[(&str, &str)]| {
        let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let found = informer.labelled("ns", &wanted.collect());
        found.iter().filter_map(|map| map.metadata.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(labelled(&[]), ["a", "c"]);
    assert_eq!(labelled(&[("app", "a"), ("team", "x")]), ["a"]);
    assert_eq!(labelled(&[("team", "x")]), ["a", "c"]);
    assert!(labelled(&[("app", "b")]).is_empty() && labelled(&[("app", "a"), ("team", "y")]).is_empty());
    assert!(informers.of::<ConfigMap>().is_synced(), "the same informer");
    let asked = script.asked.lock().clone();
    assert_eq!(asked[0], "/api/v1/configmaps?limit=5000");
    assert!(asked[1].contains("watch=true") && asked[1].contains("resourceVersion=5&"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn resumes_where_the_watch_ended_and_lists_again_when_that_is_gone() {
    let expired =
        r#"{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old","metadata":{}}"#;
    let script = Script::default()
        .then(200, vec![&list(5, &[config_map("a", 3), config_map("b", 4)])])
        .then(200, vec![&event("MODIFIED", &config_map("a", 6))])
        .then(503, vec!["no upstream"])
        .then(200, vec![&event("ERROR", expired)])
        .then(200, vec![&list(30, &[config_map("a", 25), config_map("c", 26)])]);
    let (script, _watch) = script.open();
    let informers = Informers::new(script.client());
    let handle = informers.of::<ConfigMap>();
    let told = record(&handle);
    handle.reached(30).await;
    wait::until("the sixth request", Pace::default(), async || {
        let asked = script.asked.lock().len();
        if asked < 6 { Err(asked) } else { Ok(()) }
    })
    .await;
    assert_eq!(*told.lock(), ["+a@3", "+b@4", "~a@6", "-b@4", "~a@25", "+c@26"]);
    assert_eq!(handle.list().len(), 2);
    let asked = script.asked.lock().clone();
    assert!(asked[2].contains("resourceVersion=6&"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_lists_nothing_where_the_cluster_shows_what_it_has() {
    let there = [config_map("a", 3), config_map("b", 4)];
    let (cluster, watch) = Script::default().then(200, vec![&list(9, &there)]).open();
    let cluster = Informers::new(cluster.client());
    let origin = cluster.of::<ConfigMap>();
    origin.synced().await;
    let asked = async |count, newest, until| {
        let extents = HashMap::from([("configmaps.".to_owned(), Extent { count, newest })]);
        let (script, changes) = Script::default().open();
        let origin = Origin { informers: cluster.clone(), until, extents };
        let copy = Informers::in_copy(script.client(), Ids::seeded(1), CancellationToken::new(), origin);
        let informer = copy.of::<ConfigMap>();
        let told = record(&informer);
        changes.send(event("MODIFIED", &config_map("a", 21))).unwrap();
        changes.send(event("DELETED", &config_map("b", 22))).unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(1), informer.reached(22)).await;
        let asked = script.asked.lock().clone();
        (asked, told.lock().clone())
    };
    let (queries, told) = asked(2, 4, 8).await;
    assert!(queries[0].contains("watch=true") && queries[0].contains("resourceVersion=8&"), "{queries:?}");
    assert_eq!(told, ["+a@3", "+b@4", "~a@21", "-b@22"]);
    assert_eq!(origin.len(), 2, "what happens in the copy is no business of the cluster's");
    let lists = |(queries, _): (Vec<String>, Vec<String>)| queries[0].contains("?limit=");
    assert!(lists(asked(3, 4, 8).await) && lists(asked(1, 4, 8).await), "there were others");
    assert!(lists(asked(2, 10, 12).await), "it does not show the newest yet");
    assert!(lists(asked(2, 3, 3).await), "b came later");
    watch.send(event("MODIFIED", &config_map("b", 10))).unwrap();
    origin.reached(10).await;
    assert!(lists(asked(2, 4, 8).await), "b was written since");
}

#[tokio::test(start_paused = true)]
async fn a_copy_shares_what_the_cluster_has_parsed_in_the_same_state() {
    let there = [config_map("a", 3), config_map("b", 4), config_map("c", 5), config_map("d", 9)];
    let here = [config_map("a", 3), config_map("b", 6), config_map("c", 5).replace("u-c", "u-x"), config_map("d", 9)];
    let (cluster, _watch) = Script::default().then(200, vec![&list(9, &there)]).open();
    let (copy, _other_watch) = Script::default().then(200, vec![&list(9, &here)]).open();
    let (cluster, ids) = (Informers::new(cluster.client()), Ids::seeded(1));
    let origin = cluster.of::<ConfigMap>();
    origin.synced().await;
    // What came after revision 8 came to the copy alone, however it is numbered.
    let origin_of = |informers, until| Origin { informers, until, extents: HashMap::new() };
    let copy = Informers::in_copy(copy.client(), ids, CancellationToken::new(), origin_of(cluster, 8));
    let informer = copy.of::<ConfigMap>();
    informer.synced().await;
    let get = |informer: &Informer<ConfigMap>, name| informer.get("ns", name).unwrap();
    let is_shared = |name| Arc::ptr_eq(&get(&origin, name), &get(&informer, name));
    assert_eq!(["a", "b", "c", "d"].map(is_shared), [true, false, false, false]);
    assert_eq!(get(&informer, "b").metadata.resource_version.as_deref(), Some("6"));
    assert_eq!(get(&informer, "c").metadata.uid.as_deref(), Some("u-x"));
    assert_eq!(get(&informer, "d"), get(&origin, "d"));
}
