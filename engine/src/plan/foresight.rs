//! What is likely to go wrong in a plan that is valid: reported before it happens, as warnings.

use std::collections::HashSet;

use super::compile::Order;
use super::diagnostic::Problems;
use super::document::Outline;
use super::names::Names;

/// Warns of what an author has probably not thought of.
pub(super) fn warnings(order: &Order, names: &Names<'_>, problems: &mut Problems) {
    skipped(names, problems);
    destructive(names.steps(), order, problems);
}

/// Warns where a step uses another that may be skipped: then there is no result, and the first step stops the run.
fn skipped(names: &Names<'_>, problems: &mut Problems) {
    let mut told = HashSet::new();
    for used in names.uses.iter().filter(|used| !used.guarded) {
        let (own, other) = (&names.steps()[used.step], &names.steps()[used.other]);
        let Some(when) = other.when.as_deref().filter(|when| *when != "true") else { continue };
        if follows(own.when.as_deref(), when) || !told.insert((used.step, used.other)) {
            continue;
        }
        let (own, other) = (&own.id, &other.id);
        problems
            .warning(used.place.clone(), "may-be-skipped", format!("`{own}` uses `{other}`, which may be skipped"))
            .cause(format!("where it is skipped there is nothing to use, and `{own}` fails"))
            .help(format!(
                "give `{own}` the same condition, when: {when}\nor say what counts instead, for example {{{{ … | default('none') }}}}"
            ));
    }
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
fn destructive(steps: &[Outline<'_>], order: &Order, problems: &mut Problems) {
    // Whether something was set aside before each step, or by it.
    let mut kept = vec![false; steps.len()];
    for index in &order.steps {
        let step = &steps[*index];
        let before = order.needs.0[*index].iter().any(|need| kept[*need]);
        kept[*index] = step.kind.is_some_and(|kind| before || !kind.sets_aside.is_empty());
        let Some(span) = step.destroys.filter(|_| !kept[*index]) else { continue };
        problems
            .warning(
                span,
                "destructive-without-undo",
                format!("`{}` destroys something, and nothing brings it back", step.id),
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
