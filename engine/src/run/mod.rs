//! What a run is, without I/O: the records of its journal, the state they fold to, and what to do next.

pub mod aside;
pub mod decide;
pub mod deed;
pub mod item;
pub mod record;
pub mod rollback;
pub mod state;

#[cfg(test)]
mod tests;
