//! The vocabulary of acts: what a step can do, what a check can see, and how hosts and etcd members are reached.
//!
//! A *kind* (`file.set_aside`, `etcd.healthy`) is described by data ([`Kind`]: arguments, effect class, danger, where it
//! runs) and made into an [`Action`] or a [`Check`] from plain arguments. Nothing here knows plans, templates, runs or
//! journals: the engine renders, decides, waits and records; this crate looks and acts.
//!
//! An [`Action`] gets a [`Writer`] to act and a [`Reader`] for everything else; a [`Check`] only ever gets a [`Reader`].

pub mod action;
pub mod args;
pub mod capsule;
pub mod catalog;
pub mod certificate;
pub mod clock;
pub mod crossing;
pub mod effect;
pub mod fault;
pub mod kinds;
pub mod name;
pub mod redact;
pub mod site;
pub mod snapshot;
pub mod sweep;
pub mod transport;
pub mod units;
pub mod world;

pub use action::{Action, Check, Observation, Preview, Probe, Undo};
pub use args::{Arg, BadArgs, Rule, Type};
pub use catalog::{Builtin, Kind, Make, Seat};
pub use effect::{Danger, Effect};
pub use fault::{Fault, FaultKind, Place};
pub use name::{AttemptId, BadName, HostName, ItemKey, RunId, StepId};
pub use site::Site;
pub use world::{Output, Reader, Script, Stdin, World, Writer};
