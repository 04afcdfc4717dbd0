//! The ways to hosts and servers: this machine, SSH, the APIs of etcd and Kubernetes.

pub mod etcd;
pub(crate) mod http;
pub mod kube;
mod link;
pub mod local;
pub mod ssh;
mod trouble;
