//! Random bytes and damaged plans and sites: whatever is read, nothing panics, hangs or eats memory.
//!
//! The target is our own, and small, for three reasons. Engines that are guided by coverage need a nightly compiler or a cargo
//! command of their own, and this one has to run wherever the tests run. Ten thousand byte flips are refused by the YAML parser
//! before one reaches the compiler, so that the mutations have to know lines, values and templates in any case. And a hang or
//! a memory that runs full can only be survived by another process, which those engines leave to their command as well.
//!
//! Instead of coverage, the target is guided by what the compiler says: an input that makes it say something new is kept, and
//! mutated further. A child process with an address space limit works on the inputs; its parent looks that it goes on. The
//! input at work is always in a file, so that whatever ends the child can be read, and run again:
//!
//! ```text
//! REQUORUM_FUZZ_SECONDS=3600 cargo test -p requorum --test fuzz            # a long run, beside the short ones
//! REQUORUM_FUZZ_CASE=FILE cargo test -p requorum --test fuzz -- --ignored kept
//! ```
#![allow(clippy::unwrap_used)]

mod corpus;
mod mutate;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Resource, Rlimit, setrlimit};

use corpus::Corpus;
use target::Case;

/// How much address space a child may have, in bytes. What the program and its threads map is a small part of it.
const MEMORY: u64 = 1 << 30;
/// The stack of the program's first thread, on which plans are compiled.
const STACK: usize = 8 << 20;
/// How long one input may take in a debug build on a machine that is busy. The longest takes about a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a child works.
#[derive(Debug, Clone, Copy)]
enum Span {
    Inputs(u32),
    Seconds(u64),
}

#[test]
fn with_fixed_seeds_nothing_panics_hangs_or_eats_memory() {
    for seed in [1, 2] {
        fuzz(seed, Span::Inputs(150));
    }
}

#[test]
fn with_a_random_seed_nothing_panics_hangs_or_eats_memory() {
    let seconds = std::env::var("REQUORUM_FUZZ_SECONDS").map_or(5, |text| text.parse().expect("a number of seconds"));
    let seed = std::env::var("REQUORUM_FUZZ_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("REQUORUM_FUZZ_SEED={seed}");
    fuzz(seed, Span::Seconds(seconds));
}

/// Runs one input that was kept.
#[test]
#[ignore = "for an input that was kept: REQUORUM_FUZZ_CASE names its file"]
fn kept() {
    let path = std::env::var_os("REQUORUM_FUZZ_CASE").expect("REQUORUM_FUZZ_CASE names the file of an input");
    let case: Case = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    println!("--- plan\n{}\n--- site\n{}", case.plan, case.site);
    println!("{:#?}", case.try_out());
}

/// Not a test by itself: what the child does.
#[test]
#[ignore = "the other tests start it"]
fn child() {
    let Some(dir) = std::env::var_os("REQUORUM_FUZZ_CHILD").map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("FUZZ_SEED").unwrap();
    let span = match (number("FUZZ_INPUTS"), number("FUZZ_SECONDS")) {
        (Some(inputs), _) => Span::Inputs(inputs.try_into().unwrap()),
        (None, seconds) => Span::Seconds(seconds.unwrap()),
    };
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) }).unwrap();
    let work = std::thread::Builder::new().stack_size(STACK).spawn(move || work(&dir, seed, span)).unwrap();
    work.join().expect("the input at work is in the file");
}

/// Makes inputs and tries them out, one after the other.
fn work(dir: &Path, seed: u64, span: Span) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut corpus = Corpus::load();
    let began = Instant::now();
    let mut inputs = 0;
    let mut kinds = [0_u32; 2];
    while match span {
        Span::Inputs(most) => inputs < most,
        Span::Seconds(seconds) => began.elapsed() < Duration::from_secs(seconds),
    } {
        let case = mutate::case(&corpus, &mut random);
        fs::write(dir.join("case.json"), serde_json::to_vec(&case).unwrap()).unwrap();
        let outcome = case.try_out();
        kinds[usize::from(outcome.accepted)] += 1;
        corpus.learn(case, outcome.said);
        inputs += 1;
    }
    println!(
        "seed {seed}: {inputs} inputs in {:.1} s, {} accepted, {} refused; {} kept as they made the compiler say something new",
        began.elapsed().as_secs_f64(),
        kinds[1],
        kinds[0],
        corpus.learned()
    );
    // A run in which nothing is accepted, or nothing refused, would not have tried anything.
    assert!(inputs < 100 || (kinds[0] > inputs / 20 && kinds[1] > inputs / 50), "{kinds:?}");
}

/// Lets a child work; what ends it is kept and told.
#[track_caller]
fn fuzz(seed: u64, span: Span) {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env("REQUORUM_FUZZ_CHILD", dir.path()).env("FUZZ_SEED", seed.to_string());
    match span {
        Span::Inputs(inputs) => command.env("FUZZ_INPUTS", inputs.to_string()),
        Span::Seconds(seconds) => command.env("FUZZ_SECONDS", seconds.to_string()),
    };
    command.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let ended = watch(command.spawn().unwrap(), &dir.path().join("case.json"));
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    if let Err(how) = ended {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{seed}.json"));
        fs::copy(dir.path().join("case.json"), &kept).unwrap();
        panic!("{how}; the input is kept: REQUORUM_FUZZ_CASE={}\n{}{}", kept.display(), read(&out), read(&err));
    }
    println!("{}", read(&out).lines().filter(|line| line.contains("seed")).collect::<String>());
}

/// Waits for a child, and looks that the input changes.
fn watch(mut child: Child, case: &Path) -> Result<(), String> {
    let mut seen = (None, Instant::now());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return if status.success() { Ok(()) } else { Err(format!("the child ended with {status}")) };
        }
        let changed = fs::metadata(case).and_then(|data| data.modified()).ok();
        if changed != seen.0 {
            seen = (changed, Instant::now());
        }
        if seen.1.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("one input has taken more than {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Picks one of many.
fn pick<'a, T>(of: &'a [T], random: &mut StdRng) -> &'a T {
    &of[random.random_range(0..of.len())]
}

/// Picks one of many words.
fn word<'a>(of: &[&'a str], random: &mut StdRng) -> &'a str {
    of[random.random_range(0..of.len())]
}
