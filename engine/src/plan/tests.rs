//! The compiler as a whole: what it accepts, what it refuses and how it says so.
#![allow(clippy::unwrap_used)]

mod accepted;
mod differences;
mod included;
mod kinds;
mod limits;
mod paths;
mod secrets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;

use super::compile::{Compiled, Mode, Refused, Request, compile};
use super::diagnostic::render;
use super::schema::{
    self,
    tests::{objections, read, validator},
};
use super::{Diagnostic, Files, Given, Source};

/// The site that most tests use.
pub const SITE: &str = include_str!("tests/site.yaml");

/// Files by their path, and shipped plans by their name, in memory.
#[derive(Default)]
pub struct Memory(pub BTreeMap<PathBuf, String>, pub BTreeMap<String, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, String> {
        let known = self.0.get(path).or_else(|| self.0.get(&self.identity(path)));
        known.cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn shipped(&self, name: &str) -> Option<String> {
        self.1.get(name).cloned()
    }

    fn shipped_names(&self) -> Vec<String> {
        vec!["etcd/restore-all-members".to_owned(), "etcd/snapshot".to_owned()]
    }
}

/// A compilation that is put together piece by piece.
pub struct Try {
    plan: Source,
    site: Option<Source>,
    given: Given,
    files: Memory,
    mode: Mode,
}

impl Try {
    pub fn plan(text: &str) -> Self {
        Self {
            plan: Source { name: "plan.yaml".to_owned(), text: text.to_owned(), directory: Some("/plans".into()) },
            site: Some(Source {
                name: "site.yaml".to_owned(),
                text: SITE.to_owned(),
                directory: Some("/sites".into()),
            }),
            given: Given::default(),
            files: Memory::default(),
            mode: Mode::Run,
        }
    }

    /// A plan with a heading and these steps.
    pub fn steps(steps: &str) -> Self {
        Self::plan(&format!("requorum: 1\nname: test\nsteps:\n{steps}"))
    }

    /// A plan of the library.
    pub fn shipped(mut self) -> Self {
        self.plan.directory = None;
        self
    }

    pub fn check(mut self) -> Self {
        self.mode = Mode::Check;
        self
    }

    pub fn without_site(mut self) -> Self {
        self.site = None;
        self.check()
    }

    pub fn site(mut self, text: &str) -> Self {
        if let Some(site) = &mut self.site {
            text.clone_into(&mut site.text);
        }
        self
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.given.set.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn set_file(mut self, name: &str, path: &str) -> Self {
        self.given.set_file.push((name.to_owned(), path.into()));
        self
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.0.insert(path.into(), text.to_owned());
        self
    }

    pub fn compile(&self) -> Result<Compiled, Vec<Diagnostic>> {
        self.compile_whole().map_err(|refused| refused.found)
    }

    fn compile_whole(&self) -> Result<Compiled, Refused> {
        compile(&Request {
            plan: &self.plan,
            site: self.site.as_ref(),
            inputs: &self.given,
            home: Some(Path::new("/home/op")),
            files: &self.files,
            mode: self.mode,
            kinds: kinds::ALL,
        })
    }

    /// The compiled plan; shows what is wrong where it is refused.
    pub fn accepted(&self) -> Compiled {
        let compiled = self.compile().unwrap_or_else(|found| panic!("{}", self.shown(&found)));
        self.fits_the_schema();
        compiled
    }

    /// What is accepted must not be flagged by an editor.
    fn fits_the_schema(&self) {
        static PLANS: LazyLock<Validator> = LazyLock::new(|| validator(&schema::of_plan(kinds::ALL)));
        static SITES: LazyLock<Validator> = LazyLock::new(|| validator(&schema::of_site()));
        assert_eq!(objections(&PLANS, &read(&self.plan.text).unwrap()), [""; 0], "{}", self.plan.text);
        if let Some(site) = &self.site {
            assert_eq!(objections(&SITES, &read(&site.text).unwrap()), [""; 0], "{}", site.text);
        }
    }

    /// The codes of the problems, in their order.
    pub fn refused(&self) -> Vec<&'static str> {
        self.compile().map(|_| ()).unwrap_err().iter().map(|found| found.code).collect()
    }

    pub fn shown(&self, found: &[Diagnostic]) -> String {
        let included = self.compile_whole().map_or_else(|refused| refused.included, |compiled| compiled.included);
        let sources: Vec<&Source> = std::iter::once(&self.plan).chain(&included).chain(&self.site).collect();
        render(found, &sources, false)
    }
}
