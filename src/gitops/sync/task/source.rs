//! Reading the Application's source, with what its Secret holds.

use super::Task;
use crate::base::watch::Guard;
use crate::gitops::access;
use crate::gitops::application::{Application, ApplicationSource};
use crate::gitops::inputs::{self, Inputs};
use crate::gitops::sources::{Access, Location, Snapshot, Source, SourceError};
use std::sync::Arc;
use std::time::Duration;

/// How often a fetch looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Opened {
    spec: ApplicationSource,
    access: Access,
    /// Far away: what hangs there is better waited for than asked again.
    remote: bool,
    source: Arc<dyn Source>,
    /// `None` also where notification failed: then the interval has to do.
    _guard: Option<Guard>,
}

impl Task {
    /// The source, and what it is rendered with. `None`: the Application was changed meanwhile, look at it anew.
    pub(super) async fn fetch(&mut self, application: &Application) -> Result<Option<(Snapshot, Inputs)>, SourceError> {
        let Some(snapshot) = self.fetch_source(application).await? else { return Ok(None) };
        let inputs = self.inputs(application).await?.with_bases(&snapshot);
        Ok(Some((snapshot, inputs)))
    }

    /// What the source is rendered with. Whatever changes it wakes the task from now on.
    pub(super) async fn inputs(&self, application: &Application) -> Result<Inputs, SourceError> {
        self.shared.references.follow(&self.name, inputs::references(application));
        inputs::read(&self.shared.context.client, application).await
    }

    async fn fetch_source(&mut self, application: &Application) -> Result<Option<Snapshot>, SourceError> {
        let source = self.open(application).await?;
        if application.request(&self.status.handled_request).is_some() {
            source.expire();
        }
        let fetched = tokio::select! {
            fetched = source.fetch() => fetched,
            () = self.until_edited(application) => return Ok(None),
        };
        if fetched.is_err() && self.source.as_ref().is_some_and(|opened| !opened.remote) {
            // Open and watch it anew: a directory that comes back is another directory.
            self.source = None;
        }
        match &self.shared.settings.pushes {
            Some(pushes) if application.spec.source.push => pushes.told(application, fetched).map(Some),
            _ => fetched.map(Some),
        }
    }

    /// Says why there is nothing to apply. True: that may pass by itself.
    pub(super) async fn no_snapshot(&mut self, error: &SourceError) -> bool {
        match error {
            SourceError::NothingPushed { .. } => self.unpushed(&error.to_string()).await,
            SourceError::Signature { commit, .. } => {
                self.failed("SignatureRefused", commit, vec![error.to_string()]).await;
            }
            _ => self.failed("SourceFailed", "", vec![error.to_string()]).await,
        }
        !matches!(error, SourceError::NothingPushed { .. } | SourceError::Signature { .. })
    }

    /// The source as it was opened last.
    pub(super) fn source(&self) -> Option<Arc<dyn Source>> {
        self.source.as_ref().map(|opened| opened.source.clone())
    }

    pub(super) async fn open(&mut self, application: &Application) -> Result<Arc<dyn Source>, SourceError> {
        let spec = &application.spec.source;
        let access = access::of(&self.shared.context.client, application).await?;
        if let Some(opened) = self.source.as_ref().filter(|opened| opened.spec == *spec && opened.access == access) {
            return Ok(opened.source.clone());
        }
        let location = self.location(application).await?;
        let remote = location.is_remote();
        let source = self.shared.settings.repositories.open(&location, true, access.clone());
        let guard = source.watch(self.bell.look.clone()).unwrap_or_else(|error| {
            tracing::debug!(application = self.name, %error, "no notification, the source is polled");
            None
        });
        self.source = Some(Opened { spec: spec.clone(), access, remote, source: source.clone(), _guard: guard });
        Ok(source)
    }

    /// Where the source is; of what is pushed, the repository, ready for the first push.
    async fn location(&self, application: &Application) -> Result<Location, SourceError> {
        let spec = &application.spec.source;
        if !spec.push {
            return spec.location();
        }
        let none = || SourceError::Access("this daemon takes no pushes".to_owned());
        let pushes = self.shared.settings.pushes.as_ref().ok_or_else(none)?;
        pushes.location(application).await.map(Location::Git)
    }

    /// Returns when the Application is deleted or has another spec.
    async fn until_edited(&self, application: &Application) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.application();
            if now.is_none_or(|now| now.spec != application.spec || now.is_deleted()) {
                return;
            }
        }
    }
}
