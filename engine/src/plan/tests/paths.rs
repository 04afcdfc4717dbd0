//! Where relative paths of this machine start.

use std::path::PathBuf;

use super::Try;
use crate::plan::compiled::Directories;
use crate::plan::{Source, digest};

/// A plan that copies files of this machine, one by a path of its own, one by an input with a default.
const COPY: &str = r#"requorum: 1
name: test
inputs: { file: { type: file, default: files/b.db } }
steps:
  - { id: own, on: [cp1], file.copy: { src: files/a.db, path: /a } }
  - { id: given, on: [cp1], file.copy: { src: "{{ inputs.file }}", path: /b } }
"#;

#[test]
fn a_plan_keeps_its_directory_and_that_of_each_that_it_includes() {
    let outer = "requorum: 1\nname: outer\nsteps:\n  - include: more/copy.yaml\n    as: more\n";
    let plan = Try::plan(outer).file("/plans/more/copy.yaml", COPY).accepted().plan;
    let start = |part: Option<&str>| plan.directories.start(part).lay("a.db");
    assert_eq!(start(None).as_deref(), Ok("/plans/a.db"));
    assert_eq!(start(Some("more")).as_deref(), Ok("/plans/more/a.db"));
    assert_eq!(plan.directories.start(None).lay("~/a.db").as_deref(), Ok("/home/op/a.db"));
    assert_eq!(plan.included["more"].inputs["file"], "/plans/more/files/b.db");
}

#[test]
fn a_relative_default_starts_from_the_plan_and_a_given_path_from_where_the_operator_stands() {
    let value = |tried: Try| tried.accepted().plan.inputs["file"].clone();
    assert_eq!(value(Try::plan(COPY)), "/plans/files/b.db");
    let mut given = Try::plan(COPY).set("file", "c.db");
    given.given.directory = PathBuf::from("/desk");
    assert_eq!(value(given), "/desk/c.db");
    assert_eq!(value(Try::plan(&COPY.replace("files/b.db", "''"))), "", "nothing is no path");
}

#[test]
fn the_directory_makes_no_other_plan() {
    let mut plan = Try::plan(COPY).set("file", "/b").accepted().plan;
    let before = plan.digest.clone();
    plan.directories = Directories::default();
    assert_eq!(digest(&plan), before);
}

#[test]
fn a_plan_of_the_library_takes_no_relative_path() {
    assert_eq!(Try::plan(COPY).shipped().refused(), ["bad-default", "relative-path"]);
    let absolute = COPY.replace("files/", "/files/");
    Try::plan(&absolute).shipped().accepted();
    // Nor does one that is passed on.
    let outer = "requorum: 1\nname: outer\nsteps:\n  - { include: copy.yaml, with: { file: b.db } }\n";
    let mut outer = Try::plan(outer).file("copy.yaml", &absolute);
    outer.plan = Source { directory: None, ..outer.plan };
    assert_eq!(outer.refused(), ["bad-input"]);
}
