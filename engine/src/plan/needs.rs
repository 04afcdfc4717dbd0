//! What the steps of all parts of a plan need: ids to steps, also those of what is included and into it.

use std::collections::HashMap;

use super::diagnostic::{Problems, Span};
use super::document::StepDecl;
use super::expand::{Part, Whole};
use super::names::Names;
use super::order::Needs;

/// How many needs includes may come to: each step that needs an include needs all of its last steps.
const MAX_NEEDS: usize = 1_000_000;

/// The places of needs: of which step, and which other.
pub(super) type Places = HashMap<(usize, usize), Span>;

/// Finds what each step needs, by index. The names have all parts.
pub(super) fn needs(
    whole: &Whole<'_>,
    steps: &[Box<StepDecl<'_>>],
    names: &mut Names<'_>,
    problems: &mut Problems,
) -> Needs {
    Wiring::of(whole, steps, None).done(names, problems).0
}

/// Finds where it is written what each step needs.
pub(super) fn places(whole: &Whole<'_>, steps: &[Box<StepDecl<'_>>], names: &mut Names<'_>) -> Places {
    Wiring::of(whole, steps, Some(HashMap::new())).done(names, &mut Problems::unread()).1
}

struct Wiring<'w, 'a> {
    whole: &'w Whole<'a>,
    steps: &'w [Box<StepDecl<'a>>],
    needs: Vec<Vec<usize>>,
    /// The places, if they are asked for: of a large plan they take much memory, and are read only where there is a cycle.
    places: Option<Places>,
    /// For each step, which of the lists of needs had it last: one that is there twice is noticed without a set for each list.
    needed_by: Vec<usize>,
    /// How many lists were read.
    lists: usize,
    /// How many needs came from includes.
    more: usize,
}

/// An include that can be needed by its prefix.
struct Prefixed {
    place: Span,
    /// The steps of it that nothing inside needs.
    last: Vec<usize>,
}

/// The includes of one part, by their prefixes.
type Prefixes<'w> = HashMap<&'w str, Prefixed>;

/// Whoever needs something.
struct Needing<'n> {
    /// A word for what it is.
    what: &'static str,
    id: Option<&'n str>,
}

impl<'w, 'a> Wiring<'w, 'a> {
    fn of(whole: &'w Whole<'a>, steps: &'w [Box<StepDecl<'a>>], places: Option<Places>) -> Self {
        let needs = vec![Vec::new(); steps.len()];
        Self { whole, steps, needs, places, needed_by: vec![0; steps.len()], lists: 0, more: 0 }
    }

    fn done(mut self, names: &mut Names<'_>, problems: &mut Problems) -> (Needs, Places) {
        let mut inside: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, part) in self.whole.parts.iter().enumerate().skip(1) {
            inside.entry(part.parent).or_default().push(number);
        }
        // What an include ends with is known when everything inside is, and a part comes after the one that includes it.
        for (number, part) in self.whole.parts.iter().enumerate().rev() {
            names.enter(number);
            problems.enter(&part.via);
            let includes = inside.get(&number).map_or(&[] as &[usize], Vec::as_slice);
            self.part(number, includes, names, problems);
        }
        names.enter(0);
        problems.enter(&[]);
        (Needs(self.needs), self.places.unwrap_or_default())
    }

    fn add(&mut self, step: usize, need: usize, place: Span) {
        self.needs[step].push(need);
        if let Some(places) = &mut self.places {
            places.insert((step, need), place);
        }
    }

    /// Says whether a step is in a list of needs for the first time.
    fn is_first(&mut self, list: usize, need: usize) -> bool {
        std::mem::replace(&mut self.needed_by[need], list) != list
    }

    fn part(&mut self, number: usize, includes: &[usize], names: &Names<'_>, problems: &mut Problems) {
        let includes: Vec<&'w Part<'a>> = includes.iter().map(|include| &self.whole.parts[*include]).collect();
        let prefixes: Prefixes<'w> = includes.iter().filter_map(|part| self.prefixed(part)).collect();
        self.ambiguous(number, &prefixes, names, problems);
        for index in self.whole.parts[number].steps.clone() {
            let step = &self.steps[index];
            if step.part != number {
                continue;
            }
            let needing = Needing { what: "the step", id: step.id.as_ref().map(|_| names.id(index)) };
            let needs = self.found(&step.needs, &needing, &prefixes, names, problems);
            self.needs[index].reserve_exact(needs.len());
            for (need, span) in needs {
                self.add(index, need, span);
            }
        }
        for part in includes {
            self.include(part, &prefixes, names, problems);
        }
    }

    fn prefixed(&self, part: &'w Part<'a>) -> Option<(&'w str, Prefixed)> {
        let (prefix, place) = part.include.as_ref()?.prefix.as_ref()?;
        let begin = part.steps.start;
        let mut needed = vec![false; part.steps.len()];
        for need in part.steps.clone().flat_map(|step| &self.needs[step]) {
            if let Some(needed) = need.checked_sub(begin).and_then(|need| needed.get_mut(need)) {
                *needed = true;
            }
        }
        let last = part.steps.clone().filter(|step| !needed[step - begin]).collect();
        Some((prefix.as_str(), Prefixed { place: *place, last }))
    }

    /// Lets what begins an include need what the include needs.
    fn include(&mut self, part: &Part<'_>, prefixes: &Prefixes<'_>, names: &Names<'_>, problems: &mut Problems) {
        let Some(include) = &part.include else { return };
        let needing = Needing { what: "the include", id: include.prefix.as_ref().map(|(prefix, _)| prefix.as_str()) };
        let mut needs = self.found(&include.needs, &needing, prefixes, names, problems);
        needs.retain(|(need, span)| {
            let inside = part.steps.contains(need);
            if inside {
                let id = names.id(*need);
                problems
                    .error(*span, "self-need", format!("the include needs `{id}`, which is in it"))
                    .help("remove it from its `needs`");
            }
            !inside
        });
        // What needs something inside begins after what does not.
        let first: Vec<usize> = part.steps.clone().filter(|step| self.needs[*step].is_empty()).collect();
        if self.room_for(first.len().saturating_mul(needs.len()), include.of.1, problems) {
            for step in first {
                for (need, span) in &needs {
                    self.add(step, *need, *span);
                }
            }
        }
    }

    /// Finds the steps that are meant, each once.
    fn found(
        &mut self,
        written: &[(&str, Span)],
        needing: &Needing<'_>,
        prefixes: &Prefixes<'_>,
        names: &Names<'_>,
        problems: &mut Problems,
    ) -> Vec<(usize, Span)> {
        let mut found = Vec::with_capacity(written.len());
        self.lists += 1;
        let list = self.lists;
        for (id, span) in written {
            match (names.step(id), prefixes.get(id)) {
                _ if needing.id == Some(*id) => {
                    problems
                        .error(*span, "self-need", format!("{} `{id}` needs itself", needing.what))
                        .help("remove it from its `needs`");
                }
                (None, None) if names.is_missing(id) => {}
                (None, None) => Self::unknown(id, *span, prefixes, names, problems),
                (Some(need), _) if self.is_first(list, need) => found.push((need, *span)),
                (Some(_), _) => {
                    problems
                        .warning(*span, "duplicate-need", format!("`{id}` is already among the needs"))
                        .help("remove one of them");
                }
                (None, Some(include)) => {
                    if self.room_for(include.last.len(), *span, problems) {
                        let last = include.last.iter().filter(|step| self.is_first(list, **step));
                        found.extend(last.map(|step| (*step, *span)));
                    }
                }
            }
        }
        found
    }

    fn unknown(id: &str, span: Span, prefixes: &Prefixes<'_>, names: &Names<'_>, problems: &mut Problems) {
        let is_it = |known: &str| known.strip_suffix(id).is_some_and(|prefix| prefix.ends_with('-'));
        let looked_for = !prefixes.is_empty() && !problems.is_full();
        let prefixed = names.ids().filter(|_| looked_for).find(|known| is_it(known));
        let found = problems.error(span, "unknown-step", format!("there is no step `{id}`"));
        if let Some(prefixed) = prefixed {
            found.help(format!("did you mean `{prefixed}`?"));
        }
        found.did_you_mean(id, names.ids().chain(prefixes.keys().copied()));
    }

    fn room_for(&mut self, more: usize, span: Span, problems: &mut Problems) -> bool {
        let before = self.more;
        self.more = self.more.saturating_add(more);
        if before <= MAX_NEEDS && self.more > MAX_NEEDS {
            problems
                .error(span, "too-many-includes", format!("includes come to more than {MAX_NEEDS} needs between steps"))
                .help("put one step between what ends and what begins, and let it be needed");
        }
        self.more <= MAX_NEEDS
    }

    /// Reports steps whose ids are prefixes of includes as well: `needs` could mean either. A step may come from another include.
    fn ambiguous(&self, part: usize, prefixes: &Prefixes<'_>, names: &Names<'_>, problems: &mut Problems) {
        let both = prefixes.iter().filter_map(|(id, include)| Some((id, include, names.step(id)?)));
        for (id, include, step) in both {
            let step = &self.steps[step];
            let (at, other, what) = if step.part == part {
                (step.span, include.place, "the prefix of an include")
            } else {
                (include.place, step.span, "a step")
            };
            let cause = format!("it is {what} in {}", problems.place(other));
            problems
                .error(at, "duplicate-id", format!("`{id}` is a step and a prefix"))
                .cause(cause)
                .help("give one of them another name");
        }
    }
}
