//! The kinds, one file each, or one file for a small family.

mod command;
mod ssh;

use crate::catalog::Kind;

/// All kinds, in the order of their names; [`crate::catalog::find`] relies on the order.
pub const ALL: &[&Kind] = &[&command::CHECK, &command::RUN, &ssh::CHECK, &ssh::REACHABLE, &ssh::RUN];
