//! `requorum new`: a skeleton of a plan or a site, which teaches the language and can be tried as it is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use requorum_steps::StepId;
use serde_json::json;

use super::error::{CommandError, Exit};
use super::options::quote;
use super::output;
use super::schema::{self, Of};
use crate::plan::template::render_text;
use crate::plan::{PLATFORMS, Scope};

const PLAN: &str = include_str!("new/plan.yaml");
const SITE: &str = include_str!("new/site.yaml.j2");
/// The name of the plan in the skeleton, of which the names of files are made too.
const NAME: &str = "my-plan";
/// The platform of a site unless another is asked for.
const PLATFORM: &str = "systemd-etcd";

/// Writes a skeleton of a plan or a site, with comments, to be adapted
///
/// It can be checked, drawn and run as it is: the plan writes notes into a directory of the home directory and connects to no
/// host. The schema for editors is written beside it. A file that is there is never overwritten; `-` prints the skeleton.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct New {
    #[command(subcommand)]
    what: Option<What>,

    #[command(flatten)]
    plan: Target,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A plan, which is also what is written without this word
    Plan(Target),
    /// A site
    Site(Target),
}

#[derive(Debug, Args)]
struct Target {
    /// The file to write, or `-` [default: plan.yaml, or site.yaml]
    file: Option<PathBuf>,

    /// The platform that it is for [default: any for a plan, systemd-etcd for a site]
    #[arg(long, value_parser = PossibleValuesParser::new(PLATFORMS))]
    platform: Option<String>,
}

impl New {
    /// Carries the command out.
    pub fn run(self) -> Result<(), CommandError> {
        match self.what.unwrap_or(What::Plan(self.plan)) {
            What::Plan(Target { file, platform }) => {
                let file = file.unwrap_or_else(|| "plan.yaml".into());
                let next = format!("requorum check {}", shown(&file));
                written(&file, Of::Plan, &plan(&file, platform.as_deref()), &next)
            }
            What::Site(Target { file, platform }) => {
                let file = file.unwrap_or_else(|| "site.yaml".into());
                let text = site(platform.as_deref().unwrap_or(PLATFORM))?;
                let next = format!("put your cluster into it, then: requorum check PLAN -i {}", shown(&file));
                written(&file, Of::Site, &text, &next)
            }
        }
    }
}

/// Makes the plan for a file.
fn plan(file: &Path, platform: Option<&str>) -> String {
    let mut text = PLAN.to_owned();
    if !is_dash(file) {
        // The commands in the comments can be pasted.
        // Each part between is without the file, so that the name is not looked for in its path.
        let own = name(file);
        let named: Vec<String> = text.split(&format!("{NAME}.yaml")).map(|part| part.replace(NAME, &own)).collect();
        text = aligned(&named.join(&shown(file)));
    }
    match platform {
        Some(platform) => text.replacen("platforms: [any]", &format!("platforms: [{platform}]"), 1),
        None => text,
    }
}

/// Puts what is said about the commands in the comments below each other.
fn aligned(text: &str) -> String {
    let command = |line: &str| {
        let (command, about) = line.strip_prefix("#   requorum ")?.split_once("  ")?;
        Some((command.to_owned(), about.trim_start().to_owned()))
    };
    let wide = text.lines().filter_map(command).map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let lines = text.lines().map(|line| match command(line) {
        Some((command, about)) => format!("#   requorum {command:<wide$}   {about}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// Makes the name of a plan from that of its file.
fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    if StepId::new(name.as_str()).is_ok() { name } else { NAME.to_owned() }
}

/// Makes the site for a platform.
fn site(platform: &str) -> Result<String, CommandError> {
    let openshift = platform.starts_with("openshift");
    let vars = json!({
        "platform": platform,
        "static_pods": openshift || platform == "kubeadm",
        "etcd_manifest": if openshift { "etcd-pod.yaml" } else { "etcd.yaml" },
        "api_manifest": if openshift { "kube-apiserver-pod.yaml" } else { "kube-apiserver.yaml" },
    });
    let scope = Scope::default().vars(vars.as_object().unwrap_or(&serde_json::Map::new()));
    render_text(SITE, &scope).map_err(|error| CommandError::new(Exit::Internal, error.to_string()))
}

fn is_dash(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn shown(file: &Path) -> String {
    quote(&file.display().to_string())
}

/// Prints a skeleton, or writes it and says what can be done next.
fn written(file: &Path, of: Of, text: &str, next: &str) -> Result<(), CommandError> {
    if is_dash(file) {
        return output::print(format_args!("{text}"));
    }
    create(file, &schema::with_modeline(text, of))?;
    output::line(format_args!("{}", file.display()))?;
    schema::beside(file, of);
    output::tell_line(format_args!("next: {next}"));
    Ok(())
}

/// Writes a file that must not exist yet. What cannot be written whole is not left there.
fn create(path: &Path, text: &str) -> Result<(), CommandError> {
    let refused = |error: std::io::Error| {
        CommandError::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
            .hint("name a file that does not exist yet, in a directory that does; or `-` to print")
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(|error| {
        let _ = fs::remove_file(path);
        refused(error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::diagnostic::Diagnostic;
    use crate::plan::{Files, Given, Mode, Request, Source, compile};

    struct NoFiles;

    impl Files for NoFiles {
        fn read(&self, _path: &Path) -> Result<String, String> {
            Err("no such file".to_owned())
        }
    }

    fn found(plan: &str, site: Option<&str>) -> Vec<Diagnostic> {
        let source = |text: &str| Source { name: "skeleton".to_owned(), text: text.to_owned(), directory: None };
        let site = site.map(source);
        let request = Request {
            plan: &source(plan),
            site: site.as_ref(),
            inputs: &Given::default(),
            home: None,
            files: &NoFiles,
            mode: if site.is_some() { Mode::Run } else { Mode::Check },
            kinds: requorum_steps::catalog::all(),
        };
        compile(&request).map_or_else(|refused| refused.found, |compiled| compiled.warnings)
    }

    #[test]
    fn the_skeletons_of_every_platform_have_nothing_wrong_in_them() {
        for platform in PLATFORMS {
            let plan = plan(Path::new("x.yaml"), Some(platform));
            assert!(plan.contains(&format!("platforms: [{platform}]")));
            assert_eq!(found(&plan, None), []);
            let site = site(platform).unwrap();
            assert!(site.contains(&format!("\nplatform: {platform}\n")) && !site.contains('%'), "{site}");
            assert_eq!(found(&plan, Some(&site)), []);
        }
    }

    #[test]
    fn the_example_in_the_comments_is_valid_too() {
        let (plan, example) = PLAN.split_once("\n# Steps on hosts").unwrap();
        let lines = example.lines().filter_map(|line| line.strip_prefix('#')).map(|line| format!("{line}\n"));
        let whole = format!("{plan}\n{}", lines.collect::<String>());
        assert!(whole.contains("\n  - id: stop\n"), "{whole}");
        assert_eq!(found(&whole, Some(&site(PLATFORM).unwrap())), []);
    }

    #[test]
    fn a_plan_is_named_after_its_file() {
        for (file, expected) in
            [("a.yaml", "a"), ("x/Replace Member.v2.yml", "replace-member-v2"), ("é.yaml", NAME), ("-.yaml", NAME)]
        {
            assert_eq!(name(Path::new(file)), expected);
        }
        let text = plan(Path::new("x y.yaml"), None);
        assert!(text.contains("requorum check 'x y.yaml'") && text.contains("\nname: x-y  "), "{text}");
    }
}
