//! Finds out what takes a run back. Hosts are looked at only where it is not known what an attempt did.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use requorum_steps::{Action, Fault, Make, Probe, Undo};
use serde_json::Value;

use super::context::{self, Context, Entry};
use super::look;
use crate::plan::compiled::{Plan, Subject};
use crate::plan::template;
use crate::report::phrase;
use crate::run::deed::{Deed, Outcome};
use crate::run::record::ItemId;
use crate::run::rollback::Undoing;
use crate::run::state::{Phase, RunState};

/// Says for each item that may have been changed what takes it back.
pub async fn find(context: &Context, state: &RunState, deeds: &BTreeMap<ItemId, Deed>) -> BTreeMap<ItemId, Undoing> {
    let entries = deeds.iter().filter_map(|(id, deed)| Some((Entry::of(context, state, id)?, deed)));
    let found = entries.map(|(entry, deed)| async move {
        let undoing = undoing(context, &entry, deed).await.unwrap_or_else(|fault| {
            Undoing::Unclear(format!("what it did cannot be seen: {}", phrase::fault_line(&fault)))
        });
        (entry.id, undoing)
    });
    join_all(found).await.into_iter().collect()
}

async fn undoing(context: &Context, entry: &Entry, deed: &Deed) -> Result<Undoing, Fault> {
    let kind = context::kind(&entry.step.kind)?;
    let result = match &deed.outcome {
        Outcome::Found => return Ok(Undoing::Nothing("it was so before the run".to_owned())),
        Outcome::Acted(result) => Some(result),
        // A person has said that it happened. What a kind would do depends on its result; what an author wrote need not.
        Outcome::Perhaps(_) if matches!(entry.item.phase, Phase::Forced { .. }) && entry.step.undo.is_some() => {
            Some(&Value::Null)
        }
        Outcome::Perhaps(_) => None,
    };
    let Make::Action(make) = kind.make else {
        return Ok(Undoing::Nothing("it only waited or looked".to_owned()));
    };
    // Placeholders of secrets stay: what comes out is kept.
    let undo = |result: Option<&Value>| match entry.step.undo.as_deref() {
        Some((kind, args)) => by_author(context, entry, (kind, args), result),
        None => match make(deed.args.clone()) {
            Ok(action) => Ok(action.undo(&deed.before, result)),
            Err(bad) => Err(Fault::refused(bad.message)),
        }
        .map(Answer::of),
    };
    match undo(result)? {
        Answer::Known(undoing) => Ok(undoing),
        Answer::NeedsResult => {
            let action = context.action(kind, &deed.args)?;
            match ask(context, entry, action.as_ref(), deed).await? {
                Ok(result) => Ok(match undo(Some(&result))? {
                    Answer::Known(undoing) => undoing,
                    Answer::NeedsResult => Undoing::Unclear("its result does not tell how to take it back".to_owned()),
                }),
                Err(undoing) => Ok(undoing),
            }
        }
    }
}

/// What is known of an undo.
enum Answer {
    Known(Undoing),
    NeedsResult,
}

impl Answer {
    fn of(undo: Undo) -> Self {
        Self::Known(match undo {
            Undo::Nothing(why) => Undoing::Nothing(why.to_owned()),
            Undo::By(acts) => Undoing::By(acts.into_iter().map(|(kind, args)| (kind.to_owned(), args)).collect()),
            Undo::Never => Undoing::Never,
            Undo::NeedsResult => return Self::NeedsResult,
        })
    }
}

/// Renders the author's undo, which may use the result.
fn by_author(
    context: &Context,
    entry: &Entry,
    (kind, args): (&str, &Value),
    result: Option<&Value>,
) -> Result<Answer, Fault> {
    let Some(result) = result else { return Ok(Answer::NeedsResult) };
    let scope = entry.scope.clone().result(result);
    let args = context.render_args(context::kind(kind)?, args, &scope)?;
    Ok(Answer::Known(Undoing::By(vec![(kind.to_owned(), args)])))
}

/// Asks the probe of an attempt that failed or was cut off. `Err`: what follows from an answer without a result.
async fn ask(
    context: &Context,
    entry: &Entry,
    action: &dyn Action,
    deed: &Deed,
) -> Result<Result<Value, Undoing>, Fault> {
    let why = match &deed.outcome {
        Outcome::Perhaps(why) => why.as_str(),
        Outcome::Found | Outcome::Acted(_) => "",
    };
    Ok(match look::probe(context, entry, action, &deed.before).await? {
        Probe::Yes { result, .. } => Ok(result),
        Probe::No { evidence } => Err(Undoing::Nothing(format!("it did not happen: {evidence}"))),
        Probe::Partly { evidence } | Probe::Unknown { evidence } => {
            Err(Undoing::Unclear(format!("what it did is not known: {why}; {evidence}")))
        }
    })
}

/// Returns the exact command of each item of a derived plan, as far as it is known before it runs.
#[must_use]
pub fn commands(context: &Context, plan: &Plan) -> Vec<(ItemId, String)> {
    let items = plan.steps.iter().flat_map(|step| step.items.iter().flatten().map(move |item| (step, item)));
    let shown = items.map(|(step, item)| {
        let id = ItemId { step: step.id.clone(), item: item.key.clone() };
        let args = item.args.as_deref().unwrap_or(&step.args);
        let args = template::render(args, context.base.of(step.part.as_deref())).unwrap_or_else(|_| args.clone());
        let host = match &item.subject {
            Subject::Host(name) => Some(name),
            Subject::None | Subject::Value(_) => None,
        };
        let action = context::kind(&step.kind).ok().and_then(|kind| match kind.make {
            Make::Action(make) => make(args.clone()).ok(),
            Make::Check(_) | Make::Builtin(_) => None,
        });
        let command = action.map(|action| action.preview(&context.world.reader(host)).command);
        (id, command.unwrap_or_else(|| format!("{} {args}", step.kind)))
    });
    shown.collect()
}
