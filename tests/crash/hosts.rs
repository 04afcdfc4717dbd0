//! What may happen to hosts and to the way to them, with the real program, over a real sshd: nothing is doubled, nothing is
//! lost, and what is said is right.
//!
//! Each effect counts itself in a file on the host. `REQUORUM_LONG=1` adds what takes minutes.
#![allow(clippy::unwrap_used)]

#[path = "hosts/commands.rs"]
mod commands;
#[path = "hosts/links.rs"]
mod links;
#[path = "hosts/reboots.rs"]
mod reboots;
#[path = "hosts/refusals.rs"]
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use support::{Host, Laptop};

/// A plan over the host, on the operator's machine.
struct Story {
    host: Host,
    laptop: Laptop,
}

impl Story {
    fn on(host: Host) -> Self {
        Self { host, laptop: Laptop::new() }
    }

    /// Writes a plan of these steps, and the site, and returns the command line that runs it.
    fn plan(&self, steps: &str) -> Vec<String> {
        self.plan_at(steps, &self.host.site(""))
    }

    fn plan_at(&self, steps: &str, site: &str) -> Vec<String> {
        let site = self.laptop.write("site.yaml", site);
        let work = self.host.path("work").display().to_string();
        let plan = format!("requorum: 1\nname: test/hosts\ntitle: Hosts\nplatforms: [any]\nsteps:\n{steps}");
        let plan = self.laptop.write("plan.yaml", &plan.replace("WORK", &work));
        ["run", &plan, "-i", &site, "--yes"].map(str::to_owned).to_vec()
    }
}

/// Says whether what takes minutes is asked for.
fn is_long() -> bool {
    std::env::var_os("REQUORUM_LONG").is_some_and(|value| value == "1")
}

/// A step that counts itself, says that it began, and ends when it may.
const WAITS: &str = "  - id: work
    on: [h]
    ssh.run:
      cwd: WORK
      run: |
        echo once >>count; echo first; echo problem >&2; : >began
        while [ ! -e go ]; do sleep 0.05; done
        echo last
    outputs: { said: '{{ result.stdout }}', problem: '{{ result.stderr }}' }
";

/// A step after it that counts itself.
const THEN: &str = "  - id: then
    needs: [work]
    on: [h]
    ssh.run: { cwd: WORK, run: 'echo once >>then' }
";
