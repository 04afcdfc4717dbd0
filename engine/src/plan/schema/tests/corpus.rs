//! The corpus of defective plans and sites: what a schema can see of it, and why not the rest.

use std::collections::BTreeMap;
use std::path::Path;

use super::{PLANS, SITES, objections, read};
use crate::plan::CODES;

/// Says whether a schema sees a sort of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It always does.
    Seen,
    /// It sees some of this sort: what is written, not what comes of it.
    Partly,
    /// It does not.
    Unseen,
}

/// What a schema sees: what stands where, and what a single value looks like.
const SEEN: [&str; 31] = [
    "argument-rule",
    "bad-address",
    "bad-fingerprint",
    "bad-name",
    "bad-port",
    "bad-secret",
    "bad-unit",
    "bad-url",
    "bad-version",
    "beside-include",
    "braces",
    "every-without-within",
    "missing-argument",
    "missing-key",
    "missing-version",
    "no-checks",
    "no-deadline",
    "no-kind",
    "no-steps",
    "not-a-check",
    "not-a-plan",
    "not-a-site",
    "not-an-action",
    "relative-path",
    "secret-in-plan",
    "several-kinds",
    "unknown-argument",
    "unknown-key",
    "unknown-kind",
    "unknown-platform",
    "unknown-version",
];

/// What it sees where it is written out, and not where it takes a template, another value or the site to know it.
const PARTLY: [(&str, &str); 5] = [
    ("bad-default", "a default may be held against `values`, `pattern`, bounds or the hosts of the site"),
    ("bad-number", "of two numbers one may be too large or small beside the other"),
    (
        "no-host",
        "a step without `on` is seen; a check that needs `hosts` or the `on` of its step is not, nor is an undo",
    ),
    ("unknown-word", "where the name of a host may stand, any word may"),
    ("wrong-type", "what a template becomes has its type only when it is rendered"),
];

/// What it cannot see, and why.
const UNSEEN: [(&str, &str); 51] = [
    ("bad-argument", "takes the kind's own code; a schema knows the types of its arguments"),
    ("bad-input", "comes from the command line, or is for another file"),
    ("bad-pattern", "a schema does not read regular expressions"),
    ("cycle", "takes all steps together"),
    ("destructive-without-undo", "takes what the kind does and what stands around it, and is a warning"),
    ("duplicate-host", "takes all hosts together"),
    ("duplicate-id", "takes all steps together"),
    ("duplicate-input", "comes from the command line"),
    ("duplicate-item", "takes the hosts of the site"),
    ("duplicate-key", "is gone once YAML is read; editors report it themselves"),
    ("duplicate-need", "takes the whole list, and is a warning"),
    ("effect-without-probe", "takes kind, effect and probe together"),
    ("endless-template", "is in a template"),
    ("include-cycle", "takes another file"),
    ("include-depth", "takes other files"),
    ("loose-effect", "takes kind and effect together"),
    ("lost-host", "takes the site, and is a warning"),
    ("may-be-skipped", "takes another step, and is a warning"),
    ("missing-input", "comes from the command line, or is for another file"),
    ("missing-site", "comes from the command line"),
    ("needless-probe", "takes kind and probe together"),
    ("no-items", "takes the site"),
    ("no-result", "takes the probe and the templates together, and is a warning"),
    ("not-an-ancestor", "takes all steps together"),
    ("platform-mismatch", "takes plan and site together"),
    ("preflight-left-out", "takes another file, and is a warning"),
    ("result-is-a-list", "takes another step"),
    ("reverts-inside", "takes another file"),
    ("secret-changed", "is in a template"),
    ("secret-on-command-line", "comes from the command line"),
    ("secret-shown", "is in a template"),
    ("self-need", "takes another key of the step"),
    ("template", "is in a template"),
    ("template-syntax", "is in a template"),
    ("text-as-condition", "is in a template"),
    ("too-many-includes", "takes other files"),
    ("undefined-name", "is in a template"),
    ("undefined-value", "is in a template"),
    ("unknown-filter", "is in a template"),
    ("unknown-host", "takes the site"),
    ("unknown-input", "comes from the command line, or is for another file"),
    ("unknown-output", "is in a template"),
    ("unknown-plan", "takes the library"),
    ("unknown-role", "is in a template"),
    ("unknown-step", "takes all steps together"),
    ("unknown-test", "is in a template"),
    ("unreadable-file", "takes another file"),
    ("unsafe-retry", "takes kind, effect and retry together"),
    ("unused-input", "takes all templates together, and is a warning"),
    ("unused-var", "takes all templates together, and is a warning"),
    ("yaml", "is no document at all"),
];

/// Says whether a schema sees a sort of problem.
pub fn sight(code: &str) -> Sight {
    let among = |codes: &[(&str, &str)]| codes.iter().any(|(one, _)| *one == code);
    if among(&UNSEEN) {
        Sight::Unseen
    } else if among(&PARTLY) {
        Sight::Partly
    } else {
        Sight::Seen
    }
}

#[test]
fn of_every_sort_of_problem_it_is_said_whether_a_schema_sees_it() {
    let mut said: Vec<&str> = SEEN.to_vec();
    said.extend(PARTLY.iter().chain(&UNSEEN).map(|(code, _)| *code));
    said.sort_unstable();
    assert_eq!(said, CODES.iter().map(|(code, _)| *code).collect::<Vec<_>>());
}

/// The files with a defect of a sort that a schema partly sees, which it does not see in them.
const OVERLOOKED: [(&str, &str); 7] = [
    ("bad-default.bounds", "it is below `min`"),
    ("bad-default.enum", "it is not among `values`"),
    ("bad-number.every", "it is longer than `within`"),
    ("bad-number.max-backoff", "it is below `backoff`"),
    ("no-host.check", "it is for lack of the step's `on`"),
    ("unknown-word.argument", "it could be the name of a host"),
    ("wrong-type.not-known-yet", "it is what a template becomes"),
];

/// The files whose defect is in another one, which they include.
const ELSEWHERE: [&str; 3] =
    ["missing-key.steps-of-an-include", "unknown-kind.in-an-included-plan", "yaml.in-an-included-plan"];

/// A file of the corpus: whether it is YAML at all, and what its schema has against it.
struct Seen {
    is_yaml: bool,
    objections: Vec<String>,
}

/// Returns what the schemas have against the files of the corpus, by their names.
fn corpus() -> BTreeMap<String, Seen> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli/defects");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let seen = files.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let value = read(&std::fs::read_to_string(&path).unwrap());
        let schema = if name.starts_with("site-") { &SITES } else { &PLANS };
        let objections = value.as_ref().map(|value| objections(schema, value)).unwrap_or_default();
        (name, Seen { is_yaml: value.is_some(), objections })
    });
    seen.collect()
}

/// Returns the code of the one problem of a file, after which it is named.
fn code(name: &str) -> &str {
    name.strip_prefix("site-").unwrap_or(name).split('.').next().unwrap()
}

#[test]
fn the_schema_refuses_what_it_can_see_of_the_corpus_of_defects_and_nothing_else() {
    let corpus = corpus();
    let wrong = corpus.iter().filter_map(|(name, seen)| Some(format!("{name}: {}", fault(name, seen)?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} files\n{}", wrong.len(), wrong.join("\n"));
    let refused = corpus.values().filter(|seen| !seen.objections.is_empty()).count();
    assert!(refused >= 60, "{refused} files are refused");
    for name in OVERLOOKED.iter().map(|(name, _)| *name).chain(ELSEWHERE) {
        assert!(corpus.contains_key(name), "{name} is not in the corpus");
    }
}

/// Says what is wrong with what a schema says of a file.
fn fault(name: &str, seen: &Seen) -> Option<String> {
    let refused = !seen.objections.is_empty();
    let overlooked = OVERLOOKED.iter().any(|(file, _)| *file == name);
    let fits = match sight(code(name)) {
        _ if ELSEWHERE.contains(&name) => seen.is_yaml && !refused,
        _ if !seen.is_yaml => code(name) == "yaml",
        Sight::Seen => refused,
        Sight::Partly => refused != overlooked,
        Sight::Unseen => !refused,
    };
    if fits {
        return None;
    }
    Some(if refused { format!("refused: {}", seen.objections.join("; ")) } else { "not refused".to_owned() })
}
