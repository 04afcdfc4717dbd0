//! `requorum reference`: the reference of kinds, generated from the catalog, as `docs/steps.md` holds it.

use std::fmt::Write as _;

use requorum_steps::{Kind, Seat, Type, catalog};

/// Renders the reference of all kinds as Markdown.
#[must_use]
pub fn render() -> String {
    let mut out = String::from(
        "# Step reference\n\nGenerated from the catalog by `requorum reference`; do not edit. The common keys of steps and \
         checks are in [the plan language](language.md).\n\n## Actions\n",
    );
    family(&mut out, |kind| !kind.is_check());
    out.push_str(
        "\n## Checks\n\nA check only looks. It stands in `preflight`, `require`, `verify`, `probe` or `wait.until`.\n",
    );
    family(&mut out, Kind::is_check);
    out
}

/// Renders an overview of some kinds, then each of them.
fn family(out: &mut String, belongs: fn(&Kind) -> bool) {
    let kinds = || catalog::all().iter().filter(|kind| belongs(kind));
    out.push('\n');
    for kind in kinds() {
        // The anchor of a heading keeps letters, digits and `_`.
        let _ = writeln!(out, "- [`{}`](#{}): {}", kind.name, kind.name.replace('.', ""), kind.summary);
    }
    for kind in kinds() {
        one(out, kind);
    }
}

fn one(out: &mut String, kind: &Kind) {
    let _ = writeln!(out, "\n### `{}`\n\n{}", kind.name, kind.summary);
    if !kind.details.is_empty() {
        let _ = writeln!(out, "\n{}", kind.details);
    }
    let seat = match kind.seat {
        Seat::Host => "on a host",
        Seat::Here => "on the machine that runs requorum",
        Seat::Cluster if kind.name.starts_with("kube.") => "at the Kubernetes API",
        Seat::Cluster => "at the etcd API",
    };
    if kind.is_check() {
        let _ = writeln!(out, "\nLooks {seat}.");
    } else {
        let _ = writeln!(out, "\nWorks {seat}. Effect: {}. Danger: {}.", kind.effect, kind.danger);
    }
    if !kind.args.is_empty() {
        out.push_str("\n| argument | type | | meaning |\n| --- | --- | --- | --- |\n");
        for arg in kind.args {
            let needed = if arg.required { "required" } else { "" };
            let secret = if arg.secret { " May be a secret." } else { "" };
            let _ = writeln!(
                out,
                "| `{}` | {} | {needed} | {}{secret} |",
                arg.name,
                type_name(arg.ty),
                arg.help.replace('|', "\\|")
            );
        }
    }
    for rule in kind.rules {
        let (how, names) = match rule {
            requorum_steps::Rule::ExactlyOne(names) => ("Exactly one of", names),
            requorum_steps::Rule::AtMostOne(names) => ("At most one of", names),
            requorum_steps::Rule::AtLeastOne(names) => ("At least one of", names),
        };
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "\n{how} {}.", names.join(", "));
    }
    if !kind.example.is_empty() {
        let _ = writeln!(out, "\nExample: `{}: {}`", kind.name, kind.example);
    }
    if !kind.result.is_empty() {
        out.push_str("\n| result | meaning |\n| --- | --- |\n");
        for field in kind.result {
            let _ = writeln!(out, "| `{}` | {} |", field.name, field.help.replace('|', "\\|"));
        }
    }
    for (name, text) in
        [("Probe", kind.probe), ("Undo", kind.undo), ("Needs on the host", kind.needs), ("Source", kind.source)]
    {
        if !text.is_empty() {
            let _ = writeln!(out, "\n{name}: {text}");
        }
    }
}

fn type_name(ty: Type) -> String {
    match ty {
        Type::Str => "text".to_owned(),
        Type::Path => "path".to_owned(),
        Type::LocalPath => "path here".to_owned(),
        Type::Place => "path here or `HOST:/path`".to_owned(),
        Type::Int => "integer".to_owned(),
        Type::Bool => "boolean".to_owned(),
        Type::Duration => "duration".to_owned(),
        Type::Size => "size".to_owned(),
        Type::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Type::Host => "host".to_owned(),
        Type::Hosts => "hosts".to_owned(),
        Type::List(of) => format!("list of {}", type_name(*of)),
        Type::Map(of) => format!("map of {}", type_name(*of)),
        Type::Object(args) => {
            let keys: Vec<String> = args.iter().map(|arg| format!("`{}` ({})", arg.name, type_name(arg.ty))).collect();
            format!("map with {}", keys.join(", "))
        }
        Type::OneOf(types) => types.iter().map(|ty| type_name(*ty)).collect::<Vec<_>>().join(" or "),
        Type::Checks => "list of checks".to_owned(),
        Type::Expression => "expression".to_owned(),
        Type::Any => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::plan::{Files, Given, Mode, Request, Source, compile, diagnostic};

    fn page(path: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
    }

    #[test]
    fn the_reference_in_the_docs_is_the_one_of_this_catalog() {
        // Not assert_eq: two texts of a thousand lines would bury what to do.
        assert!(
            page("docs/steps.md") == render(),
            "docs/steps.md is not what the catalog says; write it anew with\n\n    \
             cargo run -q -p requorum -- reference > docs/steps.md\n"
        );
    }

    struct NoFiles;

    impl Files for NoFiles {
        fn read(&self, _: &Path) -> Result<String, String> {
            Err("an example has no files".to_owned())
        }

        fn shipped(&self, name: &str) -> Option<String> {
            requorum_plans::find(name).map(|plan| plan.text.to_owned())
        }
    }

    fn check(plan: &str, site: Option<&str>) {
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned(), directory: None };
        let (plan, site) = (source("plan", plan), site.map(|text| source("site", text)));
        let request = Request {
            plan: &plan,
            site: site.as_ref(),
            inputs: &Given::default(),
            home: None,
            files: &NoFiles,
            mode: Mode::Check,
            kinds: catalog::all(),
        };
        let found = compile(&request).map_or_else(|refused| refused.found, |compiled| compiled.warnings);
        let sources: Vec<&Source> = std::iter::once(&plan).chain(&site).collect();
        assert!(found.is_empty(), "{}\n{}", diagnostic::render(&found, &sources, false), plan.text);
    }

    /// What the examples of kinds stand in.
    const AROUND: &str = r#"requorum: 1
name: test/examples
inputs:
  file: { type: file }
  snapshot: { type: file }
  member: { type: string }
vars:
  members: "{{ site.hosts | role('etcd') }}"
steps:
  - id: save
    title: Not every example uses {{ inputs.snapshot }} and {{ inputs.member }}
    etcd.snapshot_save: { path: "{{ inputs.file }}" }
    outputs: { revision: "{{ result.revision }}", sha256: "{{ result.sha256 }}" }
  - id: set-data-aside
    on: "{{ vars.members }}"
    file.set_aside: { path: "{{ host.etcd.data_dir }}" }
  - id: example
    needs: [save, set-data-aside]
    on: "{{ vars.members }}"
"#;

    #[test]
    fn the_example_of_every_kind_passes_check() {
        for kind in catalog::all() {
            let (name, example) = (kind.name, kind.example);
            assert!(!example.is_empty(), "{name} has no example");
            let line = if kind.is_check() {
                format!("    wait.until: {{ checks: [ {{ {name}: {example}, within: 1m }} ] }}\n")
            } else {
                // The template beside the plan is not there.
                format!("    {name}: {}\n", example.replace("template: etcd.conf.j2", "content: x"))
            };
            check(&format!("{AROUND}{line}"), None);
        }
    }

    #[test]
    fn the_plans_and_sites_in_the_docs_pass_check() {
        for path in ["docs/language.md", "README.md"] {
            let text = page(path);
            let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
            let blocks = blocks.filter(|block| block.starts_with("requorum: 1\n"));
            let (sites, mut plans): (Vec<&str>, Vec<&str>) = blocks.partition(|block| block.contains("\nhosts:\n"));
            assert!(!sites.is_empty(), "{path} shows no site");
            let shipped = requorum_plans::all();
            plans.extend(shipped.iter().map(|plan| plan.text));
            for plan in plans {
                check(plan, None);
                // A plan of another platform is checked as if the site were of that.
                let only = plan.split_once("\nplatforms: [").and_then(|(_, rest)| rest.split([',', ']']).next());
                let platform = only.filter(|platform| *platform != "any").unwrap_or("systemd-etcd");
                let site = sites[0].replace("\nplatform: systemd-etcd\n", &format!("\nplatform: {platform}\n"));
                check(plan, Some(&site));
            }
        }
    }
}
