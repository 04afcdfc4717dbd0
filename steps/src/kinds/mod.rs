//! The kinds, one file each, or one file for a small family.

pub(crate) mod aside;
mod builtin;
mod cert;
mod clock;
mod command;
mod container;
mod etcd_checks;
mod etcd_member_add;
mod etcd_member_checks;
mod etcd_member_promote;
mod etcd_member_remove;
mod etcd_members;
mod etcd_membership;
mod etcd_move_leader;
mod etcd_rehearse;
mod etcd_restore;
mod etcd_snapshot_checks;
mod etcd_snapshot_save;
mod etcd_survivor;
mod etcd_tool;
mod file_checks;
mod file_line;
mod file_put;
mod file_set_aside;
mod file_transfer;
mod file_unpack;
#[cfg(test)]
mod host_tests;
mod http;
mod kube_apply;
mod kube_checks;
mod kube_csrs;
mod kube_delete;
mod kube_nodes;
mod kube_object;
mod service;
mod service_checks;
mod service_manifest;
mod service_state;
mod shell;
mod ssh;
mod survey;

use crate::catalog::Kind;

/// All kinds, in the order of their names; [`crate::catalog::find`] relies on the order.
pub const ALL: &[&Kind] = &[
    &builtin::ASSERT,
    &cert::VALID,
    &clock::IN_STEP,
    &command::CHECK,
    &command::RUN,
    &container::ABSENT,
    &container::REMOVE,
    &container::RUNNING,
    &container::STOP,
    &etcd_member_checks::ALL_STARTED,
    &etcd_checks::HEALTHY,
    &etcd_member_checks::ABSENT,
    &etcd_member_add::ADD,
    &etcd_member_checks::PRESENT,
    &etcd_member_promote::PROMOTE,
    &etcd_member_remove::REMOVE,
    &etcd_member_checks::STATE,
    &etcd_move_leader::MOVE_LEADER,
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
    &etcd_survivor::SURVIVOR,
    &etcd_checks::VERSION,
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
    &builtin::GATE,
    &http::GET,
    &kube_checks::API_READY,
    &kube_apply::APPLY,
    &kube_csrs::APPROVE_CSRS,
    &kube_delete::DELETE,
    &kube_checks::DELETED,
    &kube_checks::GET,
    &kube_nodes::LEASES_FRESH,
    &kube_nodes::NODES_READY,
    &kube_nodes::PODS_READY,
    &service_checks::ACTIVE,
    &service::ENABLE,
    &service_checks::INACTIVE,
    &service_manifest::MATCHES,
    &service::RELEASE,
    &service::RESTART,
    &service::START,
    &service::STOP,
    &builtin::SET,
    &ssh::CHECK,
    &ssh::REACHABLE,
    &ssh::RUN,
    &builtin::WAIT_FOR,
    &builtin::WAIT_UNTIL,
];
