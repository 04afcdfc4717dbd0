//! The shipped plan library: YAML files, a folder for each platform, embedded into the program.

use include_dir::{Dir, DirEntry, include_dir};

static ETCD: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/etcd");
static UK8S: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/uk8s");

/// The folders of the library, by the first part of a plan's name.
static FOLDERS: &[(&str, &Dir<'static>)] = &[("etcd", &ETCD), ("uk8s", &UK8S)];

/// A shipped plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// Its name, for example `etcd/restore-all-members`.
    pub name: String,
    /// Its text.
    pub text: &'static str,
}

/// Returns all shipped plans, in the order of their names.
#[must_use]
pub fn all() -> Vec<Shipped> {
    let mut plans = Vec::new();
    for (folder, dir) in FOLDERS {
        for entry in dir.entries() {
            let DirEntry::File(file) = entry else { continue };
            let (Some(stem), Some(text)) = (file.path().file_stem(), file.contents_utf8()) else { continue };
            if file.path().extension().is_some_and(|extension| extension == "yaml") {
                plans.push(Shipped { name: format!("{folder}/{}", stem.to_string_lossy()), text });
            }
        }
    }
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    plans
}

/// Returns the shipped plan of a name.
#[must_use]
pub fn find(name: &str) -> Option<Shipped> {
    all().into_iter().find(|plan| plan.name == name)
}

/// Returns the text of a file beside the plans of a folder, for example a template: `etcd/etcd.conf.j2`.
#[must_use]
pub fn file(path: &str) -> Option<&'static str> {
    let (folder, rest) = path.split_once('/')?;
    let (_, dir) = FOLDERS.iter().find(|(name, _)| *name == folder)?;
    dir.get_file(rest)?.contents_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_of_the_library_carries_its_own_name() {
        let plans = all();
        assert!(!plans.is_empty());
        for plan in plans {
            assert!(plan.text.contains(&format!("\nname: {}\n", plan.name)), "{}", plan.name);
        }
    }
}
