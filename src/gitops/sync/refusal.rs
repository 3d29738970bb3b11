//! What the API server refused, told with the line that says it.

use super::Options;
use super::conflicts::CONFLICT;
use crate::api::changeset::{Author, ChangeAction, ChangeError, ChangeResult};
use crate::api::error::Cause;
use crate::gitops::render::{Manifest, Origin, RenderError, Rendered, describe};

const NAMESPACE_HINT: &str = "add a Namespace manifest to the source, or create it";

/// Whether the error is that an object's namespace does not exist.
pub(super) fn is_missing_namespace(error: &RenderError) -> bool {
    error.hint == NAMESPACE_HINT
}

/// An error for each thing wrong with each refused object.
pub(super) fn errors(results: &[ChangeResult], rendered: &Rendered, options: &Options) -> Vec<RenderError> {
    let mut errors = Vec::new();
    for result in results.iter().filter(|result| result.action == ChangeAction::Failed) {
        let fallback = ChangeError { message: "refused".to_owned(), ..ChangeError::default() };
        let error = result.error.as_ref().unwrap_or(&fallback);
        match rendered.find(&result.id) {
            Some(manifest) => {
                let both = Both { theirs: result.author.as_ref(), ours: options };
                errors.extend(of_manifest(manifest, error, &both));
            }
            None => {
                let what = format!("cannot delete {}: {}", describe(&result.id), error.message);
                errors.push(RenderError::new(Origin::default(), what));
            }
        }
    }
    errors.sort();
    errors
}

/// Who has set a field, and who sets it now.
struct Both<'a> {
    theirs: Option<&'a Author>,
    ours: &'a Options,
}

impl Both<'_> {
    /// The conflict in the server's words, with both owners.
    fn said(&self, cause: &Cause) -> String {
        let theirs = self.theirs.map(who).unwrap_or_default();
        let application = &self.ours.application;
        let ours = match (application.is_empty(), self.ours.source.as_str()) {
            (true, _) => "this apply sets it, too".to_owned(),
            (false, "") => format!("application {application:?} sets it, too, and never did before"),
            (false, source) => format!("application {application:?} from {source} sets it, too, and never did before"),
        };
        format!("{}{theirs}; {ours}", cause.message)
    }

    fn hint(&self) -> String {
        let application = &self.ours.application;
        if application.is_empty() {
            return "leave it out, or take it over: with --adopt as this one's, with --force-conflicts the fields only"
                .to_owned();
        }
        format!(
            "leave it out of the source, or take it over with spec.force: true in application {application:?}, the whole \
             object with spec.adopt: true"
        )
    }
}

/// ` (admin, 2026-01-02T03:04:05Z)`, as far as it is known.
fn who(author: &Author) -> String {
    let known: Vec<&str> =
        [author.user.as_str(), author.time.as_str()].into_iter().filter(|one| !one.is_empty()).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn of_manifest(manifest: &Manifest, error: &ChangeError, both: &Both<'_>) -> Vec<RenderError> {
    let at = |path: &str, text: &str| {
        let what = format!("{}: {text}", manifest.describe());
        RenderError::new(manifest.origin_of(path), what)
    };
    if let Some(namespace) = missing_namespace(&error.message) {
        let what = format!("namespace {namespace:?} does not exist");
        return vec![at("metadata.namespace", &what).hint(NAMESPACE_HINT)];
    }
    let unknown = unknown_fields(&error.message);
    if !unknown.is_empty() {
        return unknown.iter().map(|path| at(path, &format!("unknown field {path:?}"))).collect();
    }
    if manifest.confidential {
        return without_values(manifest, error, both);
    }
    let located: Vec<_> = error.causes.iter().filter(|cause| !cause.field.is_empty()).collect();
    if located.is_empty() {
        let path = field_in(&error.message).or_else(|| go_field(&error.message));
        return vec![at(path.unwrap_or_default(), &error.message)];
    }
    let of_cause = |cause: &&Cause| {
        if cause.reason == CONFLICT {
            return at(&cause.field, &format!("{}: {}", cause.field, both.said(cause))).hint(both.hint());
        }
        let found = at(&cause.field, &format!("{}: {}", cause.field, cause.message));
        let immutable = cause.message.contains("immutable");
        if immutable { found.hint("--replace deletes the object and makes it again") } else { found }
    };
    located.iter().map(of_cause).collect()
}

/// What is wrong with an object whose values are not to be shown: the server's words could hold one.
fn without_values(manifest: &Manifest, error: &ChangeError, both: &Both<'_>) -> Vec<RenderError> {
    const HINT: &str = "it holds values of an encrypted file or of a Secret, which the API's own words could repeat";
    let at = |path: &str, text: &str| {
        RenderError::new(manifest.origin_of(path), format!("{}: {text}", manifest.describe())).hint(HINT)
    };
    let causes: Vec<_> = error.causes.iter().filter(|cause| !cause.field.is_empty()).collect();
    if causes.is_empty() {
        let path = field_in(&error.message).or_else(|| go_field(&error.message)).unwrap_or_default();
        let field = if path.is_empty() { String::new() } else { format!(", for {path}") };
        return vec![at(path, &format!("the API refuses it{field}"))];
    }
    let said = |cause: &Cause| if cause.reason == CONFLICT { both.said(cause) } else { cause.reason.clone() };
    causes.iter().map(|cause| at(&cause.field, &format!("{}: {}", cause.field, said(cause)))).collect()
}

/// `shop` of `namespaces "shop" not found`.
fn missing_namespace(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("namespaces \"")?;
    let (name, rest) = rest.split_once('"')?;
    rest.starts_with(" not found").then_some(name)
}

/// The paths of `unknown field "a.b"`, and of `.a.b: field not declared in schema`.
fn unknown_fields(message: &str) -> Vec<&str> {
    let mut paths: Vec<&str> =
        message.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if let Some((head, _)) = message.split_once(": field not declared in schema") {
        let path = head.rsplit(' ').next().unwrap_or(head);
        paths.push(path.trim_start_matches('.'));
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// A field path that a message starts with or names: `spec.replicas: Invalid value`, `.spec.replicas: expected numeric`.
fn field_in(message: &str) -> Option<&str> {
    message.split([' ', '(', ')']).filter_map(|word| word.strip_suffix(':')).find_map(|word| {
        let path = word.trim_start_matches('.');
        let top = path.split(['.', '[']).next().unwrap_or_default();
        matches!(top, "spec" | "metadata" | "data" | "stringData" | "type" | "rules" | "subsets").then_some(path)
    })
}

/// The path in `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
fn go_field(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("Go struct field ")?;
    // In front of the path stands the type that holds the field.
    rest.split(' ').next()?.split_once('.').map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::kinds::FixedKinds;
    use crate::gitops::render::render;
    use crate::gitops::sources::Snapshot;

    const TEXT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  \
                        replicas: x\n  template:\n    spec:\n      containers:\n      - name: a\n        image: \"\"\n        foo: 1\n";

    fn show(message: &str, causes: &[(&str, &str)]) -> Vec<String> {
        let kinds = FixedKinds::new(&[("apps/v1", "Deployment", true)]);
        let rendered = render(&Snapshot::of(&[("web.yaml", TEXT)]), &kinds, "default");
        let causes = causes.iter().map(|(field, message)| Cause {
            reason: String::new(),
            field: (*field).into(),
            message: (*message).into(),
        });
        let error = ChangeError { message: message.into(), causes: causes.collect(), ..ChangeError::default() };
        let id = rendered.objects[0].id.clone();
        let result = ChangeResult { id, action: ChangeAction::Failed, error: Some(error), ..ChangeResult::default() };
        errors(&[result], &rendered, &Options::default()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn refusals_name_the_line() {
        assert_eq!(
            show("namespaces \"shop\" not found", &[]),
            [
                "web.yaml:5:3: Deployment shop/web: namespace \"shop\" does not exist (add a Namespace manifest to the source, or create it)"
            ]
        );
        assert_eq!(
            show("Deployment.apps \"web\" is invalid", &[("spec.template.spec.containers[0].image", "Required value")]),
            ["web.yaml:12:9: Deployment shop/web: spec.template.spec.containers[0].image: Required value"]
        );
        assert_eq!(
            show("strict decoding error: unknown field \"spec.template.spec.containers[0].foo\"", &[]),
            ["web.yaml:13:9: Deployment shop/web: unknown field \"spec.template.spec.containers[0].foo\""]
        );
        assert_eq!(
            show("failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string", &[])[0]
                .split(": ")
                .next()
                .unwrap(),
            "web.yaml:7:3"
        );
        assert_eq!(show("no", &[]), ["web.yaml:1:1: Deployment shop/web: no"]);
    }

    #[test]
    fn a_wrong_type_names_its_line() {
        let message = "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        assert!(show(message, &[])[0].starts_with("web.yaml:7:3: "), "{:?}", show(message, &[]));
    }
}
