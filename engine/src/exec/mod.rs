//! Carries out what `run` decides: the driver, the attempts, the journal, signals. This is where effects happen.

mod again;
pub mod attempt;
mod builtin;
pub mod clock;
pub mod context;
pub mod driver;
pub mod fence;
pub mod foresee;
pub mod give_up;
pub mod inbox;
pub mod journal;
pub mod look;
pub mod output;
pub mod pipe;
pub mod reconcile;
pub mod secrets;
pub mod signals;
pub mod undo;
pub mod veil;
