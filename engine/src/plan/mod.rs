//! From YAML to a compiled plan, without I/O: document, site, template, validate, compile, digest, diagnostic.
//!
//! Nothing in here reads a file, a clock or the environment: what it needs from outside comes in through
//! [`compile::Request`].

mod codes;
pub mod compile;
pub mod compiled;
pub mod diagnostic;
pub mod difference;
mod digest;
mod document;
mod expand;
mod fields;
mod foresight;
mod include;
mod inputs;
mod keys;
mod names;
mod needs;
mod order;
mod parts;
pub mod paths;
mod scalar;
pub mod schema;
mod site;
pub mod site_change;
pub mod template;
pub mod uses;
pub mod validate;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

pub use codes::CODES;
pub use compile::{Compiled, Mode, Refused, Request, compile, compile_for, read_site};
pub use diagnostic::{Diagnostic, Severity};
pub use digest::digest;
pub use inputs::{Given, Kept};
pub use keys::PLATFORMS;
pub use site::ReadSite;
pub use template::Scope;

/// A plan or site as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// What messages call it, usually its path.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The directory that relative paths in it start from; `None` for a plan of the library.
    pub directory: Option<PathBuf>,
}

impl Source {
    /// Lays a path as the author wrote it on the directory of this file; `~/` is the home directory.
    #[must_use]
    pub fn resolve(&self, path: &str, home: Option<&Path>) -> PathBuf {
        match (path.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_), None) | (None, _) => {
                self.directory.as_deref().map_or_else(|| PathBuf::from(path), |directory| directory.join(path))
            }
        }
    }
}

impl Source {
    /// Names a file beside this one as the operator would name it.
    fn beside(&self, path: &str) -> PathBuf {
        match (&self.directory, Path::new(&self.name).parent()) {
            (Some(_), Some(parent)) if !path.starts_with("~/") => parent.join(path),
            (Some(_) | None, _) => PathBuf::from(path),
        }
    }
}

/// How the compiler reads the files that a plan names: templates, included plans, and the files of `--set-file`.
pub trait Files {
    /// Returns the text of a file, or why it cannot be read, in words that complete "cannot read PATH: …".
    fn read(&self, path: &Path) -> Result<String, String>;

    /// Returns the text of a plan of the library.
    fn shipped(&self, _name: &str) -> Option<String> {
        None
    }

    /// Returns the names of the plans of the library.
    fn shipped_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the path that all paths to one file have in common.
    fn identity(&self, path: &Path) -> PathBuf {
        plain(path)
    }
}

/// Returns a path without `.` and, where it can be told without looking, without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => plain.push(part),
        }
    }
    plain
}
