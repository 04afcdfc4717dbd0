//! `requorum runs export`: everything that can be had of a run, for a person who finishes by hand.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use requorum_state::blob::Blobs;
use requorum_state::layout::Layout;
use requorum_state::salvage::{self, Remains, Remnant, Source, ranges};
use serde_json::Value;

use super::error::{CommandError, Exit, chain};
use super::home::{Home, hand_over, run_id};
use super::output;
use crate::report::lines;
use crate::run::record::{Event, Record};

/// Prints all records of a run that can be had, from the store and the witness, damaged or not
///
/// The records go to standard output as JSON lines. What is missing or doubtful, and where the plan and the site lie, is told
/// on standard error. Exit status 1 says that not all is there. It takes no lock and changes nothing.
#[derive(Debug, Args)]
pub struct Export {
    /// The run; the newest where it is left out
    run: Option<String>,

    /// Writes the records, their story, the plan and the site to files in a new directory instead
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What a run keeps beside its records: a plan or a site.
struct Kept {
    name: String,
    path: PathBuf,
    content: Result<Vec<u8>, String>,
}

impl Export {
    /// Carries the command out.
    pub fn run(self, home: &Home) -> Result<(), CommandError> {
        let id = match &self.run {
            Some(named) => run_id(named)?,
            None => home.newest()?,
        };
        let directory = home.directory(&id)?;
        let remains = salvage::look(&directory)?;
        let kept = kept(&directory, &remains);
        match &self.to {
            Some(to) => write(to, &remains, &kept)?,
            None => {
                for remnant in remains.records.values() {
                    output::line(format_args!("{}", text(remnant)))?;
                }
            }
        }
        output::tell(format_args!("{}", account(id.as_str(), &remains, &kept)));
        let whole = remains.whole().is_some() && !remains.records.is_empty();
        if whole && kept.iter().all(|kept| kept.content.is_ok()) {
            return Ok(());
        }
        Err(hand_over(CommandError::new(Exit::Internal, format!("run `{id}` is not complete")), &directory))
    }
}

fn text(remnant: &Remnant) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&remnant.payload)
}

/// Reads the plans and sites that the records name. A record that this version cannot read may still name them.
fn kept(directory: &Path, remains: &Remains) -> Vec<Kept> {
    let place = Layout::of(directory).blobs();
    let blobs = Blobs::at(&place);
    let mut found = Vec::new();
    for (number, remnant) in &remains.records {
        let Ok(record) = serde_json::from_slice::<Value>(&remnant.payload) else { continue };
        for (key, name) in [("plan_blob", "plan"), ("site_blob", "site")] {
            let Some(digest) = record["event"][key].as_str() else { continue };
            // The first has the plain name; what a person changed later has the number of that record.
            let first = !found.iter().any(|kept: &Kept| kept.name == name);
            found.push(Kept {
                name: if first { name.to_owned() } else { format!("{name}-{number}") },
                path: place.join(digest),
                content: blobs.get(digest).map_err(|error| chain(&error)),
            });
        }
    }
    found
}

/// Says what was found, and what is missing or doubtful.
fn account(run: &str, remains: &Remains, kept: &[Kept]) -> String {
    let mut lines = vec![format!("run {run}: {} of {} records", remains.records.len(), remains.known)];
    for (source, words) in [(Source::Store, "only in the store"), (Source::Witness, "only in events.jsonl")] {
        let numbers = remains.records.iter().filter(|(_, remnant)| remnant.source == source).map(|(number, _)| *number);
        lines.extend(numbered(ranges(numbers)).map(|numbers| format!("  {words}: {numbers}")));
    }
    for (number, remnant) in &remains.records {
        lines.extend(remnant.doubt.map(|doubt| format!("  record {number} is doubtful: {doubt}")));
    }
    lines.extend(numbered(remains.missing()).map(|numbers| format!("  missing: {numbers}")));
    lines.extend(remains.complaints.iter().map(|complaint| format!("  {complaint}")));
    for kept in kept {
        lines.push(match &kept.content {
            Ok(_) => format!("  {}: {}, whole", kept.name, kept.path.display()),
            Err(why) => format!("  {}: {}, not usable: {why}", kept.name, kept.path.display()),
        });
    }
    if kept.is_empty() {
        lines.push("  plan and site: no record names them".to_owned());
    }
    lines.join("\n") + "\n"
}

/// Writes ranges of numbers as a person does; `None` where there are none.
pub(super) fn numbered(ranges: Vec<RangeInclusive<u64>>) -> impl Iterator<Item = String> {
    let words = ranges.into_iter().map(|range| match range.into_inner() {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", ")).into_iter()
}

/// Writes everything to files in a directory that must be new.
fn write(to: &Path, remains: &Remains, kept: &[Kept]) -> Result<(), CommandError> {
    let unusable = |error| CommandError::new(Exit::Usage, format!("{} cannot be made: {error}", to.display()));
    fs::DirBuilder::new().mode(0o700).create(to).map_err(|error| unusable(error).hint("name a new directory"))?;
    let records: Vec<&[u8]> = remains.records.values().flat_map(|remnant| [&*remnant.payload, b"\n"]).collect();
    private_file(&to.join("records.jsonl"), &records.concat())?;
    private_file(&to.join("story.txt"), story(remains).as_bytes())?;
    for kept in kept {
        let Ok(content) = &kept.content else { continue };
        // Set out for a person; every value is as it was.
        let pretty = serde_json::from_slice::<Value>(content).and_then(|value| serde_json::to_vec_pretty(&value));
        private_file(&to.join(format!("{}.json", kept.name)), pretty.as_ref().unwrap_or(content))?;
    }
    output::tell_line(format_args!("written to {}", to.display()));
    Ok(())
}

fn private_file(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, content));
    written.map_err(|error| CommandError::new(Exit::Internal, format!("{} cannot be written: {error}", path.display())))
}

/// Tells the records as `runs logs` does, with the full command of every act.
fn story(remains: &Remains) -> String {
    let mut story = Vec::new();
    for (number, remnant) in &remains.records {
        let Ok(record) = serde_json::from_slice::<Record>(&remnant.payload) else {
            story.push(format!("record {number} is in a form that this version does not know"));
            continue;
        };
        story.extend(lines::line(&record, None));
        if let Event::Started { command, .. } = &record.event {
            story.extend(command.lines().map(|line| format!("            {line}")));
        }
    }
    story.join("\n") + "\n"
}
