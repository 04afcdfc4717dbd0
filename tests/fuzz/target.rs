//! One input, and what must be true whatever it is.

use std::path::Path;

use requorum::plan::compiled::Plan;
use requorum::plan::diagnostic::{self, Diagnostic};
use requorum::plan::{Files, Given, Mode, Refused, Request, Severity, Source, compile, digest, read_site};
use requorum::report::graph::{Drawing, Look};
use requorum_steps::catalog;
use serde::{Deserialize, Serialize};

/// A plan, a site, and what an operator gives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub plan: String,
    pub site: String,
    pub set: Vec<(String, String)>,
}

/// What came of an input.
#[derive(Debug)]
pub struct Outcome {
    /// Whether a plan was compiled, with a site or without.
    pub accepted: bool,
    /// What the compiler said, without the names in it: the measure of what is new.
    pub said: Vec<String>,
}

/// Files beside the plan: templates, and the plan itself under any name, so that it may include itself.
struct Beside<'a>(&'a Case);

impl Files for Beside<'_> {
    fn read(&self, path: &Path) -> Result<String, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("j2") => Ok(self.0.plan.chars().filter(|c| *c != '#').take(2_000).collect()),
            Some("yaml") => Ok(self.0.plan.clone()),
            Some(_) | None => Err("no such file".to_owned()),
        }
    }
}

impl Case {
    /// Compiles it in every way, shows what is wrong, and draws what is right.
    pub fn try_out(&self) -> Outcome {
        let source = |name: &str, text: &str| Source {
            name: name.to_owned(),
            text: text.to_owned(),
            directory: Some("/fuzz".into()),
        };
        let (plan, site) = (source("plan.yaml", &self.plan), source("site.yaml", &self.site));
        let mut outcome = Outcome { accepted: false, said: Vec::new() };
        if let Err(found) = read_site(&site, Some(Path::new("/home/op"))) {
            reported(&found, &[&site], &mut outcome);
            refused(&found);
        }
        let given = Given { set: self.set.clone(), directory: "/fuzz".into(), ..Given::default() };
        for (site, mode) in [(None, Mode::Check), (Some(&site), Mode::Check), (Some(&site), Mode::Run)] {
            let request = Request {
                plan: &plan,
                site,
                inputs: &given,
                home: Some(Path::new("/home/op")),
                files: &Beside(self),
                mode,
                kinds: catalog::all(),
            };
            match compile(&request) {
                Ok(compiled) => {
                    outcome.accepted = true;
                    let sources: Vec<&Source> = std::iter::once(&plan).chain(&compiled.included).chain(site).collect();
                    reported(&compiled.warnings, &sources, &mut outcome);
                    assert!(compiled.warnings.iter().all(|found| found.severity == Severity::Warning));
                    kept(&compiled.plan);
                    let compiled_site = compiled.site.as_ref();
                    drawn(&Drawing::new(&compiled.plan, compiled_site));
                    outcome
                        .said
                        .extend(compiled.plan.steps.iter().map(|step| format!("{} {}", step.kind, step.effect)));
                }
                Err(Refused { found, included }) => {
                    let sources: Vec<&Source> = std::iter::once(&plan).chain(&included).chain(site).collect();
                    reported(&found, &sources, &mut outcome);
                    refused(&found);
                }
            }
        }
        outcome
    }
}

fn refused(found: &[Diagnostic]) {
    assert!(found.iter().any(|found| found.severity == Severity::Error), "refused without an error: {found:?}");
}

/// What is kept of a plan is read back as it was, under the same digest, which only a plan has that can be run.
fn kept(plan: &Plan) {
    let kept = serde_json::to_vec(plan).unwrap();
    let read: Plan = serde_json::from_slice(&kept).unwrap();
    assert_eq!(read, *plan, "the plan is read back as another");
    assert_eq!(digest(&read), digest(plan));
    assert!(plan.digest.is_empty() || plan.digest == digest(plan));
}

/// Every problem has words and a place that is there, and can be shown in each way.
fn reported(found: &[Diagnostic], sources: &[&Source], outcome: &mut Outcome) {
    for problem in found {
        assert!(!problem.message.trim().is_empty(), "{problem:?}");
        placed(problem, sources);
        outcome.said.push(format!("{} {}", problem.code, without_names(&problem.message)));
    }
    let text = diagnostic::render(found, sources, false);
    assert_eq!(text.is_empty(), found.is_empty());
    plain("a report", &text);
    if found.len() == 1 {
        assert_eq!(console::strip_ansi_codes(&diagnostic::render(found, sources, true)), text);
    }
    let json = diagnostic::json(found).to_string();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read.as_array().map(Vec::len), Some(found.len()));
}

/// A place is in the text, or right behind the end of a line.
fn placed(problem: &Diagnostic, sources: &[&Source]) {
    let (line, column, length) = (problem.line as usize, problem.column as usize, problem.length as usize);
    if line == 0 {
        return;
    }
    let Some(source) = sources.iter().find(|source| source.name == problem.file) else {
        panic!("a problem of an unknown file: {problem:?}");
    };
    let text = source.text.strip_prefix('\u{FEFF}').unwrap_or(&source.text);
    // YAML 1.1, and in part 1.2, breaks lines at more characters than editors do; such a place may be in another line.
    let odd = |c: char| matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if text.replace("\r\n", "\n").contains(odd) {
        let lines = text.split(|c| c == '\n' || odd(c)).count();
        assert!(line <= lines, "a place below the text: {problem:?}");
        return;
    }
    let Some(at) = text.split('\n').nth(line - 1) else { panic!("a place below the text: {problem:?}") };
    let columns = at.trim_end_matches('\r').chars().count();
    assert!(column >= 1 && column <= columns + 1, "a place beside line {at:?}: {problem:?}");
    assert!(column + length <= columns + 2, "a place that reaches beyond line {at:?}: {problem:?}");
}

/// No drawing or report can move the cursor, or colour what is not asked for.
fn plain(what: &str, text: &str) {
    let control = text.replace("\r\n", "\n").chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(control, None, "{what} has a control character");
}

fn drawn(drawing: &Drawing<'_>) {
    plain("a drawing as text", &drawing.text(Look { columns: 80, colour: false }));
    let coloured = drawing.text(Look { columns: 80, colour: true });
    assert_eq!(console::strip_ansi_codes(&coloured), drawing.text(Look { columns: 80, colour: false }));
    plain("a drawing for Graphviz", &drawing.dot());
    plain("a drawing for Mermaid", &drawing.mermaid());
    let html = drawing.html();
    plain("a page", &html);
    assert!(!html.contains("<script"));
}

/// Takes names and numbers out of a message.
fn without_names(message: &str) -> String {
    let parts = message.split('`').step_by(2).collect::<Vec<_>>().join("`");
    parts.chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}
