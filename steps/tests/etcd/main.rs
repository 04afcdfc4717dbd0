//! The kinds of etcd against real servers on loopback: `etcd` and `etcdctl` in PATH or `$REQUORUM_ETCD_DIR`.
#![allow(clippy::unwrap_used, missing_docs)]

mod checks;
mod server;
mod snapshots;
