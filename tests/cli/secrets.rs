//! A secret reaches the command that needs it, and nothing else.

use std::io::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::{Desk, SITE};
use crate::support::{Outcome, files_with};

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
fn a_run_whose_secret_cannot_be_had_is_not_made() {
    let desk = Desk::with("inputs: { password: { type: secret } }\n", STEPS);
    let site = format!("{SITE}secrets: {{ key: {{ env: REQUORUM_TEST_UNSET }} }}\n");
    let from_site = desk.laptop.write("from-site.yaml", &site);
    let steps = "  - id: use\n    command.run: { run: cat, stdin: '{{ site.secrets.key }}' }\n";
    let uses_site = desk.laptop.write("uses-site.yaml", &format!("requorum: 1\nname: try\nsteps:\n{steps}"));
    let long = desk.laptop.write("long", &"x".repeat(65_537));
    std::fs::write(desk.laptop.path("binary"), [b'x', 0xff, 0xfe]).unwrap();
    let (binary, directory) = (desk.laptop.path("binary"), desk.laptop.path(""));
    for (path, why) in [
        ("/nope", "the file /nope: there is no such file"),
        (directory.to_str().unwrap(), "it is a directory"),
        (&long, "it has more than 65536 bytes"),
        (binary.to_str().unwrap(), "it is not UTF-8 text"),
    ] {
        desk.run(4, &["--set-file", &format!("password={path}")]).says(why);
    }
    let outcome = desk.laptop.expect(4, &["run", &uses_site, "-i", &from_site, "--yes"]);
    outcome.says("the environment variable REQUORUM_TEST_UNSET: it is not set");

    assert!(desk.laptop.runs().is_empty());
    // The next run finds the cluster free.
    let file = desk.laptop.write("password", SECRET);
    desk.run(5, &["--set-file", &format!("password={file}")]);
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

/// A password that is written otherwise in JSON and in a shell.
const PASSWORD: &str = "hunter2\"Zq9x\\sAmple";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu
NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ
-----END PRIVATE KEY-----
";

/// Every step puts the secret out in its own way. `OUT` is a directory outside of what is searched.
const LEAKS: &str = r#"  - id: raw
    command.run: { run: "cat", stdin: "{{ inputs.password }}" }
    outputs: { password: "{{ result.stdout }}", inside: "<{{ result.stdout }}>" }
  - id: loud
    command.run: { run: "cat", stdin: "{{ inputs.password }}" }
    outputs: { password: "{{ result.stdout | upper }}" }
  - id: encoded
    command.run: { run: "base64 -w0", stdin: "{{ inputs.password }}" }
  - id: header
    command.run: { run: "printf 'Basic '; { printf user:; cat; } | base64 -w0", stdin: "{{ inputs.password }}" }
  - id: escaped
    command.run:
      run: |
        sed 's/[\\"]/\\&/g; s/^/{"password": "/; s/$/"}/'
      stdin: "{{ inputs.password }}"
  - id: slowly
    command.run:
      run: |
        pw=$(cat); rest=${pw#????????}
        printf %s "${pw%"$rest"}"; sleep 0.3; printf '%s\n' "$rest"
      stdin: "{{ inputs.password }}"
  - id: fails
    command.run: { run: "tee /dev/stderr; exit 3", stdin: "{{ inputs.password }}" }
  - id: key
    command.run:
      run: |
        k=$(cat)
        printf '%s\n' "$k" | sed 's/$/\r/; s/^/  /' >&2
        exit 4
      stdin: "{{ site.secrets.key }}"
  - id: key-encoded
    command.run: { run: "base64; exit 5", stdin: "{{ site.secrets.key }}" }
  - id: key-shown
    command.run: { run: "cat", stdin: "{{ site.secrets.key }}" }
  - id: kept
    command.run: { run: "cat >OUT/kept", stdin: "{{ inputs.password }}" }
  - id: required
    needs: [kept]
    require:
      - command.check: { run: "cat OUT/kept", stdout: { equals: "other" } }
        within: 1s
        every: 300ms
    command.run: { run: "true" }
  - id: verified
    needs: [kept]
    command.run: { run: "true" }
    verify:
      - command.check: { run: "base64 OUT/kept >&2; exit 1" }
  - id: probed
    needs: [kept]
    effect: probed
    command.run: { run: "true" }
    probe:
      command.check: { run: "cat OUT/kept" }
  - id: later
    needs: [raw]
    command.run:
      run: "cat >OUT/later; sha256sum OUT/later"
      stdin: "{{ steps.raw.outputs.inside }}"
  - id: parsed
    needs: [escaped]
    command.run: { run: "cat >OUT/parsed", stdin: "{{ steps.escaped.result.json.password }}" }
  - id: lost
    needs: [encoded]
    command.run: { run: "cat >OUT/lost", stdin: "{{ steps.encoded.result.stdout }}" }
  - id: changed
    needs: [raw]
    command.run: { run: "cat >OUT/changed", stdin: "{{ steps.raw.result.stdout | upper }}" }
  - id: argument
    needs: [raw]
    command.run: { run: "echo {{ steps.raw.result.stdout }} >OUT/argument" }
"#;

/// A desk with secrets in files of their own, which lie outside of what is searched.
struct Leaky {
    desk: Desk,
    out: TempDir,
    file: NamedTempFile,
}

impl Leaky {
    fn with(password: &str, steps: &str) -> Self {
        let out = tempfile::tempdir().unwrap();
        let key = out.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(format!("{password}\n").as_bytes()).unwrap();
        let steps = steps.replace("OUT", out.path().to_str().unwrap());
        let desk = Desk::with("inputs: { password: { type: secret } }\n", &steps);
        let site = format!("{}secrets: {{ key: {{ file: {} }} }}\n", super::SITE, key.display());
        desk.laptop.write("site.yaml", &site);
        Self { desk, out, file }
    }

    #[track_caller]
    fn run(&self, code: i32, more: &[&str]) -> Outcome {
        let input = format!("password={}", self.file.path().display());
        self.desk.run(code, &[&["--set-file", input.as_str()], more].concat())
    }

    #[track_caller]
    fn result(&self, step: &str) -> Value {
        self.desk.laptop.newest().events("acted", step)[0]["result"].clone()
    }

    #[track_caller]
    fn fault(&self, step: &str) -> Value {
        self.desk.laptop.newest().events("failed", step)[0]["fault"].clone()
    }

    /// Asserts that no form of a secret is in any file of the laptop: its state, and all that its commands have printed.
    #[track_caller]
    fn holds_none_of(&self, forms: &[String]) {
        for form in forms {
            let found = files_with(&self.desk.laptop.path(""), form);
            assert_eq!(found, Vec::<PathBuf>::new(), "{form:?}");
        }
    }
}

/// The forms of a secret that a search for fixed texts can find.
fn forms(secret: &str) -> Vec<String> {
    // The first and the last line of a key are no secret.
    let mut forms: Vec<String> = secret.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect();
    let secret = forms.join("\n");
    for line in forms.clone() {
        let quoted = json!(line).to_string();
        forms.push(quoted[1..quoted.len() - 1].to_owned());
    }
    for before in ["", "x", "xx"] {
        let bytes = format!("{before}{secret}");
        for encoded in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            // The first characters hold what stands before, the last what follows. A long form may be folded.
            let known = &encoded[4..encoded.len() - 4];
            forms.extend(known.as_bytes().chunks(20).map(|part| String::from_utf8(part.to_vec()).unwrap()));
        }
    }
    forms.push(hex::encode(&secret));
    forms.retain(|form| form.len() >= 12);
    forms
}

#[test]
fn a_secret_that_commands_put_out_is_kept_and_shown_nowhere() {
    for format in ["text", "json"] {
        let leaky = Leaky::with(PASSWORD, LEAKS);
        leaky.run(5, &["--log-format", format]);
        for command in ["show", "logs"] {
            for output in ["text", "json"] {
                leaky.desk.laptop.expect(0, &["runs", command, "-o", output]);
            }
        }
        let all = [forms(PASSWORD), forms(KEY), vec!["HUNTER2".to_owned()]].concat();
        leaky.holds_none_of(&all);
        if format == "text" {
            let shown = leaky.desk.laptop.expect(0, &["runs", "show"]);
            shown.prints("‹secret inputs.password›");
            shown.prints("‹a form of secret site.secrets.key›");
        }
        // A resume fetches the secrets again and tries what failed once more. A person may say too much as well.
        let reason = format!("the password is {PASSWORD}");
        let line = ["resume", "--retry-failed", "--log-format", format, "--reason", &reason];
        leaky.desk.laptop.expect(5, &line).says("the password is");
        leaky.holds_none_of(&all);
    }
}

#[test]
fn a_later_step_gets_the_value_of_a_secret_that_an_earlier_one_put_out() {
    let leaky = Leaky::with(PASSWORD, LEAKS);
    leaky.run(5, &[]);
    let given = |name: &str| std::fs::read_to_string(leaky.out.path().join(name)).unwrap();
    assert_eq!(given("later"), format!("<{PASSWORD}>"));
    let digest = hex::encode(Sha256::digest(format!("<{PASSWORD}>")));
    assert!(leaky.result("later")["stdout"].as_str().unwrap().starts_with(&digest));
    assert_eq!(given("parsed"), PASSWORD);
    assert_eq!(leaky.result("raw")["stdout"], "\u{E000}inputs.password\u{E001}");
    assert_eq!(leaky.result("slowly")["stdout"], "\u{E000}inputs.password\u{E001}");
    assert_eq!(leaky.result("key-shown")["stdout"], "\u{E000}site.secrets.key\u{E001}");
}

#[test]
fn an_argument_that_would_hold_no_more_than_a_trace_of_a_secret_is_refused() {
    let leaky = Leaky::with(PASSWORD, LEAKS);
    let outcome = leaky.run(5, &[]);
    assert_eq!(leaky.fault("lost")["kind"], "refused");
    outcome.says("`stdin` of `command.run` holds a form of the secret `inputs.password`");
    assert_eq!(leaky.fault("changed")["kind"], "refused");
    outcome.says("holds what an expression has left of a secret");
    outcome.says("the secret `inputs.password` would be shown in `run`");
    for name in ["lost", "changed", "argument"] {
        assert!(!leaky.out.path().join(name).exists(), "{name}");
    }
}

#[test]
fn an_output_cannot_ask_for_a_secret_by_its_mark() {
    let steps = r#"  - id: given
    command.run: { run: "cat >/dev/null", stdin: "{{ inputs.password }}" }
  - id: asks
    command.run: { run: "printf '\\356\\200\\200inputs.password\\356\\200\\201'" }
  - id: gets
    needs: [asks]
    command.run: { run: "cat >OUT/gets", stdin: "{{ steps.asks.result.stdout }}" }
"#;
    let leaky = Leaky::with(PASSWORD, steps);
    leaky.run(0, &[]);
    let got = std::fs::read_to_string(leaky.out.path().join("gets")).unwrap();
    assert_eq!(got, "\u{FFFD}inputs.password\u{FFFD}");
}

#[test]
fn a_common_word_as_a_secret_is_hidden_only_where_it_was_given() {
    let steps = r#"  - id: given
    command.run: { run: "pw=$(cat); echo untrue $pw; printf user:$pw | base64", stdin: "{{ inputs.password }}" }
    verify:
      - command.check: { run: "echo true >&2; exit 1" }
  - id: other
    command.run: { run: "echo true, not untrue" }
"#;
    let leaky = Leaky::with("true", steps);
    leaky.run(5, &[]);
    let (stand_in, trace) = ("\u{E000}inputs.password\u{E001}", "\u{E000}~inputs.password\u{E001}");
    assert_eq!(leaky.result("given")["stdout"], format!("untrue {stand_in}\n{trace}"));
    assert_eq!(leaky.result("other")["stdout"], "true, not untrue");
    let seen = &leaky.desk.laptop.newest().events("verify-failed", "given")[0]["findings"][0]["outcome"]["Ok"]["seen"];
    assert_eq!(*seen, format!("exit status 1: {stand_in}"));
}

#[test]
fn a_half_of_a_secret_where_an_output_was_cut_is_not_kept() {
    // Half a MiB is kept of the beginning, and half a MiB of the end.
    let steps = r#"  - id: much
    command.run:
      run: |
        pw=$(cat)
        dots() { head -c "$1" /dev/zero | tr '\0' .; }
        dots 524276; printf %s "$pw"; dots 1000; printf %s "$pw"; dots 524276
      stdin: "{{ inputs.password }}"
"#;
    let half = "Zq9x-hunter2-Rv7k-Wm3p-Xd1s";
    let leaky = Leaky::with(half, steps);
    leaky.run(0, &[]);
    let stdout = leaky.result("much")["stdout"].as_str().unwrap().to_owned();
    let dots = ".".repeat(524_276);
    assert!(stdout.starts_with(&dots) && stdout.ends_with(&dots));
    let mark = "‹a form of secret inputs.password›";
    assert_eq!(stdout.trim_matches('.'), format!("{mark}{mark}"));
    leaky.holds_none_of(&[half[..8].to_owned(), half[half.len() - 8..].to_owned()]);
}
