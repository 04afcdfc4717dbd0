//! What a run is, without I/O: the records of its journal, the state they fold to, and what to do next.

pub mod decide;
pub mod item;
pub mod record;
pub mod state;
pub mod texts;

#[cfg(test)]
mod tests;
