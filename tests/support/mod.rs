//! What the end-to-end tests share: real clusters to break, and the machine of an operator who repairs them.

// Each test program uses its own part of it.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used)]

mod host;
mod laptop;
pub mod recovery;
mod testbed;

pub use host::{Host, Process, Wiring, below, signal};
pub use laptop::files_with;
pub use laptop::{Laptop, Live, Outcome, Run};
pub use testbed::{Etcd, HOSTS, Testbed, content_of, etcd, etcds};

use std::time::{Duration, Instant};

/// Waits until a condition holds; panics when it does not within its time.
pub fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let ends = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < ends, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a test for every etcd of this machine, side by side.
pub fn with_each_etcd(test: fn(&Etcd)) {
    std::thread::scope(|scope| {
        for etcd in etcds() {
            let name = format!("etcd {}", etcd.version);
            std::thread::Builder::new().name(name).spawn_scoped(scope, move || test(&etcd)).unwrap();
        }
    });
}

/// Borrows the words of a command line.
pub fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}
