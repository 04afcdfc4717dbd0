//! To be built.

/// To be built.
pub struct EtcdPool;
