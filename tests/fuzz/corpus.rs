//! What mutations begin with: the shipped plans, the plans of the documentation, the defects, and what was learned.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::pick;
use super::target::Case;

/// How many learned inputs are kept at most.
const MOST: usize = 3_000;

pub struct Corpus {
    /// Those that are shipped and shown come first: there are `good` of them.
    plans: Vec<String>,
    good: usize,
    sites: Vec<String>,
    /// Texts between `{{` and `}}`, and the like.
    pieces: Vec<String>,
    learned: Vec<Case>,
    said: HashSet<String>,
}

impl Corpus {
    /// Reads all plans and sites of this repository.
    pub fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut texts: Vec<String> = requorum_plans::all().iter().map(|plan| plan.text.to_owned()).collect();
        for book in ["README.md", "docs/language.md"] {
            let text = fs::read_to_string(root.join(book)).unwrap();
            texts.extend(text.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())));
        }
        let folder = |dir: &str| {
            let paths = fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path());
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        };
        let good = ["tests/crash/boundaries", "engine/src/cli/new", "engine/src/plan/tests"];
        texts.extend(good.into_iter().flat_map(folder).map(|path| fs::read_to_string(path).unwrap()));
        let (mut sites, mut plans): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| is_site(text));
        let good = plans.len();
        for text in folder("tests/cli/defects").map(|path| fs::read_to_string(path).unwrap()) {
            if is_site(&text) { sites.push(text) } else { plans.push(text) }
        }
        let pieces = plans.iter().flat_map(|text| pieces(text)).collect();
        assert!(good > 8 && plans.len() > 20 && sites.len() > 2, "{} plans and {} sites", plans.len(), sites.len());
        Self { plans, good, sites, pieces, learned: Vec::new(), said: HashSet::new() }
    }

    /// Picks what a mutation begins with.
    pub fn seed(&self, random: &mut StdRng) -> Case {
        if !self.learned.is_empty() && random.random_bool(0.5) {
            return pick(&self.learned, random).clone();
        }
        Case { plan: self.plan(random).to_owned(), site: self.site(random).to_owned(), set: Vec::new() }
    }

    pub fn plan(&self, random: &mut StdRng) -> &str {
        let plans = if random.random_bool(0.7) { &self.plans[..self.good] } else { &self.plans };
        pick::<String>(plans, random)
    }

    pub fn site(&self, random: &mut StdRng) -> &str {
        pick::<String>(&self.sites, random)
    }

    pub fn piece(&self, random: &mut StdRng) -> &str {
        pick::<String>(&self.pieces, random)
    }

    /// Keeps an input that made the compiler say something new.
    pub fn learn(&mut self, case: Case, said: Vec<String>) {
        let new = said.into_iter().filter(|said| self.said.insert(said.clone())).count();
        if new > 0 && self.learned.len() < MOST {
            self.learned.push(case);
        }
    }

    pub fn learned(&self) -> usize {
        self.learned.len()
    }
}

fn is_site(text: &str) -> bool {
    text.starts_with("cluster:") || text.contains("\ncluster:")
}

fn pieces(text: &str) -> Vec<String> {
    text.split("{{").skip(1).filter_map(|rest| Some(format!("{{{{{}}}}}", rest.split_once("}}")?.0))).collect()
}
