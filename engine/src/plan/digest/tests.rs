//! The digest of a plan stays what it was.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::tests::Try;

/// A plan that has most of what a plan can have.
const RICH: &str = include_str!("rich.yaml");

#[test]
fn a_plan_keeps_the_digest_that_it_had_in_earlier_versions() {
    let plan = Try::plan(RICH).set("member", "two").accepted().plan;
    assert_eq!(plan.digest, "f3a1e5c1813df62f5080f69c407209129c75fdd24771952594ba42d862ba3e1f");
    assert_eq!(digest(&plan), plan.digest);
}
