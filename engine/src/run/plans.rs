//! The plans of a run: the one that it began with, and those that it was amended to.

use std::sync::Arc;

use crate::plan::compiled::Plan;

/// The plans of a run, by their digests. Whoever reads the run's records hands them in, so that the fold needs no I/O.
#[derive(Debug, Clone, PartialEq)]
pub struct Plans {
    first: Arc<Plan>,
    amended: Vec<Arc<Plan>>,
}

impl Plans {
    /// Returns the plan that the run began with.
    #[must_use]
    pub fn first(&self) -> &Arc<Plan> {
        &self.first
    }

    /// Adds a plan that the run is amended to.
    pub fn add(&mut self, plan: Arc<Plan>) {
        self.amended.push(plan);
    }

    /// Returns the plan with a digest.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> Option<&Arc<Plan>> {
        std::iter::once(&self.first).chain(&self.amended).find(|plan| plan.digest == digest)
    }
}

impl From<Arc<Plan>> for Plans {
    fn from(first: Arc<Plan>) -> Self {
        Self { first, amended: Vec::new() }
    }
}
