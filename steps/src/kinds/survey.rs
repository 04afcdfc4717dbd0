//! What is at a path of a host and what was set aside from it, by device and inode: how `file.set_aside` and
//! `file.restore_aside` tell whether they happened.
//!
//! A rename keeps device and inode, so what `before` saw is found again under its new name whoever looks, whenever.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shell::{self, Answer};
use crate::action::Probe;
use crate::fault::Fault;
use crate::world::Reader;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Device and inode.
    pub(super) id: String,
    pub(super) name: String,
}

/// Something that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aside {
    pub(super) id: String,
    pub(super) path: String,
    /// The entries, where it holds the children of a mount point.
    pub(super) inner: Vec<Entry>,
}

/// What a look at a path saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Survey {
    /// `absent`, `file`, `directory`, `mountpoint`, `symlink` or `other`.
    pub(super) was: String,
    /// Device and inode; empty where it is absent.
    pub(super) id: String,
    pub(super) mode: String,
    /// uid:gid.
    pub(super) owner: String,
    pub(super) selinux: String,
    /// The entries of a mount point, but `lost+found` and asides.
    pub(super) children: Vec<Entry>,
    pub(super) asides: Vec<Aside>,
}

impl Survey {
    /// Looks at a path of the host, and at one more place where it may have been set aside.
    pub(super) async fn take(reader: &Reader<'_>, path: &str, also: Option<&str>) -> Result<Self, Fault> {
        let stem = shell::aside_stem(reader.site(), path);
        Ok(Self::read(&shell::look(reader, &Self::script(path, &stem, also), None).await?))
    }

    pub(super) fn script(path: &str, stem: &str, also: Option<&str>) -> crate::Script {
        shell::script(include_str!("sh/survey.sh"), [path, stem].into_iter().chain(also))
    }

    pub(super) fn read(answer: &Answer) -> Self {
        let text = |key: &str| answer.get(key).to_owned();
        let mut survey =
            Self { was: text("was"), id: text("id"), mode: text("mode"), owner: text("owner"), ..Self::default() };
        survey.selinux = text("selinux");
        for (key, value) in answer.lines() {
            let Some((id, name)) = value.split_once(' ') else { continue };
            let (id, name) = (id.to_owned(), name.to_owned());
            match key {
                "child" => survey.children.push(Entry { id, name }),
                "aside" => survey.asides.push(Aside { id, path: name, inner: Vec::new() }),
                "inner" => survey.asides.last_mut().into_iter().for_each(|aside| {
                    aside.inner.push(Entry { id: id.clone(), name: name.clone() });
                }),
                _ => {}
            }
        }
        survey
    }

    /// Returns what was set aside with this identity.
    pub(super) fn aside_with(&self, id: &str) -> Option<&Aside> {
        self.asides.iter().find(|aside| aside.id == id && !id.is_empty())
    }

    /// Returns the aside at a path.
    pub(super) fn aside_at(&self, path: &str) -> Option<&Aside> {
        self.asides.iter().find(|aside| aside.path == path)
    }

    /// Says in one line what is there.
    pub(super) fn shown(&self, path: &str) -> String {
        match self.was.as_str() {
            "absent" => format!("nothing is at {path}"),
            "mountpoint" => format!("{path} is a mount point with {} entries", self.children.len()),
            was => format!("a {was} is at {path} ({})", self.id),
        }
    }
}

/// Returns how many of the entries are among others.
fn found(entries: &[Entry], among: &[Entry]) -> usize {
    entries.iter().filter(|entry| among.contains(entry)).count()
}

/// Tells whether what `before` saw at a path has been set aside.
pub(super) fn was_set_aside(path: &str, before: &Survey, now: &Survey) -> Probe {
    let yes = |aside: &str, evidence: String| Probe::Yes { result: set_aside_result(path, aside, before), evidence };
    let no = || Probe::No { evidence: now.shown(path) };
    match before.was.as_str() {
        "absent" if now.was == "absent" => yes("", now.shown(path)),
        "absent" => no(),
        "mountpoint" if before.children.is_empty() && now.children.is_empty() => yes("", now.shown(path)),
        "mountpoint" if before.children.is_empty() => no(),
        "mountpoint" => {
            let all = before.children.len();
            let stayed = found(&before.children, &now.children);
            let best = now.asides.iter().max_by_key(|aside| found(&before.children, &aside.inner));
            match best.map(|aside| (aside, found(&before.children, &aside.inner))) {
                Some((aside, moved)) if moved == all => {
                    yes(&aside.path, format!("its {all} entries are in {}", aside.path))
                }
                Some((aside, moved)) if moved > 0 => Probe::Partly {
                    evidence: format!("{moved} of {all} entries are in {}, {stayed} still in {path}", aside.path),
                },
                Some(_) | None if stayed == all => no(),
                Some(_) | None => Probe::Unknown {
                    evidence: format!("{stayed} of {all} entries are still in {path}, the others in no aside"),
                },
            }
        }
        _ => match now.aside_with(&before.id) {
            Some(aside) => {
                yes(&aside.path, format!("{} has the device and inode that {path} had ({})", aside.path, before.id))
            }
            None if now.id == before.id => no(),
            None => Probe::Unknown {
                evidence: format!("{}; what was there ({}) is neither there nor beside it", now.shown(path), before.id),
            },
        },
    }
}

/// Returns the result of setting a path aside.
pub(super) fn set_aside_result(path: &str, aside: &str, before: &Survey) -> Value {
    let mode = if before.mode.is_empty() { String::new() } else { shell::four_digits(&before.mode) };
    json!({
        "path": path,
        "aside": shell::or_null(aside),
        "was": before.was,
        "mode": shell::or_null(&mode),
        "owner": shell::or_null(&before.owner),
        "selinux": shell::or_null(&before.selinux),
    })
}

/// Tells whether what was set aside is back at its path.
pub(super) fn was_restored(path: &str, aside: &str, before: &Survey, now: &Survey) -> Probe {
    let yes =
        |displaced: &str, evidence: String| Probe::Yes { result: restore_result(path, aside, displaced), evidence };
    let Some(kept) = before.aside_at(aside) else {
        return Probe::No { evidence: format!("nothing was at {aside}") };
    };
    if before.was == "mountpoint" {
        let all = kept.inner.len();
        let back = found(&kept.inner, &now.children);
        let displaced = now.asides.iter().find(|other| found(&before.children, &other.inner) > 0);
        let displaced = displaced.map_or("", |other| other.path.as_str());
        if back == all && now.aside_at(aside).is_none() {
            return yes(displaced, format!("its {all} entries are in {path}"));
        }
        if back == 0 && found(&before.children, &now.children) == before.children.len() {
            return Probe::No { evidence: format!("its {all} entries are in {aside}") };
        }
        return Probe::Partly { evidence: format!("{back} of {all} entries are back in {path}") };
    }
    let still = now.aside_at(aside).is_some_and(|other| other.id == kept.id);
    if now.id == kept.id {
        let displaced = now.aside_with(&before.id).map_or("", |other| other.path.as_str());
        return yes(displaced, format!("{path} has the device and inode that {aside} had ({})", kept.id));
    }
    if still && now.id == before.id {
        return Probe::No { evidence: format!("{aside} is still there") };
    }
    if still {
        return Probe::Partly { evidence: format!("{}, and {aside} is still there", now.shown(path)) };
    }
    Probe::Unknown { evidence: format!("{}; what was at {aside} ({}) is at neither place", now.shown(path), kept.id) }
}

/// Returns the result of putting back what was set aside.
pub(super) fn restore_result(path: &str, aside: &str, displaced: &str) -> Value {
    json!({ "path": path, "aside": aside, "displaced": shell::or_null(displaced) })
}
