//! The kustomization file: its fields, and the places they are at.

use super::field_names;
use super::fieldspec::FieldSpec;
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::render::spans::{Children, Position, Spans};
use crate::gitops::render::yaml::{self, kind_of};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names a kustomization file may have.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// All fields.
const FIELDS: &str = "apiVersion kind metadata resources components crds configurations generators transformers validators \
    configMapGenerator secretGenerator generatorOptions patches namespace namePrefix nameSuffix labels \
    commonLabels commonAnnotations replicas images replacements vars sortOptions buildMetadata openapi bases imageTags \
    patchesJson6902 patchesStrategicMerge helmCharts helmChartInflationGenerator helmGlobals";

/// Fields that may be there as long as they are empty.
const HELM_FIELDS: [&str; 3] = ["helmCharts", "helmChartInflationGenerator", "helmGlobals"];

pub type Texts = BTreeMap<String, String>;

/// Something of a file, with its place.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub value: T,
    pub at: Origin,
}

#[derive(Debug, Clone, Default)]
pub struct Kustomization {
    pub file: Arc<str>,
    pub component: bool,
    pub resources: Vec<At<String>>,
    pub components: Vec<At<String>>,
    pub crds: Vec<At<String>>,
    pub configurations: Vec<At<String>>,
    pub generators: Vec<At<String>>,
    pub transformers: Vec<At<String>>,
    pub validators: Vec<At<String>>,
    pub config_map_generator: Vec<At<GeneratorArgs>>,
    pub secret_generator: Vec<At<GeneratorArgs>>,
    pub generator_options: Option<GeneratorOptions>,
    pub patches_strategic_merge: Vec<At<String>>,
    pub patches_json6902: Vec<At<Patch>>,
    pub patches: Vec<At<Patch>>,
    pub namespace: Option<At<String>>,
    pub name_prefix: Option<At<String>>,
    pub name_suffix: Option<At<String>>,
    pub labels: Vec<At<Label>>,
    pub common_labels: Option<At<Texts>>,
    pub common_annotations: Option<At<Texts>>,
    pub replicas: Vec<At<Replica>>,
    pub images: Vec<At<Image>>,
    pub replacements: Vec<At<ReplacementField>>,
    pub vars: Vec<At<Var>>,
    pub sort_options: Option<At<SortOptions>>,
    pub build_metadata: Vec<At<String>>,
    pub openapi: Option<At<Texts>>,
    /// Fields that still work, and what to write instead.
    pub deprecated: Vec<RenderError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GeneratorOptions {
    pub labels: Texts,
    pub annotations: Texts,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

impl GeneratorOptions {
    /// With what is said of all generators; a generator's own labels and annotations win.
    pub fn with_global(mut self, global: &Self) -> Self {
        for (own, global) in [(&mut self.labels, &global.labels), (&mut self.annotations, &global.annotations)] {
            for (key, value) in global {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.disable_name_suffix_hash |= global.disable_name_suffix_hash;
        self.immutable |= global.immutable;
        self
    }
}

/// What a ConfigMap or Secret is generated from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GeneratorArgs {
    pub name: String,
    pub namespace: String,
    pub behavior: String,
    pub literals: Vec<String>,
    pub files: Vec<String>,
    pub envs: Vec<String>,
    /// One more of `envs`.
    pub env: String,
    pub options: Option<GeneratorOptions>,
    /// Of Secrets only.
    pub r#type: String,
}

/// Regular expressions that must match in whole; empty ones match anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub annotation_selector: String,
    pub label_selector: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Patch {
    pub path: String,
    pub patch: String,
    pub target: Option<Selector>,
    pub options: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Label {
    pub pairs: Texts,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub fields: Vec<FieldSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Replica {
    pub name: String,
    pub count: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Image {
    pub name: String,
    pub new_name: String,
    pub tag_suffix: String,
    pub new_tag: String,
    pub digest: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ReplacementField {
    pub path: String,
    pub source: Option<Source>,
    pub targets: Option<Vec<Target>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Source {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub field_path: String,
    pub options: Option<FieldOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    pub select: Option<Selector>,
    pub reject: Vec<Selector>,
    pub field_paths: Vec<String>,
    pub options: Option<FieldOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldOptions {
    pub delimiter: String,
    pub index: i64,
    /// Has no effect in kustomize either.
    pub encoding: String,
    pub create: bool,
}

/// Many write `objRef` and `fieldRef`, which kustomize takes, too.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Var {
    pub name: String,
    #[serde(alias = "objRef")]
    pub objref: ObjectReference,
    #[serde(alias = "fieldRef")]
    pub fieldref: FieldReference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectReference {
    /// In place of group and version.
    pub api_version: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldReference {
    pub field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SortOptions {
    pub order: String,
    pub legacy_sort_options: Option<LegacySortOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LegacySortOptions {
    pub order_first: Vec<String>,
    pub order_last: Vec<String>,
}

impl Kustomization {
    pub fn read(file: &Arc<str>, text: &str) -> Result<Self, RenderError> {
        let whole = Origin { file: file.clone(), line: 0, column: 0 };
        let mut documents = yaml::documents(file, text)?.into_iter();
        let Some(document) = documents.next() else {
            return Err(RenderError::new(whole, "the kustomization is empty").hint("name some resources"));
        };
        if let Some(second) = documents.next() {
            let at = Origin { line: second.spans.at.line, ..whole };
            return Err(RenderError::new(at, "a kustomization is one document, this is a second"));
        }
        let (value, mut spans) = (document.value, document.spans);
        let Value::Object(mut map) = value else {
            return Err(RenderError::new(whole, format!("a kustomization is a map, found {}", kind_of(&value))));
        };
        field_names::outer(&mut map, &mut spans, FIELDS);
        let mut fields = Fields { file, map, spans: &spans };
        let read = fields.kustomization()?;
        fields.nothing_left()?;
        Ok(read)
    }
}

/// The fields not read yet.
struct Fields<'a> {
    file: &'a Arc<str>,
    map: Map<String, Value>,
    spans: &'a Spans,
}

impl Fields<'_> {
    fn kustomization(&mut self) -> Result<Kustomization, RenderError> {
        let component = self.header()?;
        self.refused()?;
        let mut deprecated = Vec::new();
        for (old, new) in [
            ("bases", "resources"),
            ("commonLabels", "labels"),
            ("imageTags", "images"),
            ("patchesJson6902", "patches"),
            ("patchesStrategicMerge", "patches"),
            ("vars", "replacements"),
        ] {
            if self.map.get(old).is_some_and(|value| !value.is_null()) {
                deprecated.push(self.error(old, format!("{old} is deprecated")).hint(format!("use {new}")));
            }
        }
        let mut resources = self.list("resources")?;
        resources.extend(self.list("bases")?);
        let mut images = self.list("images")?;
        images.extend(self.list("imageTags")?);
        let read = Kustomization {
            file: self.file.clone(),
            component,
            resources,
            images,
            components: self.list("components")?,
            crds: self.list("crds")?,
            configurations: self.list("configurations")?,
            generators: self.list("generators")?,
            transformers: self.list("transformers")?,
            validators: self.list("validators")?,
            config_map_generator: self.list("configMapGenerator")?,
            secret_generator: self.list("secretGenerator")?,
            generator_options: self.fields("generatorOptions")?.map(|options| options.value),
            patches_strategic_merge: self.list("patchesStrategicMerge")?,
            patches_json6902: self.list("patchesJson6902")?,
            patches: self.list("patches")?,
            namespace: self.text("namespace")?,
            name_prefix: self.text("namePrefix")?,
            name_suffix: self.text("nameSuffix")?,
            labels: self.list("labels")?,
            common_labels: self.one("commonLabels")?,
            common_annotations: self.one("commonAnnotations")?,
            replicas: self.list("replicas")?,
            replacements: self.list("replacements")?,
            vars: self.list("vars")?,
            sort_options: self.fields("sortOptions")?,
            build_metadata: self.list("buildMetadata")?,
            openapi: self.one("openapi")?,
            deprecated,
        };
        const BUILD_METADATA: [&str; 3] = ["originAnnotations", "transformerAnnotations", "managedByLabel"];
        match read.build_metadata.iter().find(|option| !BUILD_METADATA.contains(&option.value.as_str())) {
            Some(wrong) => {
                let what = format!("no buildMetadata option {:?}", wrong.value);
                Err(RenderError::new(wrong.at.clone(), what).hint(format!("there are {}", BUILD_METADATA.join(", "))))
            }
            None => Ok(read),
        }
    }

    /// Whether it is a component.
    fn header(&mut self) -> Result<bool, RenderError> {
        let kind = self.text("kind")?;
        let component = match kind.as_ref().map(|kind| kind.value.as_str()) {
            None | Some("Kustomization") => false,
            Some("Component") => true,
            Some(other) => {
                let what = format!("kind {other:?} is neither Kustomization nor Component");
                return Err(self.error("kind", what));
            }
        };
        let version = if component { "v1alpha1" } else { "v1beta1" };
        let wanted = format!("kustomize.config.k8s.io/{version}");
        match self.text("apiVersion")? {
            Some(found) if found.value != wanted => {
                let what = format!("apiVersion {:?} is not that of this kind", found.value);
                Err(RenderError::new(found.at, what).hint(format!("write {wanted}")))
            }
            _ => {
                self.map.remove("metadata");
                Ok(component)
            }
        }
    }

    /// What would need a program that is not here.
    fn refused(&self) -> Result<(), RenderError> {
        const HELM: &str = "render the chart with `helm template` into the repository, and name that as a resource";
        for field in HELM_FIELDS {
            if self.map.get(field).is_some_and(|value| !is_empty(value)) {
                return Err(self.error(field, format!("{field} is not supported")).hint(HELM));
            }
        }
        Ok(())
    }

    fn nothing_left(self) -> Result<(), RenderError> {
        match self.map.keys().find(|key| !HELM_FIELDS.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self.error(key, format!("unknown field {key:?}")).hint("check its spelling")),
        }
    }

    fn error(&self, key: &str, what: impl Into<String>) -> RenderError {
        RenderError::new(self.at(self.spans.find(key)), what)
    }

    fn at(&self, at: Position) -> Origin {
        Origin { file: self.file.clone(), line: at.line, column: at.column }
    }

    fn one<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<At<T>>, RenderError> {
        self.read(key, decode)
    }

    fn fields<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<At<T>>, RenderError> {
        self.read(key, decode_fields)
    }

    fn read<T>(
        &mut self,
        key: &str,
        decode: impl Fn(Value) -> Result<T, String>,
    ) -> Result<Option<At<T>>, RenderError> {
        let Some(value) = self.map.remove(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let at = self.at(self.spans.find(key));
        decode(value)
            .map(|value| Some(At { value, at: at.clone() }))
            .map_err(|why| RenderError::new(at, format!("{key}: {why}")))
    }

    fn text(&mut self, key: &str) -> Result<Option<At<String>>, RenderError> {
        Ok(self.one::<String>(key)?.filter(|text| !text.value.is_empty()))
    }

    fn list<T: DeserializeOwned>(&mut self, key: &str) -> Result<Vec<At<T>>, RenderError> {
        let items = match self.map.remove(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.error(key, format!("{key} is a list, found {}", kind_of(&other)))),
        };
        let places: &[Spans] = match self.spans.get(key).map(|spans| &spans.children) {
            Some(Children::List(places)) => places,
            _ => &[],
        };
        let mut read = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let at = self.at(places.get(index).map_or(self.spans.find(key), |place| place.at));
            let value = decode_fields(item).map_err(|why| RenderError::new(at.clone(), format!("{key}: {why}")))?;
            read.push(At { value, at });
        }
        Ok(read)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Of what consists of known fields, in any letters.
pub fn decode_fields<T: DeserializeOwned>(mut value: Value) -> Result<T, String> {
    field_names::inner(&mut value);
    decode(value)
}

/// Fields without a value are fields that are not there.
pub fn decode<T: DeserializeOwned>(mut value: Value) -> Result<T, String> {
    fn prune(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|_, value| !value.is_null());
                map.values_mut().for_each(prune);
            }
            Value::Array(items) => items.iter_mut().for_each(prune),
            _ => {}
        }
    }
    prune(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}
