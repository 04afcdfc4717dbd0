//! What is likely to go wrong in a plan that is valid: reported before it happens, as warnings.

use std::collections::HashSet;

use super::compile::Order;
use super::diagnostic::Problems;
use super::expand::Whole;
use super::names::Names;

/// Warns of what an author has probably not thought of.
pub(super) fn warnings(whole: &Whole<'_>, order: &Order, names: &mut Names<'_>, problems: &mut Problems) {
    skipped(whole, names, problems);
    destructive(whole, order, names, problems);
    problems.enter(&[]);
}

/// Warns where a step uses another that may be skipped: then there is no result, and the first step stops the run.
fn skipped(whole: &Whole<'_>, names: &mut Names<'_>, problems: &mut Problems) {
    let mut told = HashSet::new();
    let uses = std::mem::take(&mut names.uses);
    for used in uses.iter().filter(|used| !used.guarded) {
        let (own, other) = (&names.steps()[used.step], &names.steps()[used.other]);
        let Some(when) = other.when.as_deref().filter(|when| *when != "true") else { continue };
        // The same words mean something else in an included plan.
        let same = own.part == other.part;
        if same && follows(own.when.as_deref(), when) || !told.insert((used.step, used.other)) {
            continue;
        }
        let whole_result = if other.fans_out {
            ""
        } else {
            "\n`result` itself is none then, and so defined: ask whether `result is not none`"
        };
        let instead = format!("say what counts instead, for example {{{{ … | default('none') }}}}{whole_result}");
        let condition = same.then(|| format!(" the same condition, when: {when}\nor {instead}"));
        enter(whole, own.part, names, problems);
        let (own, other) = (names.id(used.step), names.id(used.other));
        problems
            .warning(used.place(problems), "may-be-skipped", format!("`{own}` uses `{other}`, which may be skipped"))
            .cause(format!("where it is skipped there is nothing to use, and `{own}` fails"))
            .help(condition.map_or(instead, |condition| format!("give `{own}`{condition}")));
    }
    names.uses = uses;
}

fn enter(whole: &Whole<'_>, part: usize, names: &mut Names<'_>, problems: &mut Problems) {
    names.enter(part);
    problems.enter(&whole.parts[part].via);
}

/// Says whether one condition can only hold where another does: it has all parts of it.
fn follows(own: Option<&str>, other: &str) -> bool {
    let Some(own) = own else { return false };
    if own == other {
        return true;
    }
    let parts = |text: &str| text.split(" and ").map(|part| part.trim().to_owned()).collect::<HashSet<_>>();
    let is_plain = |text: &str| !text.contains(" or ") && !text.contains(" if ");
    is_plain(own) && is_plain(other) && parts(other).is_subset(&parts(own))
}

/// Warns where a step destroys something that nothing can bring back, and nobody is asked.
fn destructive(whole: &Whole<'_>, order: &Order, names: &mut Names<'_>, problems: &mut Problems) {
    // Whether something was set aside before each step, or by it.
    let mut kept = vec![false; names.steps().len()];
    for index in &order.steps {
        let step = &names.steps()[*index];
        let before = order.needs.0[*index].iter().any(|need| kept[*need]);
        let Some(kind) = step.kind else { continue };
        kept[*index] = before || !kind.sets_aside.is_empty();
        let Some(span) = step.destroys.filter(|_| !kept[*index]) else { continue };
        enter(whole, step.part, names, problems);
        problems
            .warning(
                span,
                "destructive-without-undo",
                format!("`{}` destroys something, and nothing brings it back", names.id(*index)),
            )
            .cause("it has no undo, and nothing was set aside before it")
            .help(
                "set aside before it what it destroys (`file.set_aside`), give it an `undo`, or let a person decide with `confirm`",
            );
    }
}

#[cfg(test)]
mod tests {
    use super::follows;

    #[test]
    fn a_condition_follows_from_one_that_has_all_its_parts() {
        assert!(follows(Some("inputs.a"), "inputs.a"));
        assert!(follows(Some("inputs.b and inputs.a"), "inputs.a"));
        assert!(follows(Some("inputs.a and inputs.b and inputs.c"), "inputs.c and inputs.a"));
        for (own, other) in [
            (None, "inputs.a"),
            (Some("inputs.b"), "inputs.a"),
            (Some("inputs.a"), "inputs.a and inputs.b"),
            (Some("inputs.a or inputs.b"), "inputs.a"),
            (Some("inputs.a and inputs.b or inputs.c"), "inputs.a"),
        ] {
            assert!(!follows(own, other), "{own:?} {other}");
        }
    }
}
