//! The shipped plans on real clusters.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod holders;
mod lapsed;
mod lost;
mod preview;
mod quorum_lost;
mod refusals;
mod replace;
mod restore;
mod rollback;
mod secrets;
mod snapshot;
