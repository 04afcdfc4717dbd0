//! `requorum schema`: the JSON Schema of plans and sites, for editors, as `plans/*.schema.json` hold it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::{Args, ValueEnum};
use requorum_steps::catalog;
use serde_json::Value;

use super::error::CommandError;
use super::output;
use crate::plan::schema;

/// What the line begins with that tells an editor where the schema is.
const MODELINE: &str = "# yaml-language-server: $schema=";

/// Prints the JSON Schema of plans or of sites, with which editors complete and check them
#[derive(Debug, Args)]
pub struct Schema {
    /// The files that it describes
    #[arg(value_enum)]
    of: Of,
}

/// The files that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// Plans, with the kinds of this version
    Plan,
    /// Sites
    Site,
}

impl Schema {
    /// Carries the command out.
    pub fn run(self) -> Result<(), CommandError> {
        output::print(format_args!("{}", self.of.schema()))
    }
}

impl Of {
    /// Returns the word that asks for it.
    fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Site => "site",
        }
    }

    /// Returns the schema as it is printed.
    fn schema(self) -> String {
        let schema: Value = match self {
            Self::Plan => schema::of_plan(catalog::all()),
            Self::Site => schema::of_site(),
        };
        format!("{schema:#}\n")
    }

    /// Returns the name of the file that is kept beside those that it describes.
    fn file(self) -> &'static str {
        match self {
            Self::Plan => "plan.schema.json",
            Self::Site => "site.schema.json",
        }
    }
}

/// What was found where a schema was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing: it was written.
    Nothing,
    /// The same schema.
    Same,
    /// Another file, which is left as it is.
    Other,
}

/// Sees to it that the schema which a new file names is there, and tells what came of it. The file is good without it.
pub fn beside(file: &Path, of: Of) {
    let path = file.with_file_name(of.file());
    let shown = path.display();
    match write(&path, of) {
        Ok(Found::Nothing) => {
            output::tell_line(format_args!("also wrote {shown}, with which editors check what you write"));
        }
        Ok(Found::Same) => {}
        Ok(Found::Other) => {
            output::tell_line(format_args!("{shown} is there already, and not of this version; it is left as it is"));
            output::tell_line(format_args!("  hint: `requorum schema {}` prints the one of this version", of.word()));
        }
        Err(error) => output::tell_line(format_args!("cannot write {shown}, so editors cannot check: {error}")),
    }
}

/// Writes a schema unless a file is there, which is never overwritten.
fn write(path: &Path, of: Of) -> std::io::Result<Found> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(of.schema().as_bytes()).map(|()| Found::Nothing).inspect_err(|_| {
            // What cannot be written whole would be another file for ever.
            let _ = fs::remove_file(path);
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::read(path)?;
            Ok(if there == of.schema().as_bytes() { Found::Same } else { Found::Other })
        }
        Err(error) => Err(error),
    }
}

/// Puts the line that names the schema beside it before a text, in place of the one that it has.
#[must_use]
pub fn with_modeline(text: &str, of: Of) -> String {
    let rest = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with(MODELINE) => rest,
        Some(_) | None => text,
    };
    format!("{MODELINE}./{}\n{rest}", of.file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_schemas_in_the_library_are_those_of_this_version() {
        for of in [Of::Plan, Of::Site] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plans").join(of.file());
            // Not assert_eq: two texts of a thousand lines would bury what to do.
            assert!(
                fs::read_to_string(path).is_ok_and(|text| text == of.schema()),
                "plans/{} is not the schema of this version; write it anew with\n\n    \
                 cargo run -q -p requorum -- schema {} > plans/{}\n",
                of.file(),
                of.word(),
                of.file(),
            );
        }
    }

    #[test]
    fn a_modeline_is_put_first_and_replaces_another() {
        let line = "# yaml-language-server: $schema=./plan.schema.json\n";
        assert_eq!(with_modeline("requorum: 1\nname: x\n", Of::Plan), format!("{line}requorum: 1\nname: x\n"));
        let other = format!("{MODELINE}../plan.schema.json\nrequorum: 1\n");
        assert_eq!(with_modeline(&other, Of::Plan), format!("{line}requorum: 1\n"));
        assert_eq!(with_modeline("# mine\nrequorum: 1\n", Of::Plan), format!("{line}# mine\nrequorum: 1\n"));
    }

    #[test]
    fn a_schema_is_written_once_and_never_over_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.schema.json");
        assert_eq!(write(&path, Of::Site).unwrap(), Found::Nothing);
        assert_eq!(write(&path, Of::Site).unwrap(), Found::Same);
        fs::write(&path, "{}").unwrap();
        assert_eq!(write(&path, Of::Site).unwrap(), Found::Other);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }
}
