//! What a run is, without I/O: the records of its journal, the state they fold to, and what to do next.

pub mod amend;
pub mod aside;
pub mod decide;
pub mod deed;
pub mod item;
pub mod plans;
pub mod record;
pub mod rollback;
pub mod state;
pub mod texts;

#[cfg(test)]
mod tests;
