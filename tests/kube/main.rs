//! Plans that speak to a real API of Kubernetes: etcd and kube-apiserver on loopback, looked at with kubectl.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod acts;
mod cluster;
mod looks;
mod requests;
