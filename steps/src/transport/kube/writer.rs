//! The calls to the API that change something.

use http::Method;
use serde_json::{Value, json};

use super::object::Object;
use super::reader::{Call, JSON, KubeReader, read};
use crate::fault::{Fault, FaultKind};

/// The name under which requorum owns the fields that it applies (Kubernetes documentation, Server-Side Apply).
pub const FIELD_MANAGER: &str = "requorum";

/// Calls the API to change something. It exists only inside an attempt.
pub struct KubeWriter<'w> {
    pub(super) reader: KubeReader<'w>,
}

impl<'w> KubeWriter<'w> {
    /// Returns the calls that only look.
    #[must_use]
    pub fn reader(&self) -> &KubeReader<'w> {
        &self.reader
    }

    /// Applies a manifest on the server's side, and returns the object. Fields that another manager owns are taken from it
    /// only with `force`.
    pub async fn apply(&self, object: &Object, manifest: &Value, force: bool) -> Result<Value, Fault> {
        let path = self.reader.path_of(object).await?;
        let path = format!("{path}?fieldManager={FIELD_MANAGER}&force={force}");
        // JSON is YAML.
        let media = "application/apply-patch+yaml";
        self.change(Method::PATCH, path, media, manifest, &format!("apply of {object}")).await
    }

    /// Deletes an object if it still is the one with this uid, and returns what is left of it.
    pub async fn delete(&self, object: &Object, uid: &str) -> Result<Value, Fault> {
        let path = self.reader.path_of(object).await?;
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid } });
        self.change(Method::DELETE, path, JSON, &options, &format!("deletion of {object}")).await
    }

    /// Replaces a part of an object that has a path of its own, for example `approval`.
    pub async fn replace_part(&self, object: &Object, part: &str, whole: &Value) -> Result<Value, Fault> {
        let path = self.reader.path_of(object).await?;
        self.change(Method::PUT, format!("{path}/{part}"), JSON, whole, &format!("{part} of {object}")).await
    }

    /// Makes a changing call. One that lost its connection, ran out of time, or met an error of the server's own may have
    /// been carried out, and is in doubt.
    async fn change(
        &self,
        method: Method,
        path: String,
        media: &'static str,
        body: &Value,
        what: &str,
    ) -> Result<Value, Fault> {
        let call = Call { method, path, media, body: body.to_string().into_bytes(), what };
        let answered = self.reader.try_call(call).await.and_then(|(status, body)| read(status, &body));
        answered.map_err(|trouble| {
            let maybe_done = trouble.maybe_done;
            let mut fault = self.reader.fault(trouble, what);
            if maybe_done {
                fault.kind = FaultKind::InDoubt;
            }
            fault
        })
    }
}
