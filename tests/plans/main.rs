//! The shipped plans on real clusters.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod holders;
mod refusals;
mod restore;
mod rollback;
mod snapshot;
