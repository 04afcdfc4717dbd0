//! The files that a plan is made of: itself, and all that it includes, each read once.
//!
//! What is found here is only which file an `include` means; [`super::expand`] puts the steps of one into the other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Source;
use super::compile::Request;
use super::diagnostic::{File, Problems, Span, nearest};
use super::yaml::{self, Node, Tree};

/// How deep plans may include each other.
pub(super) const MAX_DEPTH: usize = 16;
/// How many files a plan may be made of.
const MAX_FILES: usize = 1_000;

/// What tells one file from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    Shipped(String),
    File(PathBuf),
}

impl Identity {
    /// The identity of the file that holds a plan. A plan that is neither shipped nor in a directory has only its name.
    fn of(source: &Source, request: &Request<'_>) -> Self {
        match (&source.directory, Path::new(&source.name).file_name()) {
            (Some(directory), Some(name)) => Self::File(request.files.identity(&directory.join(name))),
            (Some(_), None) | (None, _) => Self::Shipped(source.name.clone()),
        }
    }
}

/// The files of a plan; the first is the plan itself.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    files: Vec<ReadFile<'a>>,
    known: HashMap<Identity, usize>,
}

/// A file that was read.
#[derive(Debug)]
struct ReadFile<'a> {
    source: Cow<'a, Source>,
    /// What is in it; `None` where it is no YAML.
    node: Option<Node>,
    /// The places that include it, the nearest first: those of the first way that led to it.
    via: Vec<String>,
    /// The files that its includes mean, by what is written there.
    includes: HashMap<String, usize>,
}

impl<'a> Sources<'a> {
    /// Reads a plan and everything that it includes.
    pub fn read(request: &Request<'a>, problems: &mut Problems) -> Self {
        let main = ReadFile {
            source: Cow::Borrowed(request.plan),
            node: yaml::parse(request.plan, File::MAIN, problems),
            via: Vec::new(),
            includes: HashMap::new(),
        };
        let known = HashMap::from([(Identity::of(request.plan, request), 0)]);
        let mut sources = Self { files: vec![main], known };
        let mut at = 0;
        while at < sources.files.len() {
            // The nearest come first, so that what lies too deep is too deep on every way.
            if sources.files[at].via.len() + 1 >= MAX_DEPTH {
                break;
            }
            for (written, span) in includes_in(sources.files[at].node.as_ref()) {
                if sources.files[at].includes.contains_key(&written) {
                    continue;
                }
                problems.enter(&sources.files[at].via);
                if let Some(file) = sources.find(at, &written, span, request, problems) {
                    sources.files[at].includes.insert(written, file);
                }
            }
            at += 1;
        }
        problems.enter(&[]);
        sources
    }

    /// Returns a file's source.
    pub fn source(&self, file: usize) -> &Source {
        &self.files[file].source
    }

    /// Returns what is in a file; `None` where it is no YAML, which is reported.
    pub fn node(&self, file: usize) -> Option<&Node> {
        self.files[file].node.as_ref()
    }

    /// Returns the file that an include of a file means; `None` where there is none, which is reported.
    pub fn included_by(&self, file: usize, written: &str) -> Option<usize> {
        self.files[file].includes.get(written).copied()
    }

    /// Returns the sources of the included files.
    pub fn into_included(self) -> Vec<Source> {
        self.files.into_iter().skip(1).map(|file| file.source.into_owned()).collect()
    }

    /// Finds the file that is meant, and reads it if it is a new one.
    fn find(
        &mut self,
        from: usize,
        written: &str,
        span: Span,
        request: &Request<'a>,
        problems: &mut Problems,
    ) -> Option<usize> {
        let found = if is_path(written) {
            self.file(from, written, span, request, problems)?
        } else {
            shipped(written, span, request, problems)?
        };
        let (identity, source) = match found {
            Found::Known(file) => return Some(file),
            Found::New(identity, source) => (identity, source),
        };
        if let Some(file) = self.known.get(&identity) {
            return Some(*file);
        }
        let file = problems.add_file(&source.name).filter(|_| self.files.len() < MAX_FILES);
        let Some(file) = file else {
            problems
                .error(span, "too-many-includes", format!("the plan is made of more than {MAX_FILES} files"))
                .help("put plans that belong together into one file");
            return None;
        };
        let mut via = vec![problems.place(span)];
        via.extend_from_slice(&self.files[from].via);
        problems.enter(&via);
        let node = yaml::parse(&source, file, problems);
        self.known.insert(identity, file.index());
        self.files.push(ReadFile { source: Cow::Owned(source), node, via, includes: HashMap::new() });
        Some(file.index())
    }

    fn file(
        &self,
        from: usize,
        written: &str,
        span: Span,
        request: &Request<'_>,
        problems: &mut Problems,
    ) -> Option<Found> {
        let from = self.source(from);
        let path = from.resolve(written, request.home);
        let name = name_beside(from, written, &path);
        let identity = Identity::File(request.files.identity(&path));
        if let Some(file) = self.known.get(&identity) {
            return Some(Found::Known(*file));
        }
        let text = match request.files.read(&path) {
            Ok(text) => text,
            Err(error) => {
                problems
                    .error(span, "unreadable-file", format!("cannot read the plan {name}"))
                    .cause(error)
                    .help("the path starts from the directory of the file that includes it");
                return None;
            }
        };
        let directory = path.parent().map(Path::to_path_buf);
        Some(Found::New(identity, Source { name, text, directory }))
    }
}

/// What an include means.
enum Found {
    /// A file that was read before.
    Known(usize),
    New(Identity, Source),
}

fn shipped(name: &str, span: Span, request: &Request<'_>, problems: &mut Problems) -> Option<Found> {
    if let Some(text) = request.files.shipped(name) {
        let source = Source { name: name.to_owned(), text, directory: None };
        return Some(Found::New(Identity::Shipped(name.to_owned()), source));
    }
    let names = request.files.shipped_names();
    let found = problems.error(span, "unknown-plan", format!("there is no plan `{name}` in the library"));
    found.cause("what does not end in `.yaml` is the name of a shipped plan");
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => found.help(format!("did you mean `{near}`?")),
        None => found.help(format!("`requorum plans list` shows the library; for a file write `{name}.yaml`")),
    };
    None
}

/// Says whether an include means a path, and not the name of a plan.
fn is_path(written: &str) -> bool {
    let extension = Path::new(written).extension();
    extension.is_some_and(|extension| extension == "yaml" || extension == "yml") || written.starts_with(['.', '/', '~'])
}

/// Names an included file as the operator named the one that includes it.
fn name_beside(from: &Source, written: &str, path: &Path) -> String {
    let beside = Path::new(&from.name).parent().filter(|_| from.directory.is_some() && !written.starts_with('~'));
    super::plain(&beside.map_or_else(|| path.to_path_buf(), |beside| beside.join(written))).display().to_string()
}

/// Returns what the entries of `steps` and `preflight` include, with the places.
fn includes_in(node: Option<&Node>) -> Vec<(String, Span)> {
    let lists = ["preflight", "steps"].into_iter().filter_map(|key| node?.get(key));
    let items = lists.flat_map(|list| match &list.value {
        Tree::List(items) => &**items,
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Map(_) => &[],
    });
    let included = items.filter_map(|item| item.get("include"));
    included.filter_map(|node| Some((node.text()?.to_owned(), node.span))).collect()
}
