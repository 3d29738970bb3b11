//! What an Application's manifests are rendered with besides its source: ConfigMaps and Secrets in its
//! namespace. No error holds a value of theirs.

mod values;

use super::access;
use super::application::{Application, Decryption, NAMESPACE, PostBuild};
use super::helm::{self, Release};
use super::kinds::Kinds;
use super::previews::shape;
use super::render::{Rendered, Settings, Variables, render_with};
use super::sops::{self, Keys};
use super::sources::{Snapshot, SourceError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use values::Values;

/// A ConfigMap or Secret in the Applications' namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub plural: &'static str,
    pub name: String,
}

impl Reference {
    /// `kind` as an Application gives it: `ConfigMap` or `Secret`.
    fn new(kind: &str, name: &str) -> Self {
        Self { plural: if kind == "Secret" { "secrets" } else { "configmaps" }, name: name.to_owned() }
    }
}

/// What was read of it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    variables: Option<Variables>,
    /// Of encrypted files.
    keys: Option<Keys>,
    /// Of a chart, besides those of the Application.
    values: Values,
    /// Another one where the same source may render to something else. It tells nothing of values. Empty: there
    /// are no inputs.
    pub version: String,
}

/// The objects whose changes change what is rendered.
pub fn references(application: &Application) -> Vec<Reference> {
    let from = application.spec.post_build.iter().flat_map(|post_build| &post_build.substitute_from);
    let keys =
        application.spec.decryption.iter().map(|decryption| Reference::new("Secret", &decryption.secret_ref.name));
    let values = application.spec.helm.iter().flat_map(|helm| &helm.values_from);
    let values = values.map(|from| Reference::new(&from.kind, &from.name));
    from.map(|from| Reference::new(&from.kind, &from.name)).chain(keys).chain(values).collect()
}

/// Reads what the Application names.
pub async fn read(client: &kube::Client, application: &Application) -> Result<Inputs, SourceError> {
    let post_build = application.spec.post_build.as_ref().filter(|post_build| !post_build.is_empty());
    let (helm, decryption) = (application.spec.helm.as_ref(), application.spec.decryption.as_ref());
    if post_build.is_none() && helm.is_none() && decryption.is_none() {
        return Ok(Inputs::default());
    }
    let mut version = Sha256::new();
    version.update(json!([post_build, helm]).to_string());
    let variables = match post_build {
        Some(post_build) => Some(variables(client, post_build, &mut version).await?),
        None => None,
    };
    let keys = match decryption {
        Some(decryption) => Some(keys(client, decryption, &mut version).await?),
        None => None,
    };
    let values = match helm {
        Some(helm) => values::read(client, &helm.values_from, &mut version).await?,
        None => Values::default(),
    };
    Ok(Inputs { variables, keys, values, version: digits(version) })
}

/// What the Application puts in for variables, if there are any.
pub async fn substitution(client: &kube::Client, application: &Application) -> Result<Option<Variables>, SourceError> {
    match application.spec.post_build.as_ref().filter(|post_build| !post_build.is_empty()) {
        Some(post_build) => variables(client, post_build, &mut Sha256::new()).await.map(Some),
        None => Ok(None),
    }
}

fn digits(version: Sha256) -> String {
    version.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Inputs {
    /// The source with its files decrypted, and with what its charts come to.
    pub async fn expand(&self, application: &Application, snapshot: Snapshot) -> Snapshot {
        let (name, namespace) = (application.name(), application.namespace());
        let snapshot = match &self.keys {
            Some(keys) => sops::decrypt(snapshot, keys),
            None => snapshot,
        };
        let options = application.spec.helm.as_ref().map(|helm| self.values.below(helm));
        let (options, secret, timeout) = (options.as_ref(), self.values.secret, application.timeout());
        helm::render(snapshot, Release { name, namespace, options, secret, timeout }).await
    }

    /// With the commits of other repositories that the source was read with: they may move while it does not.
    pub fn with_bases(mut self, snapshot: &Snapshot) -> Self {
        let bases = snapshot.bases();
        if !bases.is_empty() {
            self.version = digits(Sha256::new().chain_update(format!("{} {bases:?}", self.version)));
        }
        self
    }

    /// What the Application's source comes to with them.
    pub fn render(&self, application: &Application, snapshot: &Snapshot, kinds: &dyn Kinds) -> Rendered {
        let settings = Settings { namespace: application.namespace(), variables: self.variables.as_ref() };
        shape(application, render_with(snapshot, kinds, settings), kinds)
    }
}

async fn keys(client: &kube::Client, decryption: &Decryption, version: &mut Sha256) -> Result<Keys, SourceError> {
    let reference = &decryption.secret_ref;
    let read = |secret: &Secret| {
        let place = format!("Secret {NAMESPACE}/{}", reference.name);
        Ok((Keys::from_secret(secret, place)?, secret.metadata.clone()))
    };
    let (keys, metadata) = access::read(client, reference, "spec.decryption.secretRef", read).await?;
    version.update(format!("{} {:?} {:?};", json!(decryption), metadata.uid, metadata.resource_version));
    Ok(keys)
}

/// The data of a ConfigMap or a Secret.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Holder<T> {
    metadata: ObjectMeta,
    #[serde(default = "BTreeMap::new")]
    data: BTreeMap<String, T>,
}

/// What one of them holds: texts by their keys; `None` is what is no UTF-8 text.
async fn held(client: &kube::Client, reference: &Reference) -> Result<Option<Holder<Option<String>>>, String> {
    let Reference { plural, name } = reference;
    if *plural == "secrets" {
        let found = access::get::<Holder<ByteString>>(client, plural, name).await?;
        return Ok(found.map(|found| found.map(|ByteString(bytes)| String::from_utf8(bytes).ok())));
    }
    let found = access::get::<Holder<String>>(client, plural, name).await?;
    Ok(found.map(|found| found.map(Some)))
}

impl<T> Holder<T> {
    fn map<U>(self, change: impl Fn(T) -> U) -> Holder<U> {
        let data = self.data.into_iter().map(|(key, value)| (key, change(value))).collect();
        Holder { metadata: self.metadata, data }
    }

    /// Another one whenever the object is.
    fn version(&self) -> String {
        format!("{:?} {:?};", self.metadata.uid, self.metadata.resource_version)
    }
}

async fn variables(
    client: &kube::Client,
    post_build: &PostBuild,
    version: &mut Sha256,
) -> Result<Variables, SourceError> {
    let mut variables = Variables::new(post_build.strict);
    for (index, from) in post_build.substitute_from.iter().enumerate() {
        let reference = Reference::new(&from.kind, &from.name);
        let fail = |what: String| {
            let (kind, name) = (&from.kind, &from.name);
            let place = format!("spec.postBuild.substituteFrom[{index}]");
            SourceError::Access(format!("{kind} {NAMESPACE}/{name} ({place}): {what}"))
        };
        let Some(holder) = held(client, &reference).await.map_err(&fail)? else {
            version.update("absent;");
            if from.optional {
                continue;
            }
            return Err(fail(access::missing() + ", or set optional: true"));
        };
        version.update(holder.version());
        for (key, value) in holder.data {
            let value = value.ok_or_else(|| fail(format!("the value of {key:?} is not UTF-8 text")))?;
            let set = if reference.plural == "secrets" { Variables::set_secret } else { Variables::set };
            set(&mut variables, &key, &value).map_err(&fail)?;
        }
    }
    for (key, value) in &post_build.substitute {
        let wrong = |why| SourceError::Access(format!("spec.postBuild.substitute: {why}"));
        variables.set(key, value).map_err(wrong)?;
    }
    Ok(variables)
}
