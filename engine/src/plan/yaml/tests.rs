//! Reading YAML: values, places, bounds.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Source {
    Source { name: "x.yaml".to_owned(), text: text.to_owned(), directory: None }
}

fn read(text: &str) -> (Option<Node>, Vec<super::super::Diagnostic>) {
    let source = source(text);
    let mut problems = Problems::of(&source);
    let node = parse(&source, File::MAIN, &mut problems);
    (node, problems.sorted())
}

fn at(node: &Node, keys: &[&str]) -> (u32, u32, u32) {
    let way: Vec<Step> = keys.iter().map(|key| Step::Key((*key).to_owned())).collect();
    let span = Finder::of(node).place(&way);
    (span.line, span.column, span.length)
}

#[test]
fn places_count_characters_in_every_line_ending() {
    for end in ["\n", "\r\n"] {
        let text = ["a: 1", "é: { ü: x, b: yy }", "c: |", "  l", "", "d: 3"].join(end);
        let (node, problems) = read(&text);
        assert_eq!(problems, []);
        let node = node.unwrap();
        assert_eq!(at(&node, &["é", "b"]), (2, 15, 2), "{end:?}");
        assert_eq!(at(&node, &["d"]), (6, 4, 1), "{end:?}");
    }
}

#[test]
fn a_byte_order_mark_moves_nothing() {
    assert_eq!(at(&read("\u{FEFF}a: b").0.unwrap(), &["a"]), (1, 4, 1));
}

#[test]
fn duplicate_keys_are_all_reported_with_their_places() {
    let (_, problems) = read("a: 1\nb: { x: 1, x: 2 }\na: 3\n");
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["x.yaml:2:12: the key `x` is there twice", "x.yaml:3:1: the key `a` is there twice"]);
}

#[test]
fn aliases_are_bounded_and_have_the_place_of_their_use() {
    let node = read("a: &x { k: [1] }\nb: *x\n").0.unwrap();
    assert_eq!(at(&node, &["b", "k"]), (2, 4, 2));
    let mut bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n".to_owned();
    for (next, last) in ('b'..='i').zip('a'..) {
        use std::fmt::Write as _;
        writeln!(bomb, "{next}: &{next} [{}]", vec![format!("*{last}"); 9].join(",")).unwrap();
    }
    assert!(read(&bomb).0.is_none());
    assert!(read("a: &a [*a]").0.is_none());
}

#[test]
fn depth_tags_and_second_documents_are_refused() {
    for bad in ["[".repeat(100_000).as_str(), "a: !x y", "a: 1\n---\nb: 2", "", "a: .inf", "? [a]\n: b"] {
        let (node, problems) = read(bad);
        assert!(node.is_none() && problems.len() == 1, "{bad:.20}");
    }
}

#[test]
fn what_ends_too_early_is_shown_at_the_end() {
    for (text, place) in [("[é, [", (1, 6)), ("a: 1\nb: [", (2, 5)), ("a: 1\nb: [\n\n", (2, 5))] {
        let (_, problems) = read(text);
        assert_eq!((problems[0].line, problems[0].column), place, "{text:?}: {problems:?}");
    }
}

#[test]
fn words_and_numbers_are_those_of_yaml_1_2() {
    let node = read("{ a: no, b: 0644, c: 10, d: true, e: ~, f: 1.5, 0: x }").0.unwrap();
    let expected = serde_json::json!({"a": "no", "b": "0644", "c": 10, "d": true, "e": null, "f": 1.5, "0": "x"});
    assert_eq!(node.to_json(), expected);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "[ -~\n\t\r\u{85}\u{2028}é&*!|>?:{}\\[\\]#'\"-]{0,80}") {
        let (node, problems) = read(&text);
        prop_assert!(node.is_some() || !problems.is_empty());
    }
}

#[test]
fn what_is_no_plain_yaml_is_refused_in_words() {
    for (text, place, cause) in [
        ("a:\n\t- b\n", (2, 1), "a tab cannot indent"),
        ("a: \"b\n", (1, 4), "a quote is not closed"),
        ("&a: b", (1, 1), "a space is missing between an anchor and `:`"),
        ("a: { b: c,?d e: f }", (1, 11), "a text that begins with `?` has to stand in quotes"),
        ("a: ?b", (1, 4), "a text that begins with `?` has to stand in quotes"),
        ("a: [b, c\nd: e", (2, 2), "a `]` is missing before this key"),
        ("a: \"b\nc: d\"", (1, 4), "this quote is not closed, or a line of its text is not indented"),
        ("a:\n  b: [c,\nd]", (3, 1), "a `]` or `}` is missing before this, or it is not indented"),
        ("a: &b?! c", (1, 4), "the name of an anchor has letters, digits, `-` and `_`, and a space follows it"),
        ("a: !!str &b? c", (1, 4), "the name of an anchor has letters, digits, `-` and `_`, and a space follows it"),
        ("a: &x [*x]", (1, 8), "the alias stands for something that contains it"),
        ("a: *x", (1, 4), "there is no anchor of this name before it"),
        ("a: 1\n---\nb: 2", (2, 1), "a second document begins here, and a file has one"),
        ("a: !x y", (1, 4), "tags are not taken; a text that begins with `!` has to stand in quotes"),
        ("a: !!map {}", (1, 4), "tags are not taken; a text that begins with `!` has to stand in quotes"),
        ("a: -.inf", (1, 4), "infinity and NaN are no values here"),
        ("a: 18446744073709551616", (1, 4), "the number is too large; in quotes it is a text"),
        ("a: -170141183460469231731687303715884105728", (1, 4), "the number is too large; in quotes it is a text"),
        ("a: 1\nb: [1, {c: 2}", (2, 14), "a `,` or a `]` is missing here"),
        ("é: \"\u{1b}[2J\"", (1, 5), "the character U+001B is not allowed"),
        ("a: 1\r\nb: \u{fffe}", (2, 4), "the character U+FFFE is not allowed"),
        ("a: b\u{feff}", (1, 5), "a byte order mark can only begin a file"),
    ] {
        let (node, problems) = read(text);
        assert_eq!(node, None, "{text}");
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert_eq!(((problem.line, problem.column), problem.cause.as_deref()), (place, Some(cause)), "{text}");
    }
}

#[test]
fn text_may_say_that_it_is_text() {
    assert_eq!(
        read("a: !!str 5\nb: !!str\nc: |-\n  5").0.unwrap().to_json(),
        serde_json::json!({"a": "5", "b": "", "c": "5"})
    );
}

#[test]
fn depth_is_bounded_in_aliases_too() {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let read_all = |text: String| read(&text).0.is_some();
    assert!(read_all(nested(128, "")));
    assert!(!read_all(nested(129, "")));
    let aliased = |depth| read_all(format!("- &x {}\n- {}\n", nested(63, ""), nested(depth, "*x")));
    assert!(aliased(64));
    assert!(!aliased(65));
}

#[test]
fn only_what_is_aliased_counts() {
    let all = |value: &str| format!("a: [{}]", vec![value; 150_000].join(","));
    assert!(read(&all("&x 1")).0.is_some());
    assert!(read(&format!("b: &y [{}]\nc: *y", vec!["1"; 40_000].join(","))).0.is_some());
    assert!(read(&format!("b: &y [{}]\nc: *y", vec!["1"; 120_000].join(","))).0.is_none());
}

#[test]
fn a_key_may_be_an_alias_of_a_text() {
    let node = read("a: &x word\n*x : 1\n&y k: 2\nb: *y\n").0.unwrap();
    assert_eq!(node.to_json(), serde_json::json!({"a": "word", "word": 1, "k": 2, "b": "k"}));
    assert!(read("a: &x [1]\n*x : 1").0.is_none());
}

#[test]
fn duplicates_are_found_in_maps_of_any_size() {
    for count in [2, 31, 32, 33, 34, 100, 5000] {
        let mut text = (0..count).map(|number| format!("k{number}: x\n")).collect::<Vec<_>>().concat();
        text += "k1: again\nlast: x\nlast: y\nk0: z\n";
        let (node, problems) = read(&text);
        let lines: Vec<u32> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [count + 1, count + 3, count + 4], "{count}");
        let Tree::Map(entries) = node.unwrap().value else { panic!("no map") };
        assert_eq!(entries.len(), count as usize + 1);
    }
}

#[test]
fn places_are_found_in_any_order() {
    let node = read("a: { x: 1, y: [2, 3] }\nb: 4\nc: { y: 5 }\n").0.unwrap();
    let mut finder = Finder::of(&node);
    let way = |keys: &str| -> Vec<Step> {
        let step = |key: &str| key.parse().map_or_else(|_| Step::Key(key.to_owned()), Step::Index);
        keys.split('.').map(step).collect()
    };
    for (keys, key, value) in [
        ("c.y", (3, 6), (3, 9)),
        ("a.x", (1, 6), (1, 9)),
        ("a.y.1", (1, 19), (1, 19)),
        ("b", (2, 1), (2, 4)),
        ("a.y.7", (1, 12), (1, 15)),
        ("a.z", (1, 1), (1, 4)),
        ("c.y", (3, 6), (3, 9)),
        ("d.e", (1, 1), (1, 1)),
    ] {
        let (found, place) = (finder.key_place(&way(keys)), finder.place(&way(keys)));
        assert_eq!(((found.line, found.column), (place.line, place.column)), (key, value), "{keys}");
    }
}

#[test]
fn nodes_are_small() {
    assert!(size_of::<Node>() <= 40 && size_of::<Entry>() <= 72);
}

/// Says whether a tree is what `serde_yaml` reads. Its keys may be of any type, ours are texts as they are written.
fn same(node: &Node, value: &serde_yaml::Value) -> bool {
    use serde_yaml::Value as Yaml;
    match (&node.value, value) {
        (Tree::Null, Yaml::Null) => true,
        (Tree::Bool(ours), Yaml::Bool(theirs)) => ours == theirs,
        (Tree::Number(ours), Yaml::Number(theirs)) => {
            (ours.as_u64(), ours.as_i64(), ours.as_f64()) == (theirs.as_u64(), theirs.as_i64(), theirs.as_f64())
        }
        (Tree::Text(ours), Yaml::String(theirs)) => **ours == **theirs,
        (Tree::List(ours), Yaml::Sequence(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Tree::Map(ours), Yaml::Mapping(theirs)) => {
            let same_key = |ours: &Key, theirs: &Yaml| theirs.as_str().is_none_or(|theirs| *ours == theirs);
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, (key, theirs))| same_key(&ours.key, key) && same(&ours.node, theirs))
        }
        (_, _) => false,
    }
}

/// Compares what is read of a text with what `serde_yaml` reads of it, where both can read it.
fn compare(text: &str) -> Result<(), TestCaseError> {
    let (node, problems) = read(text);
    if let (Some(node), true, Ok(value)) = (node, problems.is_empty(), serde_yaml::from_str::<serde_yaml::Value>(text))
    {
        prop_assert!(same(&node, &value), "{:?}\n{:?}\n{:?}", text, node.to_json(), value);
    }
    Ok(())
}

#[test]
fn the_comparison_would_notice_a_difference() {
    let node = read("{ a: [1, x, true], b: 0.5 }").0.unwrap();
    let differs = |text: &str| !same(&node, &serde_yaml::from_str(text).unwrap());
    assert!(!differs("{ a: [1, x, true], b: 0.5 }"));
    for other in [
        "{ a: [1, x], b: 0.5 }",
        "{ a: [1, 'x', 'true'], b: 0.5 }",
        "{ a: [1, x, true], c: 0.5 }",
        "{ a: [2, x, true], b: 0.5 }",
    ] {
        assert!(differs(other), "{other}");
    }
}

/// Scalars that look like something, written in every style.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+.0-9xobeEaAfFnN_~]{0,6}",
        "(null|Null|NULL|nULL|~|true|True|TRUE|tRUE|false|False|FALSE|yes|no|on|off|y|n)",
        "[-+]?(0x[0-9a-fA-F]{1,17}|0o[0-7]{1,5}|0b[01]{1,5}|[0-9]{1,22}|[0-9]{1,3}\\.[0-9]{0,3}(e[-+]?[0-9]{1,3})?)",
        "[-+]?\\.?(inf|Inf|INF|nan|NaN|NAN|infinity)",
        "[a-z{}\\[\\]:#,é *&!|>%@`'\"?-]{0,10}",
        "[-?:!&*|>%@`,.+~][-?:!&*|>%@`,.+~a \t]{0,3}",
        "'([a-z :#{}\"\n-]|''){0,8}'",
        "\"([a-z :#{}'\n-]|\\\\[nt\"\\\\]|\\\\u00e9){0,8}\"",
        "[|>][-+]?\n(    [a-z :#-]{0,6}\n){0,3}",
    ]
}

proptest! {
    #[test]
    fn scalars_are_what_serde_yaml_reads(scalar in scalar()) {
        compare(&format!("a: {scalar}\nb:\n  - {scalar}\n"))?;
        compare(&format!("[{scalar}, {{ k: {scalar} }}]"))?;
        compare(&format!("{scalar}: x\n"))?;
        compare(&scalar)?;
    }

    #[test]
    fn a_damaged_document_is_what_serde_yaml_reads(at in 0_usize..3000, cut in 0_usize..20, new in "[ -~\n\té]{0,6}") {
        const WHOLE: &str = include_str!("../tests/mutated.yaml");
        let boundary = |at: usize| (0..=at.min(WHOLE.len())).rev().find(|at| WHOLE.is_char_boundary(*at)).unwrap();
        let (start, end) = (boundary(at % WHOLE.len()), boundary(at % WHOLE.len() + cut));
        compare(&format!("{}{new}{}", &WHOLE[..start], &WHOLE[end..]))?;
    }

    #[test]
    fn any_lines_are_what_serde_yaml_reads(lines in prop::collection::vec(
        ("( {0,4})", "(- |- - |[ab]: |\\? |: |&x |\\*x |\"[ab]\": |# |--- |)", scalar()), 0..6)
    ) {
        let lines: Vec<String> = lines.iter().map(|(indent, mark, scalar)| format!("{indent}{mark}{scalar}\n")).collect();
        compare(&lines.concat())?;
    }
}
