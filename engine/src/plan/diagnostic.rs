//! What is wrong with a plan or site: where, what, why, and what to write instead.
//!
//! Every phase adds to one [`Problems`] per file, so that all of them are reported in one go.

use std::fmt::Write as _;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, NamedSource, SourceCode,
    SourceSpan, SpanContents,
};
use serde::Serialize;

use super::Source;

/// How many problems are shown; the rest are counted.
const SHOWN: usize = 100;

/// One of the files that [`Problems`] are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File(u16);

impl File {
    /// The plan or the site itself.
    pub const MAIN: Self = Self(0);
}

/// A place in a text: line and column count characters from 1. It is small, as every value of a plan has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: File,
    /// The line, from 1; 0 where the problem has no place in the text.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The length in characters; it may be 0.
    pub length: u32,
}

/// Says whether a problem refuses the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The plan cannot be used.
    Error,
    /// The plan can be used, and is probably not what its author meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    /// Whether it refuses the plan.
    pub severity: Severity,
    /// A stable word for its sort, for example `unknown-key`.
    pub code: &'static str,
    /// The file, as the operator named it.
    pub file: String,
    /// The line, from 1; 0 where it has no place in the file.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The length of what is at fault, in characters.
    pub length: u32,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Why it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Whether it comes after those that are shown, so that nobody would read what it suggests.
    #[serde(skip)]
    beyond: bool,
}

impl Diagnostic {
    /// Adds why it is wrong.
    pub fn cause(&mut self, text: impl Into<String>) -> &mut Self {
        self.cause = Some(text.into());
        self
    }

    /// Adds what to do about it.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Adds the name that was probably meant, where one is near enough.
    pub fn did_you_mean<'a>(&mut self, written: &str, names: impl IntoIterator<Item = &'a str>) -> &mut Self {
        if self.beyond {
            return self;
        }
        if let Some(name) = nearest(written, names) {
            self.help = Some(format!("did you mean `{name}`?"));
        }
        self
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message),
        }
    }
}

/// Returns the name that is nearest to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(written, name), strsim::damerau_levenshtein(written, name), name))
        .filter(|(likeness, edits, _)| *likeness > 0.9 || *edits <= 1 + written.chars().count() / 5)
        .min_by(|a, b| (a.1, b.0).partial_cmp(&(b.1, a.0)).unwrap_or(std::cmp::Ordering::Equal))
        .map(|(_, _, name)| name)
}

/// Collects the problems of a plan with the files that it includes, or of a site.
#[derive(Debug, Default)]
pub struct Problems {
    /// The names of the files, the first of which is the plan or the site itself.
    files: Vec<String>,
    found: Vec<Diagnostic>,
}

impl Problems {
    /// Makes an empty collection for a file.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        Self { files: vec![source.name.clone()], found: Vec::new() }
    }

    /// Makes a collection that nobody reads.
    #[must_use]
    pub fn unread() -> Self {
        Self::default()
    }

    /// Returns the name of a file, as the operator named it.
    #[must_use]
    pub fn name(&self, file: File) -> &str {
        self.files.get(usize::from(file.0)).map_or("", String::as_str)
    }

    /// Adds a problem that refuses the plan.
    pub fn error(&mut self, span: Span, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, span, code, message.into())
    }

    /// Adds a problem that does not refuse the plan.
    pub fn warning(&mut self, span: Span, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, span, code, message.into())
    }

    fn push(&mut self, severity: Severity, span: Span, code: &'static str, message: String) -> &mut Diagnostic {
        let Span { file, line, column, length } = span;
        let file = self.name(file).to_owned();
        let (cause, help, beyond) = (None, None, self.found.len() >= SHOWN);
        self.found.push(Diagnostic { severity, code, file, line, column, length, message, cause, help, beyond });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Says whether a problem refuses the plan.
    #[must_use]
    pub fn refuse(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// Returns how many there are, to find out whether more were added since.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Returns them in the order of their places, each once: the items of a step often share one.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        let mut seen = std::collections::HashSet::new();
        self.found.retain(|found| seen.insert(found.clone()));
        self.found.sort_by_key(|found| (found.line, found.column));
        self.found
    }
}

/// Renders problems for a person, each with the line at fault; in colour only when asked.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &[&Source], colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(110).with_links(false);
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        let source = sources.iter().find(|source| source.name == diagnostic.file);
        let shown = Shown::new(diagnostic, source.copied());
        if handler.render_report(&mut out, &shown).is_err() {
            let _ = writeln!(out, "{diagnostic}");
        }
        out.push('\n');
    }
    if let Some(more) = diagnostics.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(out, "and {more} more");
    }
    out
}

/// Returns problems as JSON, a list of objects.
#[must_use]
pub fn json(diagnostics: &[Diagnostic]) -> serde_json::Value {
    serde_json::to_value(diagnostics).unwrap_or_default()
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<Text>,
    span: SourceSpan,
    /// The cause, where it fits beside the line at fault.
    label: Option<String>,
    help: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(diagnostic: &'a Diagnostic, source: Option<&Source>) -> Self {
        let source = source.filter(|source| diagnostic.line > 0 && can_be_shown(&source.text, diagnostic.line));
        let source = source.map(|source| (source, visible(&source.text)));
        let span = source.as_ref().map_or_else(|| (0, 0).into(), |(_, text)| bytes(text, diagnostic));
        let label = diagnostic.cause.as_ref().filter(|cause| source.is_some() && !cause.contains('\n'));
        let label = label.map(|label| visible(label));
        let help = match (diagnostic.cause.as_ref().filter(|_| label.is_none()), &diagnostic.help) {
            (Some(cause), Some(help)) => Some(visible(&format!("{cause}\n{help}"))),
            (cause, help) => cause.or(help.as_ref()).map(|text| visible(text)),
        };
        let source = source.map(|(source, text)| Text {
            source: NamedSource::new(&source.name, text),
            column: index(diagnostic.column),
        });
        Self { diagnostic, source, span, label, help }
    }
}

/// A source whose places count characters, where miette would count bytes.
#[derive(Debug)]
struct Text {
    source: NamedSource<String>,
    column: usize,
}

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.source.read_span(span, before, after)?;
        if (before, after) != (0, 0) {
            return Ok(found);
        }
        // Without context it is asked for what it shows as the place.
        let name = self.source.name().to_owned();
        let (data, at, line, lines) = (found.data(), *found.span(), found.line(), found.line_count());
        Ok(Box::new(MietteSpanContents::new_named(name, data, at, line, self.column, lines)))
    }
}

/// Finds the bytes of a place. A place beyond the text is put at its end.
fn bytes(text: &str, diagnostic: &Diagnostic) -> SourceSpan {
    let skipped: usize = text.split_inclusive('\n').take(index(diagnostic.line)).map(str::len).sum();
    let line = text[skipped..].split(['\n', '\r']).next().unwrap_or_default();
    let at = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(offset, _)| offset);
    let start = at(index(diagnostic.column));
    let end = at(index(diagnostic.column) + diagnostic.length as usize);
    (skipped + start, end - start).into()
}

/// Says whether a line and those beside it are short enough to be shown. Nobody reads longer ones, and miette panics where an
/// underline has more columns than a `u16`.
fn can_be_shown(text: &str, line: u32) -> bool {
    const MOST: usize = 4_000;
    text.split('\n').skip(index(line).saturating_sub(1)).take(3).all(|line| line.len() <= MOST)
}

/// Shows characters that would move the cursor, colour the terminal or turn the direction of reading by a sign for them: one for
/// one, so that columns stay. Line breaks and tabs stay too.
fn visible(text: &str) -> String {
    let mut next = text.chars().skip(1);
    let sign = |c: char| match (c, next.next()) {
        ('\n' | '\t', _) | ('\r', Some('\n')) => c,
        ('\0'..='\u{1F}', _) => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        ('\u{7F}', _) => '\u{2421}',
        ('\u{80}'..='\u{9F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}', _) => char::REPLACEMENT_CHARACTER,
        (c, _) => c,
    };
    text.chars().map(sign).collect()
}

/// Counts from 0 what a place counts from 1.
fn index(number: u32) -> usize {
    number.saturating_sub(1) as usize
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.source, self.diagnostic.line) {
            (Some(_), _) | (None, 0) => f.write_str(&visible(&self.diagnostic.message)),
            (None, _) => f.write_str(&visible(&self.diagnostic.to_string())),
        }
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(self.label.clone(), self.span))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, message: &str, line: u32, length: u32) -> String {
        let source = Source { name: "plan.yaml".to_owned(), text: text.to_owned(), directory: None };
        let mut problems = Problems::of(&source);
        let span = Span { file: File::MAIN, line, column: 1, length };
        problems.error(span, "x", message).cause(message).help(message);
        render(&problems.sorted(), &[&source], false)
    }

    #[test]
    fn nothing_that_is_shown_moves_the_cursor_or_turns_the_line() {
        let shown = shown("a: \u{1b}[2J\u{7f}\r\nb: \u{9b}\u{202e}x\tz\n", "says \u{1b}]0;x\u{7}", 1, 1);
        assert!(shown.contains("says ␛]0;x␇") && shown.contains("a: ␛[2J␡"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{7f}', '\u{9b}', '\u{202e}']), "{shown:?}");
    }

    #[test]
    fn a_line_that_is_too_long_to_read_is_named_and_not_shown() {
        let long = format!("a: {}\nb: 1\n", "x".repeat(80_000));
        for line in [1, 2] {
            let shown = shown(&long, "it is wrong", line, 70_000);
            assert!(
                shown.contains(&format!("plan.yaml:{line}:1: it is wrong")) && !shown.contains("xxx"),
                "{shown:.300}"
            );
        }
    }
}
