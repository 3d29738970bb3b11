//! The engine on one Application, `shop`, against an API server in this process.

use super::*;

pub struct Rig {
    pub client: kube::Client,
    pub registry: Arc<Registry>,
    pub stop: CancellationToken,
    pub metrics: Metrics,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A directory of manifests.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(name)).unwrap();
    }
}

pub struct Listener(pub mpsc::UnboundedSender<Event>);

impl Reporter for Listener {
    fn event(&self, _: &str, event: Event) {
        let _ = self.0.send(event);
    }
}

impl Rig {
    pub async fn new() -> Self {
        let registry = Arc::new(Registry::builtin());
        let config = Config { registry: registry.clone(), ..Config::in_memory(Clock::System, Ids::random()) };
        let server = ApiServer::new(config);
        let rig = Self {
            client: in_process(&server, User::master("test")),
            registry,
            stop: CancellationToken::new(),
            metrics: Metrics::default(),
        };
        for name in ["default", NAMESPACE] {
            rig.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await;
        }
        rig
    }

    pub async fn create(&self, path: &str, body: &Value) {
        let body = Some(("application/json", body.to_string().into()));
        raw::request(&self.client, Method::POST, path, body).await.unwrap();
    }

    pub async fn get(&self, path: &str) -> Option<Value> {
        let bytes = raw::request(&self.client, Method::GET, path, None).await.ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn patch(&self, path: &str, body: Value) {
        let body = Some(("application/merge-patch+json", body.to_string().into()));
        raw::request(&self.client, Method::PATCH, path, body).await.unwrap();
    }

    pub async fn map(&self, name: &str) -> Option<Value> {
        self.get(&format!("/api/v1/namespaces/default/configmaps/{name}")).await
    }

    pub async fn apply(&self, files: &[(&str, &str)], options: &Options) -> Result<Outcome, SyncError> {
        let rendered = render(&Snapshot::of(files), &*self.registry, "default");
        apply_once(&self.client, &*self.registry, &rendered, options).await
    }

    pub async fn diff(&self, files: &[(&str, &str)], options: &Options) -> Result<Outcome, SyncError> {
        let rendered = render(&Snapshot::of(files), &*self.registry, "default");
        once(&self.client, &*self.registry, &rendered, options, How::DryRun).await
    }

    /// Runs the engine on one Application with this source.
    pub async fn start(&self, source: &str) -> mpsc::UnboundedReceiver<Event> {
        let source = ApplicationSource::parse(source).unwrap();
        self.declare(json!({"source": source, "interval": "1h"})).await;
        self.run(Clock::System)
    }

    /// The Application with this spec.
    pub async fn declare(&self, spec: Value) {
        let application = json!({"metadata": {"name": "shop"}, "spec": spec});
        self.create(&format!("/apis/selkie.dev/v1alpha1/namespaces/{NAMESPACE}/applications"), &application).await;
    }

    /// Runs the engine by this clock.
    pub fn run(&self, clock: Clock) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let context = Context::new(self.client.clone(), clock, Ids::seeded(1), self.stop.clone());
        let mut settings = Settings::new(mirrors(), self.registry.clone(), Arc::new(Listener(sender)));
        settings.metrics.count_in(&self.metrics);
        observe::attach(&context, settings.metrics.clone());
        settings.retry = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(1) };
        tokio::spawn(run(context, settings));
        receiver
    }

    /// Runs the engine on a directory with these files.
    pub async fn follow(&self, files: &[(&str, &str)]) -> (Folder, mpsc::UnboundedReceiver<Event>) {
        let folder = Folder(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| folder.write(name, text));
        let events = self.start(folder.0.path().to_str().unwrap()).await;
        (folder, events)
    }

    pub async fn status(&self) -> Value {
        self.get(SHOP).await.unwrap()["status"].clone()
    }

    /// Returns when the Application's task has seen its newest spec.
    pub async fn seen(&self) {
        self.until(async || {
            let app = self.get(SHOP).await?;
            (app["status"]["observedGeneration"] == app["metadata"]["generation"]).then_some(())
        })
        .await;
    }

    /// What `look` finds once there is something.
    #[track_caller]
    pub fn until<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
        wait::until("the application is as expected", Pace::default(), async move || match look().await {
            Some(found) => Ok(found),
            None => Err(self.get(SHOP).await.unwrap_or_default()),
        })
    }
}
