//! The table beside the plans, read and held against facts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::plan::Scope;
use crate::plan::template::{self, BadTemplate};

/// What the table may know of the plans of the library.
pub type Library = BTreeMap<String, PlanHead>;

/// What there is to know of a plan before it is compiled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PlanHead {
    /// The platforms that it is made for.
    #[serde(default)]
    platforms: Vec<String>,
    /// Whether it takes the cluster back in time.
    #[serde(default)]
    reverts: bool,
    /// Its inputs.
    #[serde(default)]
    inputs: BTreeMap<String, InputHead>,
}

/// What there is to know of an input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct InputHead {
    default: Option<serde_yaml::Value>,
    required: Option<bool>,
}

impl PlanHead {
    /// Reads the head of a shipped plan.
    pub fn read(text: &str) -> Result<Self, BadTable> {
        Ok(serde_yaml::from_str(text)?)
    }

    fn is_for(&self, platform: &str) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|name| name == "any" || name == platform)
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required = |input: &InputHead| input.required.unwrap_or(input.default.is_none());
        self.inputs.iter().filter(move |(_, input)| required(input)).map(|(name, _)| name.as_str())
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTable {
    /// It is no table of rules.
    #[error("the table of triage is malformed")]
    Malformed(#[from] serde_yaml::Error),
    /// A rule is wrong.
    #[error("the rule `{rule}` of triage is wrong: {why}")]
    Rule {
        /// Its id.
        rule: String,
        /// What is wrong.
        why: String,
    },
}

/// The rules, in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    rules: Vec<Rule>,
    #[serde(skip)]
    library: Library,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    #[serde(default)]
    level: Level,
    #[serde(default)]
    stop: bool,
    when: String,
    finding: String,
    advice: String,
    #[serde(default)]
    run: Vec<String>,
    #[serde(rename = "if")]
    only_if: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    revert: bool,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something is to be done.
    #[default]
    Wrong,
    /// It is good to know.
    Notice,
}

/// What triage comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In a word.
    pub decision: Decision,
    /// All that was found; the first that is wrong is what to do now.
    pub findings: Vec<Finding>,
}

/// What triage comes to, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Nothing is needed.
    Nothing,
    /// A person is to do something.
    Advice,
    /// A plan is to be run.
    Plan,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The id of its rule.
    pub id: String,
    /// How much it matters.
    pub level: Level,
    /// What is wrong.
    pub finding: String,
    /// What a person does.
    pub advice: String,
    /// The plan to run.
    pub run: Option<Command>,
}

/// A plan with its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// When it is the right one; absent where that is sure.
    #[serde(rename = "if")]
    pub only_if: Option<String>,
    /// The plan.
    pub plan: String,
    /// The inputs that are known.
    pub set: BTreeMap<String, String>,
    /// The inputs that the operator has to fill in.
    pub missing: Vec<String>,
    /// Whether it has to be allowed to take back a cluster that answers.
    pub revert: bool,
}

impl Verdict {
    /// Returns the finding that says what to do now.
    #[must_use]
    pub fn now(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.level == Level::Wrong)
    }
}

impl Table {
    /// Reads a table and checks it: every name that it uses is a fact, every plan is in the library, takes what the rule
    /// sets and gets all that it needs.
    pub fn read(text: &str, library: Library) -> Result<Self, BadTable> {
        let table = Self { library, ..serde_yaml::from_str(text)? };
        let mut ids = BTreeSet::new();
        for rule in &table.rules {
            let bad = |why: String| BadTable::Rule { rule: rule.id.clone(), why };
            if !ids.insert(&rule.id) {
                return Err(bad("there is another of that id".to_owned()));
            }
            table.check(rule).map_err(bad)?;
        }
        Ok(table)
    }

    fn check(&self, rule: &Rule) -> Result<(), String> {
        let told = |bad: BadTemplate| bad.to_string();
        known(template::paths_of_expression(&rule.when).map_err(told)?)?;
        for text in [&rule.finding, &rule.advice].into_iter().chain(rule.set.values()) {
            known(template::paths_of_text(text).map_err(told)?)?;
        }
        if rule.run.is_empty() && (rule.only_if.is_some() || !rule.set.is_empty() || rule.revert) {
            return Err("it has `if`, `set` or `revert`, and no plan to `run`".to_owned());
        }
        for name in &rule.run {
            let plan = self.library.get(name).ok_or_else(|| format!("the library has no plan `{name}`"))?;
            if let Some(input) = rule.set.keys().find(|input| !plan.inputs.contains_key(*input)) {
                return Err(format!("`{name}` has no input `{input}`"));
            }
            if rule.revert && !plan.reverts {
                return Err(format!("`{name}` does not take the cluster back, so that there is nothing to `revert`"));
            }
            if let Some(input) = plan.required().find(|input| !rule.set.contains_key(*input)) {
                return Err(format!("`{name}` needs the input `{input}`, which is not set"));
            }
        }
        Ok(())
    }

    /// Goes through the rules.
    pub fn decide(&self, facts: &Facts) -> Result<Verdict, BadTable> {
        let seen = serde_json::to_value(facts).unwrap_or_default();
        let scope = Scope::default().seen(&seen);
        let mut findings = Vec::new();
        for rule in &self.rules {
            let bad = |bad: BadTemplate| BadTable::Rule { rule: rule.id.clone(), why: bad.to_string() };
            if template::holds(&rule.when, &scope).map_err(bad)? {
                findings.push(self.finding(rule, facts, &scope).map_err(bad)?);
                if rule.stop {
                    break;
                }
            }
        }
        let now = findings.iter().find(|finding: &&Finding| finding.level == Level::Wrong);
        let decision = match now {
            None => Decision::Nothing,
            Some(Finding { run: Some(Command { only_if: None, .. }), .. }) => Decision::Plan,
            Some(_) => Decision::Advice,
        };
        Ok(Verdict { decision, findings })
    }

    fn finding(&self, rule: &Rule, facts: &Facts, scope: &Scope) -> Result<Finding, BadTemplate> {
        let text = |written: &str| template::render_text(written, scope).map(|text| text.trim().to_owned());
        let fits = |name: &&String| self.library.get(*name).is_some_and(|plan| plan.is_for(&facts.platform));
        let run = rule.run.iter().find(fits).map(|plan| {
            let (mut set, mut missing) = (BTreeMap::new(), Vec::new());
            for (input, written) in &rule.set {
                let value = text(written)?;
                if value.is_empty() { missing.push(input.clone()) } else { drop(set.insert(input.clone(), value)) }
            }
            Ok(Command { only_if: rule.only_if.clone(), plan: plan.clone(), set, missing, revert: rule.revert })
        });
        Ok(Finding {
            id: rule.id.clone(),
            level: rule.level,
            finding: text(&rule.finding)?,
            advice: text(&rule.advice)?,
            run: run.transpose()?,
        })
    }
}

/// Refuses names that are no facts.
fn known(paths: BTreeSet<String>) -> Result<(), String> {
    let facts = serde_json::to_value(Facts::none()).unwrap_or_default();
    let is_fact = |path: &str| match path.split_once('.') {
        Some(("seen", rest)) => {
            facts.get(rest.split(['.', '[']).next().unwrap_or(rest)).is_some_and(|fact| !fact.is_null())
        }
        Some(_) | None => false,
    };
    match paths.into_iter().find(|path| !is_fact(path)) {
        Some(path) => {
            let names: Vec<&str> =
                facts.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
            let near = crate::plan::diagnostic::nearest(path.trim_start_matches("seen."), names);
            let near = near.map_or_else(String::new, |near| format!("; did you mean `seen.{near}`?"));
            Err(format!("`{path}` is no fact{near}"))
        }
        None => Ok(()),
    }
}
