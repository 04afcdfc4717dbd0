//! The corpus of defective plans and sites: `tests/cli/defects/*.yaml`, each with the report that it gets.
//!
//! A file that begins with `cluster` is a site; one whose first line says `# check` is checked without site and inputs.

use std::path::PathBuf;

use super::Try;

fn corpus() -> Vec<(String, String)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cli/defects"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_defect_is_reported_with_place_cause_and_help() {
    let corpus = corpus();
    assert!(corpus.len() >= 30, "{} defects", corpus.len());
    for (name, text) in corpus {
        let good = "requorum: 1\nname: test\nsteps: [ { id: a, gate.confirm: { message: m } } ]\n";
        let tried = match (name.starts_with("site-"), text.starts_with("# check")) {
            (true, _) => Try::plan(good).site(&text),
            (false, true) => Try::plan(&text).without_site(),
            (false, false) => Try::plan(&text),
        };
        let report = match tried.compile() {
            Ok(compiled) => tried.shown(&compiled.warnings),
            Err(found) => tried.shown(&found),
        };
        assert!(!report.is_empty(), "{name}");
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cli/defects/reports"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, report);
        });
    }
}
