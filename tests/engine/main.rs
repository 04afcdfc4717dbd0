//! The driver with real commands of this machine and a journal in memory: interruptions, decisions, failures.
#![allow(clippy::unwrap_used)]

mod bench;
mod decisions;
mod interruptions;
mod outcomes;
