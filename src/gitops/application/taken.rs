//! What `selkie apply --adopt` took from an Application, which lets go of it for good: an annotation on the
//! Application, so that it is known before the first object changes hands, and where no daemon runs.

use super::Application;
use crate::api::changeset::ObjectId;
use crate::gitops::render::same_object;

/// Annotation on an Application: a JSON list of the objects that were taken from it.
pub const TAKEN_OVER: &str = "selkie.dev/taken-over";
/// The most bytes of that annotation. All annotations of an object together may have four times as many.
const LIMIT: usize = 64 * 1024;

impl Application {
    /// The annotation as it is.
    pub fn taken_text(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(TAKEN_OVER).map(String::as_str)
    }

    /// Why nothing can be taken from it for good, if that is so.
    pub fn keeps_what_it_holds(&self) -> Option<String> {
        let name = self.name();
        if self.spec.adopt {
            return Some(format!(
                "application {name:?} has spec.adopt: true, and would take back at once what is taken from it: set that \
                 to false first, or change the application's source"
            ));
        }
        self.is_deleted()
            .then(|| format!("application {name:?} is being deleted, and what it holds with it: wait until it is gone"))
    }

    /// The inventory without what was taken from it.
    pub fn held(&self) -> Vec<ObjectId> {
        let taken = self.taken_over().unwrap_or_default();
        let is_taken = |id: &ObjectId| taken.iter().any(|other| same_object(other, id));
        self.status.inventory.iter().filter(|id| !is_taken(id)).cloned().collect()
    }

    /// What was taken from it. One that adopts takes it back, so that nothing is. An annotation that makes no
    /// sense is an error: whoever ignored it would fight for what is another's.
    pub fn taken_over(&self) -> Result<Vec<ObjectId>, String> {
        match self.taken_text() {
            Some(text) if !self.spec.adopt => parse(text).map_err(|why| {
                format!(
                    "the annotation {TAKEN_OVER} of application {name:?}, by which it knows what it lost, {why}: mend it, \
                     or remove it with `kubectl -n {namespace} annotate application {name} {TAKEN_OVER}-`, which has \
                     the application take all of that back",
                    name = self.name(),
                    namespace = super::NAMESPACE,
                )
            }),
            _ => Ok(Vec::new()),
        }
    }
}

fn parse(text: &str) -> Result<Vec<ObjectId>, String> {
    if text.len() > LIMIT {
        return Err(format!("has {} bytes, more than {LIMIT}", text.len()));
    }
    let ids: Vec<ObjectId> = serde_json::from_str(text).map_err(|error| format!("is no list of objects ({error})"))?;
    let is_named = |id: &ObjectId| [&id.api_version, &id.kind, &id.name].iter().all(|part| !part.is_empty());
    match ids.iter().position(|id| !is_named(id)) {
        Some(at) => Err(format!("says of entry {} no apiVersion, kind or name", at + 1)),
        None => Ok(ids),
    }
}

/// The annotation for these objects; `None`: they are too many.
pub fn write(ids: &[ObjectId]) -> Option<String> {
    let plain: Vec<ObjectId> = ids.iter().map(|id| ObjectId { uid: String::new(), ..id.clone() }).collect();
    serde_json::to_string(&plain).ok().filter(|text| text.len() <= LIMIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn app(text: &str) -> Application {
        let mut app = Application::default();
        app.metadata.name = Some("shop".to_owned());
        app.metadata.annotations = Some([(TAKEN_OVER.to_owned(), text.to_owned())].into());
        app
    }

    fn id(name: &str) -> ObjectId {
        let (api_version, kind, namespace) = ("v1".to_owned(), "ConfigMap".to_owned(), "default".to_owned());
        ObjectId { api_version, kind, namespace, name: name.to_owned(), uid: "u".to_owned() }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = write(&[id("a"), id("b")]).unwrap();
        let read = app(&text).taken_over().unwrap();
        assert_eq!(
            read.iter().map(|id| (id.name.as_str(), id.uid.as_str())).collect::<Vec<_>>(),
            [("a", ""), ("b", "")]
        );
        let mut adopting = app(&text);
        adopting.spec.adopt = true;
        assert_eq!(adopting.taken_over(), Ok(Vec::new()), "it takes them back");
        assert_eq!(Application::default().taken_over(), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_way_out() {
        let too_long = format!("[{}]", " ".repeat(LIMIT));
        for (text, why) in [
            ("no", "is no list of objects"),
            ("{}", "is no list of objects"),
            ("[{\"kind\": \"ConfigMap\"}]", "says of entry 1 no apiVersion"),
            (too_long.as_str(), "has 65538 bytes, more than 65536"),
        ] {
            let said = app(text).taken_over().unwrap_err();
            assert!(said.contains(why) && said.contains("application \"shop\""), "{said}");
            assert!(said.contains("annotate application shop selkie.dev/taken-over-"), "{said}");
        }
        let many: Vec<ObjectId> = (0..2000).map(|number| id(&format!("object-{number}"))).collect();
        assert_eq!(write(&many), None);
    }
}
