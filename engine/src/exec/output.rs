//! What commands write while they run, on its way to the report: secrets are taken out, and bytes become lines.
//!
//! Nothing of it goes into the journal. What a command wrote is in its result; here it is only shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use requorum_steps::capsule::{SHOWN, Stream, Watch};
use requorum_steps::redact::{Filter, marks};

use super::context::{Context, Entry};
use crate::report::Report;
use crate::run::record::ItemId;

/// How long a line that is not complete is held back.
const HELD: Duration = Duration::from_secs(2);
/// How often is looked for such lines.
const LOOK: Duration = Duration::from_millis(500);
/// The longest line that is shown, in bytes; the rest of it is cut off.
const LONGEST: usize = 2000;

/// The output of one attempt at an item.
pub struct Output {
    report: Arc<dyn Report>,
    id: ItemId,
    streams: Mutex<[Shown; 2]>,
}

impl Output {
    /// Makes one that has shown nothing, and will show nothing of the secrets that the item is given.
    #[must_use]
    pub fn of(context: &Context, entry: &Entry) -> Arc<Self> {
        let shown = || Shown::through(Filter::new(Arc::clone(context.secrets.redactor()), entry.given.clone()));
        let streams = Mutex::new([shown(), shown()]);
        Arc::new(Self { report: Arc::clone(&context.report), id: entry.id.clone(), streams })
    }

    /// Returns what is told the bytes of the command.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        let output = Arc::clone(self);
        Arc::new(move |stream, bytes| output.take(stream, bytes))
    }

    /// Shows output while a command runs: also a line that is not complete, when nothing follows for a while.
    pub async fn while_running<T>(&self, command: impl Future<Output = T>) -> T {
        let mut command = std::pin::pin!(command);
        loop {
            match tokio::time::timeout(LOOK, &mut command).await {
                Ok(ended) => {
                    self.show(Shown::end);
                    return ended;
                }
                Err(_) => self.show(|shown| shown.lines.overdue().into_iter().collect()),
            }
        }
    }

    /// Takes bytes as the command wrote them. This is the one place where they come by before they are shown.
    fn take(&self, stream: Stream, bytes: &[u8]) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for line in streams[stream as usize].push(bytes) {
            self.report.output(&self.id, stream, &line);
        }
    }

    fn show(&self, choose: fn(&mut Shown) -> Vec<String>) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in [Stream::Out, Stream::Err] {
            for line in choose(&mut streams[stream as usize]) {
                self.report.output(&self.id, stream, &line);
            }
        }
    }
}

/// One stream: what may be shown of it, in lines.
struct Shown {
    filter: Filter,
    lines: Lines,
    /// How many bytes have come in all.
    taken: usize,
}

impl Shown {
    fn through(filter: Filter) -> Self {
        Self { filter, lines: Lines::default(), taken: 0 }
    }

    /// Takes bytes as the command wrote them, and returns the lines that they complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = self.lines.push(&self.filter.push(bytes));
        self.taken += bytes.len();
        if self.taken == SHOWN {
            lines.extend(self.end());
            lines.push(format!("(what follows after {} KiB is not shown; its end is in the result)", SHOWN / 1024));
        }
        lines
    }

    /// Returns what is left when nothing more comes.
    fn end(&mut self) -> Vec<String> {
        let mut lines = self.lines.push(&self.filter.finish());
        lines.extend(self.lines.rest());
        lines
    }
}

/// A stream on its way to lines that can be shown.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come yet.
    open: Vec<u8>,
    /// When its first byte came.
    since: Option<Instant>,
    /// Whether the line was too long and has been shown: the rest of it is left out.
    cut: bool,
}

impl Lines {
    /// Adds bytes and returns the lines that they complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.grow(text, &mut lines);
            if ended {
                if !std::mem::take(&mut self.cut) {
                    lines.push(plain(&self.open));
                }
                self.open.clear();
            }
        }
        self.since = if self.open.is_empty() { None } else { self.since.or_else(|| Some(Instant::now())) };
        lines
    }

    fn grow(&mut self, text: &[u8], lines: &mut Vec<String>) {
        if self.cut {
            return;
        }
        let room = LONGEST - self.open.len();
        self.open.extend_from_slice(&text[..text.len().min(room)]);
        if text.len() > room {
            lines.push(plain(&self.open) + " …");
            self.open.clear();
            self.cut = true;
        }
    }

    /// Returns a line that has waited for its end for too long. What comes later begins another.
    fn overdue(&mut self) -> Option<String> {
        self.since.filter(|since| since.elapsed() >= HELD).and_then(|_| self.rest())
    }

    /// Returns what has come of a line.
    fn rest(&mut self) -> Option<String> {
        self.since = None;
        let open = std::mem::take(&mut self.open);
        (!open.is_empty()).then(|| plain(&open))
    }
}

/// Makes a line safe to print: a command must not speak to the terminal. Of a line that was written over, as progress is, the
/// last version is shown.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = marks::readable(&text);
    let text = text.trim_end_matches('\r');
    let last = text.rsplit('\r').next().unwrap_or_default();
    let mut plain = String::with_capacity(last.len());
    for character in last.chars() {
        if character.is_control() && character != '\t' || is_invisible(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Says whether a character changes how others are shown: line separators, and what turns the direction of writing.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use requorum_steps::redact::Given;

    use super::*;

    #[test]
    fn lines_are_shown_when_they_are_complete_and_the_rest_at_the_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(lines.push("o ü".as_bytes().split_at(3).0), [""; 0]);
        assert_eq!(lines.push("o ü".as_bytes().split_at(3).1), [""; 0], "a character in two pieces");
        assert_eq!(lines.push(b"\n\nthree"), ["two ü", ""]);
        assert_eq!(lines.overdue(), None, "it has just come");
        lines.since = Instant::now().checked_sub(HELD);
        assert_eq!(lines.overdue().as_deref(), Some("three"));
        assert_eq!(lines.rest(), None);
        assert_eq!(lines.push(b" and more\n"), [" and more"]);
    }

    #[test]
    fn a_command_cannot_speak_to_the_terminal() {
        assert_eq!(
            plain(b"\x1b]0;mine\x07 a\tb\x00\xff\xc2\x9b2J"),
            "\\u{1b}]0;mine\\u{7} a\tb\\u{0}\u{fffd}\\u{9b}2J"
        );
        assert_eq!(plain("safe\u{202e}elif".as_bytes()), "safe\\u{202e}elif");
        assert_eq!(plain(b" 10%\r 20%\r"), " 20%", "as a terminal shows it");
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut lines = Lines::default();
        let shown = [lines.push(&[b'x'; 1500]), lines.push(&[b'x'; 1500]), lines.push(b"xx\nnext\n")].concat();
        assert_eq!(shown, ["x".repeat(LONGEST) + " …", "next".to_owned()]);
    }

    fn shown() -> Shown {
        Shown::through(Filter::new(Arc::default(), Given::new()))
    }

    #[test]
    fn where_showing_ends_it_says_so() {
        assert_eq!(shown().push(&b"0123456\n".repeat(SHOWN / 8)).len(), SHOWN / 8 + 1);
        let mut shown = shown();
        shown.push(&b"0123456\n".repeat(SHOWN / 8 - 1));
        let last = shown.push(b"no break");
        assert!(last.len() == 2 && last[0] == "no break" && last[1].contains("512 KiB"), "{last:?}");
    }
}
