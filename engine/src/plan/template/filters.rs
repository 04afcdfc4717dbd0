//! The filters of the plan language beyond minijinja's own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::{placeholder, wording};
use crate::plan::diagnostic::nearest;
use crate::plan::fields::list;

/// Adds the filters.
pub(super) fn add(language: &mut Environment<'static>) {
    language.add_filter("role", |hosts: Value, role: String| with_role(&hosts, &role, false));
    language.add_filter("all_role", |hosts: Value, role: String| with_role(&hosts, &role, true));
    language.add_filter("by_etcd_name", |hosts: Value, name: String| by_etcd_name(&hosts, &name));
    language.add_filter("shq", |value: Value| Ok::<_, Error>(quote(&plain(&value, "shq")?)));
    language.add_filter("basename", |value: Value| {
        let path = plain(&value, "basename")?;
        Ok::<_, Error>(
            Path::new(&path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        )
    });
    language.add_filter("dirname", |value: Value| {
        let path = plain(&value, "dirname")?;
        Ok::<_, Error>(match Path::new(&path).parent() {
            Some(parent) if parent.as_os_str().is_empty() => ".".to_owned(),
            Some(parent) => parent.to_string_lossy().into_owned(),
            None => path,
        })
    });
    language.add_filter("b64encode", |value: Value| Ok::<_, Error>(STANDARD.encode(plain(&value, "b64encode")?)));
    language.add_filter("b64decode", |value: Value| {
        let bytes = STANDARD.decode(plain(&value, "b64decode")?.trim()).map_err(|_| bad("`b64decode` needs base64"))?;
        String::from_utf8(bytes).map_err(|_| bad("what `b64decode` found is no UTF-8 text"))
    });
    language.add_filter("jsonpath", |value: Value, path: String| jsonpath(&value, &path));
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// The hosts of `site.hosts` or of a list.
fn hosts_of(hosts: &Value) -> Result<Vec<Value>, Error> {
    match hosts.kind() {
        ValueKind::Map => hosts.try_iter()?.map(|name| hosts.get_item(&name)).collect(),
        ValueKind::Seq | ValueKind::Iterable => Ok(hosts.try_iter()?.collect()),
        kind => Err(bad(format!("hosts are needed here, and this is {}", wording::sort(&kind.to_string())))),
    }
}

fn with_role(hosts: &Value, role: &str, lost_too: bool) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for host in hosts_of(hosts)? {
        let lost = host.get_attr("lost")?.is_true();
        let has = host.get_attr("roles")?.try_iter()?.any(|name| name.as_str() == Some(role));
        if has && (lost_too || !lost) {
            found.push(host);
        }
    }
    Ok(found)
}

fn by_etcd_name(hosts: &Value, name: &str) -> Result<Value, Error> {
    let mut members = Vec::new();
    for host in hosts_of(hosts)? {
        let etcd = host.get_attr("etcd")?;
        if etcd.is_none() || etcd.is_undefined() {
            continue;
        }
        let member = etcd.get_attr("name")?.as_str().unwrap_or_default().to_owned();
        if member == name {
            return Ok(host);
        }
        members.push(member);
    }
    let known = match nearest(name, members.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if members.is_empty() => String::new(),
        None => format!("; there are {}", list(&members)),
    };
    Err(bad(format!("no host of the site carries the etcd member `{name}`{known}")))
}

/// The text of a scalar that no secret is part of: the filter would change its placeholder.
fn plain(value: &Value, filter: &str) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => {}
        kind => return Err(bad(format!("`{filter}` needs text, and this is {}", wording::sort(&kind.to_string())))),
    }
    let text = value.to_string();
    if placeholder::is_in(&text) {
        return Err(bad(format!("a secret cannot go through `{filter}`")));
    }
    Ok(text)
}

/// Quotes a text so that a POSIX shell takes it for one word.
fn quote(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// All that a JSON path finds, as a list.
fn jsonpath(value: &Value, path: &str) -> Result<Value, Error> {
    let path =
        serde_json_path::JsonPath::parse(path).map_err(|error| bad(format!("`{path}` is no JSON path: {error}")))?;
    let value = match value.as_str() {
        Some(text) => serde_json::from_str(text).map_err(|error| bad(format!("`jsonpath` needs JSON: {error}")))?,
        None => serde_json::to_value(value).map_err(|error| bad(error.to_string()))?,
    };
    Ok(Value::from(Serde(path.query(&value).all())))
}
