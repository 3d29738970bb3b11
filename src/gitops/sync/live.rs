//! Objects as they are now, read with few requests: thousands of applied objects are looked at again and again until
//! they are ready.

use super::wait::path;
use crate::api::changeset::ObjectId;
use crate::client::raw;
use crate::gitops::kinds::Kinds;
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// So many objects of one collection are read by listing it,
const MANY: usize = 20;
/// as far as it holds no more than so many times as many.
const OTHERS: usize = 4;

/// An object as it is now; `None` while it is not there, or the server does not answer.
pub async fn live(client: &kube::Client, kinds: &dyn Kinds, id: &ObjectId) -> Option<Value> {
    try_live(client, kinds, id).await.ok().flatten()
}

/// The same; an error where the server does not say whether there is one.
pub async fn try_live(client: &kube::Client, kinds: &dyn Kinds, id: &ObjectId) -> Result<Option<Value>, kube::Error> {
    let Some(plural) = kinds.plural(&id.api_version, &id.kind) else { return Ok(None) };
    let path = path(&id.api_version, &plural, &id.namespace, &id.name);
    match raw::request(client, Method::GET, &path, None).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if raw::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Many objects as they are now.
pub struct All<'a> {
    client: &'a kube::Client,
    kinds: &'a dyn Kinds,
    lists: HashMap<Collection<'a>, List>,
}

/// An apiVersion, a kind and a namespace.
type Collection<'a> = (&'a str, &'a str, &'a str);

struct List {
    /// By name; `None` once somebody has it.
    objects: HashMap<String, Option<Value>>,
    /// The collection has no others.
    whole: bool,
}

fn collection(id: &ObjectId) -> Collection<'_> {
    (&id.api_version, &id.kind, &id.namespace)
}

impl<'a> All<'a> {
    /// Lists the collections that many of the objects are in.
    pub async fn of(
        client: &'a kube::Client,
        kinds: &'a dyn Kinds,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) -> Self {
        let mut wanted: HashMap<Collection<'_>, usize> = HashMap::new();
        objects.for_each(|id| *wanted.entry(collection(id)).or_default() += 1);
        let mut lists = HashMap::new();
        for (collection, count) in wanted.into_iter().filter(|(_, count)| *count >= MANY) {
            // Who may not list may still read what there is one by one.
            if let Some(list) = list(client, kinds, collection, count * OTHERS).await {
                lists.insert(collection, list);
            }
        }
        Self { client, kinds, lists }
    }

    /// One of the objects, as [`try_live`].
    pub async fn take(&mut self, id: &'a ObjectId) -> Result<Option<Value>, kube::Error> {
        if let Some(list) = self.lists.get_mut(&collection(id)) {
            match list.objects.get_mut(&id.name).map(Option::take) {
                Some(Some(object)) => return Ok(Some(object)),
                None if list.whole => return Ok(None),
                Some(None) | None => {}
            }
        }
        try_live(self.client, self.kinds, id).await
    }
}

/// The first objects of a collection; `None` where the server does not list it.
async fn list(client: &kube::Client, kinds: &dyn Kinds, of: Collection<'_>, limit: usize) -> Option<List> {
    #[derive(Deserialize)]
    struct Page {
        metadata: Metadata,
        items: Vec<Value>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default, rename = "continue")]
        more: String,
    }
    let (api_version, kind, namespace) = of;
    let path = path(api_version, &kinds.plural(api_version, kind)?, namespace, "");
    let bytes = raw::request(client, Method::GET, &format!("{path}?limit={limit}"), None).await.ok()?;
    let page: Page = serde_json::from_slice(&bytes).ok()?;
    let named = |mut object: Value| {
        let name = object["metadata"]["name"].as_str()?.to_owned();
        // Kubernetes leaves them out in lists.
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        Some((name, Some(object)))
    };
    Some(List { objects: page.items.into_iter().filter_map(named).collect(), whole: page.metadata.more.is_empty() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use crate::apiserver::{ApiServer, Config, User};
    use crate::base::clock::Clock;
    use crate::base::ids::Ids;
    use crate::client::in_process;
    use jiff::Timestamp;
    use serde_json::json;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: String::new(),
        }
    }

    /// What the collection holds, and how many of it are asked for.
    async fn compare(there: usize, asked: usize) {
        let api = ApiServer::new(Config::in_memory(Clock::virtual_from(Timestamp::UNIX_EPOCH), Ids::seeded(1)));
        let client = in_process(&api, User::master("test"));
        let create = async |path: &str, object: Value| {
            let body = Some(("application/json", object.to_string().into()));
            raw::request(&client, Method::POST, path, body).await.unwrap();
        };
        let named = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        create("/api/v1/namespaces", named("Namespace", "default")).await;
        for number in 0..there {
            create("/api/v1/namespaces/default/configmaps", named("ConfigMap", &format!("c{number:03}"))).await;
        }
        let mut ids: Vec<ObjectId> = (0..asked).map(|number| id(&format!("c{:03}", there - 1 - number))).collect();
        ids.push(id("nobody"));
        ids.push(ids[0].clone());
        let kinds = Registry::builtin();
        let mut all = All::of(&client, &kinds, ids.iter()).await;
        assert_eq!(all.lists.len(), usize::from(asked >= MANY));
        for id in &ids {
            assert_eq!(all.take(id).await.unwrap(), try_live(&client, &kinds, id).await.unwrap(), "{id:?}");
        }
    }

    #[tokio::test]
    async fn a_list_says_what_single_objects_do() {
        compare(3, 3).await;
        compare(MANY + 5, MANY).await;
        // More than is listed: the last of it are asked for one by one.
        compare(MANY * (OTHERS + 2), MANY).await;
    }
}
