//! The machine of an operator: a home, a state directory, an environment of its own, and the program under test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No command of a test takes longer, except by a fault.
const PATIENCE: Duration = Duration::from_mins(2);

/// The machine of an operator.
pub struct Laptop {
    dir: TempDir,
}

/// What a command of requorum came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; 128 + n where signal n ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command of requorum that runs.
pub struct Live {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A run on disk.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its directory.
    pub dir: PathBuf,
}

impl Laptop {
    /// Makes a new one, which knows nothing yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("lap.").tempdir().unwrap();
        for name in ["home", "tmp"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// Names a file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and returns its path as text, for command lines.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns the state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Prepares requorum with these arguments, in an environment that holds nothing of the machine's but the search path.
    /// `REQUORUM_TEST_BINARY` names another one than was built with the test, such as a release.
    pub fn command(&self, args: &[&str]) -> Command {
        let program = std::env::var_os("REQUORUM_TEST_BINARY");
        let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_requorum").into()));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("REQUORUM_STATE_DIR", self.state())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs requorum to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.start(args).wait()
    }

    /// Runs requorum, which must end with this status.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        outcome.expect(code);
        outcome
    }

    /// Starts requorum.
    pub fn start(&self, args: &[&str]) -> Live {
        Live::spawn(self.command(args), self.dir.path())
    }

    /// Starts a prepared command.
    pub fn spawn(&self, command: Command) -> Live {
        Live::spawn(command, self.dir.path())
    }

    /// Returns its runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        let Ok(entries) = fs::read_dir(self.state().join("runs")) else { return Vec::new() };
        let mut runs: Vec<Run> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| Run { id: entry.file_name().into_string().unwrap(), dir: entry.path() })
            .collect();
        // Ids made within one second do not sort by age; directories know when they were made.
        runs.sort_by_cached_key(|run| (fs::metadata(&run.dir).and_then(|made| made.created()).ok(), run.id.clone()));
        runs
    }

    /// Returns its newest run.
    #[track_caller]
    pub fn newest(&self) -> Run {
        self.runs().pop().expect("a run")
    }

    /// Returns its only run, as soon as there is one.
    pub fn first_run(&self) -> Run {
        super::wait_until("a run", Duration::from_secs(20), || !self.runs().is_empty());
        self.newest()
    }

    /// Returns the names of the files on it that contain a text.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        files_with(self.dir.path(), text)
    }
}

/// Returns the files below a directory that contain a text.
pub fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let output = Command::new("grep").args(["-rlaF", "-e", text]).arg(dir).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

impl Outcome {
    /// Panics unless it ended with this status.
    #[track_caller]
    pub fn expect(&self, code: i32) {
        assert_eq!(self.code, code, "expected exit {code}:\n{self}");
    }

    /// Panics unless a text is among what was said on standard error.
    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.stderr.contains(text), "expected {text:?} on standard error:\n{self}");
    }

    /// Panics unless a text is among what was printed on standard output.
    #[track_caller]
    pub fn prints(&self, text: &str) {
        assert!(self.stdout.contains(text), "expected {text:?} on standard output:\n{self}");
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Live {
    fn spawn(mut command: Command, dir: &Path) -> Self {
        let name =
            |kind| tempfile::Builder::new().prefix(kind).tempfile_in(dir).unwrap().into_temp_path().keep().unwrap();
        let (stdout, stderr) = (name("out."), name("err."));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Returns what it has said on standard error so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Sends it a signal, for example `INT`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Kills it with SIGKILL. Says whether it was still at work.
    pub fn kill(mut self) -> bool {
        let at_work = !self.has_ended();
        self.child.kill().unwrap();
        self.wait();
        at_work
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let ends = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= ends {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                panic!("it did not end within {PATIENCE:?}; it said\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Outcome { code: code(status), stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

impl Run {
    /// Returns the records of its journal that can be read now.
    pub fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join("events.jsonl")).unwrap_or_default();
        // A last line that is being written is not there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the events of one name about one step: `STEP` or `STEP@ITEM`; all of the name where it is empty.
    pub fn events(&self, name: &str, step: &str) -> Vec<Value> {
        let wanted = |event: &Value| {
            let (id, item) = (event["id"]["step"].as_str().unwrap_or(""), event["id"]["item"].as_str().unwrap_or(""));
            event["event"] == name && (step.is_empty() || step == id || step == format!("{id}@{item}"))
        };
        self.records().into_iter().map(|record| record["event"].clone()).filter(wanted).collect()
    }

    /// Waits until there is such an event.
    pub fn wait_for(&self, name: &str, step: &str) {
        super::wait_until(&format!("`{name}` of {step}"), Duration::from_mins(1), || {
            !self.events(name, step).is_empty()
        });
    }

    /// Returns the outputs that a step succeeded with.
    #[track_caller]
    pub fn outputs(&self, step: &str) -> Value {
        self.events("succeeded", step).pop().expect("the step succeeded")["outputs"].clone()
    }
}
