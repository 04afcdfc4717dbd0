//! Paths of this machine in the arguments of kinds: where a relative one starts.
//!
//! It starts from the directory of the file that it stands in, as the paths of templates and includes do, and not from
//! where a process happens to stand: a resume from another directory means the same file.

use std::path::Path;
use std::sync::Arc;

use requorum_steps::{Arg, HostName, Kind, Type};
use serde_json::Value;

use super::template::hole_in;
use super::validate::Bad;
use super::yaml::Step;

/// Where paths of this machine start that stand in one file of a plan. A copy is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    directory: Option<Arc<Path>>,
    home: Option<Arc<Path>>,
}

impl Start {
    /// Starts from a directory; `None`: there is none, as in a plan of the library. `home` is what `~/` is.
    #[must_use]
    pub fn new(directory: Option<&Path>, home: Option<&Path>) -> Self {
        Self { directory: directory.map(Arc::from), home: home.map(Arc::from) }
    }

    /// Makes a path absolute; an empty one stays empty. Returns why it cannot be: it is relative, and there is nothing to start
    /// from.
    pub fn lay(&self, path: &str) -> Result<String, String> {
        if path.is_empty() || Path::new(path).is_absolute() {
            return Ok(path.to_owned());
        }
        let (from, rest) = match path.strip_prefix("~/") {
            Some(rest) => (&self.home, rest),
            None => (&self.directory, path),
        };
        let from = from
            .as_deref()
            .ok_or_else(|| format!("`{path}` is relative, and the plan has no directory that it could start from"))?;
        Ok(from.join(rest).to_string_lossy().into_owned())
    }
}

/// Returns the paths of this machine in arguments that [`lay`] cannot make absolute.
pub(super) fn not_laid(kind: &Kind, args: &Value, start: &Start) -> Vec<Bad> {
    if start.directory.is_some() && start.home.is_some() {
        return Vec::new();
    }
    lay(kind, &mut args.clone(), start)
}

/// Makes the paths of this machine in arguments absolute, and returns those that cannot be. What only the run can know is left
/// as it is.
pub(super) fn lay(kind: &Kind, args: &mut Value, start: &Start) -> Vec<Bad> {
    let mut walk = Walk { start, way: Vec::new(), found: Vec::new() };
    walk.object(kind.args, args);
    walk.found
}

struct Walk<'a> {
    start: &'a Start,
    way: Vec<Step>,
    found: Vec<Bad>,
}

impl Walk<'_> {
    fn object(&mut self, args: &[Arg], value: &mut Value) {
        for arg in args {
            if let Some(value) = value.get_mut(arg.name) {
                self.inside(Step::Key(arg.name.to_owned()), &arg.ty, value);
            }
        }
    }

    fn inside(&mut self, step: Step, ty: &Type, value: &mut Value) {
        self.way.push(step);
        self.value(ty, value);
        self.way.pop();
    }

    fn value(&mut self, ty: &Type, value: &mut Value) {
        match (ty, value) {
            (Type::LocalPath, value @ Value::String(_)) => self.path(value),
            (Type::Place, value @ Value::String(_)) if !value.as_str().is_some_and(is_on_a_host) => self.path(value),
            (Type::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.inside(Step::Index(index), inner, item);
                }
            }
            (Type::Map(inner), Value::Object(map)) => {
                for (key, item) in map.iter_mut() {
                    self.inside(Step::Key(key.clone()), inner, item);
                }
            }
            (Type::Object(args), value) => self.object(args, value),
            // A path of one of several types would be one of all of them.
            (Type::OneOf(types), value) => types.iter().for_each(|ty| self.value(ty, value)),
            (
                Type::LocalPath
                | Type::Place
                | Type::List(_)
                | Type::Map(_)
                | Type::Str
                | Type::Path
                | Type::Int
                | Type::Bool
                | Type::Duration
                | Type::Size
                | Type::Word(_)
                | Type::Host
                | Type::Hosts
                | Type::Checks
                | Type::Expression
                | Type::Any,
                _,
            ) => {}
        }
    }

    fn path(&mut self, value: &mut Value) {
        let Some(path) = value.as_str().filter(|_| !hole_in(value)) else { return };
        match self.start.lay(path) {
            Ok(laid) => *value = laid.into(),
            Err(message) => self.found.push(Bad {
                way: self.way.clone(),
                code: "relative-path",
                message,
                help: Some("write an absolute path, or take an input of the type `file`".to_owned()),
                name: None,
            }),
        }
    }
}

/// Says whether a place is `HOST:/path`, as [`requorum_steps::Reader::read`] takes it.
fn is_on_a_host(place: &str) -> bool {
    place.split_once(':').is_some_and(|(name, path)| path.starts_with('/') && HostName::new(name).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: Kind = Kind {
        args: &[
            Arg::required("src", Type::LocalPath, ""),
            Arg::required("path", Type::Path, ""),
            Arg::required("more", Type::List(&Type::Place), ""),
        ],
        ..Kind::BLANK
    };

    fn start() -> Start {
        Start::new(Some(Path::new("/plans/site")), Some(Path::new("/home/op")))
    }

    #[test]
    fn only_relative_paths_of_this_machine_are_laid_on_the_directory() {
        let mut args = json!({ "src": "./a/../b.db", "path": "c", "more": ["d", "/e", "~/f", "cp1:/g", "no host:/h"] });
        assert_eq!(lay(&KIND, &mut args, &start()), []);
        let more = json!(["/plans/site/d", "/e", "/home/op/f", "cp1:/g", "/plans/site/no host:/h"]);
        assert_eq!(args, json!({ "src": "/plans/site/./a/../b.db", "path": "c", "more": more }));
    }

    #[test]
    fn a_relative_path_without_a_directory_is_refused_where_it_stands() {
        let mut args = json!({ "src": "/a", "path": "c", "more": ["/d", "e"] });
        let found = lay(&KIND, &mut args, &Start::default());
        let way = [Step::Key("more".to_owned()), Step::Index(1)];
        assert_eq!(found.iter().map(|bad| bad.way.as_slice()).collect::<Vec<_>>(), [&way]);
    }

    #[test]
    fn what_only_the_run_can_know_is_left_as_it_is() {
        let hole = super::super::template::Hole::Text.value();
        let args = json!({ "src": hole, "path": "c", "more": hole });
        let mut laid = args.clone();
        assert_eq!(lay(&KIND, &mut laid, &Start::default()), []);
        assert_eq!(laid, args);
    }
}
