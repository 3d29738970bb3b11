//! Objects are created in namespaces that exist and are not being deleted.

use super::Admitted;
use crate::api::error::{ApiError, Cause, Target};
use crate::apiserver::resources::Writer;
use crate::store::{self, Precondition};

const NAMESPACES: Target<'static> = Target { group: "", resource: "namespaces", kind: "Namespace" };

pub fn admit(writer: &Writer<'_>, admitted: &mut Admitted) -> Result<(), ApiError> {
    let at = writer.at;
    if !at.resource.namespaced {
        return Ok(());
    }
    let key = store::key("", "namespaces", "", at.namespace);
    let Some(namespace) = writer.view.get(&key) else { return Err(ApiError::not_found(NAMESPACES, at.namespace)) };
    if namespace.envelope.deletion_timestamp.is_some() {
        let why = format!("unable to create new content in namespace {} because it is being terminated", at.namespace);
        let mut error = ApiError::forbidden(at.target(), at.name, why);
        if let Some(details) = error.details.as_mut() {
            details.causes.push(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {} is being terminated", at.namespace),
                field: "metadata.namespace".into(),
            });
        }
        return Err(error);
    }
    // A namespace that the same transaction creates cannot be required to exist before it.
    if !writer.view.is_pending(&key) {
        admitted.preconditions.push(Precondition::Present { key: key.into() });
    }
    Ok(())
}
