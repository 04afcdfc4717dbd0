//! Plans and sites from where the operator says: a path, or a name of the library.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use requorum_steps::catalog;

use super::error::{CommandError, Exit};
use super::kept::Kept;
use super::options::Inputs;
use super::output;
use crate::exec::pipe;
use crate::plan::diagnostic::{self, Diagnostic};
use crate::plan::{
    Compiled, Files, Given, Kept as KeptInputs, Mode, ReadSite, Refused, Request, Source, compile, compile_for,
};

/// Reads files of this machine, and those of the library.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        match bytes(path).and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())) {
            Ok(text) => Ok(text),
            Err(error) => {
                let shipped = path.to_str().and_then(requorum_plans::file);
                shipped.map(str::to_owned).ok_or_else(|| why_not(&error))
            }
        }
    }

    fn shipped(&self, name: &str) -> Option<String> {
        requorum_plans::find(name).map(|plan| plan.text.to_owned())
    }

    fn shipped_names(&self) -> Vec<String> {
        requorum_plans::all().into_iter().map(|plan| plan.name).collect()
    }

    fn identity(&self, path: &Path) -> PathBuf {
        fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
    }
}

/// Reads a file to its end, which it must have.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    pipe::refuse(path)?;
    let kind = fs::metadata(path)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device, and no file"));
    }
    fs::read(path)
}

/// Says why a file cannot be read.
fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

/// Finds a plan: a path, or a name of the library.
pub fn plan(named: &str) -> Result<Source, CommandError> {
    let path = Path::new(named);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        return read(path, "plan");
    }
    if let Some(shipped) = requorum_plans::find(named) {
        return Ok(Source { name: shipped.name, text: shipped.text.to_owned(), directory: None });
    }
    // What is there and no file, such as `<(command)`, is read or refused as what it is.
    if path.exists() {
        return read(path, "plan");
    }
    let names = Disk.shipped_names();
    let error =
        CommandError::new(Exit::Invalid, format!("there is no plan `{named}`, neither a file nor in the library"));
    Err(match diagnostic::nearest(named, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`requorum plans list` shows the library"),
    })
}

/// Reads a site file.
pub fn site(path: &Path) -> Result<Source, CommandError> {
    read(path, "site")
}

fn read(path: &Path, what: &str) -> Result<Source, CommandError> {
    let text = bytes(path).map_err(|error| {
        CommandError::new(Exit::Invalid, format!("cannot read the {what} {}: {}", path.display(), why_not(&error)))
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        CommandError::new(Exit::Invalid, format!("the {what} {} is not UTF-8 text: see line {line}", path.display()))
            .hint("save it as UTF-8")
    })?;
    let absolute = std::path::absolute(path)?;
    let directory = absolute.parent().map(Path::to_path_buf);
    Ok(Source { name: path.display().to_string(), text, directory })
}

/// A plan compiled as the command needs it, and the sources for showing diagnostics.
pub struct Loaded {
    /// The compiled plan.
    pub compiled: Compiled,
    /// The plan's source.
    pub plan: Source,
    /// The site's source.
    pub site: Option<Source>,
}

impl Loaded {
    /// Returns the sources of the plan, of what it includes, and of the site, for showing diagnostics.
    #[must_use]
    pub fn sources(&self) -> Vec<&Source> {
        std::iter::once(&self.plan).chain(&self.compiled.included).chain(&self.site).collect()
    }
}

/// Why nothing could be compiled.
pub enum LoadError {
    /// A file could not be read or found.
    Unreadable {
        /// The plan or the site, as the operator named it.
        file: String,
        /// Why.
        error: CommandError,
    },
    /// Something else went wrong.
    Command(CommandError),
    /// The plan or the site is wrong.
    Wrong {
        /// All that is wrong.
        diagnostics: Vec<Diagnostic>,
        /// The sources for showing it.
        sources: Vec<Source>,
    },
}

impl From<CommandError> for LoadError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Puts together what is given for the inputs.
fn given(inputs: &Inputs, kept: KeptInputs) -> Result<Given, CommandError> {
    Ok(Given {
        set: inputs.set.clone(),
        set_file: inputs.set_file.clone(),
        directory: std::env::current_dir()?,
        environment: std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect(),
        kept,
    })
}

/// Reads and compiles.
pub fn compiled(named: &str, site_path: Option<&Path>, inputs: &Inputs, mode: Mode) -> Result<Loaded, LoadError> {
    let unreadable = |file: String| move |error| LoadError::Unreadable { file, error };
    let plan = plan(named).map_err(unreadable(named.to_owned()))?;
    let site = site_path.map(|path| site(path).map_err(unreadable(path.display().to_string()))).transpose()?;
    let given = given(inputs, KeptInputs::default())?;
    let home = std::env::home_dir();
    let request = Request {
        plan: &plan,
        site: site.as_ref(),
        inputs: &given,
        home: home.as_deref(),
        files: &Disk,
        mode,
        kinds: catalog::all(),
    };
    match compile(&request) {
        Ok(compiled) => Ok(Loaded { compiled, plan, site }),
        Err(Refused { found, included }) => {
            let sources = std::iter::once(plan).chain(included).chain(site).collect();
            Err(LoadError::Wrong { diagnostics: found, sources })
        }
    }
}

/// Reads a plan and compiles it with the site and the inputs that a run keeps. What is given anew counts before these.
pub fn recompiled(named: &str, inputs: &Inputs, kept: &Kept) -> Result<Loaded, LoadError> {
    let plan = plan(named)?;
    let (values, secrets) = (kept.plan.inputs.clone(), kept.plan.secrets.clone());
    let given = given(inputs, KeptInputs { values, secrets })?;
    let home = std::env::home_dir();
    let request = Request {
        plan: &plan,
        site: None,
        inputs: &given,
        home: home.as_deref(),
        files: &Disk,
        mode: Mode::Run,
        kinds: catalog::all(),
    };
    match compile_for(&request, kept.compiled_for.clone()) {
        Ok(compiled) => Ok(Loaded { compiled, plan, site: None }),
        Err(Refused { found, included }) => {
            let sources = std::iter::once(plan).chain(included).collect();
            Err(LoadError::Wrong { diagnostics: found, sources })
        }
    }
}

/// Reads a site by itself.
pub fn read_site(source: &Source, colour: bool) -> Result<ReadSite, CommandError> {
    let home = std::env::home_dir();
    crate::plan::read_site(source, home.as_deref())
        .map_err(|diagnostics| report(LoadError::Wrong { diagnostics, sources: vec![source.clone()] }, colour))
}

/// Writes what a run keeps as it is kept.
pub fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, CommandError> {
    serde_json::to_vec(value).map_err(|error| CommandError::new(Exit::Internal, error.to_string()))
}

/// Shows what is wrong on standard error and returns the error of the command.
#[must_use]
pub fn report(error: LoadError, colour: bool) -> CommandError {
    match error {
        LoadError::Unreadable { error, .. } | LoadError::Command(error) => error,
        LoadError::Wrong { diagnostics, sources } => {
            show(&diagnostics, &sources.iter().collect::<Vec<_>>(), colour);
            CommandError::reported(Exit::Invalid)
        }
    }
}

/// Shows diagnostics on standard error.
pub fn show(diagnostics: &[Diagnostic], sources: &[&Source], colour: bool) {
    if !diagnostics.is_empty() {
        output::tell(format_args!("{}", diagnostic::render(diagnostics, sources, colour)));
    }
}

/// Reads `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads `NAME=PATH`.
pub fn file_assignment(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), path))
}
