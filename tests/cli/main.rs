//! The command line, on plans that need no cluster.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod amend;
mod decisions;
mod defects;
mod drawing;
mod included;
mod output;
mod paths;
mod preview;
mod rollback;
mod running;
mod schema;
mod secrets;
mod statics;
mod stopping;

use support::{Laptop, Live, Outcome};

/// A site of one host, which no plan here ever connects to.
const SITE: &str =
    "requorum: 1\ncluster: loop\nplatform: systemd-etcd\nhosts: { here: { address: 127.0.0.1, roles: [etcd] } }\n";

/// A laptop with a site and a plan.
struct Desk {
    laptop: Laptop,
    plan: String,
    site: String,
}

impl Desk {
    /// Writes a plan with these steps, and whatever stands before them.
    fn with(head: &str, steps: &str) -> Self {
        let laptop = Laptop::new();
        let plan = laptop.write("plan.yaml", &format!("requorum: 1\nname: try\n{head}steps:\n{steps}"));
        let site = laptop.write("site.yaml", SITE);
        Self { laptop, plan, site }
    }

    /// Writes a plan with these steps.
    fn steps(steps: &str) -> Self {
        Self::with("", steps)
    }

    fn line<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["run", &self.plan, "-i", &self.site, "--yes"], more].concat()
    }

    /// Runs the plan to its end, which must be this.
    #[track_caller]
    fn run(&self, code: i32, more: &[&str]) -> Outcome {
        self.laptop.expect(code, &self.line(more))
    }

    /// Starts the plan.
    fn start(&self) -> Live {
        self.laptop.start(&self.line(&[]))
    }

    /// Reads a file of the home directory, where commands run; empty if there is none.
    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.laptop.path("home").join(name)).unwrap_or_default()
    }
}
