//! The kinds, one file each, or one file for a small family.

mod command;
mod file_checks;
mod file_line;
mod file_put;
mod file_set_aside;
mod file_transfer;
mod file_unpack;
#[cfg(test)]
mod host_tests;
mod service;
mod service_checks;
mod service_state;
mod shell;
mod ssh;
mod survey;

use crate::catalog::Kind;

/// All kinds, in the order of their names; [`crate::catalog::find`] relies on the order.
pub const ALL: &[&Kind] = &[
    &command::CHECK,
    &command::RUN,
    &file_checks::ABSENT,
    &file_put::COPY,
    &file_checks::EXISTS,
    &file_transfer::FETCH,
    &file_checks::FREE_SPACE,
    &file_line::LINE,
    &file_checks::NOT_OPEN,
    &file_transfer::RELAY,
    &file_unpack::REMOVE,
    &file_set_aside::RESTORE_ASIDE,
    &file_set_aside::SET_ASIDE,
    &file_checks::SHA256,
    &file_unpack::UNPACK,
    &file_put::WRITE,
    &service_checks::ACTIVE,
    &service::ENABLE,
    &service_checks::INACTIVE,
    &service::RESTART,
    &service::START,
    &service::STOP,
    &ssh::CHECK,
    &ssh::REACHABLE,
    &ssh::RUN,
];
