//! A host that does not come back during a run, and one that comes back elsewhere.

use std::fs;
use std::time::Duration;

use crate::support::{HOSTS, Laptop, Testbed, etcd, wait_until};

/// A step on every host that holds until a file is there, and what comes after it.
fn plan(laptop: &Laptop, bed: &Testbed) -> String {
    let dir = bed.dir.display();
    laptop.write(
        "plan.yaml",
        &format!(
            r#"requorum: 1
name: three
vars: {{ members: "{{{{ site.hosts | role('etcd') }}}}" }}
steps:
  - id: hold
    on: "{{{{ vars.members }}}}"
    ssh.run: {{ run: "echo hold {{{{ host.name }}}} >>{dir}/ran; until [ -e {dir}/go -o ! -e {dir}/ran ]; do sleep 0.05; done" }}
  - id: then
    needs: [hold]
    title: Do the rest
    on: "{{{{ vars.members }}}}"
    ssh.run: {{ run: "echo then {{{{ host.name }}}} >>{dir}/ran" }}
  - id: look
    needs: [then]
    wait.until:
      checks:
        - ssh.check: {{ run: "true", hosts: "{{{{ vars.members }}}}" }}
          within: 1m
        - etcd.healthy: {{ members: "{{{{ vars.members }}}}" }}
          within: 1m
  - id: told
    needs: [look]
    assert.that: {{ expr: "vars.members | selectattr('lost') | map(attribute='name') | list == ['cp3']" }}
"#
        ),
    )
}

fn ran(bed: &Testbed) -> Vec<String> {
    let text = fs::read_to_string(bed.dir.join("ran")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs the plan until its commands hold on every host, and kills requorum.
fn cut_off(bed: &Testbed, laptop: &Laptop) -> String {
    let live = laptop.start(&["run", &plan(laptop, bed), "-i", &bed.site(), "--yes"]);
    wait_until("the command on every host", Duration::from_mins(1), || ran(bed).len() == HOSTS.len());
    assert!(live.kill());
    laptop.newest().id
}

#[test]
fn a_host_that_is_given_up_is_left_out_and_the_others_are_finished() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let run = cut_off(&bed, &laptop);
    bed.run("sshd-stop", &["cp3"]);
    bed.run("member-stop", &["cp3"]);
    fs::write(bed.dir.join("go"), "").unwrap();

    // It is waited for, and then a person is asked, who is told what can be done.
    let outcome = laptop.expect(6, &["resume", "--patience", "3s"]);
    outcome.says("hold@cp3");
    outcome.says("waits for");
    outcome.says(&format!("resume {run} --lost cp3 --reason TEXT"));
    assert_eq!(ran(&bed), ["hold cp1", "hold cp2", "hold cp3"]);

    laptop.expect(2, &["resume", "--lost", "cp33", "--reason", "x"]).says("did you mean `cp3`?");
    let outcome = laptop.expect(8, &["resume", "--lost", "cp3"]);
    outcome.prints("cp3 is lost");
    outcome.says(&format!("resume {run} --lost cp3 --reason TEXT"));
    assert!(laptop.newest().events("site-changed", "").is_empty());

    let outcome = laptop.expect(0, &["resume", "--lost", "cp3", "--reason", "it burnt down"]);
    outcome.says("cp3 is given up, and these are left out:\n  hold@cp3 (in doubt)\n  then@cp3 (pending)");
    outcome.says("left out, and perhaps to be made up for\n  cp3 is lost: it burnt down\n    hold@cp3");
    outcome.says("    then@cp3  Do the rest");
    outcome.says("overrode");
    assert_eq!(ran(&bed), ["hold cp1", "hold cp2", "hold cp3", "then cp1", "then cp2"]);
    let journal = laptop.newest();
    assert_eq!(journal.events("overridden", "then@cp3")[0]["reason"], "cp3 is lost: it burnt down");
    // Nobody spoke to it any more, not even for the fence.
    let changed = journal.records().iter().position(|record| record["event"]["event"] == "site-changed").unwrap();
    let after = &journal.records()[changed..];
    assert!(!after.iter().any(|record| record["event"]["event"] == "fence" && record["event"]["host"] == "cp3"));
    laptop.expect(0, &["runs", "show", &run]).prints("lost     cp3: it burnt down");
    laptop.expect(2, &["resume", &run, "--lost", "cp2", "--reason", "x"]).says("is over");
}

#[test]
fn a_host_that_comes_back_in_time_is_asked_and_nothing_is_left_out() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    cut_off(&bed, &laptop);
    bed.run("sshd-stop", &["cp3"]);
    fs::write(bed.dir.join("go"), "").unwrap();
    let live = laptop.start(&["resume", "--patience", "2m"]);
    wait_until("the wait", Duration::from_mins(1), || live.said().contains("waits for"));
    bed.run("sshd-start", &["cp3"]);
    // The last step expects that a host is lost, and none is.
    live.wait().expect(5);
    assert_eq!(ran(&bed), ["hold cp1", "hold cp2", "hold cp3", "then cp1", "then cp2", "then cp3"]);
}

#[test]
fn a_host_that_is_reached_in_another_way_is_asked_there() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    cut_off(&bed, &laptop);
    fs::write(bed.dir.join("go"), "").unwrap();
    // The way that the run knows leads nowhere any more.
    let config = fs::read_to_string(bed.dir.join("ssh_config")).unwrap();
    fs::write(bed.dir.join("ssh_config.moved"), &config).unwrap();
    fs::write(bed.dir.join("ssh_config"), "Host *\n  ProxyCommand false\n").unwrap();
    laptop.expect(6, &["resume", "--patience", "0s"]);
    let site = bed.site_with("moved.yaml", "ssh_config", "ssh_config.moved");
    laptop.expect(5, &["resume", "--site", &site, "--reason", "another jump host"]);
    assert_eq!(ran(&bed), ["hold cp1", "hold cp2", "hold cp3", "then cp1", "then cp2", "then cp3"]);
}
