//! The kinds, one file each, or one file for a small family.

mod cert;
mod command;
mod etcd_checks;
mod etcd_members;
mod etcd_rehearse;
mod etcd_restore;
mod etcd_snapshot_checks;
mod etcd_snapshot_save;
mod etcd_tool;
mod ssh;

use crate::catalog::Kind;

/// All kinds, in the order of their names; [`crate::catalog::find`] relies on the order.
pub const ALL: &[&Kind] = &[
    &cert::VALID,
    &command::CHECK,
    &command::RUN,
    &etcd_checks::HEALTHY,
    &etcd_checks::NO_ALARM,
    &etcd_checks::ONE_CLUSTER_ID,
    &etcd_checks::QUORUM,
    &etcd_checks::SAME_HASH,
    &etcd_snapshot_checks::FITS,
    &etcd_rehearse::REHEARSE,
    &etcd_restore::RESTORE,
    &etcd_snapshot_save::SAVE,
    &etcd_snapshot_checks::VALID,
    &etcd_checks::STATUS,
    &etcd_checks::VERSION,
    &ssh::CHECK,
    &ssh::REACHABLE,
    &ssh::RUN,
];
