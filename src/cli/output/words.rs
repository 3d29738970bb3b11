//! What whoever pushes is told: as the daemon prints it, without colours, since nobody knows what the
//! terminal at the other end takes.

use super::{events, plan};
use crate::gitops::plan::Report;
use crate::gitops::push::Wording;
use crate::gitops::sync::Event;
use anstream::adapter::strip_str;

pub struct Words;

impl Wording for Words {
    fn plan(&self, report: &Report) -> String {
        strip_str(&plan::text(report)).to_string()
    }

    fn event(&self, application: &str, event: &Event) -> String {
        strip_str(&events::text(application, event)).to_string()
    }
}
