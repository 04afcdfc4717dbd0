//! The kinds, one file each, or one file for a small family.

use crate::catalog::Kind;

/// All kinds, in the order of their names; [`crate::catalog::find`] relies on the order.
pub const ALL: &[&Kind] = &[];
