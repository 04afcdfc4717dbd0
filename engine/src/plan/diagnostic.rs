//! What is wrong with a plan or site: where, what, why, and what to write instead.
//!
//! Every phase adds to one [`Problems`] per file, so that all of them are reported in one go.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, NamedSource, SourceCode,
    SourceSpan, SpanContents,
};
use serde::Serialize;

use super::Source;
use super::codes;
use super::scalar::{Lines, Words};

/// How many problems are shown; the rest are counted.
const SHOWN: usize = 100;
/// How many of the nearest places that include a file are shown.
const NEAREST: usize = 3;

/// One of the files that [`Problems`] are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File(u16);

impl File {
    /// The plan or the site itself.
    pub const MAIN: Self = Self(0);

    /// Returns the place of the file among those that a plan is made of.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
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

/// Where a problem is: a whole value, or words in the text of one.
#[derive(Debug, Clone)]
pub struct Place {
    span: Span,
    words: Option<Words>,
}

impl Place {
    /// A part of a text that begins at a place, or all of it where nothing of the part can be seen.
    pub(super) fn part(span: Span, text: &str, part: std::ops::Range<usize>) -> Self {
        Self { span, words: Words::of(text, part) }
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self { span, words: None }
    }
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
    /// The length of what is at fault, in characters; of what goes over several lines, its part in the first.
    pub length: u32,
    /// The place behind what is at fault.
    pub end: End,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Why it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// For what stands in an included file: the places that include it, `FILE:LINE`, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub included_from: Vec<String>,
    /// Whether it comes after those that are shown, so that nobody would read what it suggests.
    #[serde(skip)]
    beyond: bool,
    /// The file among those that it was found in.
    #[serde(skip)]
    of: File,
    /// What is at fault in the text that begins at the place, until it was looked for in the file.
    #[serde(skip)]
    words: Option<Words>,
    /// The file itself, where only the compiler has read it.
    #[serde(skip)]
    read: Option<Arc<Source>>,
}

/// The place behind something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct End {
    /// The line, from 1; 0 where there is no place in the file.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

impl Diagnostic {
    /// Makes a problem with a whole file.
    #[must_use]
    pub fn with_file(file: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, file.into(), Span::default(), code, message.into())
    }

    fn new(severity: Severity, file: String, span: Span, code: &'static str, message: String) -> Self {
        debug_assert!(codes::is_known(code), "`{code}` is not in plan/codes.rs");
        let Span { file: of, line, column, length } = span;
        let end = End { line, column: column.saturating_add(length) };
        let (cause, help, included_from, beyond, words, read) = (None, None, Vec::new(), false, None, None);
        Self {
            severity,
            code,
            file,
            line,
            column,
            length,
            end,
            message,
            cause,
            help,
            included_from,
            beyond,
            of,
            words,
            read,
        }
    }

    /// Puts it at the words that are at fault, if they stand in the file as they were read.
    fn pinpoint(&mut self, lines: &Lines<'_>, is_yaml: bool) {
        let Some(words) = self.words.take() else { return };
        let scalar = lines.byte(self.line, self.column);
        let rest = lines.from(scalar);
        let Some((start, end)) = (if is_yaml { words.find(rest) } else { words.find_bare(rest) }) else { return };
        let shown = lines.line_from(scalar + start);
        let length = shown.char_indices().take_while(|(offset, _)| *offset < end - start).count();
        (self.line, self.column) = lines.place(scalar + start);
        self.length = u32::try_from(length).unwrap_or(u32::MAX);
        let (line, column) = lines.place(scalar + end);
        self.end = End { line, column };
    }

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

    /// Says from where the file is included: of a long way the nearest places and the last.
    fn included_from(&self) -> Option<String> {
        let (last, nearer) = self.included_from.split_last()?;
        let mut places: Vec<String> = nearer.iter().take(NEAREST).map(|place| format!("from {place}")).collect();
        if nearer.len() > NEAREST {
            places.push("…".to_owned());
        }
        places.push(format!("from {last}"));
        Some(format!("included {}", places.join(", ")))
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

/// A file that problems are about.
#[derive(Debug)]
struct Known {
    /// Its name, as the operator named it.
    name: String,
    /// The file itself, where only the compiler has read it.
    read: Option<Arc<Source>>,
}

/// Collects the problems of a plan with the files that it includes, or of a site.
#[derive(Debug, Default)]
pub struct Problems {
    /// The files, the first of which is the plan or the site itself.
    files: Vec<Known>,
    /// The files that only the compiler has read, by their names.
    read: HashMap<String, File>,
    /// The places that include the part of the plan that is worked on.
    via: Vec<String>,
    found: Vec<Diagnostic>,
    refusing: usize,
}

impl Problems {
    /// Makes an empty collection for a file.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        Self { files: vec![Known { name: source.name.clone(), read: None }], ..Self::default() }
    }

    /// Makes a collection that nobody reads.
    #[must_use]
    pub fn unread() -> Self {
        Self::default()
    }

    /// Adds a file that the plan includes. `None`: there are more than can be told apart.
    pub fn add_file(&mut self, name: &str) -> Option<File> {
        let file = self.next()?;
        self.files.push(Known { name: name.to_owned(), read: None });
        Some(file)
    }

    /// Says which places include what is worked on from now on, the nearest first; none: it is the plan itself.
    pub fn enter(&mut self, via: &[String]) {
        via.clone_into(&mut self.via);
    }

    /// Returns a place as `FILE:LINE`.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.name(span.file), span.line)
    }

    /// Returns the name of a file, as the operator named it.
    #[must_use]
    pub fn name(&self, file: File) -> &str {
        self.files.get(file.index()).map_or("", |known| known.name.as_str())
    }

    /// Adds a file of templates, which is not YAML. `None` where there are too many of them.
    pub fn read(&mut self, name: &str, text: &str) -> Option<File> {
        if let Some(file) = self.read.get(name) {
            return Some(*file);
        }
        let file = self.next().filter(|file| *file != File::MAIN)?;
        let source = Source { name: name.to_owned(), text: text.to_owned(), directory: None };
        self.files.push(Known { name: name.to_owned(), read: Some(Arc::new(source)) });
        self.read.insert(name.to_owned(), file);
        Some(file)
    }

    /// Returns what the next file is known by. `None`: there are more than can be told apart.
    fn next(&self) -> Option<File> {
        u16::try_from(self.files.len()).ok().map(File)
    }

    /// Adds a problem that refuses the plan.
    pub fn error(&mut self, at: impl Into<Place>, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.refusing += 1;
        self.push(Severity::Error, at.into(), code, message.into())
    }

    /// Adds a problem that does not refuse the plan.
    pub fn warning(&mut self, at: impl Into<Place>, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, at.into(), code, message.into())
    }

    fn push(&mut self, severity: Severity, at: Place, code: &'static str, message: String) -> &mut Diagnostic {
        let file = self.name(at.span.file).to_owned();
        let beyond = self.is_full();
        let words = at.words.filter(|_| !beyond);
        let included_from = if at.span.file == File::MAIN { Vec::new() } else { self.via.clone() };
        let new = Diagnostic::new(severity, file, at.span, code, message);
        self.found.push(Diagnostic { included_from, beyond, words, ..new });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Says whether there are so many that what is added is only counted: nobody reads where exactly it is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.found.len() >= SHOWN
    }

    /// Says whether a problem refuses the plan.
    #[must_use]
    pub fn refuse(&self) -> bool {
        self.refusing > 0
    }

    /// Returns how many refuse the plan, to find out whether more were added since.
    #[must_use]
    pub fn count(&self) -> usize {
        self.refusing
    }

    /// Returns how many there are, with those that do not refuse the plan.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Puts problems inside texts at the words at fault. The sources are those of the files, in their order.
    pub fn pinpoint(&mut self, sources: &[&Source]) {
        let mut lines: HashMap<File, Lines<'_>> = HashMap::new();
        for found in self.found.iter_mut().filter(|found| found.words.is_some()) {
            let number = found.of.index();
            let read = self.files.get(number).and_then(|known| known.read.as_deref());
            let Some(source) = read.or(sources.get(number).copied()) else { continue };
            let lines = lines.entry(found.of).or_insert_with(|| Lines::of(&source.text));
            found.pinpoint(lines, read.is_none());
        }
    }

    /// Returns them in the order of their places, each once: the items of a step often share one, and so do two includes of
    /// one file.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        let mut seen = std::collections::HashSet::new();
        self.found.retain(|found| seen.insert(Diagnostic { included_from: Vec::new(), ..found.clone() }));
        self.found.sort_by_key(|found| (found.of, found.line, found.column));
        for found in &mut self.found {
            found.read = self.files.get(found.of.index()).and_then(|known| known.read.clone());
        }
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
        let shown = Shown::new(diagnostic, sources);
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
    fn new(diagnostic: &'a Diagnostic, sources: &[&Source]) -> Self {
        let source = diagnostic.read.as_deref();
        let source = source.or_else(|| sources.iter().find(|source| source.name == diagnostic.file).copied());
        let source = source.filter(|_| diagnostic.line > 0).map(|source| (source, visible(&source.text)));
        let source = source.filter(|(_, text)| can_be_shown(text, diagnostic.line));
        let span = source.as_ref().map_or_else(|| (0, 0).into(), |(_, text)| bytes(text, diagnostic));
        let label = diagnostic.cause.as_ref().filter(|cause| source.is_some() && !cause.contains('\n'));
        let label = label.map(|label| visible(label));
        let help = match (diagnostic.cause.as_ref().filter(|_| label.is_none()), &diagnostic.help) {
            (Some(cause), Some(help)) => Some(visible(&format!("{cause}\n{help}"))),
            (cause, help) => cause.or(help.as_ref()).map(|text| visible(text)),
        };
        let included_from = diagnostic.included_from().map(|line| visible(&line));
        let help = help.into_iter().chain(included_from).reduce(|help, line| help + "\n" + &line);
        let source = source.map(|(source, text)| Text {
            source: NamedSource::new(&source.name, text),
            column: diagnostic.column.saturating_sub(1) as usize,
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
    let lines = Lines::of(text);
    let start = lines.byte(diagnostic.line, diagnostic.column);
    let end = lines.byte(diagnostic.line, diagnostic.column.saturating_add(diagnostic.length));
    (start, end - start).into()
}

/// Says whether a line and those beside it are short enough to be shown. Nobody reads longer ones, and miette panics where an
/// underline has more columns than a `u16`.
fn can_be_shown(text: &str, line: u32) -> bool {
    const MOST: usize = 4_000;
    text.split('\n').skip(line.saturating_sub(2) as usize).take(3).all(|line| line.len() <= MOST)
}

/// Shows characters that would move the cursor, colour the terminal or turn the direction of reading by a sign for them: one for
/// one, so that columns stay. Line breaks and tabs stay too; a carriage return alone is a line break to YAML.
fn visible(text: &str) -> String {
    let mut next = text.chars().skip(1);
    let sign = |c: char| match (c, next.next()) {
        ('\n' | '\t', _) | ('\r', Some('\n')) => c,
        ('\r', _) => '\n',
        ('\0'..='\u{1F}', _) => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        ('\u{7F}', _) => '\u{2421}',
        ('\u{80}'..='\u{9F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}', _) => char::REPLACEMENT_CHARACTER,
        (c, _) => c,
    };
    text.chars().map(sign).collect()
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
        problems.error(span, "yaml", message).cause(message).help(message);
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
