//! Triage: what is wrong with a cluster, and which plan to run.
//!
//! `gather` looks, at everything at once and only through a [`requorum_steps::Reader`], and gives an [`Observation`]: plain
//! data. The rest is pure. `facts` sums an observation up (`state` one member, `membership` all of them), `rules` holds the facts against the table beside the plans
//! (`plans/triage.yaml`) and gives a [`Verdict`]. `report::triage` puts both into words.

mod answer;
mod facts;
mod gather;
mod membership;
mod observation;
mod rules;
mod state;

#[cfg(test)]
mod tests;

pub use facts::{Facts, Identity};
pub use gather::{CALL, CONNECT, gather, readable};
pub use membership::Quorum;
pub use observation::{
    Asked, Authority, Data, Disk, EtcdLook, HostLook, HostSeen, Look, MemberOfSite, NodeSeen, Observation,
    PlacedCertificate, Running, ServiceSeen, Silence,
};
pub use rules::{BadTable, Command, Decision, Finding, Level, Library, PlanHead, Table, Verdict};
pub use state::{MemberState, state_of};
