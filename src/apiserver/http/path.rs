//! What a URL path names: a resource request or one of the server's own documents.

/// A parsed path. Borrows from the (percent-decoded) path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    Root,
    /// `/api`
    Api,
    /// `/apis`
    Apis,
    /// `/apis/{group}`
    Group(&'a str),
    /// `/api/v1`, `/apis/{group}/{version}`
    GroupVersion(&'a str, &'a str),
    Resource(ResourcePath<'a>),
    Version,
    /// `healthz`, `livez` or `readyz`, and the single check asked for.
    Health(&'a str, &'a str),
    Metrics,
    OpenApiV2,
    /// The index, or the document behind a path such as `apis/apps/v1`.
    OpenApiV3(&'a str),
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/openid/v1/jwks`
    KeySet,
    /// `/hooks/{name}`
    Hook(&'a str),
    /// `/git/{name}/{rest}`
    Git(&'a str, &'a str),
    Unknown,
}

/// `/api/v1/namespaces/default/pods/web/log` and all its shorter forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourcePath<'a> {
    pub group: &'a str,
    pub version: &'a str,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: &'a str,
    pub resource: &'a str,
    /// Empty: the collection.
    pub name: &'a str,
    pub subresource: &'a str,
    /// What follows the subresource (proxy paths).
    pub rest: &'a str,
    /// The deprecated `/watch/` prefix.
    pub watch: bool,
}

/// Reads a path. Trailing slashes are ignored.
pub fn parse(path: &str) -> Route<'_> {
    let trimmed = path.trim_start_matches('/').trim_end_matches('/');
    let (head, tail) = split(trimmed);
    match head {
        "" => Route::Root,
        "api" => match split(tail) {
            ("", _) => Route::Api,
            (version, "") => Route::GroupVersion("", version),
            (version, rest) => resource("", version, rest),
        },
        "apis" => match split(tail) {
            ("", _) => Route::Apis,
            (group, "") => Route::Group(group),
            (group, rest) => match split(rest) {
                (version, "") => Route::GroupVersion(group, version),
                (version, rest) => resource(group, version, rest),
            },
        },
        "version" if tail.is_empty() => Route::Version,
        "healthz" | "livez" | "readyz" => Route::Health(head, tail),
        "metrics" if tail.is_empty() => Route::Metrics,
        "openapi" => match split(tail) {
            ("v2", "") => Route::OpenApiV2,
            ("v3", document) => Route::OpenApiV3(document),
            _ => Route::Unknown,
        },
        ".well-known" if tail == "openid-configuration" => Route::OpenIdConfiguration,
        "openid" if tail == "v1/jwks" => Route::KeySet,
        "hooks" if !tail.is_empty() && !tail.contains('/') => Route::Hook(tail),
        "git" => match split(tail) {
            ("", _) => Route::Unknown,
            (name, rest) => Route::Git(name, rest),
        },
        _ => Route::Unknown,
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn resource<'a>(group: &'a str, version: &'a str, rest: &'a str) -> Route<'a> {
    let mut found = ResourcePath { group, version, ..ResourcePath::default() };
    let (mut head, mut tail) = split(rest);
    if head == "watch" && !tail.is_empty() {
        found.watch = true;
        (head, tail) = split(tail);
    }
    if head == "namespaces" {
        let (namespace, rest) = split(tail);
        let (next, after) = split(rest);
        // `/namespaces/x/status` and `/finalize` are subresources of the namespace itself.
        if !next.is_empty() && next != "status" && next != "finalize" {
            found.namespace = namespace;
            (head, tail) = (next, after);
        }
    }
    found.resource = head;
    (found.name, tail) = split(tail);
    (found.subresource, found.rest) = split(tail);
    Route::Resource(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> ResourcePath<'_> {
        match parse(path) {
            Route::Resource(found) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_every_form_of_resource_path() {
        let all = |p: ResourcePath<'static>| (p.group, p.version, p.namespace, p.resource, p.name, p.subresource);
        assert_eq!(all(named("/api/v1/pods")), ("", "v1", "", "pods", "", ""));
        assert_eq!(all(named("/api/v1/namespaces/a/pods/b/log")), ("", "v1", "a", "pods", "b", "log"));
        assert_eq!(all(named("/api/v1/namespaces/a/status")), ("", "v1", "", "namespaces", "a", "status"));
        assert_eq!(all(named("/api/v1/namespaces/a")), ("", "v1", "", "namespaces", "a", ""));
        assert_eq!(
            all(named("/apis/apps/v1/namespaces/a/deployments/b/scale")),
            ("apps", "v1", "a", "deployments", "b", "scale")
        );
        assert!(named("/api/v1/watch/namespaces/a/pods").watch);
        assert_eq!(named("/api/v1/nodes/n/proxy/a/b").rest, "a/b");
    }

    #[test]
    fn reads_documents_and_strangers() {
        assert_eq!(parse("/api/"), Route::Api);
        assert_eq!(parse("/apis/apps/v1/"), Route::GroupVersion("apps", "v1"));
        assert_eq!(parse("/openapi/v3/apis/apps/v1"), Route::OpenApiV3("apis/apps/v1"));
        assert_eq!(parse("/readyz/ping"), Route::Health("readyz", "ping"));
        assert_eq!(parse("/hooks/shop"), Route::Hook("shop"));
        assert_eq!(parse("/hooks/"), Route::Unknown);
        assert_eq!(parse("/git/shop/info/refs"), Route::Git("shop", "info/refs"));
        assert_eq!(parse("/git/"), Route::Unknown);
        assert_eq!(parse("/nonsense"), Route::Unknown);
    }
}
