//! Each form of a drawing, as it is written down, for plans of every shape.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::plan::{Files, Given, Mode, Request, Source, compile};

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &Path) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

const SITE: &str = "requorum: 1\ncluster: prod\nplatform: systemd-etcd\nhosts:\n  \
    cp1: { address: a, roles: [etcd, control-plane], etcd: { name: one, client_urls: [http://a:1], peer_urls: [http://a:2] } }\n  \
    cp2: { address: b, roles: [etcd, control-plane], etcd: { name: two, client_urls: [http://b:1], peer_urls: [http://b:2] } }\n  \
    cp3: { address: c, roles: [etcd], lost: true }\n";

/// Compiles a plan and draws it in a form.
fn drawn(plan: &str, site: Option<&str>, form: impl Fn(&Drawing<'_>) -> String) -> String {
    let source = |text: &str| Source { name: "plan".to_owned(), text: text.to_owned(), directory: None };
    let site = site.map(source);
    let request = Request {
        plan: &source(plan),
        site: site.as_ref(),
        inputs: &Given::default(),
        home: None,
        files: &NoFiles,
        mode: Mode::Check,
        kinds: catalog::all(),
    };
    let compiled = compile(&request).unwrap_or_else(|found| panic!("{found:#?}"));
    form(&Drawing::new(&compiled.plan, compiled.site.as_ref()))
}

fn text(drawing: &Drawing<'_>) -> String {
    drawing.text(Look { columns: 80, colour: false })
}

fn dot(drawing: &Drawing<'_>) -> String {
    drawing.dot()
}

fn mermaid(drawing: &Drawing<'_>) -> String {
    drawing.mermaid()
}

fn html(drawing: &Drawing<'_>) -> String {
    drawing.html()
}

fn shipped(name: &str) -> &'static str {
    requorum_plans::find(name).unwrap().text
}

/// Steps that do nothing, from `id: needs`.
fn plan(steps: &[(&str, &[&str])]) -> String {
    let mut text = "requorum: 1\nname: try\nsteps:\n".to_owned();
    for (id, needs) in steps {
        writeln!(text, "  - {{ id: {id}, needs: [{}], set.values: {{ a: 1 }} }}", needs.join(", ")).unwrap();
    }
    text
}

/// A plan with every mark: a gate, a condition, danger, turns, a point of no return, a host that is lost.
const MARKED: &str = r#"requorum: 1
name: site/marked
title: Everything that a drawing marks
reverts: true
preflight:
  - etcd.quorum: {}
steps:
  - id: ask
    title: Ask
    gate.confirm: { message: "Is {{ site.cluster }} the one?" }
  - id: note
    title: Say it on {{ host.name }}
    needs: [ask]
    on: "{{ site.hosts | all_role('etcd') }}"
    max_parallel: 1
    when: not host.lost
    file.write: { path: /etc/motd, content: x }
  - id: stop
    needs: [ask]
    on: "{{ site.hosts | role('etcd') }}"
    canary: true
    confirm: "Stop {{ host.name }}?"
    service.stop: { service: etcd }
  - id: wipe
    title: Wipe what nobody can bring back
    needs: [note, stop]
    on: [one, two, three, four, five, six, seven, eight]
    danger: destructive
    command.run: { run: "echo {{ item }}" }
"#;

/// Titles with everything that some form could read as its own language.
const ODD: &str = r##"requorum: 1
name: site/odd
title: "\"Quotes\", <b>, & and ]"
steps:
  - id: end
    title: "\"q\" 'a' ]] }} <script>alert(1)</script> &amp; | # %% \\n `code` --> é停 \e[31m \u202ereversed"
    set.values: { a: 1 }
  - id: graph
    title: "1. a list {{ run.id }} and {{ item }}"
    needs: [end]
    on: ["<i>&\"|", "#quot;"]
    when: item < "b" and "]" != "&"
    command.run: { run: "true" }
  - id: subgraph-end
    title: click _this_ *or* --- that; http://example.net/x
    needs: [graph]
    confirm: "end<br/>\"];"
    set.values: { a: 1 }
"##;

#[test]
fn a_shipped_plan_reads_as_a_runbook() {
    insta::assert_snapshot!("restore-text", drawn(shipped("etcd/restore-members"), Some(SITE), text));
    insta::assert_snapshot!("snapshot-text-without-a-site", drawn(shipped("etcd/snapshot"), None, text));
}

#[test]
fn every_mark_is_in_every_form() {
    insta::assert_snapshot!("marked-text", drawn(MARKED, Some(SITE), text));
    insta::assert_snapshot!("marked-dot", drawn(MARKED, Some(SITE), dot));
    insta::assert_snapshot!("marked-mermaid", drawn(MARKED, Some(SITE), mermaid));
    insta::assert_snapshot!(
        "marked-html",
        drawn(MARKED, Some(SITE), |drawing| drawing.html().replace(super::html::STYLE, ""))
    );
    for form in [text, dot, mermaid, html] {
        let drawn = drawn(MARKED, Some(SITE), form);
        for mark in ["point of no return", "asks", "disruptive", "destructive", "only if", "lost"] {
            assert!(drawn.contains(mark), "{mark}: {drawn}");
        }
    }
}

#[test]
fn odd_texts_mean_nothing_in_any_form() {
    insta::assert_snapshot!("odd-text", drawn(ODD, Some(SITE), text));
    insta::assert_snapshot!("odd-dot", drawn(ODD, Some(SITE), dot));
    insta::assert_snapshot!("odd-mermaid", drawn(ODD, Some(SITE), mermaid));
    let page = drawn(ODD, Some(SITE), html);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp; |"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"));
    assert_eq!(unbalanced(&page), None);
    for label in drawn(ODD, Some(SITE), dot).split("label=<").skip(1) {
        let label = label.split(">, ").next().unwrap().trim_end().trim_end_matches(['>', ';']);
        assert_eq!(unbalanced(&format!("{label}>").replace("> >", ">")), None, "{label}");
    }
}

/// Reads the tags of a text, and returns the first that has no partner.
fn unbalanced(html: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { return Some(tag.to_owned()) };
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('!') || tag.ends_with('/') || name == "meta" {
            continue;
        }
        if !tag.starts_with('/') {
            open.push(name);
        } else if open.pop() != Some(name) {
            return Some(tag.to_owned());
        }
    }
    open.pop().map(str::to_owned)
}

#[test]
fn lanes_join_cross_and_end() {
    let steps: [(&str, &[&str]); 8] = [
        ("a", &[]),
        ("b", &["a"]),
        ("c", &["a"]),
        ("d", &["b"]),
        ("e", &["c", "b"]),
        ("f", &["a", "e"]),
        ("g", &["d", "f"]),
        ("h", &[]),
    ];
    insta::assert_snapshot!("lanes", drawn(&plan(&steps), None, text));
}

#[test]
fn of_very_many_side_by_side_the_waves_are_told() {
    let ids: Vec<String> = (0..40).map(|at| format!("s-{at}")).collect();
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut steps: Vec<(&str, &[&str])> = vec![("first", &[])];
    steps.extend(ids.iter().map(|id| (id.as_str(), &["first"] as &[&str])));
    steps.push(("last", &all));
    let drawn = drawn(&plan(&steps), None, text);
    assert!(
        drawn.contains("\n1 ●  first\n") && drawn.contains("\n2 ●  s-0\n") && drawn.contains("\n3 ●  last\n"),
        "{drawn}"
    );
    assert!(drawn.contains("after s-0, s-1, s-2, s-3, s-4 and 35 more"), "{drawn}");
}

#[test]
fn two_hundred_steps_with_long_titles_fit_the_terminal_and_keep_their_words() {
    let mut plan = "requorum: 1\nname: long\nsteps:\n".to_owned();
    let title =
        "Restore the snapshot as the new data directory, with the name and the peer URL that the member had before";
    for at in 0..200 {
        let needs = if at == 0 { String::new() } else { format!("s-{}, s-{}", at - 1, (at - 1) / 2) };
        writeln!(plan, "  - {{ id: s-{at}, title: \"{title}\", needs: [{needs}], set.values: {{ a: 1 }} }}").unwrap();
    }
    let drawn = drawn(&plan.replace("[s-0, s-0]", "[s-0]"), None, text);
    assert!(drawn.lines().all(|line| words::width(line) <= 80), "{drawn}");
    assert_eq!(drawn.matches("Restore the snapshot").count(), 200);
    assert_eq!(drawn.matches("before").count(), 200);
}

#[test]
fn only_a_terminal_gets_colours() {
    let coloured = drawn(MARKED, Some(SITE), |drawing| drawing.text(Look { columns: 80, colour: true }));
    let plain = drawn(MARKED, Some(SITE), text);
    assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}
