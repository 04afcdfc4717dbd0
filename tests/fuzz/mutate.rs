//! Mutations that know what a plan is made of: lines, values, templates, and what YAML has to harm a reader.

use std::fmt::Write as _;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::corpus::Corpus;
use super::target::Case;
use super::{pick, word};

/// The largest input, in bytes.
const MOST: usize = 96 << 10;

/// Values of every sort, for where a scalar stands.
const VALUES: [&str; 46] = [
    "0",
    "-1",
    "1e400",
    "9223372036854775808",
    "-9223372036854775809",
    "1.5",
    "0x1f",
    "0o17",
    ".nan",
    "1e-320",
    "0.1",
    "true",
    "no",
    "~",
    "null",
    "''",
    "\"\"",
    "[]",
    "{}",
    "[[]]",
    "{ a: { b: c } }",
    "[1, a, ~, {}]",
    "10s",
    "5 m",
    "-3s",
    "99999999999h",
    "18446744073709551615s",
    "512MiB",
    "99999999999TiB",
    "any",
    "cp1",
    "'*'",
    "*nothing",
    "&anchor x",
    "!!binary aGk=",
    "!tag x",
    "|",
    ">-",
    "'{{'",
    "'}}'",
    "'{% if %}'",
    "2026-11-21",
    "\"\\e[31m\\x07\"",
    "\"\\u202e\\ue000\\ue002\"",
    "é停\u{1F600}",
    "'a''b'",
];

/// Keys that mean something somewhere.
const KEYS: [&str; 40] = [
    "requorum",
    "name",
    "title",
    "platforms",
    "reverts",
    "inputs",
    "vars",
    "preflight",
    "steps",
    "id",
    "needs",
    "when",
    "on",
    "max_parallel",
    "canary",
    "require",
    "verify",
    "probe",
    "retry",
    "timeout",
    "effect",
    "danger",
    "undo",
    "outputs",
    "confirm",
    "within",
    "every",
    "not",
    "message",
    "include",
    "with",
    "as",
    "type",
    "default",
    "pattern",
    "min",
    "values",
    "hosts",
    "lost",
    "<<",
];

/// Templates that are hard to read.
const TEMPLATES: [&str; 27] = [
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{{ ((((((((((((((((((((((((1)))))))))))))))))))))))) }}",
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}",
    "{{ 9 ** 999999 }}",
    "{{ -9223372036854775808 // -1 }}",
    "{{ site }}",
    "{{ steps }}",
    "{{ inputs }}{{ vars }}",
    "{{ host }}",
    "{{ item.a.b.c['d'] }}",
    "{{ run.id[:3] }}",
    "{{ inputs.x | default('y') | shq }}",
    "{{ 'x' | jsonpath('$..*') }}",
    "{{ site.hosts | by_etcd_name('nobody') }}",
    "{{ site.hosts | role(1) }}",
    "{{ 'x' | b64decode }}",
    "{{ [1, 2] | map(attribute='a') | list }}",
    "{{ {'a': 1}['b'] }}",
    "{{ 'é停' | upper | length }}",
    "{{ undefined_name }}",
    "{{ a.",
    "{{ 'unterminated }}",
    "{% raw %}{{ x }}{% endraw %}",
    "{# a comment #}",
    "{% include 'x' %}{% extends 'y' %}",
    "{{ steps.a-b.result | tojson | urlencode }}",
];

/// Templates that take long or much; they come seldom, so that the others come often.
const HEAVY: [&str; 9] = [
    "{% set n = namespace(a=[]) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a }}",
    "{% set n = namespace(a='x') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "{{ range(100000) | list }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
    "{{ 'x' * 100000000 }}",
    "{{ ('x' * 10000) | replace('x', 'x' * 10000) }}",
    "{% set a = 'x' * 9999 %}{% set b = a ~ a ~ a ~ a %}{% set c = b ~ b ~ b ~ b %}{% set d = c ~ c ~ c ~ c %}{{ d ~ d ~ d ~ d }}",
    "{{ [1, 2, 3] * 1000000 }}",
];

/// Makes an input.
pub fn case(corpus: &Corpus, random: &mut StdRng) -> Case {
    let mut case = corpus.seed(random);
    if random.random_bool(0.2) {
        corpus.site(random).clone_into(&mut case.site);
    }
    let text = if random.random_bool(0.75) { &mut case.plan } else { &mut case.site };
    // One in twenty is left as it is, so that accepted plans are drawn too.
    let times = if random.random_bool(0.05) { 0 } else { 1 << random.random_range(0..3) };
    for _ in 0..random.random_range(0..=times) {
        mutate(text, corpus, random);
        if text.len() > MOST {
            let end = (0..=MOST).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.truncate(end);
        }
    }
    if random.random_bool(0.3) {
        let names = ["snapshot", "member", "file", "n", "token", "text", "pause"];
        case.set.push((word(&names, random).to_owned(), word(&VALUES, random).to_owned()));
        case.set.truncate(4);
    }
    case
}

fn mutate(text: &mut String, corpus: &Corpus, random: &mut StdRng) {
    match random.random_range(0..100) {
        0..30 => lines(text, corpus, random),
        30..50 => value(text, corpus, random),
        50..62 => template(text, corpus, random),
        62..70 => key(text, random),
        70..85 => bytes(text, random),
        85..89 => insert_line(text, random, "a: &a [*a]\n"),
        89..91 => bomb(text, random),
        91..94 => deep(text, random),
        94..96 => chain(text, random),
        96..97 => huge(text, random),
        97..98 => *text = text.replace('\n', "\r\n"),
        98..99 => text.insert(0, '\u{FEFF}'),
        _ => *text = noise(random),
    }
}

/// Returns the places at which lines begin, and the end.
fn starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    starts
}

/// Deletes, doubles, moves, indents or swaps lines, or brings some from elsewhere.
fn lines(text: &mut String, corpus: &Corpus, random: &mut StdRng) {
    let starts = starts(text);
    let first = random.random_range(0..starts.len());
    let last = (first + random.random_range(1..6)).min(starts.len() - 1);
    let (from, to) = (starts[first], starts[last]);
    if from >= to {
        return;
    }
    let block = text[from..to].to_owned();
    let elsewhere = *pick(&starts, random);
    match random.random_range(0..6) {
        0 => text.replace_range(from..to, ""),
        1 => text.insert_str(to, &block),
        2 => text.insert_str(elsewhere, &block),
        3 => text.replace_range(from..to, &block.lines().flat_map(|line| ["  ", line, "\n"]).collect::<String>()),
        4 => text.replace_range(from..to, &block.lines().rev().flat_map(|line| [line, "\n"]).collect::<String>()),
        _ => {
            let other = if random.random_bool(0.8) { corpus.plan(random) } else { corpus.site(random) };
            let starts = self::starts(other);
            let first = random.random_range(0..starts.len());
            let last = (first + random.random_range(1..12)).min(starts.len() - 1);
            text.insert_str(elsewhere, &other[starts[first]..starts[last]]);
        }
    }
}

/// Puts another value where one stands.
fn value(text: &mut String, corpus: &Corpus, random: &mut StdRng) {
    let places: Vec<usize> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
    if places.is_empty() {
        return;
    }
    let from = *pick(&places, random);
    let to = text[from..].find(['\n', ',', '}']).map_or(text.len(), |end| from + end);
    let new = match random.random_range(0..4) {
        0 => format!("\"{}\"", corpus.piece(random)),
        1 => format!("\"{}\"", any_template(random)),
        _ => word(&VALUES, random).to_owned(),
    };
    text.replace_range(from..to, &new);
}

fn any_template(random: &mut StdRng) -> &'static str {
    if random.random_bool(0.02) { word(&HEAVY, random) } else { word(&TEMPLATES, random) }
}

/// Splices a piece of a template into one, or puts one where none was.
fn template(text: &mut String, corpus: &Corpus, random: &mut StdRng) {
    let places: Vec<usize> = text.match_indices("{{").chain(text.match_indices("}}")).map(|(at, _)| at).collect();
    let at = if places.is_empty() { place(text, random) } else { *pick(&places, random) };
    let at = at + if random.random_bool(0.5) { 0 } else { 2.min(text.len() - at) };
    let Some(at) = (at..=text.len()).find(|at| text.is_char_boundary(*at)) else { return };
    let parts =
        [" | ", ".", "-", " ~ ", "'", "[0]", "(", " if ", " is ", " not ", "{{", "}}", "{%", "%}", " and 1 + ", "é"];
    match random.random_range(0..3) {
        0 => text.insert_str(at, corpus.piece(random)),
        1 => text.insert_str(at, any_template(random)),
        _ => text.insert_str(at, word(&parts, random)),
    }
}

/// Renames a key.
fn key(text: &mut String, random: &mut StdRng) {
    let places: Vec<usize> = text.match_indices(':').map(|(at, _)| at).collect();
    if places.is_empty() {
        return;
    }
    let to = *pick(&places, random);
    let from = text[..to].rfind([' ', '\n', '{', ',']).map_or(0, |at| at + 1);
    text.replace_range(from..to, word(&KEYS, random));
}

fn place(text: &str, random: &mut StdRng) -> usize {
    let at = random.random_range(0..=text.len());
    (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Removes, doubles or inserts characters.
fn bytes(text: &mut String, random: &mut StdRng) {
    let from = place(text, random);
    let to = text[from..].char_indices().nth(random.random_range(0..4)).map_or(text.len(), |(at, _)| from + at);
    let odd = [
        "\t",
        "\r",
        "\u{0}",
        "\u{1b}",
        "\u{85}",
        "\u{2028}",
        "\u{FEFF}",
        "é",
        "\u{1F600}",
        "\u{E000}",
        "'",
        "\"",
        "#",
        "- ",
        ": ",
        "? ",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a ",
        "!!",
        "|\n",
        ">\n",
        "\n",
        "  ",
        "@",
        "`",
        "\\",
        "\u{7f}",
    ];
    match random.random_range(0..3) {
        0 => text.replace_range(from..to, ""),
        1 => text.replace_range(from..to, &text[from..to].repeat(2)),
        _ => text.insert_str(from, word(&odd, random)),
    }
}

fn insert_line(text: &mut String, random: &mut StdRng, line: &str) {
    let at = *pick(&starts(text), random);
    text.insert_str(at, line);
}

/// Aliases that multiply.
fn bomb(text: &mut String, random: &mut StdRng) {
    let fold = random.random_range(2..12);
    let mut bomb = "vars:\n  a: &a [x, x]\n".to_owned();
    for (next, last) in ('b'..='n').zip('a'..) {
        writeln!(bomb, "  {next}: &{next} [{}]", vec![format!("*{last}"); fold].join(", ")).unwrap();
    }
    insert_line(text, random, &bomb);
}

/// Values inside of values inside of values.
fn deep(text: &mut String, random: &mut StdRng) {
    let depth = 1 << random.random_range(3..14);
    let nest = match random.random_range(0..5) {
        0 => "[".repeat(depth),
        1 => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        2 => format!("\"{{{{ {}1{} }}}}\"", "(".repeat(depth), ")".repeat(depth)),
        3 => format!("\"{{{{ {}1 }}}}\"", "not ".repeat(depth)),
        _ => "{ a: ".repeat(depth),
    };
    let places: Vec<usize> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
    let at = if places.is_empty() { text.len() } else { *pick(&places, random) };
    text.insert_str(at, &nest);
}

/// Many steps that need each other, sometimes round in a circle.
fn chain(text: &mut String, random: &mut StdRng) {
    let count = 1 << random.random_range(1..10);
    let mut steps = String::new();
    for step in 0..count {
        let need = if step == 0 && random.random_bool(0.5) { count - 1 } else { step.max(1) - 1 };
        let need = if random.random_bool(0.02) { random.random_range(0..count) } else { need };
        writeln!(
            steps,
            "  - id: s-{step}\n    needs: [s-{need}]\n    set.values: {{ a: \"{{{{ steps.s-{need}.result }}}}\" }}"
        )
        .unwrap();
    }
    let at = text.find("steps:\n").map_or(text.len(), |at| at + "steps:\n".len());
    text.insert_str(at, &steps);
}

/// A value that is very long.
fn huge(text: &mut String, random: &mut StdRng) {
    let pieces = ["a", "é", "a ", "{{ 1 }}", "\\n", "`", "<", "停", "a-"];
    let places: Vec<usize> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
    let at = if places.is_empty() { text.len() } else { *pick(&places, random) };
    let piece = word(&pieces, random);
    text.insert_str(at, &format!("\"{}\"", piece.repeat((64 << 10) / piece.len())));
}

/// Random bytes, as text.
fn noise(random: &mut StdRng) -> String {
    let bytes: Vec<u8> = (0..random.random_range(0..400)).map(|_| random.random()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
