//! The way back: a plan derived from what a run has done, which takes it back in reverse order.
//!
//! Pure: what takes back each item comes in (`exec::undo` finds it out), and a compiled plan comes out. An undo needs the
//! undos of everything that depended on its step, through steps that need none: so all services are stopped before any data
//! is moved, and all data is back before any service starts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use requorum_steps::{Danger, Effect, RunId, StepId, catalog};
use serde_json::{Map, Value, json};

use super::record::ItemId;
use super::state::RunState;
use crate::plan::compiled::{ALONE, CheckUse, Directories, Item, Plan, Retry, Step};
use crate::plan::{digest, template};

/// What is done about one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Undoing {
    /// These acts, one after the other: kinds and their arguments, literally.
    By(Vec<(String, Value)>),
    /// Nothing needs to be, for this reason.
    Nothing(String),
    /// Its kind has no undo, and the plan names none.
    Never,
    /// What is to be taken back is not known, for this reason.
    Unclear(String),
}

/// The way back.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// The plan that goes it.
    pub plan: Plan,
    /// The items that stay as they are.
    pub left: Vec<Left>,
}

/// An item that stays as it is, or stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The item.
    pub id: ItemId,
    /// Why.
    pub why: String,
}

/// Derives the way back of a run. `Err`: the items that cannot be taken back, so that nothing is.
pub fn derive(state: &RunState, run: &RunId, undoings: &BTreeMap<ItemId, Undoing>) -> Result<Way, Vec<Left>> {
    let mut left = Vec::new();
    let mut barriers = Vec::new();
    let mut acts: HashMap<&StepId, Vec<Act<'_>>> = HashMap::new();
    for step in &state.plan().steps {
        for (id, _) in state.items_of(&step.id) {
            let Some(undoing) = undoings.get(&id) else { continue };
            match undoing {
                Undoing::By(calls) => {
                    let Some(item) = state.planned(&id) else { continue };
                    let calls = calls.iter().enumerate();
                    let of_item = calls.map(|(turn, (kind, args))| Act { turn, item, kind, args });
                    acts.entry(&step.id).or_default().extend(of_item);
                }
                Undoing::Nothing(why) => left.push(Left { id, why: why.clone() }),
                Undoing::Never if is_harmless(step) => {
                    let why = format!("`{}` has no undo, and is {}", step.kind, step.danger);
                    left.push(Left { id, why });
                }
                Undoing::Unclear(why) if is_harmless(step) => left.push(Left { id, why: why.clone() }),
                Undoing::Never => {
                    let why = format!("`{}` is {}, has acted, and has no undo", step.kind, step.danger);
                    barriers.push(Left { id, why });
                }
                Undoing::Unclear(why) => barriers.push(Left { id, why: why.clone() }),
            }
        }
    }
    if barriers.is_empty() { Ok(Way { plan: plan(state.plan(), run, &acts), left }) } else { Err(barriers) }
}

/// Returns the first item that a rollback would be refused for, as far as the state alone tells: it may have acted, a cluster
/// notices it, and nothing takes it back.
#[must_use]
pub fn point_of_no_return(state: &RunState) -> Option<ItemId> {
    let mut items = state.items().filter(|(_, item)| item.attempt > 0 && item.phase.may_have_acted().is_some());
    items.find(|(id, _)| state.step(&id.step).is_some_and(ends_the_way_back)).map(|(id, _)| id)
}

/// Says whether a rollback is refused once a step has acted: a working cluster notices it, and nothing takes it back.
#[must_use]
pub fn ends_the_way_back(step: &Step) -> bool {
    step.undo.is_none() && !is_harmless(step) && catalog::find(&step.kind).is_some_and(|kind| kind.undo.is_empty())
}

/// Says whether a rollback may leave the effect of a step: it only reads, or a working cluster does not notice it.
fn is_harmless(step: &Step) -> bool {
    step.danger == Danger::Safe || step.effect == Effect::Pure
}

/// One act at one item.
struct Act<'a> {
    /// Its place among the acts that take the item back.
    turn: usize,
    item: &'a Item,
    kind: &'a str,
    args: &'a Value,
}

fn plan(from: &Plan, run: &RunId, acts: &HashMap<&StepId, Vec<Act<'_>>>) -> Plan {
    let mut undos = Undos { from, taken: BTreeSet::new(), steps: Vec::new(), of: HashMap::new() };
    // Whatever depended on a step comes after it in the plan, so its undo is made before.
    for step in from.steps.iter().rev() {
        undos.add(step, acts.get(&step.id).map_or(&[], Vec::as_slice));
    }
    let steps = undos.steps;
    let named: BTreeSet<String> = steps
        .iter()
        .flat_map(|step| step.items.iter().flatten())
        .flat_map(|item| item.args.as_deref().map(template::placeholders_in).unwrap_or_default())
        .collect();
    let mut plan = Plan {
        format: ALONE,
        name: format!("rollback of {}", from.name),
        title: format!("Takes run {run} back"),
        description: format!("Derived from what run {run} did, in reverse order."),
        platforms: from.platforms.clone(),
        reverts: false,
        digest: String::new(),
        inputs: Map::new(),
        vars: Map::new(),
        secrets: from.secrets.iter().filter(|source| named.contains(&source.name)).cloned().collect(),
        preflight: Vec::new(),
        steps,
        included: BTreeMap::new(),
        // What is taken back is known by absolute paths.
        directories: Directories::default(),
    };
    plan.digest = digest(&plan);
    plan
}

/// The steps of the way back, as they are made.
struct Undos<'a> {
    from: &'a Plan,
    taken: BTreeSet<StepId>,
    steps: Vec<Step>,
    /// What must be done before the undo of what a step needs: its own undos, or where it has none those of its dependents.
    of: HashMap<&'a StepId, BTreeSet<StepId>>,
}

impl<'a> Undos<'a> {
    fn add(&mut self, step: &'a Step, acts: &[Act<'_>]) {
        let dependents = self.from.steps.iter().filter(|other| other.needs.contains(&step.id));
        let mut needs: BTreeSet<StepId> =
            dependents.filter_map(|other| self.of.get(&other.id)).flatten().cloned().collect();
        let turns = acts.iter().map(|act| act.turn + 1).max().unwrap_or(0);
        let mut own = BTreeSet::new();
        for turn in 0..turns {
            // Items of one kind are one step; where their verification differs, or their kind, they are several.
            let mut groups: BTreeMap<(&str, Option<&str>), Vec<&Act<'_>>> = BTreeMap::new();
            for act in acts.iter().filter(|act| act.turn == turn) {
                groups.entry((act.kind, act.args["service"].as_str())).or_default().push(act);
            }
            let several = groups.len() > 1 || turn > 0;
            let made: Vec<Step> =
                groups.values().map(|group| self.step(step, group, several, needs.iter().cloned().collect())).collect();
            needs = made.iter().map(|step| step.id.clone()).collect();
            own.extend(needs.iter().cloned());
            self.steps.extend(made);
        }
        // Later turns rest on the earlier ones of all items, but not every item has later ones.
        self.of.insert(&step.id, if own.is_empty() { needs } else { own });
    }

    fn step(&mut self, of: &Step, acts: &[&Act<'_>], several: bool, needs: Vec<StepId>) -> Step {
        let kind = acts.first().map_or("", |act| act.kind);
        let args = acts.first().map_or(&Value::Null, |act| act.args);
        let known = catalog::find(kind);
        let by_author = of.undo.is_some();
        Step {
            id: self.id(of, kind, several),
            title: format!("Takes `{}` back", of.id),
            needs,
            when: None,
            items: Some(acts.iter().map(|act| own_args(act)).collect()),
            fans_out: of.fans_out,
            max_parallel: None,
            canary: false,
            require: Vec::new(),
            verify: verify(kind, args, &of.place),
            probe: None,
            retry: Retry::default(),
            timeout: if by_author { of.timeout } else { None },
            effect: known.map_or(Effect::Once, |kind| kind.effect),
            danger: known.map_or(Danger::Destructive, |kind| kind.danger),
            kind: kind.to_owned(),
            args: json!({}),
            undo: None,
            outputs: BTreeMap::new(),
            confirm: None,
            place: of.place.clone(),
            // Its arguments are literal, whatever plan the step came from.
            part: None,
        }
    }

    /// Makes an id that no other step has: `undo-STEP`, or `undo-STEP-VERB` where the step is taken back in several ways.
    fn id(&mut self, of: &Step, kind: &str, several: bool) -> StepId {
        let verb = kind.rsplit('.').next().unwrap_or_default().replace('_', "-");
        // What the step machine allows at most, less what is added.
        let stem: String = of.id.as_str().chars().take(90).collect();
        let mut name = if several { format!("undo-{stem}-{verb}") } else { format!("undo-{stem}") };
        let mut number = 1;
        loop {
            match StepId::new(name.clone()) {
                Ok(id) if self.taken.insert(id.clone()) => return id,
                Ok(_) | Err(_) => {
                    number += 1;
                    name = format!("undo-{stem}-{number}");
                }
            }
        }
    }
}

/// Returns an item whose arguments are given literally.
fn own_args(act: &Act<'_>) -> Item {
    Item {
        key: act.item.key.clone(),
        subject: act.item.subject.clone(),
        args: Some(template::literal(act.args).into()),
    }
}

/// Returns how one knows that an undo worked, beyond its own result.
fn verify(kind: &str, args: &Value, place: &str) -> Vec<CheckUse> {
    let (check, within) = match kind {
        "service.start" => ("service.active", 120),
        "service.stop" => ("service.inactive", 60),
        _ => return Vec::new(),
    };
    vec![CheckUse {
        kind: check.to_owned(),
        args: json!({ "service": args["service"] }),
        within: Some(std::time::Duration::from_secs(within)),
        every: std::time::Duration::from_secs(1),
        not: false,
        message: None,
        place: place.to_owned(),
        part: None,
    }]
}
