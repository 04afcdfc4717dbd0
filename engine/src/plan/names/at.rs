//! Where a template stands: what it may use there, and the place of each name in it.

use std::ops::Range;

use requorum_steps::Kind;

use crate::plan::diagnostic::{Place, Problems, Span};
use crate::plan::template::Written;

/// What the items of a step are about, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Subjects {
    /// The step does not fan out.
    None,
    /// `host` is there.
    Hosts,
    /// `item` is there.
    Values,
    /// One of them will be there.
    Unknown,
}

/// Where a template stands, and so what it may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct Here {
    /// The step that it belongs to.
    pub step: Option<usize>,
    pub subjects: Subjects,
    /// Whether it is rendered only during the run, so that `run` and other steps are there.
    pub live: bool,
    /// The kind whose `result` is there.
    pub result: Option<&'static Kind>,
    /// Where a secret would be shown, if it stood here.
    pub shown_in: Option<&'static str>,
}

impl Here {
    /// Where vars and other values stand that are known before the run.
    pub const BEFORE: Self = Self { step: None, subjects: Subjects::None, live: false, result: None, shown_in: None };

    /// The same place, where a secret would be shown.
    pub fn shown_in(self, what: &'static str) -> Self {
        Self { shown_in: Some(what), ..self }
    }
}

/// A text that uses names, with its place.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct At<'t> {
    pub(super) span: Span,
    pub(super) written: Written<'t>,
}

impl<'t> At<'t> {
    /// A template.
    pub fn text(span: Span, text: &'t str) -> Self {
        Self { span, written: Written { text, is_bare: false } }
    }

    /// A bare expression.
    pub fn expression(span: Span, text: &'t str) -> Self {
        Self { span, written: Written { text, is_bare: true } }
    }

    /// The place of one of the names of a path, counted from 0.
    pub(super) fn name(self, path: &str, name: usize, problems: &Problems) -> Place {
        let found = if problems.is_full() { None } else { self.written.find(path, name) };
        self.part(found)
    }

    /// The place of a path.
    pub fn path(self, path: &str, problems: &Problems) -> Place {
        let found = if problems.is_full() { None } else { self.written.find_whole(path) };
        self.part(found)
    }

    pub(super) fn part(self, range: Option<Range<usize>>) -> Place {
        match range {
            Some(range) => Place::part(self.span, self.written.text, range),
            None => self.span.into(),
        }
    }
}

/// One of the names of a path, counted from 0: in `inputs.member` the `member` is the name 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameOf<'t>(pub At<'t>, pub &'t str, pub usize);

impl NameOf<'_> {
    /// Where it stands. To look for it takes a while, so it is done only for what is reported.
    pub(super) fn place(self, problems: &Problems) -> Place {
        self.0.name(self.1, self.2, problems)
    }
}
