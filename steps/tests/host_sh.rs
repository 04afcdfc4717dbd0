//! `host.sh` under each shell that a host may have: the protocol by itself, without SSH.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SCRIPT: &str = include_str!("../src/capsule/host.sh");

/// A shell, with the directory in PATH where all tools are its own (busybox), or nothing.
struct Shell {
    words: Vec<String>,
    _tools: Option<tempfile::TempDir>,
    path: Option<String>,
}

fn shells() -> Vec<Shell> {
    let mut shells = Vec::new();
    for name in ["dash", "bash"] {
        match which(name) {
            Some(_) => shells.push(Shell { words: vec![name.to_owned()], _tools: None, path: None }),
            None => eprintln!("SKIPPED: {name} is not installed"),
        }
    }
    let Some(busybox) = which("busybox") else {
        eprintln!("SKIPPED: busybox is not installed");
        return shells;
    };
    // All that the script uses is busybox's then, `sh` too.
    let tools = tempfile::tempdir().unwrap();
    let list = Command::new(&busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        symlink(&busybox, tools.path().join(applet)).unwrap();
    }
    // Some builds (Debian's) come without flock.
    if let (false, Some(flock)) = (tools.path().join("flock").exists(), which("flock")) {
        symlink(flock, tools.path().join("flock")).unwrap();
    }
    let path = Some(tools.path().display().to_string());
    shells.push(Shell { words: vec![tools.path().join("ash").display().to_string()], _tools: Some(tools), path });
    shells
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

impl Shell {
    fn call(&self, stdin: &[u8], args: &[&str]) -> Vec<String> {
        let output = self.raw(stdin, args);
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn raw(&self, stdin: &[u8], args: &[&str]) -> Output {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["-c", "me=$1; shift; eval \"$me\"", "sh", SCRIPT, "N"]).args(args);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin).unwrap();
        child.wait_with_output().unwrap()
    }

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
