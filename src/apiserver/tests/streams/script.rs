//! A kubelet that does what it is told by the container's name and the command.

use crate::api::error::ApiError;
use crate::apiserver::{ExecOptions, ExecSession, LogOptions, PodStreams};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use std::io;

pub struct Script;

#[async_trait]
impl PodStreams for Script {
    /// Container `b` is not there yet; under `follow` the log never ends; `previous` breaks off. The
    /// first line tells the options.
    async fn logs(
        &self,
        node: &str,
        _pod: &Value,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ApiError> {
        if options.container == "b" {
            return Err(ApiError::bad_request("container \"b\" in pod \"web\" is waiting to start: ContainerCreating"));
        }
        let (tail, limit, since) = (options.tail_lines, options.limit_bytes, options.since);
        let times = options.timestamps;
        let told = format!("{node} {} tail={tail:?} limit={limit:?} since={since:?} {times}\n", options.container);
        let mut lines = vec![Ok(told.into()), Ok("two\n".into())];
        if options.previous {
            lines.push(Err(io::Error::other("no such file")));
        }
        let lines = futures::stream::iter(lines);
        Ok(if options.follow { lines.chain(futures::stream::pending()).boxed() } else { lines.boxed() })
    }

    async fn exec(&self, _node: &str, _pod: &Value, _options: ExecOptions) -> Result<ExecSession, ApiError> {
        Err(ApiError::internal("container not found"))
    }

    async fn attach(&self, node: &str, pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError> {
        self.exec(node, pod, options).await
    }
}
