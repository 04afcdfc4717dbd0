//! Takes secrets out of what commands, hosts and servers say, before anything of it is kept or shown.
//!
//! A [`Redactor`] knows the values. It finds a value that is long enough and no common word wherever it appears: as it is,
//! in base64, hexadecimal, JSON, a URL or the quotes of a shell, folded over lines, each line of a value of several lines,
//! and of base64 and hexadecimal a part too. Other values are looked for only where they were *given*, and only as a token
//! of their own: `true` as a password does not blank every `true`.
//!
//! In the place of the value itself comes a stand-in, which is turned back into the value when a later step uses it. In the
//! place of anything else comes a trace, which is not. Text without a secret stays as it is, byte for byte; but the
//! characters that [`marks`] are made of become U+FFFD, so that an output cannot ask for a secret.

mod compact;
mod filter;
mod forms;
pub mod marks;
#[cfg(test)]
mod tests;
mod weak;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use compact::{Compact, compact};
pub use filter::Filter;
use forms::WINDOW;

/// How many bytes of a form tell it where an output was cut.
const CUT: usize = 4;

/// A secret and its value. It is written only to where secrets may go: memory, a pipe.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    /// Its name, as marks show it.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The names of the secrets that were given to what an output comes from.
pub type Given = BTreeSet<String>;

/// Finds secrets in texts and takes them out.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<Secret>,
    /// Finds the forms that count as a whole.
    whole: Option<AhoCorasick>,
    /// The secret of each of these forms.
    owners: Vec<usize>,
    /// The windows of dense forms and their secrets, sorted.
    windows: Vec<([u8; WINDOW], usize)>,
    /// All forms and their secrets, sorted.
    forms: Vec<(Vec<u8>, usize)>,
    /// The same forms from their end to their beginning.
    backward: Vec<(Vec<u8>, usize)>,
    /// The length of the longest form.
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.iter().map(|secret| &secret.name)).finish()
    }
}

/// A part of a text that tells a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    start: usize,
    end: usize,
    secret: usize,
}

impl Redactor {
    /// Makes one for these secrets. Empty values are no secrets.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let secrets: Vec<Secret> = secrets.into_iter().collect();
        let mut redactor = Self::default();
        let mut whole = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            let forms = forms::of(&secret.value);
            redactor.windows.extend(forms.windows().map(|window| (window, index)));
            redactor.forms.extend(forms.whole.iter().chain(&forms.dense).map(|form| (form.clone(), index)));
            redactor.owners.extend(forms.whole.iter().map(|_| index));
            whole.extend(forms.whole);
        }
        redactor.windows.sort_unstable();
        redactor.windows.dedup_by_key(|(window, _)| *window);
        redactor.longest = redactor.forms.iter().map(|(form, _)| form.len()).max().unwrap_or(0);
        redactor.backward =
            redactor.forms.iter().map(|(form, index)| (form.iter().rev().copied().collect(), *index)).collect();
        redactor.forms.sort_unstable();
        redactor.backward.sort_unstable();
        // It fails only beyond the limits of its numbers, 2 GiB of forms.
        redactor.whole = (!whole.is_empty()).then(|| AhoCorasick::new(&whole).ok()).flatten();
        redactor.secrets = secrets;
        redactor
    }

    /// Returns what it was made from, to make the like in another process.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Takes secrets out of text that comes from outside.
    #[must_use]
    pub fn outside<'t>(&self, text: &'t str, given: &Given) -> Cow<'t, str> {
        let own = if text.contains(marks::RESERVED) {
            Cow::Owned(text.replace(marks::RESERVED, marks::FOREIGN))
        } else {
            Cow::Borrowed(text)
        };
        match self.inside(&own, given) {
            Cow::Owned(redacted) => Cow::Owned(redacted),
            Cow::Borrowed(_) => own,
        }
    }

    /// Takes secrets out of text that has been redacted before or was made here: marks in it stay.
    #[must_use]
    pub fn inside<'t>(&self, text: &'t str, given: &Given) -> Cow<'t, str> {
        let mut hits = self.hits(text.as_bytes(), given);
        if !hits.is_empty() {
            let marks = self.marks_in(text);
            hits.retain(|hit| !marks.iter().any(|mark| mark.start <= hit.start && hit.end <= mark.end));
        }
        if hits.is_empty() {
            return Cow::Borrowed(text);
        }
        let bytes = self.replaced(text.as_bytes(), &hits);
        // All forms are texts, so that what is between them is too.
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Takes secrets out of every text in a value that comes from outside, keys too.
    pub fn outside_value(&self, value: &mut Value, given: &Given) {
        each_text(value, &|text| self.outside(text, given));
    }

    /// Takes secrets out of every text in a value that was made here, keys too.
    pub fn inside_value(&self, value: &mut Value, given: &Given) {
        each_text(value, &|text| self.inside(text, given));
    }

    /// Takes the halves of forms out of an output of which the middle was dropped at a place.
    pub(crate) fn mend(&self, output: &mut Vec<u8>, cut: usize) {
        let (head, tail) = output.split_at(cut.min(output.len()));
        let telling = |(length, _): &(usize, usize)| *length >= CUT;
        let near = compact(&head[head.len().saturating_sub(2 * self.longest)..]);
        let before = longest_prefix(&self.forms, &near.bytes, self.longest).filter(telling);
        let before = before.map(|(length, secret)| {
            let length = head.len().min(2 * self.longest) - near.places[near.bytes.len() - length];
            (length, marks::readable(&self.trace(secret)).into_owned())
        });
        let mut near = compact(&tail[..tail.len().min(2 * self.longest)]);
        near.bytes.reverse();
        let after = longest_prefix(&self.backward, &near.bytes, self.longest).filter(telling);
        let after = after
            .map(|(length, secret)| (near.places[length - 1] + 1, marks::readable(&self.trace(secret)).into_owned()));
        let (before, first) = before.unwrap_or_default();
        let (after, second) = after.unwrap_or_default();
        *output = [&head[..head.len() - before], first.as_bytes(), second.as_bytes(), &tail[after..]].concat();
    }

    fn trace(&self, secret: usize) -> String {
        marks::trace(&self.secrets[secret].name)
    }

    /// Returns the marks of its own secrets in a text.
    fn marks_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for (start, _) in text.match_indices(marks::OPEN) {
            let Some(length) = text[start..].find(marks::CLOSE) else { break };
            let inside = &text[start + marks::OPEN.len_utf8()..start + length];
            let name = marks::traced(inside).unwrap_or(inside);
            if self.secrets.iter().any(|secret| secret.name == name) {
                found.push(start..start + length + marks::CLOSE.len_utf8());
            }
        }
        found
    }

    /// Finds everything in a text that tells a secret, in order of its beginning.
    fn hits(&self, text: &[u8], given: &Given) -> Vec<Hit> {
        let mut hits = Vec::new();
        if self.whole.is_some() || !self.windows.is_empty() {
            self.strong_hits(&compact(text), &mut hits);
        }
        for (index, value) in self.weak(given) {
            hits.extend(weak::hits(text, value, index));
        }
        hits.sort_unstable();
        hits
    }

    /// Returns the short values that were given.
    fn weak<'r>(&'r self, given: &'r Given) -> impl Iterator<Item = (usize, &'r [u8])> {
        let is_weak = |secret: &Secret| {
            given.contains(&secret.name) && !secret.value.trim().is_empty() && !forms::is_strong(&secret.value)
        };
        let weak = self.secrets.iter().enumerate().filter(move |(_, secret)| is_weak(secret));
        weak.map(|(index, secret)| (index, secret.value.as_bytes()))
    }

    fn strong_hits(&self, text: &Compact, hits: &mut Vec<Hit>) {
        let places = &text.places;
        let mut hit = |start: usize, end: usize, secret| {
            hits.push(Hit { start: places[start], end: places[end - 1] + 1, secret });
        };
        for found in self.whole.iter().flat_map(|whole| whole.find_overlapping_iter(&text.bytes)) {
            hit(found.start(), found.end(), self.owners[found.pattern().as_usize()]);
        }
        if self.windows.is_empty() {
            return;
        }
        for (start, window) in text.bytes.windows(WINDOW).enumerate() {
            if let Ok(found) = self.windows.binary_search_by(|(known, _)| known.as_slice().cmp(window)) {
                hit(start, start + WINDOW, self.windows[found].1);
            }
        }
    }

    /// Puts marks in the place of hits. Hits that overlap share one.
    fn replaced(&self, text: &[u8], hits: &[Hit]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut done = 0;
        for group in groups(hits) {
            out.extend_from_slice(&text[done..group.start]);
            out.extend_from_slice(self.mark(&text[group.start..group.end], group.secret).as_bytes());
            done = group.end;
        }
        out.extend_from_slice(&text[done..]);
        out
    }

    /// Returns the mark for a part of a text: a stand-in only for a value as it is.
    fn mark(&self, part: &[u8], secret: usize) -> String {
        match self.secrets.iter().find(|secret| secret.value.as_bytes() == part) {
            Some(secret) => marks::stand_in(&secret.name),
            None => self.trace(secret),
        }
    }

    /// Returns how many bytes at the end of a text may be the beginning of a form that goes on in what comes next.
    fn open_end(&self, text: &[u8]) -> usize {
        let near = compact(text);
        match longest_prefix(&self.forms, &near.bytes, self.longest) {
            Some((length, _)) => text.len() - near.places[near.bytes.len() - length],
            None => 0,
        }
    }
}

/// Joins hits that overlap.
fn groups(hits: &[Hit]) -> Vec<Hit> {
    let mut groups: Vec<Hit> = Vec::new();
    for hit in hits {
        match groups.last_mut() {
            Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
            Some(_) | None => groups.push(hit.clone()),
        }
    }
    groups
}

/// Returns the longest end of a text that begins a form without being all of it: its length and the form's secret.
fn longest_prefix(forms: &[(Vec<u8>, usize)], text: &[u8], longest: usize) -> Option<(usize, usize)> {
    (text.len().saturating_sub(longest)..text.len()).find_map(|start| {
        let end = &text[start..];
        let first = forms.partition_point(|(form, _)| form.as_slice() < end);
        let begun = forms[first..].iter().take_while(|(form, _)| form.starts_with(end));
        let (_, secret) = begun.into_iter().find(|(form, _)| form.len() > end.len())?;
        Some((end.len(), *secret))
    })
}

/// Changes every text in a value, and every key; a number whose digits are changed becomes a text.
fn each_text(value: &mut Value, change: &dyn Fn(&str) -> Cow<'_, str>) {
    match value {
        Value::String(text) => {
            if let Some(changed) = owned(change(text)) {
                *text = changed;
            }
        }
        Value::Number(number) => {
            if let Some(changed) = owned(change(&number.to_string())) {
                *value = Value::String(changed);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(map) => {
            map.values_mut().for_each(|item| each_text(item, change));
            if map.keys().any(|key| owned(change(key)).is_some()) {
                let changed: Map<String, Value> =
                    std::mem::take(map).into_iter().map(|(key, item)| (change(&key).into_owned(), item)).collect();
                *map = changed;
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn owned(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    }
}
