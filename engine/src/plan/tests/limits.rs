//! Size and nonsense: nothing panics, nothing is quadratic.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{SITE, Try};

fn long_plan(steps: usize) -> String {
    let mut text = "requorum: 1\nname: long\nvars: { dir: /var }\nsteps:\n".to_owned();
    for step in 0..steps {
        let needs = if step == 0 { String::new() } else { format!("    needs: [s-{}]\n", step - 1) };
        write!(text, "  - id: s-{step}\n    title: Step {step}\n{needs}    on: [cp1, cp2]\n    service.stop: {{ service: 'x-{step}' }}\n").unwrap();
        if step > 10 {
            writeln!(text, "    when: steps.s-{}.result is defined", step / 2).unwrap();
        }
    }
    text
}

#[test]
fn a_chain_of_ten_thousand_steps_compiles() {
    assert_eq!(Try::plan(&long_plan(10_000)).accepted().plan.steps.len(), 10_000);
}

#[test]
#[ignore = "a measurement: run it in a release build with --nocapture"]
fn measure() {
    for steps in [1_000, 10_000, 100_000] {
        let tried = Try::plan(&long_plan(steps));
        let start = std::time::Instant::now();
        tried.accepted();
        println!("{steps} steps: {:?}", start.elapsed());
    }
}

#[test]
fn a_cycle_of_ten_thousand_steps_is_one_problem() {
    let text = long_plan(10_000).replacen("- id: s-0\n", "- id: s-0\n    needs: [s-9999]\n", 1);
    assert_eq!(Try::plan(&text).refused(), ["cycle"]);
}

const PLAN: &str = include_str!("mutated.yaml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_plan_is_compiled_or_refused(at in 0_usize..2000, cut in 0_usize..40, new in "[ -~\n\té]{0,12}") {
        let at = (0..=at.min(PLAN.len())).rev().find(|at| PLAN.is_char_boundary(*at)).unwrap();
        let end = (at + cut).min(PLAN.len());
        let end = (end..=PLAN.len()).find(|end| PLAN.is_char_boundary(*end)).unwrap();
        let tried = Try::plan(&format!("{}{new}{}", &PLAN[..at], &PLAN[end..])).set("member", "two");
        if let Err(found) = tried.compile() {
            prop_assert!(!tried.shown(&found).is_empty());
        }
    }

    #[test]
    fn a_damaged_site_is_read_or_refused(at in 0_usize..2000, cut in 0_usize..40, new in "[ -~\n\té]{0,12}") {
        let at = at.min(SITE.len());
        let site = format!("{}{new}{}", &SITE[..at], &SITE[(at + cut).min(SITE.len())..]);
        let tried = Try::plan(PLAN).set("member", "two").site(&site);
        if let Err(found) = tried.compile() {
            prop_assert!(!tried.shown(&found).is_empty());
        }
    }

    #[test]
    fn any_text_as_a_plan_is_refused(text in any::<String>()) {
        prop_assert!(Try::plan(&text).compile().is_err());
    }
}
