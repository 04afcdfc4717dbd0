//! The words by which the sorts of problems are known: editors, CI and the corpus of defects rely on them.

/// Every code, in alphabetical order, with what is wrong where it appears. Nothing is reported under another one.
pub const CODES: &[(&str, &str)] = &[
    ("argument-rule", "arguments that exclude each other, or none of several of which one is needed"),
    ("bad-address", "an address of a host with more than a name or an IP address"),
    ("bad-argument", "an argument of the right type, which the kind cannot use"),
    ("bad-default", "the default of an input is not one of its values"),
    ("bad-fingerprint", "a fingerprint of the wrong form"),
    ("bad-input", "a value given for an input does not fit it"),
    ("bad-name", "a name with characters that it may not have"),
    ("bad-number", "a number or duration that makes no sense where it stands"),
    ("bad-pattern", "a regular expression that cannot be read"),
    ("bad-port", "a number that is no port"),
    ("bad-secret", "a secret of a site without an origin, or with several"),
    ("bad-unit", "a duration or a size without a unit, or with one that is not known"),
    ("bad-url", "a URL that etcd could not have"),
    ("bad-version", "a version of etcd of the wrong form"),
    ("beside-include", "a key that cannot stand beside `include`"),
    ("braces", "`{{ … }}` around what is an expression already"),
    ("cycle", "steps that need each other"),
    ("destructive-without-undo", "a step that destroys something which nothing can bring back (warning)"),
    ("duplicate-host", "two hosts with one address, etcd member or URL, or one URL twice"),
    ("duplicate-id", "two steps with one id, or two includes with one prefix"),
    ("duplicate-input", "an input that is given twice"),
    ("duplicate-item", "a host that is twice in `on`"),
    ("duplicate-key", "a key that is twice in one map"),
    ("duplicate-need", "a step that is twice in `needs` (warning)"),
    ("effect-without-probe", "`effect: probed` on a command without a `probe`"),
    ("endless-template", "a template that does not come to an end"),
    ("every-without-within", "an interval without a deadline"),
    ("include-cycle", "plans that include each other"),
    ("include-depth", "plans that include each other too deep"),
    ("loose-effect", "an effect class that is looser than what the kind does"),
    ("lost-host", "a step that works on a host that the site gives up (warning)"),
    ("may-be-skipped", "the result of a step that may be skipped, used as if it were always there (warning)"),
    ("missing-argument", "an argument that the kind needs"),
    ("missing-input", "an input that has no value"),
    ("missing-key", "a key that has to be there"),
    ("missing-site", "a run without a site"),
    ("missing-version", "a file that does not say the version of its language"),
    ("needless-probe", "a probe on a kind that knows itself whether it happened"),
    ("no-checks", "a wait for nothing"),
    ("no-deadline", "a wait without an end"),
    ("no-host", "a kind that works on a host, in a step that names none"),
    ("no-items", "a step that fans out over nothing, or settings of a fan-out in a step that has none (warning)"),
    ("no-kind", "a step or a check that names no kind"),
    ("no-result", "what a command said, used as if its probe never found the effect there (warning)"),
    ("no-steps", "a plan without steps"),
    ("not-a-check", "an action where only a check can stand"),
    ("not-a-plan", "a site where a plan is meant"),
    ("not-a-site", "a plan where a site is meant"),
    ("not-an-action", "a check where only an action can stand"),
    ("not-an-ancestor", "the result of a step that need not have run before"),
    ("platform-mismatch", "a plan for other platforms than that of the site, or of the plan that includes it"),
    ("preflight-left-out", "a plan that is included without what it checks first (warning)"),
    (
        "relative-path",
        "a path that does not begin with `/`, on a host or where no directory is known that it could start from",
    ),
    ("result-is-a-list", "a field of the result of a step that fans out"),
    ("reverts-inside", "a plan that goes back in time, included in one that does not say so"),
    ("secret-changed", "a secret from which something is computed"),
    ("secret-in-plan", "a secret whose value is in the plan"),
    ("secret-on-command-line", "a secret given with `--set`"),
    ("secret-shown", "a secret where it would be seen"),
    ("self-need", "a step or an include that needs itself"),
    ("several-kinds", "a step or a check that names more than one kind"),
    ("template", "a template that cannot be rendered with the values that it has"),
    ("template-syntax", "a template or an expression that is malformed"),
    ("text-as-condition", "a condition that is a text which says no: as every text it would hold"),
    ("too-many-includes", "more included plans, or more steps of them, than can be meant"),
    ("undefined-name", "a name that templates do not have there"),
    ("undefined-value", "a part of a value that is not there"),
    ("unknown-argument", "an argument that the kind does not have"),
    ("unknown-filter", "a filter that there is not"),
    ("unknown-host", "a host that the site does not have"),
    ("unknown-input", "a value for an input that the plan does not have"),
    ("unknown-key", "a key that there is not"),
    ("unknown-kind", "a kind that there is not"),
    ("unknown-output", "an output that the step does not have"),
    ("unknown-plan", "an included plan that the library does not have"),
    ("unknown-platform", "a platform that there is not"),
    ("unknown-role", "a role that no host of the site has, much like one that there is (warning)"),
    ("unknown-step", "a step that there is not"),
    ("unknown-test", "a test of templates that there is not"),
    ("unknown-version", "a version of the language that is not known here"),
    ("unknown-word", "a word that is not among those that can stand there"),
    ("unreadable-file", "a file that cannot be read, or a plan that cannot be found"),
    ("unsafe-retry", "a retry of what must not be done twice"),
    ("unused-input", "an input that is never used (warning)"),
    ("unused-var", "a var that is never used (warning)"),
    ("wrong-type", "a value of another type than the one that is needed"),
    ("yaml", "a file that is no YAML, or that uses what plans and sites do not take"),
];

/// Says whether something is reported under a code.
#[must_use]
pub(super) fn is_known(code: &str) -> bool {
    CODES.binary_search_by_key(&code, |(known, _)| known).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_each_is_explained() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(CODES.iter().all(|(code, meaning)| !code.is_empty() && !meaning.is_empty()));
    }

    #[test]
    fn the_book_lists_every_code() {
        let book = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/problems.md"));
        let listed: Vec<&str> = book.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = CODES.iter().map(|(code, meaning)| format!("| `{code}` | {meaning} |")).collect();
        assert_eq!(listed, rows);
    }
}
