//! The engine of requorum: it compiles recovery plans, executes them, and keeps what happened so that any run can be
//! resumed.

pub mod cli;
pub mod exec;
pub mod plan;
pub mod report;
pub mod run;
pub mod triage;
