//! The command line, on plans that need no cluster.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
