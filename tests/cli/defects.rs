//! The corpus of defective plans and sites: `tests/cli/defects`, one defect in each file, with the report that it gets.
//!
//! A file is named `CODE.WHAT.yaml`, after the one problem that it has; one that begins with `site-` is a site. It is checked
//! with what is in `sound/`, unless its first line gives another command: `# requorum check FILE --set x=1`. It may include
//! what is in `defects/parts/`; its problem may be in there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use requorum::plan::CODES;
use serde_json::Value;

use crate::support::{Laptop, Outcome};

/// Problems of a call and not of a file: no file could have them.
const OF_A_CALL: [&str; 1] = ["missing-site"];

/// A file of the corpus.
struct Defect {
    name: String,
    bytes: Vec<u8>,
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cli")).join(name)
}

fn corpus() -> Vec<Defect> {
    let entries = std::fs::read_dir(directory("defects")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut corpus: Vec<Defect> = files
        .map(|path| Defect {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: std::fs::read(&path).unwrap(),
        })
        .collect();
    corpus.sort_by(|a, b| a.name.cmp(&b.name));
    corpus
}

impl Defect {
    fn is_site(&self) -> bool {
        self.name.starts_with("site-")
    }

    /// The code of its one problem.
    fn code(&self) -> &str {
        let name = self.name.strip_prefix("site-").unwrap_or(&self.name);
        name.split('.').next().unwrap()
    }

    fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    fn command(&self) -> Vec<String> {
        let first = self.bytes.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
        let own = first.and_then(|line| line.strip_prefix("# requorum "));
        let line = own.unwrap_or(if self.is_site() { "check plan.yaml -i FILE" } else { "check FILE -i site.yaml" });
        line.split_whitespace().map(|word| if word == "FILE" { self.file() } else { word.to_owned() }).collect()
    }

    fn run(&self, laptop: &Laptop, more: &[&str]) -> Outcome {
        let command = self.command();
        let line: Vec<&str> = command.iter().map(String::as_str).chain(more.iter().copied()).collect();
        laptop.run(&line)
    }
}

/// A laptop with a sound plan, a sound site, plans to include, and the corpus.
fn laptop(corpus: &[Defect]) -> Laptop {
    let laptop = Laptop::new();
    std::fs::create_dir(laptop.path("parts")).unwrap();
    for (from, to) in [("sound", "."), ("defects/parts", "parts")] {
        for entry in std::fs::read_dir(directory(from)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, laptop.path(to).join(path.file_name().unwrap())).unwrap();
        }
    }
    for deep in 1..=20 {
        let text = format!("requorum: 1\nname: site/deep\nsteps:\n  - include: deep-{}.yaml\n", deep + 1);
        std::fs::write(laptop.path(&format!("parts/deep-{deep}.yaml")), text).unwrap();
    }
    for defect in corpus {
        std::fs::write(laptop.path(&defect.file()), &defect.bytes).unwrap();
    }
    laptop
}

#[test]
fn every_defect_is_reported_with_place_cause_and_help() {
    let corpus = corpus();
    let laptop = laptop(&corpus);
    assert!(corpus.len() >= 80, "{} defects", corpus.len());
    let mut wrong = Vec::new();
    for defect in &corpus {
        let outcome = defect.run(&laptop, &[]);
        let codes: Vec<&str> =
            outcome.stderr.lines().filter(|line| CODES.iter().any(|(code, _)| code == line)).collect();
        let is_warning = outcome.stderr.lines().any(|line| line.starts_with("  ⚠ "));
        if codes != [defect.code()] || outcome.code != if is_warning { 0 } else { 3 } {
            wrong.push(format!("{}: {codes:?}, exit {}\n{}", defect.name, outcome.code, outcome.stderr));
        }
        insta::with_settings!({
            snapshot_path => "defects/reports",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(defect.name.as_str(), outcome.stderr);
        });
    }
    assert!(wrong.is_empty(), "not reported as the one problem that is meant:\n{}", wrong.join("\n"));
    assert!(!laptop.state().exists());
}

#[test]
fn every_defect_has_its_place_in_json() {
    let corpus = corpus();
    let laptop = laptop(&corpus);
    for defect in corpus.iter().filter(|defect| defect.command()[0] == "check") {
        let outcome = defect.run(&laptop, &["-o", "json"]);
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let [one] = found.as_array().unwrap().as_slice() else { panic!("{}: {found}", defect.name) };
        let beside = one["file"].as_str().filter(|file| *file == "etcd.conf.j2" || file.starts_with("parts/"));
        let file = beside.map_or_else(|| defect.file(), str::to_owned);
        assert_eq!(file.starts_with("parts/"), one["included_from"].is_array(), "{one}");
        assert_eq!((&one["code"], one["file"].as_str()), (&defect.code().into(), Some(file.as_str())), "{one}");
        let number = |key: &str| usize::try_from(one[key].as_u64().unwrap()).unwrap();
        let (line, column, length) = (number("line"), number("column"), number("length"));
        let end = &one["end"];
        assert!(one["message"].as_str().is_some_and(|message| !message.is_empty()), "{one}");
        // What is given beside the plan has no place in it, nor has what is wrong with the file as a whole.
        let given = defect.command().iter().any(|word| word == "--set");
        assert!(!given || line == 0, "{one}");
        if given || (defect.code() == "yaml" && line == 0) {
            assert_eq!((line, column), (0, 0), "{one}");
            continue;
        }
        let text = std::fs::read_to_string(laptop.path(&file)).unwrap();
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        let at_the_end = line == text.lines().count() + 1 && column == 1;
        let there = text.lines().nth(line.wrapping_sub(1)).map(|line| line.chars().count());
        assert!(at_the_end || there.is_some_and(|there| column >= 1 && column - 1 + length <= there.max(1)), "{one}");
        assert!(end["line"].as_u64() >= one["line"].as_u64() && end["column"].as_u64() > Some(0), "{one}");
    }
}

#[test]
fn every_code_is_in_the_corpus_and_the_corpus_has_no_other() {
    let in_corpus: BTreeSet<String> = corpus().iter().map(|defect| defect.code().to_owned()).collect();
    let known = CODES.iter().map(|(code, _)| (*code).to_owned()).filter(|code| !OF_A_CALL.contains(&code.as_str()));
    assert_eq!(in_corpus, known.collect());
}

#[test]
fn json_says_all_that_an_editor_needs() {
    let corpus = corpus();
    let laptop = laptop(&corpus);
    for name in [
        "unknown-kind.in-an-included-plan",
        "undefined-name.in-a-block",
        "unused-var.plan",
        "unknown-input.misspelt",
        "undefined-name.in-a-template-file",
    ] {
        let defect = corpus.iter().find(|defect| defect.name == name).unwrap();
        let outcome = defect.run(&laptop, &["-o", "json"]);
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        insta::with_settings!({
            snapshot_path => "defects/reports",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(format!("{name}.json"), serde_json::to_string_pretty(&found).unwrap());
        });
    }
}

#[test]
fn what_cannot_be_read_is_a_problem_like_others_in_json() {
    let laptop = laptop(&[]);
    std::fs::write(laptop.path("latin.yaml"), b"requorum: 1\nname: gr\xf6\xdfe\n").unwrap();
    for (line, file, says) in [
        (["check", "missing.yaml", "-i", "site.yaml"], "missing.yaml", "cannot read the plan"),
        (["check", "etcd/snapshoot", "-i", "site.yaml"], "etcd/snapshoot", "there is no plan"),
        (["check", "plan.yaml", "-i", "missing.yaml"], "missing.yaml", "cannot read the site"),
        (["check", "latin.yaml", "-i", "site.yaml"], "latin.yaml", "line 2"),
    ] {
        let outcome = laptop.expect(3, &[line.as_slice(), &["-o", "json"]].concat());
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        let one = &found[0];
        assert_eq!((one["code"].as_str(), one["file"].as_str()), (Some("unreadable-file"), Some(file)), "{one}");
        assert_eq!((one["line"].as_u64(), one["severity"].as_str()), (Some(0), Some("error")), "{one}");
        assert!(one["message"].as_str().unwrap().contains(says), "{one}");
        assert_eq!(outcome.stderr, "");
    }
    let found: Value = serde_json::from_str(&laptop.expect(0, &["check", "plan.yaml", "-o", "json"]).stdout).unwrap();
    assert_eq!(found, serde_json::json!([]));
}
