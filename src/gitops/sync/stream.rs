//! Watches of the API server that outlive its answers.

use crate::base::backoff::Backoff;
use crate::client::raw;
use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::time::Duration;

const RETRY: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(30) };

/// Watches for ever; each new connection begins with what is there.
pub(super) async fn keep_watching(client: kube::Client, path: String, mut event: impl FnMut(&Value)) {
    let mut failures = 0;
    loop {
        match stream(&client, &path, &mut event).await {
            // Servers end watches from time to time.
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, path, "a watch failed");
            }
        }
        tokio::time::sleep(RETRY.after(failures).max(RETRY.base)).await;
    }
}

async fn stream(client: &kube::Client, path: &str, event: &mut impl FnMut(&Value)) -> Result<(), kube::Error> {
    let mut body = raw::open(client, Method::GET, path, None).await?.into_body();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            if let Ok(line) = serde_json::from_slice(&line) {
                event(&line);
            }
        }
    }
    Ok(())
}
