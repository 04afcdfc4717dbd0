//! Relative paths of this machine: they mean the same file wherever a command is given.

use super::{Desk, Outcome};

/// A step that waits for a person, and then needs a certificate beside the plan.
const GATE: &str = "  - { id: ask, gate.confirm: { message: Go on? } }
  - { id: look, needs: [ask], require: [{ cert.valid: { path: ca.pem } }], set.values: { a: 1 } }\n";

/// Runs a command from another directory than that of the plan.
fn from_elsewhere(desk: &Desk, code: i32, args: &[&str]) -> Outcome {
    let mut command = desk.laptop.command(args);
    command.current_dir(desk.laptop.path("home"));
    let outcome = desk.laptop.spawn(command).wait();
    outcome.expect(code);
    outcome
}

#[test]
fn a_relative_path_starts_from_the_plan_in_a_preview_a_run_and_a_resume_from_elsewhere() {
    let desk = Desk::steps(GATE);
    let meant = desk.laptop.path("ca.pem").display().to_string();
    desk.laptop.expect(0, &["preview", &desk.plan, "-i", &desk.site]).prints(&meant);
    desk.run(6, &[]);
    let run = desk.laptop.newest().id;
    desk.laptop.expect(0, &["approve", &run, "ask", "--reason", "yes"]);
    from_elsewhere(&desk, 5, &["resume", &run]).says(&meant);
    // The run keeps it, and needs the plan no more.
    std::fs::remove_file(desk.laptop.path("plan.yaml")).unwrap();
    from_elsewhere(&desk, 5, &["resume", &run]).says(&meant);
}

#[test]
fn a_path_that_an_operator_gives_starts_from_where_he_stands() {
    let head = "inputs: { file: { type: file, default: ca.pem } }\n";
    let desk = Desk::with(
        head,
        "  - { id: look, require: [{ cert.valid: { path: '{{ inputs.file }}' } }], set.values: { a: 1 } }\n",
    );
    let line = ["run", &desk.plan, "-i", &desk.site, "--yes"];
    from_elsewhere(&desk, 5, &line).says(&desk.laptop.path("ca.pem").display().to_string());
    desk.laptop.expect(0, &["runs", "abort", &desk.laptop.newest().id, "--reason", "no"]);
    let given = [&line[..], &["--set", "file=ca.pem"]].concat();
    from_elsewhere(&desk, 5, &given).says(&desk.laptop.path("home/ca.pem").display().to_string());
}
