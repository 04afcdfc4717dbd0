//! The calls to the API that only look.

use std::time::Duration;

use http::{Method, Request, header};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use super::object::{Object, Sort, encoded};
use super::words;
use crate::fault::Fault;
use crate::name::HostName;
use crate::transport::trouble::Trouble;
use crate::world::World;

/// Calls the API, and cannot change anything.
#[derive(Clone)]
pub struct KubeReader<'w> {
    pub(super) world: &'w World,
    /// The host whose own API server is asked.
    pub(super) at: Option<&'w HostName>,
    pub(super) client: Client,
    pub(super) url: String,
}

/// What an API server says of its own readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it is ready.
    pub ready: bool,
    /// What is not ready yet, or `ok`.
    pub told: String,
}

/// A call, and how it is made.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// The path with its query.
    pub(super) path: String,
    /// The media type of the body.
    pub(super) media: &'static str,
    pub(super) body: Vec<u8>,
    /// What it is, for messages.
    pub(super) what: &'a str,
}

/// The media type of everything but patches.
pub(super) const JSON: &str = "application/json";

impl<'a> Call<'a> {
    fn get(path: String, what: &'a str) -> Self {
        Self { method: Method::GET, path, media: JSON, body: Vec::new(), what }
    }
}

impl KubeReader<'_> {
    /// Returns the address that is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns an object, or `None` if there is no such one.
    pub async fn get(&self, object: &Object) -> Result<Option<Value>, Fault> {
        let path = self.path_of(object).await?;
        let what = format!("get of {object}");
        let (status, body) = self.answer(Call::get(path, &what)).await?;
        if status == 404 {
            return Ok(None);
        }
        self.value(status, &body, &what).map(Some)
    }

    /// Returns all objects of a sort, of one namespace or of all, that a label selector chooses.
    pub async fn list(
        &self,
        sort: &Sort,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Value>, Fault> {
        let mut path = self.path(sort, namespace, None).await?;
        if let Some(selector) = selector {
            path = format!("{path}?labelSelector={}", encoded(selector, b""));
        }
        let what = format!("list of {sort}");
        let mut answer = self.call(Call::get(path, &what)).await?;
        match answer["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(self.fault(words::garbled("a list without items"), &what)),
        }
    }

    /// Asks whether the API server is ready to serve (Kubernetes documentation, API health endpoints).
    pub async fn readiness(&self) -> Result<Readiness, Fault> {
        let (status, body) = self.answer(Call::get("/readyz".to_owned(), "readyz")).await?;
        let text = String::from_utf8_lossy(&body);
        match status {
            200 => Ok(Readiness { ready: true, told: text.trim().to_owned() }),
            // Each failing part has a line of its own: `[-]etcd failed: reason withheld`.
            500..=599 => {
                let failing: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("[-]")).collect();
                let told = if failing.is_empty() { format!("status {status}") } else { failing.join(", ") };
                Ok(Readiness { ready: false, told })
            }
            _ => Err(self.fault(words::refusal(status, &body), "readyz")),
        }
    }

    /// Returns the path of an object.
    pub(super) async fn path_of(&self, object: &Object) -> Result<String, Fault> {
        self.path(&object.sort, object.namespace.as_deref(), Some(&object.name)).await
    }

    /// Returns the path of what is of a sort. The API says how it calls the sort in paths, and whether it has namespaces.
    async fn path(&self, sort: &Sort, namespace: Option<&str>, name: Option<&str>) -> Result<String, Fault> {
        let what = format!("look for {sort}");
        let (status, body) = self.answer(Call::get(sort.root(), &what)).await?;
        let known = if status == 404 { Value::Null } else { self.value(status, &body, &what)? };
        let is_it = |entry: &&Value| {
            entry["kind"] == sort.kind.as_str() && entry["name"].as_str().is_some_and(|name| !name.contains('/'))
        };
        let Some(entry) = known["resources"].as_array().and_then(|all| all.iter().find(is_it)) else {
            return Err(Fault::refused(format!("the API at {} knows no {sort}", self.url))
                .hint("look at `kubectl api-resources`; what an operator defines is there once its definition is")
                .during(what));
        };
        let plural = encoded(entry["name"].as_str().unwrap_or_default(), b"");
        let namespace = match (entry["namespaced"] == true, namespace) {
            (true, Some(namespace)) => format!("/namespaces/{}", encoded(namespace, b"")),
            (true, None) if name.is_some() => {
                return Err(Fault::refused(format!("a {} is in a namespace, and none is given", sort.kind)));
            }
            (false, Some(namespace)) => {
                let what = format!("a {} is in no namespace, and `{namespace}` is given", sort.kind);
                return Err(Fault::refused(what));
            }
            (true | false, None) => String::new(),
        };
        let name = name.map_or_else(String::new, |name| format!("/{}", encoded(name, b":")));
        Ok(format!("{}{namespace}/{plural}{name}", sort.root()))
    }

    /// Makes a call that must succeed, and returns its answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, Fault> {
        let what = call.what;
        let (status, body) = self.answer(call).await?;
        self.value(status, &body, what)
    }

    /// Makes a call, and returns its status and what was answered.
    async fn answer(&self, call: Call<'_>) -> Result<(u16, Vec<u8>), Fault> {
        let what = call.what;
        self.try_call(call).await.map_err(|trouble| self.fault(trouble, what))
    }

    pub(super) async fn try_call(&self, call: Call<'_>) -> Result<(u16, Vec<u8>), Trouble> {
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::CONTENT_TYPE, call.media)
            .header(header::ACCEPT, JSON)
            .body(Body::from(call.body))
            .map_err(|error| words::explain(&kube::Error::HttpError(error)))?;
        let exchange = async {
            let answer = self.client.send(request).await?;
            let status = answer.status().as_u16();
            Ok((status, answer.into_body().collect_bytes().await?.to_vec()))
        };
        match timeout(self.timeout(), exchange).await {
            Ok(answered) => answered.map_err(|error| words::explain(&error)),
            Err(_) => Err(words::silent(self.timeout().as_secs_f32())),
        }
    }

    fn value(&self, status: u16, body: &[u8], what: &str) -> Result<Value, Fault> {
        read(status, body).map_err(|trouble| self.fault(trouble, what))
    }

    /// Makes trouble a fault. A connection that is of no more use is forgotten.
    pub(super) fn fault(&self, trouble: Trouble, what: &str) -> Fault {
        if trouble.link {
            self.world.kube.forget(self.at);
        }
        let fault = words::fault(trouble, &self.url, what);
        self.at.map_or(fault.clone(), |host| fault.on(host))
    }

    fn timeout(&self) -> Duration {
        self.world.settings.call_timeout
    }
}

/// Reads an answer that must be a success.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Value, Trouble> {
    if !(200..300).contains(&status) {
        return Err(words::refusal(status, body));
    }
    serde_json::from_slice(body).map_err(|error| words::garbled(error.to_string()))
}

impl Readiness {
    /// Sums up for a person.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.ready { "is ready".to_owned() } else { format!("is not ready: {}", self.told) }
    }
}
