//! One notification of one Application: sends what is in its outbox, one after the other.

use super::answer::Verdict;
use super::commit::CommitStatus;
use super::outbox::{Axis, Item, Outbox};
use super::request::{Keys, build};
use super::{Delivery, NAMESPACE, Notification, Shared};
use crate::base::wake::Wake;
use crate::client::raw;
use crate::gitops::application::Application;
use crate::gitops::metrics::Sent;
use crate::gitops::notices::Notice;
use crate::gitops::sync::wait::path;
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Ends its task when it is dropped.
pub struct Target {
    inbox: Arc<Inbox>,
    _task: AbortOnDropHandle<()>,
}

struct Inbox {
    shared: Arc<Shared>,
    application: String,
    notification: Mutex<Arc<Notification>>,
    outbox: Mutex<Outbox>,
    /// There is something to send.
    filled: Wake,
    /// The notification was edited: what failed may get through now.
    edited: Wake,
}

impl Target {
    /// `told`: what has reached it already.
    pub fn start(shared: Arc<Shared>, application: String, notification: Notification, told: Delivery) -> Self {
        let inbox = Arc::new(Inbox {
            shared: shared.clone(),
            application,
            notification: Mutex::new(Arc::new(notification)),
            outbox: Mutex::new(Outbox::new(told.clone())),
            filled: Wake::default(),
            edited: Wake::default(),
        });
        let task = inbox.clone().run(told.error);
        let task = tokio::spawn(async move { shared.context.shutdown.run_until_cancelled(task).await.unwrap_or(()) });
        Self { inbox, _task: AbortOnDropHandle::new(task) }
    }

    /// Takes the notification as it is written now.
    pub fn configure(&self, notification: &Notification) {
        let mut known = self.inbox.notification.lock();
        if **known != *notification {
            *known = Arc::new(notification.clone());
            self.inbox.outbox.lock().forget_failures();
            self.inbox.edited.ring();
        }
    }

    pub fn offer(&self, axis: Axis, notice: &Notice, wanted: bool) {
        let time = self.inbox.now();
        let lost = self.inbox.outbox.lock().offer(axis, notice, wanted, &time);
        self.inbox.offered(lost);
    }

    pub fn offer_commit(&self, status: CommitStatus) {
        let time = self.inbox.now();
        let lost = self.inbox.outbox.lock().offer_commit(status, &time);
        self.inbox.offered(lost);
    }
}

impl Inbox {
    fn now(&self) -> String {
        self.shared.context.clock.now_seconds().to_string()
    }

    fn offered(&self, lost: usize) {
        (0..lost).for_each(|_| self.count(Sent::Dropped));
        self.filled.ring();
    }

    fn count(&self, what: Sent) {
        self.shared.metrics.sent(&self.application, &self.notification.lock().kind, what);
    }

    /// For ever. `error`: what the status says went wrong.
    async fn run(self: Arc<Self>, mut error: String) {
        let (mut failures, mut first) = (0, None);
        loop {
            let Some(item) = self.outbox.lock().next().cloned() else {
                self.filled.wait().await;
                continue;
            };
            let since = match first {
                Some((number, since)) if number == item.number => since,
                _ => Instant::now(),
            };
            first = Some((item.number, since));
            let verdict = self.deliver(&item).await;
            let over = since.elapsed() >= self.shared.timing.give_up;
            let wait = match &verdict {
                Verdict::Later { after, .. } if !over => {
                    failures += 1;
                    self.count(Sent::Retried);
                    Some(self.pause(failures).max(*after))
                }
                _ => {
                    failures = 0;
                    let delivered = verdict == Verdict::Delivered;
                    self.outbox.lock().settle(&item, delivered);
                    self.count(if delivered { Sent::Sent } else { Sent::Failed });
                    None
                }
            };
            self.record(verdict, wait.is_none(), &mut error).await;
            if let Some(wait) = wait {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.edited.wait() => {}
                }
            }
        }
    }

    /// Grows with each failure, and differs by half, so that not all come back at once.
    fn pause(&self, failures: u32) -> Duration {
        let full = self.shared.timing.retry.after(failures);
        let percent = self.shared.context.ids.below(51) as u32;
        full * (75 + percent) / 100
    }

    async fn deliver(&self, item: &Item) -> Verdict {
        let shared = &self.shared;
        let notification = self.notification.lock().clone();
        let Some(application) = shared.applications.get(NAMESPACE, &self.application) else {
            return Verdict::Refused { why: "the application is gone".to_owned() };
        };
        let keys = match self.keys(&notification).await {
            Ok(keys) => keys,
            Err(why) => return Verdict::Later { why, after: Duration::ZERO },
        };
        let outgoing = match build(&notification, &application, &keys, item) {
            Ok(outgoing) => outgoing,
            Err(why) => return Verdict::Refused { why: keys.redact(&why) },
        };
        tokio::time::sleep(shared.limits.turn(outgoing.destination(notification.is_forge()))).await;
        match shared.sender.send(outgoing, shared.context.clock.now()).await {
            Verdict::Delivered => Verdict::Delivered,
            Verdict::Later { why, after } => Verdict::Later { why: keys.redact(&why), after },
            Verdict::Refused { why } => Verdict::Refused { why: keys.redact(&why) },
        }
    }

    /// What the Secret holds now.
    async fn keys(&self, notification: &Notification) -> Result<Keys, String> {
        let Some(reference) = &notification.secret_ref else { return Ok(Keys::default()) };
        let name = &reference.name;
        let fail = |what: String| format!("Secret {NAMESPACE}/{name}: {what}");
        let path = path("v1", "secrets", NAMESPACE, name);
        let bytes = raw::request(&self.shared.context.client, Method::GET, &path, None).await;
        let bytes = bytes.map_err(|error| match raw::is_not_found(&error) {
            true => fail(format!("it does not exist; create it in the namespace {NAMESPACE}")),
            false => fail(error.to_string()),
        })?;
        // The parser's words could hold a value.
        let secret: Secret = serde_json::from_slice(&bytes).map_err(|_| fail("it cannot be read".to_owned()))?;
        Keys::read(&secret).map_err(fail)
    }

    /// Says in the status, and as an Event, how it went.
    async fn record(&self, verdict: Verdict, settled: bool, error: &mut String) {
        let why = match verdict {
            Verdict::Delivered => String::new(),
            Verdict::Later { why, .. } | Verdict::Refused { why } => why,
        };
        let news = why != *error;
        if news && !why.is_empty() {
            self.tell_failure(&why);
        }
        if !news && !why.is_empty() && !settled {
            return;
        }
        *error = why.clone();
        let mut delivery = self.outbox.lock().delivered().clone();
        delivery.last_sent_time = if why.is_empty() { self.now() } else { delivery.last_sent_time };
        delivery.error = why;
        self.outbox.lock().keep(&delivery);
        let name = self.notification.lock().name.clone();
        write(&self.shared, &self.application, &[(name, Some(delivery))].into()).await;
    }

    fn tell_failure(&self, why: &str) {
        let notification = self.notification.lock().clone();
        let message = format!("{} ({}): {why}", notification.name, notification.kind);
        tracing::warn!(application = self.application, "notification {message}");
        if let Some(application) = self.shared.applications.get(NAMESPACE, &self.application) {
            self.shared.events.warning::<Application>(&application, "NotificationFailed", message);
        }
    }
}

/// Writes what has reached whom, or that nothing is to be said of it any more.
pub async fn write(shared: &Shared, application: &str, deliveries: &BTreeMap<String, Option<Delivery>>) {
    let path = path("selkie.dev/v1alpha1", "applications", NAMESPACE, application) + "/status";
    let body = json!({"status": {"notifications": deliveries}}).to_string();
    let body = Some(("application/merge-patch+json", body.into()));
    match raw::request(&shared.context.client, Method::PATCH, &path, body).await {
        Err(error) if !raw::is_not_found(&error) => {
            tracing::warn!(application, %error, "cannot write which notifications were sent");
        }
        _ => {}
    }
}
