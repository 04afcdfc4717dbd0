//! The ways to hosts and servers: this machine, SSH, the etcd API.

pub mod etcd;
pub mod local;
pub mod ssh;
