//! What the host's script answers: one line each, begun by the nonce of the call.

use crate::capsule::capped::CAP;
use crate::capsule::watch::Stream;
use crate::capsule::{CapsuleState, Holder};
use crate::name::RunId;
use crate::world::{Output, SeenFence};

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It wants the standard input now.
    Send,
    /// The attempt has begun, now or earlier.
    Begun,
    /// It is done.
    Done,
    /// It was refused, for this reason; nothing was changed.
    Refused(String),
    /// Another holder forbids it.
    Fenced(SeenFence),
    /// The fence, if there is one.
    Fence(Option<SeenFence>),
    /// The host's greeting.
    Hello {
        /// The kernel's boot id.
        boot_id: String,
        /// The user.
        user: String,
        /// Whether the capsule root would be in memory only.
        in_memory: bool,
        /// Its clock, in milliseconds since 1970.
        clock_ms: i64,
    },
    /// As many bytes follow, which stand at this offset of a stream.
    Chunk {
        /// The stream.
        stream: Stream,
        /// How many bytes of it stand before them.
        offset: usize,
        /// How many bytes follow.
        length: usize,
    },
    /// The state of an attempt, and how many bytes of output follow: of each stream the beginning and the end.
    State(CapsuleState, [usize; 4]),
}

/// Reads a line. `None`: it is not one of ours, or not understood.
pub(crate) fn parse(line: &str, nonce: &str, cluster: &str) -> Option<Answer> {
    // The login shell may have printed something without a line break before it.
    let (_, answer) = line.split_once(nonce)?;
    let (word, rest) = match answer.trim_start().split_once(' ') {
        Some((word, rest)) => (word, rest.trim()),
        None => (answer.trim(), ""),
    };
    match word {
        "send" => Some(Answer::Send),
        "begun" => Some(Answer::Begun),
        "done" => Some(Answer::Done),
        "refused" => Some(Answer::Refused(rest.to_owned())),
        "fenced" => Some(Answer::Fenced(fence(rest, cluster)?)),
        "fence" => Some(Answer::Fence(Some(fence(rest, cluster)?))),
        "no-fence" => Some(Answer::Fence(None)),
        "hello" => hello(rest),
        "chunk" => chunk(rest),
        "state" => state(rest),
        _ => None,
    }
}

fn fence(text: &str, cluster: &str) -> Option<SeenFence> {
    let mut words = text.splitn(5, ' ');
    let run = RunId::new(words.next()?).ok()?;
    let epoch = words.next()?.parse().ok()?;
    let finished = words.next()? == "1";
    let token = words.next()?.to_owned();
    let label = words.next().unwrap_or_default().to_owned();
    Some(SeenFence { holder: Holder { cluster: cluster.to_owned(), run, epoch, token, label }, finished })
}

fn hello(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let (boot_id, user) = (words.next()?.to_owned(), words.next()?.to_owned());
    let in_memory = words.next()? == "1";
    let seconds: i64 = words.next()?.parse().ok()?;
    // Not every `date` knows nanoseconds; without them the middle of the second is the best guess.
    let nanos = words.next().and_then(|nanos| nanos.parse::<i64>().ok()).unwrap_or(500_000_000);
    Some(Answer::Hello { boot_id, user, in_memory, clock_ms: seconds * 1000 + nanos / 1_000_000 })
}

fn chunk(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let name = words.next()?;
    let stream = Stream::ALL.into_iter().find(|stream| stream.name() == name)?;
    let mut size = || words.next()?.parse::<usize>().ok().filter(|&bytes| bytes <= CAP);
    let (offset, length) = (size()?, size()?);
    (offset + length <= CAP).then_some(Answer::Chunk { stream, offset, length })
}

fn state(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let (what, status, rebooted) = (words.next()?, words.next()?, words.next()? == "1");
    let state = match what {
        "absent" => CapsuleState::Absent,
        "not-started" => CapsuleState::NotStarted,
        "running" => CapsuleState::Running,
        "exited" => CapsuleState::Exited { status: status.parse().ok()? },
        "dead" => CapsuleState::Dead { rebooted },
        _ => return None,
    };
    let mut sizes = [0; 4];
    for size in &mut sizes {
        *size = words.next()?.parse().ok().filter(|&bytes| bytes <= CAP + 1)?;
    }
    Some(Answer::State(state, sizes))
}

/// Puts together what followed a state. The end is kept with one byte more than is shown: it tells that bytes were dropped.
pub(crate) fn output(status: i32, bytes: &[u8], sizes: [usize; 4]) -> Output {
    let (stdout, stderr) = bytes.split_at((sizes[0] + sizes[1]).min(bytes.len()));
    let (stdout, out_cut) = joined(stdout, sizes[0]);
    let (stderr, err_cut) = joined(stderr, sizes[2]);
    Output { status, stdout, stderr, truncated: out_cut || err_cut }
}

fn joined(bytes: &[u8], head: usize) -> (Vec<u8>, bool) {
    let (head, tail) = bytes.split_at(head.min(bytes.len()));
    let cut = tail.len().saturating_sub(CAP);
    ([head, &tail[cut..]].concat(), cut > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_login_shell_prints_is_no_answer() {
        assert_eq!(parse("Welcome to cp1", "n0", "c"), None);
        assert_eq!(parse("Welcomen0 begun", "n0", "c"), Some(Answer::Begun));
        assert_eq!(parse("n0 dance", "n0", "c"), None);
        assert_eq!(parse("n0 refused no flock", "n0", "c"), Some(Answer::Refused("no flock".to_owned())));
    }

    #[test]
    fn a_fence_names_its_holder() {
        let Some(Answer::Fenced(seen)) = parse("n fenced run-1 7 0 abc ann@desk, pid 3", "n", "prod") else { panic!() };
        assert_eq!(seen.holder.epoch, 7);
        assert_eq!(seen.holder.label, "ann@desk, pid 3");
        assert!(!seen.finished);
    }

    #[test]
    fn sizes_beyond_the_cap_are_not_believed() {
        assert!(parse("n state exited 3 0 1 2 3 4", "n", "c").is_some());
        assert!(parse("n state exited 3 0 99999999 2 3 4", "n", "c").is_none());
        assert!(parse("n state exited x 0 1 2 3 4", "n", "c").is_none());
    }

    #[test]
    fn a_chunk_names_its_place_which_lies_below_the_cap() {
        let chunk = Answer::Chunk { stream: Stream::Err, offset: 3, length: 4 };
        assert_eq!(parse("n chunk err 3 4", "n", "c"), Some(chunk));
        assert_eq!(parse("n chunk both 3 4", "n", "c"), None);
        assert_eq!(parse(&format!("n chunk out 1 {CAP}"), "n", "c"), None);
        assert_eq!(parse("n chunk out 1 18446744073709551615", "n", "c"), None);
    }

    #[test]
    fn a_byte_too_many_tells_that_the_middle_was_dropped() {
        let bytes = [vec![b'a'; 3], vec![b'b'; CAP + 1], b"err".to_vec()].concat();
        let output = output(0, &bytes, [3, CAP + 1, 3, 0]);
        assert_eq!(output.stdout.len(), CAP + 3);
        assert_eq!(output.stderr, b"err");
        assert!(output.truncated);
    }
}
