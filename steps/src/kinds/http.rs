//! `http.get`: what a server answers to a GET.

use async_trait::async_trait;
use http::Uri;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::transport::http::{self as client, Answer, Files};
use crate::world::Reader;

/// `http.get`
pub const GET: Kind = Kind {
    name: "http.get",
    summary: "A server answers a GET as expected.",
    details: "The URL is asked from this machine, once, by HTTP/1.1; no redirect is followed and no proxy is used. A server that \
              cannot be reached, or whose certificate is not trusted, is a fault: nothing was seen. Of an answer at most 1 MiB is \
              read.",
    seat: Seat::Here,
    args: &[
        Arg::required("url", Type::Str, "The URL, with http or https and without credentials, which would be shown."),
        Arg::optional("status", Type::Int, "The status that the answer must have; default: 200."),
        Arg::optional("contains", Type::Str, "A text that the body must contain."),
        Arg::optional(
            "matches",
            Type::Str,
            "A regular expression that must match the body somewhere; `(?m)` for lines.",
        ),
        Arg::optional("ca", Type::Place, "The CA of the server, a PEM file; default: those that this machine trusts."),
        Arg::optional("cert", Type::Place, "The client's certificate, where the server asks for one; with `key`."),
        Arg::optional("key", Type::Place, "The client's private key, which is kept in memory only."),
    ],
    example: r#"{ url: "https://api.example.com:6443/readyz", ca: "cp1:/etc/kubernetes/pki/ca.crt", contains: ok }"#,
    make: Make::Check(|args| Ok(Box::new(Get::from_args(args)?))),
    ..Kind::BLANK
};

#[derive(Debug)]
struct Get {
    asked: Asked,
    url: Uri,
    pattern: Option<Regex>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    url: String,
    #[serde(default = "success")]
    status: u16,
    contains: Option<String>,
    matches: Option<String>,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

fn success() -> u16 {
    200
}

impl Get {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let asked: Asked = args::read(args)?;
        let bad = |arg: &str, text: &str, why: &str| BadArgs::at(arg, format!("`{}` {why}", text.escape_debug()));
        let url = client::url(&asked.url).map_err(|why| bad("url", &asked.url, why))?;
        if !(100..600).contains(&asked.status) {
            return Err(bad("status", &asked.status.to_string(), "is no status of HTTP"));
        }
        if asked.cert.is_some() != asked.key.is_some() {
            return Err(BadArgs::at("cert", "`cert` and `key` go together"));
        }
        let compile = |text: &String| Regex::new(text).map_err(|_| bad("matches", text, "is no regular expression"));
        let pattern = asked.matches.as_ref().map(compile).transpose()?;
        Ok(Self { asked, url, pattern })
    }

    fn judge(&self, answer: &Answer) -> Observation {
        let Asked { status, contains, matches, .. } = &self.asked;
        let mut expected = vec![format!("status {status}")];
        let mut holds = answer.status == *status;
        let body = answer.body.as_ref().map(|body| String::from_utf8_lossy(body));
        let mut must = |what: String, fits: &dyn Fn(&str) -> bool| {
            expected.push(what);
            holds &= body.as_deref().is_some_and(fits);
        };
        if let Some(part) = contains {
            must(format!("a body that contains `{part}`"), &|body| body.contains(part.as_str()));
        }
        if let (Some(text), Some(pattern)) = (matches, &self.pattern) {
            must(format!("a body that matches `{text}`"), &|body| pattern.is_match(body));
        }
        let told = body.as_deref().map_or("a body of more than 1 MiB", |body| body.trim().lines().next().unwrap_or(""));
        let told: String = told.chars().take(200).collect();
        let told = if told.is_empty() { "an empty body" } else { &told };
        let seen = format!("{} answered status {}: {told}", self.url, answer.status);
        Observation::new(holds, expected.join(", "), seen)
    }
}

#[async_trait]
impl Check for Get {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let Asked { ca, cert, key, .. } = &self.asked;
        let files = Files { ca: ca.as_deref(), client: cert.as_deref().zip(key.as_deref()) };
        Ok(self.judge(&client::get(reader, &self.url, &files).await?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn judge(mut args: Value, status: u16, body: Option<&str>) -> Observation {
        args["url"] = json!("http://a/health");
        let answer = Answer { status, body: body.map(|body| body.as_bytes().to_vec()) };
        Get::from_args(args).unwrap().judge(&answer)
    }

    #[test]
    fn status_and_body_must_both_be_as_expected() {
        let wanted = json!({ "contains": "true", "matches": "^\\{" });
        assert!(judge(wanted.clone(), 200, Some("{\"health\":true}")).holds);
        assert!(!judge(wanted.clone(), 503, Some("{\"health\":true}")).holds);
        assert!(!judge(wanted.clone(), 200, Some("health: true")).holds);
        assert!(!judge(wanted.clone(), 200, Some("{}")).holds);
        assert!(judge(json!({ "status": 503 }), 503, Some("")).holds);
        let seen = judge(wanted, 503, Some("\n[-]etcd failed\nmore"));
        assert_eq!(seen.seen, "http://a/health answered status 503: [-]etcd failed");
        assert_eq!(seen.expected, "status 200, a body that contains `true`, a body that matches `^\\{`");
    }

    #[test]
    fn a_body_that_is_too_large_to_be_read_is_never_as_expected() {
        assert!(judge(json!({}), 200, None).holds, "none is asked for");
        let seen = judge(json!({ "contains": "" }), 200, None);
        assert!(!seen.holds && seen.seen.ends_with("a body of more than 1 MiB"), "{seen:?}");
    }

    #[test]
    fn arguments_that_cannot_be_used_are_told() {
        for (args, arg) in [
            (json!({ "url": "cp1/health" }), "url"),
            (json!({ "url": "http://a", "status": 20 }), "status"),
            (json!({ "url": "http://a", "matches": "(" }), "matches"),
            (json!({ "url": "http://a", "cert": "a.pem" }), "cert"),
        ] {
            assert_eq!(Get::from_args(args).unwrap_err().arg.as_deref(), Some(arg));
        }
    }
}
