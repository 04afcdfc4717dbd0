//! How an object of the API is named, and the path that leads to it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A sort of objects: an API version and a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// Its group and version, for example `apps/v1`; `v1` is the core's.
    pub api_version: String,
    /// Its kind, for example `Deployment`.
    pub kind: String,
}

impl Sort {
    /// Names a sort.
    pub fn new(api_version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { api_version: api_version.into(), kind: kind.into() }
    }

    /// Returns the path under which the API lists what it has of this group and version.
    pub(super) fn root(&self) -> String {
        let tree = if self.api_version.contains('/') { "apis" } else { "api" };
        format!("/{tree}/{}", encoded(&self.api_version, b"/"))
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version, self.kind)
    }
}

/// One object, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub sort: Sort,
    /// Its namespace; `None` for what belongs to the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Object {
    /// Names an object that belongs to the whole cluster.
    #[must_use]
    pub fn cluster_wide(api_version: &str, kind: &str, name: &str) -> Self {
        Self { sort: Sort::new(api_version, kind), namespace: None, name: name.to_owned() }
    }

    /// Reads which object a manifest is about. `Err` names the key that is missing.
    pub fn of_manifest(manifest: &Value) -> Result<Self, &'static str> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let metadata = &manifest["metadata"];
        Ok(Self {
            sort: Sort {
                api_version: text(&manifest["apiVersion"]).ok_or("apiVersion")?,
                kind: text(&manifest["kind"]).ok_or("kind")?,
            },
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]).ok_or("metadata.name")?,
        })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.sort.kind, self.name),
            None => write!(f, "{} {}", self.sort.kind, self.name),
        }
    }
}

/// Writes a text into a path or query: all but letters, digits, `-._~` and the bytes of `also` as `%XX` (RFC 3986, 2.3).
pub(super) fn encoded(text: &str, also: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_leads_out_of_its_part_of_a_path() {
        assert_eq!(encoded("kube-system", b""), "kube-system");
        assert_eq!(encoded("../a?b=c", b""), "..%2Fa%3Fb%3Dc");
        assert_eq!(encoded("app in (a, b)", b""), "app%20in%20%28a%2C%20b%29");
        assert_eq!(Sort::new("v1", "Pod").root(), "/api/v1");
        assert_eq!(Sort::new("apps/v1", "Deployment").root(), "/apis/apps/v1");
    }

    #[test]
    fn a_manifest_says_what_it_is_about_or_what_it_lacks() {
        let whole = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "namespace": "b" } });
        assert_eq!(Object::of_manifest(&whole).unwrap().to_string(), "Secret b/a");
        assert_eq!(Object::of_manifest(&json!({ "apiVersion": "v1", "kind": "Secret" })), Err("metadata.name"));
        assert_eq!(Object::of_manifest(&json!("text")), Err("apiVersion"));
    }
}
