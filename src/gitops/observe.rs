//! Tells Events and metrics what happens to Applications, as their statuses show it.

use super::application::Application;
use super::metrics::SyncMetrics;
use super::notices;
use crate::client::{Change, Context};
use kube::Resource;
use std::sync::Arc;

/// What Events name as their source.
const COMPONENT: &str = "application-controller";
/// As events.k8s.io limits notes.
const LONGEST: usize = 1024;

/// From now on, until the context's informers end. To be called once.
pub fn attach(context: &Context, metrics: Arc<SyncMetrics>) {
    let events = context.events.component(COMPONENT, None);
    context.informers.of::<Application>().subscribe(Box::new(move |change| match change {
        Change::Added(application) => metrics.show(application),
        Change::Deleted(application) => metrics.forget(application.name()),
        Change::Updated { old, new } => {
            metrics.show(new);
            for notice in notices::between(old, new) {
                metrics.noticed(new.name(), &notice);
                let kind = if notice.reason.is_warning() { "Warning" } else { "Normal" };
                events.record(new.object_ref(&()), kind, notice.reason.name(), with_revision(&notice));
            }
        }
    }));
}

/// A notice on its own, within the limit.
fn with_revision(notice: &notices::Notice) -> String {
    let short = super::sources::short(&notice.revision);
    let mut text = match notice.message.contains(short) {
        true => notice.message.clone(),
        false => format!("{short}: {}", notice.message),
    };
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST - 3));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use notices::{Notice, Reason};

    #[test]
    fn events_name_the_revision_and_keep_the_limit() {
        let text = |revision: &str, message: &str| {
            with_revision(&Notice { reason: Reason::Healthy, revision: revision.into(), message: message.into() })
        };
        assert_eq!(text("0123456789", "all objects are ready"), "0123456: all objects are ready");
        assert_eq!(text("0123456789", "applied revision 0123456"), "applied revision 0123456");
        assert_eq!(text("", "no such host"), "no such host");
        let long = text("", &"ä".repeat(1000));
        assert!(long.len() <= LONGEST && long.ends_with("ä..."), "{}", long.len());
    }
}
