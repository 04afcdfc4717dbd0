//! A secret reaches the command that needs it, and nothing else.

use sha2::{Digest as _, Sha256};

use super::Desk;
use crate::support::files_with;

const SECRET: &str = "hunter2-Zq9x";

const STEPS: &str = r#"  - id: use
    command.run: { run: "sha256sum >digest; tr '\\0' '\\n' </proc/$$/cmdline >argv; sleep 0.2", stdin: "{{ inputs.password }}" }
  - id: fail
    needs: [use]
    command.run: { run: "exit 3", stdin: "{{ inputs.password }}" }
"#;

#[test]
fn a_secret_is_in_no_journal_no_output_no_argument_list_and_no_file() {
    let desk = Desk::with("inputs: { password: { type: secret } }\n", STEPS);
    // It lies outside of the laptop's directory, which is searched afterwards.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, format!("{SECRET}\n").as_bytes()).unwrap();
    let input = format!("password={}", file.path().display());
    let outcome = desk.run(5, &["--set-file", &input]);
    assert!(!outcome.stderr.contains(SECRET) && !outcome.stdout.contains(SECRET), "{outcome}");

    // The command got it, without the line break of the file.
    assert!(desk.file("digest").starts_with(&hex::encode(Sha256::digest(SECRET))), "{}", desk.file("digest"));
    assert!(desk.file("argv").contains("sha256sum"));
    for command in ["show", "logs"] {
        let shown = desk.laptop.expect(0, &["runs", command, "-o", "json"]);
        assert!(!shown.stdout.contains(SECRET));
    }
    assert_eq!(files_with(&desk.laptop.path(""), SECRET), Vec::<std::path::PathBuf>::new());

    // A resume has it again from where it came.
    desk.laptop.expect(5, &["resume", "--retry-failed"]);
    assert_eq!(files_with(&desk.laptop.path(""), SECRET), Vec::<std::path::PathBuf>::new());
    file.close().unwrap();
    desk.laptop.expect(4, &["resume", "--retry-failed"]).says("password");
}

#[test]
fn a_secret_may_come_from_the_environment_but_not_from_the_command_line() {
    let desk = Desk::with("inputs: { password: { type: secret } }\n", STEPS);
    desk.run(3, &["--set", &format!("password={SECRET}")]).says("password");
    desk.run(3, &[]).says("password");
    let mut command = desk.laptop.command(&["run", &desk.plan, "-i", &desk.site, "--yes"]);
    command.env("REQUORUM_INPUT_PASSWORD", SECRET);
    desk.laptop.spawn(command).wait().expect(5);
    assert!(desk.file("digest").starts_with(&hex::encode(Sha256::digest(SECRET))));
    assert_eq!(files_with(&desk.laptop.path(""), SECRET), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_plan_that_would_show_a_secret_is_invalid() {
    let desk = Desk::with(
        "inputs: { password: { type: secret } }\n",
        "  - id: a\n    command.run: { run: 'login {{ inputs.password }}' }\n  - id: b\n    set.values: { p: '{{ inputs.password }}' }\n",
    );
    let outcome = desk.laptop.expect(3, &["check", &desk.plan, "-i", &desk.site]);
    outcome.says("plan.yaml:6");
    outcome.says("plan.yaml:8");
}
