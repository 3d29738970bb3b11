//! The seam to whoever can look ahead: a plan runs controllers, scheduler and kubelets, which are
//! above the API server, so that it is injected.

use crate::api::changeset::ChangeSetSpec;
use crate::api::error::ApiError;
use crate::api::plan::{Order, PlanStatus};
use async_trait::async_trait;
use serde_json::Value;

#[async_trait]
pub trait Planner: Send + Sync + 'static {
    /// What applying the change set to the store as it is now would lead to. Changes nothing. What is
    /// wrong with single objects is in the status, and nothing else then. `health_checks` as in [`crate::api::plan::Plan`].
    async fn plan(
        &self,
        spec: ChangeSetSpec,
        order: Option<Order>,
        health_checks: Vec<Value>,
    ) -> Result<PlanStatus, ApiError>;
}

/// For servers that cannot look ahead: simulations, tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPlanner;

#[async_trait]
impl Planner for NoPlanner {
    async fn plan(&self, _: ChangeSetSpec, _: Option<Order>, _: Vec<Value>) -> Result<PlanStatus, ApiError> {
        Err(ApiError::new(404, "NotFound", "this server makes no plans"))
    }
}
