//! `host.sh` under each shell that a host may have: the protocol by itself, without SSH.
#![allow(clippy::unwrap_used)]

#[path = "support/shells.rs"]
mod shells;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout};

use shells::{Shell, shells};

impl Shell {
    fn launch(&self, root: &Path, name: &str, stdin: (&str, &[u8]), text: &str) -> Vec<String> {
        let (root, length) = (root.display().to_string(), stdin.1.len().to_string());
        let args = ["launch", &root, "c", "run", name, "1", "token", "a label", stdin.0, &length, text, "sh", "an arg"];
        self.call(stdin.1, &args)
    }
}

#[test]
fn every_shell_speaks_the_whole_protocol() {
    for shell in shells() {
        eprintln!("under {:?}", shell.words);
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let at = root.display().to_string();
        let hello = shell.call(b"", &["greet", &at]);
        assert!(hello.len() == 1 && hello[0].starts_with("N hello "), "{hello:?}");
        assert!(!root.exists());

        let said = shell.launch(&root, "s@h.1", ("empty", b""), "echo \"$1\"; echo err >&2; exit 3");
        assert_eq!(said, ["N begun", "N state exited 3 0 7 0 4 0", "an arg", "err"]);
        assert_eq!(shell.call(b"", &["state", &at, "c", "run", "s@h.1"]), ["N state exited 3 0 0 0 0 0"]);

        for sort in ["bytes", "secret"] {
            let said =
                shell.launch(&root, &format!("s@{sort}.1"), (sort, b"one\n"), "cat; ls \"$REQUORUM_STDIN\" | wc -l");
            assert_eq!(said, ["N send", "N begun", "N state exited 0 0 6 0 0 0", "one", "1"]);
        }
        let short = ["launch", &at, "c", "run", "s@short.1", "1", "token", "l", "bytes", "9", "echo no", "sh"];
        let said = shell.call(b"one\n", &short);
        assert!(said[1].starts_with("N refused 4 of 9 bytes"), "{said:?}");
        assert_eq!(shell.call(b"", &["state", &at, "c", "run", "s@short.1"]), ["N state not-started - 0 0 0 0 0"]);

        let other = ["launch", &at, "c", "run-2", "s@h.1", "2", "other", "l", "empty", "0", "echo no", "sh"];
        assert_eq!(shell.call(b"", &other), ["N fenced run 1 0 token a label"]);

        let said = shell.raw(
            b"",
            &["launch", &at, "c", "run", "s@big.1", "1", "token", "l", "empty", "0", "head -c 5000000 /dev/zero", "sh"],
        );
        assert!(said.stdout.starts_with(b"N begun\nN state exited 0 0 524288 524289 0 0\n"));
        stop(&shell, &root);
    }
}

#[test]
fn whoever_comes_while_the_input_arrives_is_seen() {
    for shell in shells() {
        eprintln!("under {:?}", shell.words);
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        let count = directory.path().join("count");
        let text = format!("echo once >>{}; cat", count.display());
        let launch =
            |name: &'static str| ["launch", &at, "c", "run", name, "1", "token", "me", "bytes", "3", &text, "sh"];

        let slow = Slow::begin(&shell, &launch("s@twice.1"));
        assert_eq!(shell.call(b"two", &launch("s@twice.1")).last().unwrap(), "two");
        assert_eq!(slow.finish(b"one"), ["N begun", "N state exited 0 0 3 0 0 0", "two"], "the other was first");
        assert_eq!(fs::read_to_string(&count).unwrap(), "once\n");

        let slow = Slow::begin(&shell, &launch("s@fenced.1"));
        let raise = ["fence-raise", &at, "c", "run-2", "2", "other", "you", "take-over"];
        assert_eq!(shell.call(b"", &raise), ["N done"]);
        assert_eq!(slow.finish(b"one"), ["N fenced run-2 2 0 other you"], "the fence was taken meanwhile");
        assert_eq!(fs::read_to_string(&count).unwrap(), "once\n");
        assert_eq!(shell.call(b"", &launch("s@twice.1")).last().unwrap(), "two", "what has begun is still told");
    }
}

#[test]
fn what_a_command_writes_is_told_while_it_runs() {
    for shell in shells() {
        eprintln!("under {:?}", shell.words);
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        let wait = |name: &str| format!("until [ -e {at}/{name} ]; do sleep 0.05; done");
        let text = format!("printf one; printf 'a\\nb' >&2; {}; echo two; {}", wait("first"), wait("second"));
        let mut child =
            shell.spawn(&["launch", &at, "c", "run", "s@h.1", "1", "token", "me", "empty", "0", &text, "sh"]);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line
        };
        assert_eq!(line(), "N begun\n");
        // No line break stands after the bytes of a frame.
        assert_eq!([line(), line(), line()], ["N chunk out 0 3\n", "oneN chunk err 0 3\n", "a\n"]);
        fs::write(directory.path().join("first"), "").unwrap();
        assert_eq!([line(), line()], ["bN chunk out 3 4\n", "two\n"]);
        fs::write(directory.path().join("second"), "").unwrap();
        assert_eq!([line(), line(), line(), line()], ["N state exited 0 0 7 0 3 0\n", "onetwo\n", "a\n", "b"]);
        child.wait().unwrap();
    }
}

#[test]
fn output_in_small_pieces_is_kept_whole_up_to_the_cap() {
    for shell in shells() {
        eprintln!("under {:?}", shell.words);
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        // 600,000 bytes in pieces of 100, far more than fit into the head.
        let text = "n=0; while [ $n -lt 6000 ]; do n=$((n + 1)); printf '%0100d' $n; done";
        let said = shell.raw(b"", &["launch", &at, "c", "run", "s@h.1", "1", "token", "me", "empty", "0", text, "sh"]);
        let wanted = (1..=6000).map(|n| format!("{n:0100}")).collect::<Vec<_>>().concat();
        let text = String::from_utf8(said.stdout).unwrap();
        let (_, kept) =
            text.split_once("N state exited 0 0 524288 75712 0 0\n").unwrap_or_else(|| panic!("{text:.200}"));
        assert!(kept == wanted, "{} bytes", kept.len());
        let mut left: Vec<_> =
            fs::read_dir(directory.path().join("c/run/s@h.1")).unwrap().map(|at| at.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(
            left,
            ["command", "err.head", "err.tail", "lock", "out.head", "out.tail", "start", "status", "wrapper.log"]
        );
    }
}

/// A launch that has been asked for its input and has not sent it yet.
struct Slow {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Slow {
    fn begin(shell: &Shell, args: &[&str]) -> Self {
        let mut child = shell.spawn(args);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "N send\n");
        Self { child, stdout }
    }

    fn finish(mut self, stdin: &[u8]) -> Vec<String> {
        self.child.stdin.take().unwrap().write_all(stdin).unwrap();
        let lines = self.stdout.lines().map(Result::unwrap).collect();
        self.child.wait().unwrap();
        lines
    }
}

/// A command that ignores SIGTERM, stopped: its last words and a status are there, and nothing of its session.
fn stop(shell: &Shell, root: &Path) {
    let at = root.display().to_string();
    let ready = root.join("ready");
    let text = format!("trap '' TERM; echo last words; : >{}; while :; do sleep 1; done", ready.display());
    std::thread::scope(|scope| {
        let launch = scope.spawn(|| shell.launch(root, "s@stop.1", ("empty", b""), &text));
        while !ready.exists() {
            std::thread::yield_now();
        }
        assert_eq!(shell.call(b"", &["state", &at, "c", "run", "s@stop.1"]), ["N state running - 0 0 0 0 0"]);
        assert_eq!(shell.call(b"", &["stop", &at, "c", "run", "s@stop.1", "0"]), ["N state exited 137 0 0 0 0 0"]);
        assert!(launch.join().unwrap().contains(&"last words".to_owned()));
    });
    assert!(!fs::read_to_string(root.join("c/run/s@stop.1/command")).unwrap().is_empty());
}
