//! Notifications against servers of this process, with statuses that the tests write as a sync would.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/support/http_server.rs"]
mod http_server;

use super::*;
use crate::apiserver::{ApiServer, Config, User};
use crate::base::clock::Clock;
use crate::base::ids::Ids;
use crate::base::wait::{self, Pace};
use crate::client::{in_process, raw};
use crate::gitops::observe;
use crate::telemetry::Metrics;
use http::Method;
use http_server::{HttpServer, Received};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const APPLICATIONS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications";

/// An API server with one Application, `shop`.
struct Rig {
    client: kube::Client,
    stop: CancellationToken,
    counted: Metrics,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn quick() -> Timing {
    let retry = Backoff { base: Duration::from_millis(20), max: Duration::from_millis(100) };
    Timing { timeout: Duration::from_secs(5), retry, burst: 100.0, rate: 100.0, ..Timing::default() }
}

impl Rig {
    async fn new(notifications: Value) -> Self {
        let server = ApiServer::new(Config::in_memory(Clock::System, Ids::random()));
        let client = in_process(&server, User::master("test"));
        let rig = Self { client, stop: CancellationToken::new(), counted: Metrics::default() };
        rig.send(Method::POST, "/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}})).await;
        let source = json!({"repoURL": "https://git.example/ann/shop.git"});
        let spec = json!({"source": source, "notifications": notifications});
        rig.send(Method::POST, APPLICATIONS, json!({"metadata": {"name": "shop"}, "spec": spec})).await;
        rig
    }

    async fn send(&self, method: Method, path: &str, body: Value) {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        raw::request(&self.client, method, path, Some((kind, body.to_string().into()))).await.unwrap();
    }

    async fn secret(&self, values: Value) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        self.send(Method::POST, &path, json!({"metadata": {"name": "keys"}, "stringData": values})).await;
    }

    async fn attach(&self, timing: Timing) {
        let context = Context::new(self.client.clone(), Clock::System, Ids::seeded(1), self.stop.clone());
        let metrics = Arc::<SyncMetrics>::default();
        metrics.count_in(&self.counted);
        observe::attach(&context, metrics.clone());
        attach(&context, metrics, timing);
        context.informers.of::<Application>().synced().await;
    }

    async fn edit(&self, spec: Value) {
        self.send(Method::PATCH, &format!("{APPLICATIONS}/shop"), json!({"spec": spec})).await;
    }

    /// The conditions that a sync would write.
    async fn status(&self, synced: (&str, &str), ready: (&str, &str)) {
        let condition = |kind: &str, (reason, message): (&str, &str)| {
            let is = if ["Synced", "Ready"].contains(&reason) { "True" } else { "False" };
            json!({"type": kind, "status": is, "reason": reason, "message": message})
        };
        let conditions = [condition("Synced", synced), condition("Ready", ready)];
        self.patch_status(json!({"revision": COMMIT, "attemptedRevision": COMMIT, "conditions": conditions})).await;
    }

    async fn patch_status(&self, status: Value) {
        self.send(Method::PATCH, &format!("{APPLICATIONS}/shop/status"), json!({"status": status})).await;
    }

    async fn drift(&self, time: &str) {
        self.patch_status(json!({"lastDriftCorrection": {"time": time, "changes": ["ConfigMap default/a"]}})).await;
    }

    async fn application(&self) -> Application {
        let bytes = raw::request(&self.client, Method::GET, &format!("{APPLICATIONS}/shop"), None).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// What the status says of the notification once that is as wanted.
    #[track_caller]
    fn delivery(&self, wanted: impl Fn(&Delivery) -> bool) -> impl Future<Output = Delivery> {
        wait::until("the status says what was delivered", Pace::default(), async move || {
            let deliveries = self.application().await.status.notifications;
            match deliveries.get("it").filter(|delivery| wanted(delivery)) {
                Some(delivery) => Ok(delivery.clone()),
                None => Err(format!("{deliveries:?}")),
            }
        })
    }
}

/// What the server has got once it is so many.
#[track_caller]
fn received(server: &HttpServer, count: usize) -> impl Future<Output = Vec<Received>> {
    wait::until("the server has got all", Pace::default(), async move || {
        let received = server.received();
        if received.len() >= count { Ok(received) } else { Err(format!("{received:?}")) }
    })
}

fn events(received: &[Received]) -> Vec<String> {
    let event =
        |one: &Received| serde_json::from_str::<Value>(&one.body).unwrap()["event"].as_str().unwrap().to_owned();
    received.iter().map(event).collect()
}

fn webhook(server: &HttpServer) -> Value {
    json!([{"name": "it", "type": "webhook", "url": format!("{}/hook", server.url())}])
}

#[tokio::test]
async fn what_fails_is_sent_again_when_the_server_says_so() {
    let server = HttpServer::start();
    let rig = Rig::new(webhook(&server)).await;
    server.answer("503 Service Unavailable");
    server.answer("429 Too Many Requests\r\nRetry-After: 1");
    rig.attach(quick()).await;
    rig.status(("Refused", "a.yaml:1: \"quoted\"\n<b>"), ("Progressing", "")).await;
    let got = received(&server, 3).await;
    let bodies: Vec<Value> = got.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    assert_eq!((bodies[0]["event"].as_str(), bodies[0]["severity"].as_str()), (Some("Refused"), Some("error")));
    assert_eq!(bodies[0]["message"], "a.yaml:1: \"quoted\"\n<b>");
    assert_eq!(got[0].line, "POST /hook");
    assert!(got[0].headers["user-agent"].starts_with("selkie/"));
    assert!(got[2].at - got[1].at >= Duration::from_millis(950), "Retry-After is kept");
    let delivery = rig.delivery(|delivery| delivery.error.is_empty() && !delivery.sync.is_empty()).await;
    assert_eq!(delivery.sync, format!("Refused@{COMMIT}"));
    let text = rig.counted.render();
    assert!(text.contains("notifications_total{name=\"shop\",type=\"webhook\",result=\"retried\"} 2"), "{text}");
    assert!(text.contains("notifications_total{name=\"shop\",type=\"webhook\",result=\"sent\"} 1"), "{text}");
}

#[tokio::test]
async fn what_is_refused_is_told_and_sent_again_only_after_an_edit() {
    let server = HttpServer::start();
    let rig = Rig::new(webhook(&server)).await;
    server.answer("404 Not Found");
    rig.attach(quick()).await;
    rig.status(("Synced", "applied"), ("Progressing", "")).await;
    let delivery = rig.delivery(|delivery| !delivery.error.is_empty()).await;
    assert_eq!((delivery.error.as_str(), delivery.sync.as_str()), ("404 Not Found", ""));
    let events_path = format!("/api/v1/namespaces/{NAMESPACE}/events");
    let warned = wait::until("an Event tells of it", Pace::default(), async || {
        let list = raw::request(&rig.client, Method::GET, &events_path, None).await.unwrap();
        let text = String::from_utf8_lossy(&list).into_owned();
        if text.contains("NotificationFailed") && text.contains("it (webhook): 404") { Ok(()) } else { Err(text) }
    });
    warned.await;
    rig.edit(json!({"notifications": [{"name": "it", "type": "webhook", "url": format!("{}/right", server.url())}]}))
        .await;
    let got = received(&server, 2).await;
    assert_eq!((got[1].line.as_str(), got.len()), ("POST /right", 2));
    rig.delivery(|delivery| delivery.error.is_empty() && !delivery.sync.is_empty()).await;

    rig.edit(json!({"notifications": []})).await;
    let gone = wait::until("the status forgets it", Pace::default(), async || {
        let left = rig.application().await.status.notifications;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    gone.await;
}

#[tokio::test]
async fn a_token_follows_no_redirect_and_is_shown_nowhere() {
    let (server, elsewhere) = (HttpServer::start(), HttpServer::start());
    let hook = json!([{"name": "it", "type": "webhook", "url": server.url(), "secretRef": {"name": "keys"}}]);
    let rig = Rig::new(hook).await;
    server.answer(&format!("307 Temporary Redirect\r\nLocation: {}/hush-token", elsewhere.url()));
    rig.attach(quick()).await;
    rig.status(("Synced", "applied"), ("Progressing", "")).await;
    let waiting = rig.delivery(|delivery| delivery.error.contains("does not exist")).await;
    assert!(waiting.error.contains("selkie-system/keys"), "{}", waiting.error);
    rig.secret(json!({"token": "hush-token", "hmac": "hush-key"})).await;
    let delivery = rig.delivery(|delivery| delivery.error.contains("redirects are not followed")).await;
    assert!(!format!("{delivery:?}").contains("hush"));
    let got = received(&server, 1).await;
    assert_eq!(got[0].headers["authorization"], "Bearer hush-token");
    assert!(got[0].headers["x-signature-256"].starts_with("sha256="));
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn who_missed_something_hears_of_it_after_a_restart_and_of_nothing_twice() {
    let server = HttpServer::start();
    let rig = Rig::new(webhook(&server)).await;
    rig.attach(quick()).await;
    rig.status(("Synced", "applied"), ("Ready", "all objects are ready")).await;
    received(&server, 2).await;
    rig.delivery(|delivery| delivery.health == format!("Healthy@{COMMIT}")).await;
    rig.stop.cancel();
    let again = Rig { client: rig.client.clone(), stop: CancellationToken::new(), counted: Metrics::default() };
    again.status(("Synced", "applied"), ("Failed", "it crashed")).await;
    again.attach(quick()).await;
    received(&server, 3).await;
    again.status(("Synced", "applied"), ("Ready", "all objects are ready")).await;
    let got = received(&server, 4).await;
    assert_eq!(events(&got), ["Synced", "Healthy", "HealthDegraded", "Healthy"]);
}

#[tokio::test]
async fn commits_get_the_newest_state_also_after_a_restart() {
    let server = HttpServer::start();
    let forge = json!([{"name": "it", "type": "gitea", "url": format!("{}/api/v1", server.url()),
        "secretRef": {"name": "keys"}, "targetURL": "https://ci/${revision}"}]);
    let rig = Rig::new(forge).await;
    rig.secret(json!({"token": "hush\n"})).await;
    rig.attach(quick()).await;
    rig.status(("Synced", "applied"), ("Progressing", "waiting for changed objects")).await;
    received(&server, 1).await;
    rig.status(("Synced", "applied"), ("Ready", "all objects are ready")).await;
    let got = received(&server, 2).await;
    let states: Vec<Value> = got.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    assert_eq!(got[0].line, format!("POST /api/v1/repos/ann/shop/statuses/{COMMIT}"));
    assert_eq!(got[0].headers["authorization"], "token hush");
    assert_eq!((states[0]["state"].as_str(), states[1]["state"].as_str()), (Some("pending"), Some("success")));
    assert_eq!(
        states[1],
        json!({"state": "success", "context": "selkie/shop",
        "description": "all objects are ready", "target_url": format!("https://ci/{COMMIT}")})
    );
    rig.delivery(|delivery| delivery.commit == format!("success@{COMMIT}")).await;
    rig.stop.cancel();
    let again = Rig { client: rig.client.clone(), stop: CancellationToken::new(), counted: Metrics::default() };
    again.status(("Synced", "applied"), ("Failed", "it crashed")).await;
    again.attach(quick()).await;
    let got = received(&server, 3).await;
    assert!(got[2].body.contains("\"failure\"") && got[2].body.contains("it crashed"), "{}", got[2].body);
}

#[tokio::test]
async fn a_certificate_counts_only_if_an_authority_signed_it() {
    let server = HttpServer::start_tls();
    let rig = Rig::new(webhook(&server)).await;
    rig.attach(quick()).await;
    rig.status(("Synced", "applied"), ("Progressing", "")).await;
    let delivery = rig.delivery(|delivery| !delivery.error.is_empty()).await;
    assert!(delivery.error.contains("certificate"), "{}", delivery.error);
    assert_eq!(server.received().len(), 0);
    rig.secret(json!({"ca.crt": server.authority})).await;
    rig.edit(json!({"notifications": [{"name": "it", "type": "webhook", "url": server.url(),
        "secretRef": {"name": "keys"}}]}))
        .await;
    received(&server, 1).await;
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_a_target_that_hangs_holds_up_no_other() {
    let server = HttpServer::start();
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", hanging.local_addr().unwrap());
    let rig = Rig::new(json!([
        {"name": "hangs", "type": "webhook", "url": away},
        {"name": "it", "type": "webhook", "url": server.url(), "events": ["DriftCorrected"]},
    ]))
    .await;
    let (burst, rate) = (2.0, 10.0);
    rig.attach(Timing { burst, rate, ..quick() }).await;
    let begun = std::time::Instant::now();
    for n in 0..7 {
        rig.drift(&n.to_string()).await;
    }
    let got = received(&server, 7).await;
    let took = got[6].at - begun;
    assert!(took >= Duration::from_millis(500), "7 messages took {took:?}");
    assert_eq!(events(&got), ["DriftCorrected"; 7]);
}
